//! `portcullis test`: does a policy do what its tests say?

mod chain;
mod document;
mod findings;
mod judge;
mod junit;
mod place;
mod report;
mod run;
#[cfg(test)]
pub(crate) mod schema;
mod upstreams;
mod world;

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

pub(crate) use self::junit::escaped;
use self::{document::Suite, place::Wrong, run::SuiteResult};
use crate::output::{self, Answer, Format};

/// Runs policy test suites: requests and tokens, each with the answer that it must get.
///
/// A suite runs in the very modules that run in production, in the embedded host, under a clock
/// that the suite sets. Nothing is sent anywhere: key sets and other upstreams are the suite's.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Example, suite.yaml:
  policy: {file: jwt-auth.json}
  now: 2026-01-01T00:00:00Z
  tokens:
    alice: {key: main-rs256, claims: {iss: https://issuer, aud: api, sub: alice, exp: now + 5m}}
  checks:
    - name: a good one reaches the upstream with the subject
      token: ${token:alice}
      expect: {upstream_headers: {x-sub: alice}}
    - name: five minutes late
      mint: {like: alice, claims: {exp: now - 5m}}
      expected_failure_codes: [TOKEN_EXPIRED]

  portcullis test suite.yaml
  portcullis test policies/*.yaml --junit report.xml
  portcullis test suite.yaml --filter billing --format json

A check without expected_failure_codes expects success. With them, each listed code must be found
and no other. docs/testing.md describes every field.

Exit codes: 0 every check passed, 1 a check failed or none was selected, 2 a suite makes no sense.")]
pub(crate) struct Arguments {
    /// The suites, YAML or JSON; paths in a suite are relative to it
    #[arg(required = true, value_name = "SUITE")]
    suites: Vec<PathBuf>,
    /// Only checks whose name contains this text; several are alternatives
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Also writes the result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let wanted = |name: &str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|text| name.contains(text.as_str()))
    };
    let mut results = Vec::new();
    let mut progress = Progress::new();
    for file in &arguments.suites {
        let suite = read(file)?;
        let result = run::run(&suite, file, &wanted, &mut || progress.step());
        results.push(result.map_err(|wrong| wrong.in_file(file))?);
    }
    progress.clear();
    if let Some(path) = &arguments.junit {
        fs::write(path, junit::xml(&results)).with_context(|| format!("write `{}`", path.display()))?;
    }
    match arguments.format {
        Format::Text => anstream::print!("{}", report::text(&results)),
        Format::Json => anstream::println!("{}", report::json(&results)),
    }
    Ok(answer(&results))
}

/// A suite without a check, and a filter that takes none, prove nothing.
fn answer(results: &[SuiteResult]) -> Answer {
    let totals = report::totals(results);
    let mut empty = results.iter().filter(|suite| suite.checks.is_empty() && suite.left_out == 0).peekable();
    if totals.passed + totals.failed == 0 || empty.peek().is_some() {
        for suite in empty {
            anstream::eprintln!(
                "{} {} has no checks",
                output::styled(output::BAD, "error:"),
                suite.file.display()
            );
        }
        if totals.left_out > 0 && totals.passed + totals.failed == 0 {
            anstream::eprintln!(
                "{} --filter selects none of {} checks",
                output::styled(output::BAD, "error:"),
                totals.left_out
            );
        }
        return Answer::No;
    }
    if totals.failed == 0 { Answer::Yes } else { Answer::No }
}

fn read(file: &Path) -> anyhow::Result<Suite> {
    let bytes = crate::document::read(file)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{}: not UTF-8", file.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let place = error.location().map(Into::into).unwrap_or_default();
        Wrong::new(place, crate::document::reason(&error)).in_file(file)
    })
}

/// Whether `bytes` have the form of a suite.
#[cfg(test)]
pub(crate) fn shape(bytes: &[u8]) -> anyhow::Result<()> {
    serde_saphyr::from_slice::<Suite>(bytes)?;
    Ok(())
}

/// A line on a terminal while the checks run.
struct Progress {
    done: usize,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { done: 0, shown: std::io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.shown {
            eprint!("\r{} checks", self.done);
            // A line that is not shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.shown && self.done > 0 {
            eprint!("\r\u{1b}[K");
        }
    }
}
