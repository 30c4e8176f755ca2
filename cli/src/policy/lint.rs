//! `portcullis policy lint`: whom does this policy let in?

mod breadth;
mod checks;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    output::{self, Answer, Format},
    verify_image::read_policy,
};

use breadth::Example;

/// Whom and what does this policy let in that nobody may have meant?
///
/// For each part that is broader than it looks, it shows an identity or an image that gets in.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis policy lint images.yaml
  portcullis policy lint images.yaml --format json

A finding is an `error` where a stranger gets in (a wildcard in a server, an owner or a mail domain),
a `warning` where more of your own get in than you may mean (any repository, any workflow), and a `note`
where a decision is worth a second look (any branch, a rule that only audits).

Exit codes: 0 no error and no warning, 1 there are some, 2 the policy is refused or cannot be read.")]
pub(crate) struct Arguments {
    /// The policy, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    Note,
    Warning,
    Error,
}

/// Something that is broader than it looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// The place in the policy's document.
    pub(super) path: String,
    pub(super) message: String,
    /// Who or what gets in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lets_in: Option<Example>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let policy = read_policy(&arguments.file)?;
    let findings = checks::all(policy.document());
    match arguments.format {
        Format::Text => print(&findings),
        Format::Json => anstream::println!("{}", serde_json::json!({ "findings": findings })),
    }
    let good = findings.iter().all(|finding| finding.severity == Severity::Note);
    Ok(if good { Answer::Yes } else { Answer::No })
}

fn print(findings: &[Finding]) {
    for Finding { severity, path, message, lets_in } in findings {
        let (style, word) = match severity {
            Severity::Error => (output::BAD, "error:"),
            Severity::Warning => (output::NAME, "warning:"),
            Severity::Note => (output::QUIET, "note:"),
        };
        anstream::println!("{} {path}: {message}", output::styled(style, word));
        if let Some(example) = lets_in {
            for (name, value) in example.parts() {
                anstream::println!("    lets in {name}: {value}");
            }
        }
    }
    if findings.is_empty() {
        anstream::println!("{} nothing is broader than it looks", output::styled(output::GOOD, "ok:"));
    }
}
