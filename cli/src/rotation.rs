//! `portcullis rotation`: would a change of an issuer's keys refuse anybody?
//!
//! The judgement is `portcullis_jwt::rotation`; here its input is read and its answer is written.

mod report;
mod sample;
pub(crate) mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use portcullis_jwt::{
    config::duration::Span,
    rotation::{self, Times},
};

use crate::{output::Answer, token::Token};

use report::Report;
use sample::{Kind, Sample};
use source::Snapshot;

/// Would a change of an issuer's keys refuse anybody?
///
/// Compares two states of a JWK Set, as jwt-auth reads them, and says which keys came and went, who
/// would be refused and for how long, and which keys other verifiers would choke on.
///
/// rotation_state is `no_change` (the same keys), `safe_overlap` (no key is gone), `overlap` (some
/// stayed, some are gone) or `disjoint` (none stayed).
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  # Before publishing: what is published now, and what shall be.
  portcullis rotation https://login.example.com/jwks next.json

  # In CI, for tokens of 15 minutes and verifiers that look again every 10.
  portcullis rotation old.json new.json --max-token-ttl 15m --cache-ttl 10m --format json

  # Is a token that is in use still accepted afterwards?
  portcullis rotation old.json new.json --sample-old-token @token.txt

A set is a file, an http or https URL (no redirects; 10 s; `--ca-file` for an issuer of your own), or
`-` for standard input. A sample is the token itself or, so that it is not in the list of processes,
`@FILE`, and `@-` for standard input. No token is ever printed. Samples are checked for their
signature alone, not for issuer, audience or time.

Without a finding of severity `error` a rotation goes like this: publish the new key beside the old
one, wait for `--cache-ttl`, sign with the new one, wait for `--max-token-ttl`, take the old one away.
That last step is `overlap` too: it is right once the wait is over, which the sets cannot tell.

Exit codes: 0 no_change and safe_overlap, 1 overlap and disjoint, 2 bad input: what cannot be read,
is no key set, or a sample that the set that it is for does not verify.")]
pub(crate) struct Arguments {
    /// The key set before the change: a file, a URL, or `-`
    old: PathBuf,
    /// The key set after the change: a file, a URL, or `-`
    new: PathBuf,
    /// How long a token is good at most
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_span)]
    max_token_ttl: Span,
    /// How long verifiers use a key set before they look again
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_span)]
    cache_ttl: Span,
    /// A token; which of the sets verifies it?
    #[arg(long, value_name = "TOKEN|@FILE")]
    sample_token: Option<Token>,
    /// A token that the old set verifies; does the new one?
    #[arg(long, value_name = "TOKEN|@FILE")]
    sample_old_token: Option<Token>,
    /// A token that the new set verifies; does the old one?
    #[arg(long, value_name = "TOKEN|@FILE")]
    sample_new_token: Option<Token>,
    /// Certificates (PEM) to trust for https URLs instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Takes what is too much, which clap would print: a token that was not quoted, perhaps.
    #[arg(hide = true)]
    rest: Vec<Token>,
}

/// How a judgement is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON document on standard output
    Json,
}

/// The notation of durations is that of the plugins' configuration.
fn parse_span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error| format!("{error}"))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    check(arguments)?;
    let ca = arguments.ca_file.as_deref();
    let old = Snapshot::read(&arguments.old, ca)?;
    let new = Snapshot::read(&arguments.new, ca)?;
    let samples = samples(arguments, &old, &new)?;
    let times = Times { max_token_ttl: arguments.max_token_ttl.0, cache_ttl: arguments.cache_ttl.0 };
    let rotation = rotation::classify(&old.set, &new.set, times);
    let report = Report { old: &old, new: &new, times, rotation: &rotation, samples: &samples };
    match arguments.format {
        Format::Table => report.print_table(),
        Format::Json => anstream::println!("{}", report.to_json()),
    }
    for sample in &samples {
        sample.keeps_its_promise()?;
    }
    Ok(if rotation.state.is_safe() { Answer::Yes } else { Answer::No })
}

/// What is wrong with the arguments together.
fn check(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { old, new, rest, .. } = arguments;
    ensure!(
        rest.is_empty(),
        "{} arguments too many; there are two key sets, and a sample with a space needs quotes",
        rest.len()
    );
    for (name, path) in [("OLD", old), ("NEW", new)] {
        // The error about a file that is not there would print it.
        ensure!(
            !looks_like_a_token(path),
            "{name}: a token instead of a key set; samples are given with `--sample-token`"
        );
    }
    let sets = [old, new].into_iter().filter(|path| path.as_path() == Path::new("-")).count();
    let tokens = given(arguments).filter(|(_, token)| token.is_standard_input()).count();
    if sets.saturating_add(tokens) > 1 {
        bail!("standard input can be read once; use files for the others");
    }
    Ok(())
}

fn looks_like_a_token(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.trim_start_matches("Bearer ").starts_with("eyJ") && text.matches('.').count() >= 2
}

/// The samples that are there, each with what is said of it.
fn given(arguments: &Arguments) -> impl Iterator<Item = (Kind, &Token)> {
    let Arguments { sample_token, sample_old_token, sample_new_token, .. } = arguments;
    [(Kind::Any, sample_token), (Kind::Old, sample_old_token), (Kind::New, sample_new_token)]
        .into_iter()
        .filter_map(|(kind, token)| token.as_ref().map(|token| (kind, token)))
}

fn samples(arguments: &Arguments, old: &Snapshot, new: &Snapshot) -> anyhow::Result<Vec<Sample>> {
    given(arguments)
        .map(|(kind, token)| {
            let bytes = token.read().with_context(|| format!("`{}`", kind.flag()))?;
            Sample::judge(kind, &bytes, &old.set, &new.set)
        })
        .collect()
}
