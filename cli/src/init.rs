//! `portcullis init`: a folder with a gateway for one's own issuer.
//!
//! `plan` is what was asked for, by flags or questions; `issuer` finds its keys; `envoy`, `suite` and
//! `readme` are the files.

mod envoy;
mod issuer;
mod plan;
mod readme;
mod suite;

use std::{
    fs,
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::{
    gateway::config::Address,
    output::{self, Answer},
};
use plan::Plan;

/// Writes a folder with an Envoy that enforces your issuer.
///
/// In it are the Envoy configuration with the plugins' configurations, the modules, a test suite, and a
/// README with the next commands. On a terminal, what no flag says is asked.
///
/// The issuer's discovery document is read once, to find its keys and their algorithms, and to tell
/// whether it calls itself what you say. Nothing else is fetched.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis init
  portcullis init --issuer https://login.example.com/ --audience api --out gateway
  portcullis init --issuer https://login.example.com/ --audience api --tenants path --tenant-claim orgs
  portcullis init --issuer https://acme.eu.auth0.com/ --audience api --tenants subdomain \\
    --domain app.example.com --provider auth0
  portcullis init --issuer urn:machines --audience api --jwks keys.json

Then, in the folder: `portcullis check envoy.yaml`, `portcullis test suite.yaml`, `envoy -c envoy.yaml`.

Exit codes: 0 it is written, 2 it is not: something is in the way, or the issuer calls itself otherwise.")]
pub(crate) struct Arguments {
    /// `iss` of your tokens, to the letter; some end in a slash
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// `aud` of tokens for your service; one of several is enough
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// Where the keys are, if not where the issuer's discovery document says: an address or a file
    #[arg(long, value_name = "URL|FILE")]
    jwks: Option<String>,
    /// Where requests name the tenant
    #[arg(long, value_enum)]
    tenants: Option<Tenants>,
    /// The domain whose subdomains are tenants, with `--tenants subdomain`
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Whose tokens they are, where the provider itself says which tenant they are for
    #[arg(long, value_enum, conflicts_with = "tenant_claim")]
    provider: Option<Provider>,
    /// The claim with the ids of the caller's tenants, an array of texts [default: tenants]
    #[arg(long, value_name = "CLAIM")]
    tenant_claim: Option<String>,
    /// Your service [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<Address>,
    /// Where the gateway listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10000")]
    listen: SocketAddr,
    /// Do not ask the issuer; Envoy finds the keys when it runs
    #[arg(long)]
    offline: bool,
    /// A certificate authority of the issuer's own (PEM), instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The folder; it is made where it is missing [default: gateway]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
}

/// Where requests name the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tenants {
    /// There are none: only who is calling is checked
    None,
    /// /t/acme/...
    Path,
    /// acme.app.example.com
    Subdomain,
    /// x-tenant-id: acme
    Header,
    /// A cookie or a header of people who belong to several
    Organizations,
}

/// A provider whose tokens say which tenant they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Auth0 Organizations
    Auth0,
    /// Clerk
    Clerk,
    /// Keycloak, with the organization's id in the token
    Keycloak,
    /// Stytch B2B
    Stytch,
    /// WorkOS
    Workos,
    /// Zitadel
    Zitadel,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let plan = if asks { plan::ask(arguments)? } else { plan::of(arguments)? };
    let Plan { out, .. } = &plan;
    let files = files(&plan);
    if !arguments.force {
        refuse_others(out, &files)?;
    }
    fs::create_dir_all(out).with_context(|| format!("make the folder `{}`", out.display()))?;
    for (name, bytes) in &files {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("write `{}`", path.display()))?;
        anstream::println!("{} {}", output::styled(output::GOOD, "wrote"), path.display());
    }
    anstream::println!("\n{}", readme::next(out));
    Ok(Answer::Yes)
}

fn files(plan: &Plan) -> Vec<(String, Vec<u8>)> {
    let modules = plan.modules().map(|module| (format!("{}.wasm", module.name), module.wasm.to_vec()));
    let text = [
        ("envoy.yaml", envoy::render(plan)),
        ("suite.yaml", suite::render(plan)),
        ("README.md", readme::render(plan)),
    ];
    modules.chain(text.map(|(name, text)| (name.to_owned(), text.into_bytes()))).collect()
}

/// What is there and would become something else is in the way.
fn refuse_others(out: &Path, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, bytes) in files {
        let path = out.join(name);
        let there = path.symlink_metadata().is_ok();
        if there && fs::read(&path).ok().as_ref() != Some(bytes) {
            bail!("`{}` is there already; say --force to overwrite it, or another --out", path.display());
        }
    }
    Ok(())
}

/// `text` as JSON writes it, which is YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A list of texts as JSON writes it.
fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// `block` with `spaces` before each of its lines.
fn indented(block: &str, spaces: usize) -> String {
    let indent = " ".repeat(spaces);
    block
        .lines()
        .map(|line| if line.is_empty() { "\n".into() } else { format!("{indent}{line}\n") })
        .collect()
}
