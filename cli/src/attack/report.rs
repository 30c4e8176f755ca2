//! What got in, for people and programs.

use portcullis_issuer::attacks::{Class, Entry, Verdict};
use serde_json::{Value, json};

use super::{Outcome, Shot};
use crate::output::{self, BAD, Format, GOOD, NAME, QUIET, styled};

pub(super) fn list(cases: &[(Class, Entry)], format: Format) {
    match format {
        Format::Json => {
            let cases: Vec<_> = cases
                .iter()
                .map(|(class, entry)| {
                    let codes: Vec<_> = entry.deny.0.iter().map(|code| code.as_str()).collect();
                    json!({
                        "id": entry.id, "class": class.as_str(), "name": entry.name, "origin": entry.origin,
                        "expected": codes,
                    })
                })
                .collect();
            anstream::println!("{}", json!({ "cases": cases }));
        }
        Format::Text => {
            let rows = cases.iter().map(|(class, entry)| {
                let codes: Vec<_> = entry.deny.0.iter().map(|code| code.as_str()).collect();
                let expected = if codes.is_empty() { "allow".into() } else { codes.join(" | ") };
                [class.to_string(), entry.id.clone(), expected, entry.origin.clone()]
            });
            anstream::println!("{}", output::table(["class", "case", "expected", "origin"], rows));
            anstream::println!("{} cases", cases.len());
        }
    }
}

/// How the hostile requests fared.
struct Score {
    hostile: usize,
    holes: usize,
}

impl Score {
    fn of(outcome: &Outcome) -> Self {
        let hostile = outcome.shots.iter().filter(|shot| shot.case.is_hostile()).count();
        Self { hostile, holes: outcome.shots.iter().filter(|shot| shot.verdict.is_hole()).count() }
    }
}

pub(super) fn write(outcome: &Outcome, format: Format) {
    match format {
        Format::Json => anstream::println!("{}", to_json(outcome)),
        Format::Text => anstream::print!("{}", text(outcome)),
    }
}

fn text(outcome: &Outcome) -> String {
    let mut out = format!("{} {}\n\n", styled(NAME, "attacked:"), outcome.gateway);
    let mut section = |title: String, rows: Vec<[String; 4]>| {
        if !rows.is_empty() {
            out.push_str(&format!("{title}\n{}\n\n", output::table(["class", "case", "what", "rule"], rows)));
        }
    };
    let row = |shot: &Shot, what: String| {
        [shot.case.class.to_string(), shot.case.id.clone(), what, shot.case.origin.clone()]
    };
    let rows = |pick: &dyn Fn(&Shot) -> Option<String>| {
        outcome.shots.iter().filter_map(|shot| pick(shot).map(|what| row(shot, what))).collect::<Vec<_>>()
    };
    let holes = rows(&|shot| match &shot.verdict {
        Verdict::Accepted => Some(shot.case.name.clone()),
        Verdict::Leaked(name, values) => {
            Some(format!("{}: the upstream saw `{name}` as {values:?}", shot.case.name))
        }
        _ => None,
    });
    section(styled(BAD, "accepted that should not have been"), holes);
    let refused = rows(&|shot| match &shot.verdict {
        Verdict::HonestRefused(code) => {
            Some(format!("{}: {}", shot.case.name, code.as_deref().unwrap_or("refused")))
        }
        _ => None,
    });
    section(styled(NAME, "refused though honest (a configuration may be stricter than the corpus)"), refused);
    let others = rows(&|shot| match &shot.verdict {
        Verdict::AnotherReason(code) => Some(format!("{}: {code}", shot.case.name)),
        _ => None,
    });
    section(styled(QUIET, "refused for another reason than the expected one"), others);
    let Score { hostile, holes } = Score::of(outcome);
    let honest = outcome.shots.len() - hostile;
    let style = if holes == 0 { GOOD } else { BAD };
    out.push_str(&format!(
        "{} ({honest} honest ones beside them",
        styled(style, format!("{} of {hostile} hostile requests did not get in", hostile - holes)),
    ));
    if outcome.left_out.is_empty() {
        out.push_str(")\n");
    } else {
        out.push_str(&format!("; {} cases left out)\n", outcome.left_out.len()));
        for (reason, count) in left_out(outcome) {
            out.push_str(&format!("  {}\n", styled(QUIET, format!("{count} left out: {reason}"))));
        }
    }
    out
}

/// Why cases were left out, and how many for each reason.
fn left_out(outcome: &Outcome) -> std::collections::BTreeMap<&str, usize> {
    let mut reasons = std::collections::BTreeMap::new();
    for (_, reason) in &outcome.left_out {
        *reasons.entry(reason.as_str()).or_default() += 1;
    }
    reasons
}

fn to_json(outcome: &Outcome) -> Value {
    let Score { hostile, holes } = Score::of(outcome);
    let cases: Vec<_> = outcome
        .shots
        .iter()
        .map(|shot| {
            let (verdict, detail) = match &shot.verdict {
                Verdict::Right => ("right", Value::Null),
                Verdict::AnotherReason(code) => ("another_reason", json!(code)),
                Verdict::Accepted => ("accepted", Value::Null),
                Verdict::Leaked(name, values) => ("leaked", json!({ "header": name, "values": values })),
                Verdict::HonestRefused(code) => ("honest_refused", json!(code)),
            };
            json!({
                "id": shot.case.id, "class": shot.case.class.as_str(), "name": shot.case.name,
                "origin": shot.case.origin, "hostile": shot.case.is_hostile(), "verdict": verdict,
                "detail": detail,
            })
        })
        .collect();
    let left_out: Vec<_> =
        outcome.left_out.iter().map(|(entry, reason)| json!({ "id": entry.id, "reason": reason })).collect();
    json!({
        "gateway": outcome.gateway, "hostile": hostile, "accepted": holes, "refused": hostile - holes,
        "ok": holes == 0, "cases": cases, "left_out": left_out,
    })
}
