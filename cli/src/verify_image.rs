//! `portcullis verify-image`: may this image run?
//!
//! The policy says what to read and decides; here it is read, recorded and shown.

mod gather;
mod report;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use clap::Args;
use portcullis_core::UnixTime;
use portcullis_jwt::config::duration::Span;
use portcullis_signature::{Class, Evidence, ImageRef, Outcome, Policy, Request, Verdict, decide, plan};
use tokio::time::Instant;

use crate::{
    document,
    output::{Answer, Format},
    registry::{Options, Registry},
    source::Source,
};

pub(crate) use gather::gather;
pub(crate) use report::print as print_verdict;

/// May this image run?
///
/// Reads what the policy needs to know from the image's registry (its digest, its signatures and
/// attestations in each of Cosign's layouts), verifies it as the admission filter would, and says
/// why.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis verify-image ghcr.io/acme/shop:1.4 --policy images.yaml

  # In CI, against a registry on this machine.
  portcullis verify-image localhost:5000/shop:1.4 --policy images.yaml --plain-http --format json

  # Keep what was read, and decide again later without a registry.
  portcullis verify-image ghcr.io/acme/shop:1.4 --policy images.yaml --record evidence.json
  portcullis verify-image ghcr.io/acme/shop:1.4 --policy images.yaml --offline evidence.json

A registry is spoken to over https, with the credentials of `docker login`; credential helpers are not
run. Its answers are bounded: each by the policy's limit of bytes, all by --timeout.

A smallest policy:
  signers:
    release:
      github: { repository: acme/shop, workflow: .github/workflows/release.yml, ref: refs/heads/main }
  rules:
    - { name: shop, images: [ghcr.io/acme/**], require: { signature: { signer: release } } }

Exit codes: 0 it may run, 1 it may not, 2 it could not be found out (and so it may not): the registry
failed, the evidence is not complete, or an argument or file is wrong.")]
pub(crate) struct Arguments {
    /// The image: `[registry/]repository[:tag][@digest]`
    #[arg(value_name = "REF", value_parser = parse_image)]
    image: ImageRef,
    /// The policy, YAML or JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The namespace that it is to run in
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Decide from recorded evidence, without a registry
    #[arg(long, value_name = "EVIDENCE", conflicts_with_all = ["record", "plain_http", "ca_file", "credentials"])]
    offline: Option<PathBuf>,
    /// Write what was read, for --offline
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How registries are reached.
#[derive(Args, Debug)]
pub(crate) struct Access {
    /// Speak plain http to registries on this machine (localhost, 127.0.0.1)
    #[arg(long)]
    plain_http: bool,
    /// Certificates (PEM) to trust for https instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Credentials as `docker login` writes them [default: $DOCKER_CONFIG or ~/.docker, config.json]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// For all that is read and written
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_span)]
    timeout: Span,
}

impl Access {
    /// A client for one verification, whose time begins now.
    pub(crate) fn registry(&self, policy: &Policy) -> anyhow::Result<Registry> {
        self.open(policy.document().limits.bytes)
    }

    /// A client that takes answers of at most `max_bytes`, whose time begins now.
    pub(crate) fn open(&self, max_bytes: usize) -> anyhow::Result<Registry> {
        Registry::new(Options {
            plain_http: self.plain_http,
            ca_file: self.ca_file.clone(),
            credentials: self.credentials.clone(),
            max_bytes,
            deadline: Instant::now() + self.timeout.0.max(Duration::from_millis(1)),
        })
    }
}

fn parse_image(text: &str) -> Result<ImageRef, String> {
    ImageRef::parse(text).map_err(|error| error.to_string())
}

fn parse_span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error| format!("{error}"))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let policy = read_policy(&arguments.policy)?;
    let request = Request { image: arguments.image.clone(), namespace: arguments.namespace.clone() };
    let evidence = evidence(arguments, &request, &policy)?;
    let verdict = decide(&request, &evidence, &policy, now()?);
    match arguments.format {
        Format::Text => report::print(&verdict),
        Format::Json => anstream::println!("{}", serde_json::to_string(&report::json(&verdict))?),
    }
    conclude(&verdict, &request, &policy, &evidence)
}

/// The system's time.
pub(crate) fn now() -> anyhow::Result<UnixTime> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(UnixTime::from_nanos(i128::try_from(since.as_nanos())?))
}

/// The policy in `path`, YAML or JSON.
pub(crate) fn read_policy(path: &std::path::Path) -> anyhow::Result<Policy> {
    let source = Source::read(path)?;
    let policy = Policy::from_json(&source.json()?);
    policy.map_err(|error| {
        anyhow::Error::new(source.refused(&error.to_string())).context("the policy is refused")
    })
}

fn evidence(arguments: &Arguments, request: &Request, policy: &Policy) -> anyhow::Result<Evidence> {
    if let Some(path) = &arguments.offline {
        return Evidence::from_json(&document::read(path)?).with_context(|| path.display().to_string());
    }
    let mut evidence = Evidence::default();
    gather(std::slice::from_ref(request), policy, &mut evidence, arguments.access.registry(policy)?)?;
    if let Some(path) = &arguments.record {
        let write = || format!("`--record`: write `{}`", path.display());
        fs::write(path, evidence.to_json()?).with_context(write)?;
    }
    Ok(evidence)
}

/// A refusal because nothing could be known is no answer to the question.
fn conclude(
    verdict: &Verdict,
    request: &Request,
    policy: &Policy,
    evidence: &Evidence,
) -> anyhow::Result<Answer> {
    match (verdict.outcome, verdict.class()) {
        (Outcome::Allow, _) => Ok(Answer::Yes),
        (Outcome::Deny, Class::Transient) => {
            let cause = verdict.reason.walk().find(|reason| reason.code.class() == Class::Transient);
            let cause = cause.unwrap_or(&verdict.reason);
            bail!("it could not be found out, so it may not run: {}: {}", cause.code, cause.message)
        }
        (Outcome::Deny, _) => Ok(Answer::No),
        (Outcome::Missing, _) => {
            let reads: Vec<_> = plan(request, policy, evidence).iter().map(ToString::to_string).collect();
            bail!("the evidence is not complete, so it may not run; not in it: {}", reads.join(", "))
        }
    }
}
