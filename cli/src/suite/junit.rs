//! JUnit XML, as CI systems read it: one `testsuite` a file, one `testcase` a check.

use std::fmt::Write as _;

use super::{
    report::{step_name, totals},
    run::{CheckResult, SuiteResult},
};

pub(super) fn xml(suites: &[SuiteResult]) -> String {
    let all = totals(suites);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"portcullis test\" tests=\"{}\" failures=\"{}\">",
        all.passed + all.failed,
        all.failed
    );
    for suite in suites {
        let failures = suite.checks.iter().filter(|check| !check.passed()).count();
        let time: f64 = suite.checks.iter().map(|check| check.took.as_secs_f64()).sum();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{time:.3}\">",
            escaped(&suite.name),
            suite.checks.len()
        );
        for check in &suite.checks {
            case(&mut out, suite, check);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, suite: &SuiteResult, check: &CheckResult) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{:.3}\"",
        escaped(&suite.name),
        escaped(&check.name),
        escaped(&suite.file.display().to_string()),
        check.place.line,
        check.took.as_secs_f64()
    );
    if check.passed() {
        out.push_str("/>\n");
        return;
    }
    let mut lines = Vec::new();
    for (index, step) in check.steps.iter().enumerate() {
        for difference in &step.differences {
            let at =
                if check.steps.len() > 1 { format!("{}: ", step_name(index, step)) } else { String::new() };
            lines.push(format!(
                "{at}{}: expected {}, got {}",
                difference.what, difference.expected, difference.got
            ));
        }
    }
    let first = lines.first().cloned().unwrap_or_default();
    let _ = writeln!(
        out,
        ">\n      <failure message=\"{}\">{}</failure>",
        escaped(&first),
        escaped(&lines.join("\n"))
    );
    out.push_str("    </testcase>\n");
}

/// Text for XML 1.0: the five entities, and a replacement for what XML cannot have at all.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(character),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped_and_what_xml_cannot_have_is_replaced() {
        assert_eq!(
            super::escaped("a<b> & \"c\" '\u{1}\n"),
            "a&lt;b&gt; &amp; &quot;c&quot; &apos;\u{fffd}&#10;"
        );
    }
}
