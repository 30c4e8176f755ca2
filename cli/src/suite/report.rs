//! A run as people and programs read it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::run::{CheckResult, StepResult, SuiteResult};
use crate::output::{BAD, GOOD, NAME, QUIET, styled};

pub(super) struct Totals {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) left_out: usize,
}

pub(super) fn totals(suites: &[SuiteResult]) -> Totals {
    let checks = || suites.iter().flat_map(|suite| &suite.checks);
    Totals {
        passed: checks().filter(|check| check.passed()).count(),
        failed: checks().filter(|check| !check.passed()).count(),
        left_out: suites.iter().map(|suite| suite.left_out).sum(),
    }
}

/// The table for people.
pub(super) fn text(suites: &[SuiteResult]) -> String {
    let mut out = String::new();
    for suite in suites {
        let _ = writeln!(out, "{} {}", styled(NAME, &suite.name), styled(QUIET, suite.file.display()));
        for check in &suite.checks {
            let (style, word) = if check.passed() { (GOOD, "pass") } else { (BAD, "FAIL") };
            let _ = writeln!(out, "  {}  {}", styled(style, word), check.name);
            if !check.passed() {
                let _ = writeln!(out, "        {}", styled(QUIET, place(suite, check)));
                failures(&mut out, check);
            }
        }
    }
    let Totals { passed, failed, left_out } = totals(suites);
    let style = if failed == 0 && passed > 0 { GOOD } else { BAD };
    let left_out = if left_out > 0 { format!(", {left_out} left out by --filter") } else { String::new() };
    let _ = writeln!(out, "{}{left_out}", styled(style, format!("{passed} passed, {failed} failed")));
    out
}

fn place(suite: &SuiteResult, check: &CheckResult) -> String {
    format!("{}:{}", suite.file.display(), check.place)
}

fn failures(out: &mut String, check: &CheckResult) {
    for (index, step) in check.steps.iter().enumerate() {
        if step.differences.is_empty() {
            continue;
        }
        if check.steps.len() > 1 {
            let _ = writeln!(out, "        {}", step_name(index, step));
        }
        for difference in &step.differences {
            let _ = writeln!(out, "        {}", difference.what);
            let _ =
                writeln!(out, "          {}", styled(GOOD, format!("- expected {}", difference.expected)));
            let _ = writeln!(out, "          {}", styled(BAD, format!("+ got      {}", difference.got)));
        }
    }
}

pub(super) fn step_name(index: usize, step: &StepResult) -> String {
    match &step.name {
        Some(name) => format!("step {}, {name}", index + 1),
        None => format!("step {}", index + 1),
    }
}

/// The document for programs.
pub(super) fn json(suites: &[SuiteResult]) -> Value {
    let Totals { passed, failed, left_out } = totals(suites);
    json!({
        "passed": passed, "failed": failed, "left_out": left_out, "ok": failed == 0 && passed > 0,
        "suites": suites.iter().map(|suite| json!({
            "name": suite.name, "file": suite.file.display().to_string(),
            "checks": suite.checks.iter().map(check_json).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn check_json(check: &CheckResult) -> Value {
    json!({
        "name": check.name, "passed": check.passed(), "line": check.place.line, "column": check.place.column,
        "steps": check.steps.iter().map(|step| json!({
            "name": step.name, "line": step.place.line, "status": step.status, "expected": step.expected,
            "failure_codes": step.findings,
            "differences": step.differences.iter().map(|difference| json!({
                "what": difference.what, "expected": difference.expected, "got": difference.got,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
