//! What a probe found, as people and programs read it. Nothing of an answer is in it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::{Call, Outcome, Probed, Verdict};
use crate::{
    output::{BAD, GOOD, QUIET, styled, table},
    suite::escaped,
};

/// The table for people.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    for one in &outcome.probed {
        let telling: Vec<&Call> = one.calls.iter().filter(|call| is_telling(call)).collect();
        if telling.is_empty() {
            rows.push(quiet(one));
        }
        for (n, call) in telling.into_iter().enumerate() {
            let guard = call.guard.as_ref().map(super::guarded::Said::text).unwrap_or_default();
            rows.push([
                word(call.verdict.as_str()).into(),
                if n == 0 { one.operation.clone() } else { String::new() },
                who(call),
                call.status.map(|status| status.to_string()).unwrap_or_default(),
                call.verdict.why(),
                guard,
            ]);
        }
    }
    let mut out = String::new();
    let head = ["", "request", "who asked", "answer", "why", "guard"];
    for line in table(head, rows).lines() {
        let line = line.trim_end();
        match line.split_once(LEAK) {
            Some((before, rest)) if before.trim().is_empty() => {
                let _ = writeln!(out, "{before}{}{rest}", styled(BAD, LEAK));
            }
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    let leaked = outcome.count("leaked");
    let summary = format!(
        "{} clean, {} stopped, {leaked} leaked, {} not judged, {} skipped",
        outcome.count("clean"),
        outcome.count("stopped"),
        outcome.count("not_judged"),
        outcome.count("skipped")
    );
    let left_out = match outcome.left_out {
        0 => String::new(),
        n => format!(", {n} left out by --filter"),
    };
    let style = if leaked == 0 { GOOD } else { BAD };
    let _ = writeln!(out, "{}{left_out} {}", styled(style, summary), styled(QUIET, &outcome.target));
    out
}

const LEAK: &str = "LEAK";

fn word(verdict: &str) -> &str {
    match verdict {
        "leaked" => LEAK,
        "not_judged" => "not judged",
        other => other,
    }
}

/// Whether a call has a line of its own: a guard that would stop a good answer is worth one.
fn is_telling(call: &Call) -> bool {
    call.verdict != Verdict::Clean || call.guard.as_ref().is_some_and(|said| said.as_str() == "stops")
}

fn quiet(one: &Probed) -> [String; 6] {
    let statuses: Vec<_> =
        one.calls.iter().filter_map(|call| call.status).map(|status| status.to_string()).collect();
    let why = one.skipped.clone().unwrap_or_default();
    [one.verdict().into(), one.operation.clone(), String::new(), statuses.join(" "), why, String::new()]
}

fn who(call: &Call) -> String {
    if call.caller == call.asked_for {
        format!("{}, its own", call.caller)
    } else {
        format!("{}, for {}'s", call.caller, call.asked_for)
    }
}

/// The document for programs.
pub(super) fn json(outcome: &Outcome) -> Value {
    let calls = |one: &Probed| {
        one.calls
            .iter()
            .map(|call| {
                let guard =
                    call.guard.as_ref().map(|said| json!({"says": said.as_str(), "text": said.text()}));
                json!({
                    "caller": call.caller, "asked_for": call.asked_for, "status": call.status,
                    "verdict": call.verdict.as_str(), "why": call.verdict.why(), "guard": guard,
                })
            })
            .collect::<Vec<_>>()
    };
    let operations: Vec<_> = outcome
        .probed
        .iter()
        .map(|one| {
            json!({
                "operation": one.operation, "verdict": one.verdict(), "skipped": one.skipped,
                "calls": calls(one),
            })
        })
        .collect();
    json!({
        "target": outcome.target, "clean": outcome.count("clean"), "stopped": outcome.count("stopped"),
        "leaked": outcome.count("leaked"), "not_judged": outcome.count("not_judged"),
        "skipped": outcome.count("skipped"), "left_out": outcome.left_out,
        "ok": outcome.count("leaked") == 0 && outcome.count("not_judged") == 0,
        "operations": operations,
    })
}

/// JUnit XML: one `testcase` an operation.
pub(super) fn junit(outcome: &Outcome) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuite name=\"portcullis probe\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        outcome.probed.len(),
        outcome.count("leaked"),
        outcome.count("not_judged"),
        outcome.count("skipped")
    );
    for one in &outcome.probed {
        let _ = write!(out, "  <testcase classname=\"probe\" name=\"{}\"", escaped(&one.operation));
        let element = match one.verdict() {
            "leaked" => "failure",
            "not_judged" => "error",
            "skipped" => "skipped",
            _ => {
                out.push_str("/>\n");
                continue;
            }
        };
        let said = |call: &Call| format!("{}: {}", who(call), call.verdict.why());
        let worst = one.calls.iter().filter(|call| call.verdict.as_str() == one.verdict());
        let text = one.skipped.clone().unwrap_or_else(|| worst.map(said).collect::<Vec<_>>().join("\n"));
        let _ = writeln!(out, "><{element} message=\"{}\"/></testcase>", escaped(&text));
    }
    out.push_str("</testsuite>\n");
    out
}
