//! A verdict for people and for programs.

use anstyle::Style;
use portcullis_signature::{Outcome, Reason, Verdict};
use serde_json::{Value, json};

use crate::output::{BAD, GOOD, NAME, QUIET, styled};

/// Prints the verdict with the tree of its reasons.
pub(crate) fn print(verdict: &Verdict) {
    let (style, word) = match verdict.outcome {
        Outcome::Allow => (GOOD, "may run:"),
        Outcome::Deny => (BAD, "may not run:"),
        Outcome::Missing => (BAD, "not known:"),
    };
    anstream::println!("{} {}", styled(style, word), verdict.image);
    if let Some(pinned) = &verdict.pinned {
        anstream::println!("{} {pinned}", styled(QUIET, "pinned:"));
    }
    for warning in &verdict.warnings {
        anstream::println!("{} {warning}", styled(NAME, "warning:"));
    }
    anstream::print!("{}", tree(&verdict.reason));
}

/// One reason a line, each below what follows from it.
fn tree(reason: &Reason) -> String {
    let mut text = String::new();
    write(reason, "", "", &mut text);
    text
}

fn write(reason: &Reason, first: &str, rest: &str, text: &mut String) {
    let (style, mark): (Style, _) = if reason.holds() { (GOOD, "+") } else { (BAD, "-") };
    let about = reason.about.as_ref().map(|about| format!(" {}", styled(NAME, about))).unwrap_or_default();
    let code = styled(style, format!("{mark} {}", reason.code));
    text.push_str(&format!("{first}{code}{about}: {}\n", reason.message));
    for (index, below) in reason.because.iter().enumerate() {
        let last = index + 1 == reason.because.len();
        let (branch, under) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
        write(below, &format!("{rest}{branch}"), &format!("{rest}{under}"), text);
    }
}

/// The verdict as it is, with the class that says what can be done about it.
pub(crate) fn json(verdict: &Verdict) -> Value {
    json!({
        "outcome": verdict.outcome,
        "class": verdict.class(),
        "image": verdict.image,
        "digest": verdict.digest,
        "pinned": verdict.pinned,
        "reason": verdict.reason,
        "warnings": verdict.warnings,
    })
}
