//! `portcullis probe`: does one tenant get what is another's?

mod client;
mod guarded;
mod judge;
mod openapi;
mod operation;
mod outcome;
pub(crate) mod plan;
mod report;
mod run;

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use tokio::time::Instant;

use self::{
    client::{Client, Limits},
    guarded::Guard,
    outcome::Outcome,
    plan::Plan,
    run::Probe,
};
use crate::{
    gateway::{self, config},
    output::{Answer, Format},
};

/// Asks for one tenant's things as another one, and prints what leaked.
///
/// Every GET of an OpenAPI description, or of a list, is sent as each of two tenants with its own ids,
/// and then with the other one's. An answer leaks that has what is the other tenant's: its id, its
/// marks, the values that stand for its things, or what stood in the other's own answer. An
/// operation that does not answer its own tenants with 2xx is not judged, and that is no success.
///
/// Only GET and HEAD are sent, which change nothing, and only to this machine unless --allow-remote is
/// given. No redirect is followed. Tokens come from files or the environment and go to that
/// address alone; neither they nor anything of an answer is printed.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis probe probe.yaml http://127.0.0.1:9000            # the service itself
  portcullis probe probe.yaml --gateway gateway.yaml           # behind the gateway of `serve`
  portcullis probe probe.yaml http://127.0.0.1:9000 --guard tenant-guard.json   # what would the guard do?

probe.yaml:
  openapi: api.yaml                       # and, or: requests: [/orders, '/orders/{order}']
  tenants:                                # by their ids
    acme:
      token: {env: ACME_TOKEN}            # or {file: acme.token}; sent as Authorization: Bearer
      parameters: {order: o-1001}         # what stands for acme's things, by the parameters' names
      marks: [canary_2f6c1b7d]            # text that is in acme's data and nowhere else
    globex:
      token: {env: GLOBEX_TOKEN}
      parameters: {order: o-2002}
  # parameters: {page: 1}                 # the same for both
  # headers: {x-tenant-id: '{tenant}'}    # on every request; {tenant} is the id of whose things it asks for
  # skip: {GET /health: nobody's data}
  # guard: tenant-guard.json

A tenant can also have `slug`, `headers` (of its calls, whatever they ask for) and `secrets`: {cookie:
{env: NAME}}. docs/probe.md says how answers are judged.

Exit codes: 0 nothing leaked, 1 something did, 2 it could not be found out (an operation that could
not be judged, a wrong plan, an address that is not this machine's).")]
pub(crate) struct Arguments {
    /// The plan, YAML or JSON; paths in it are relative to it
    plan: PathBuf,
    /// Where the API is; the first server of its description if this is left out
    #[arg(conflicts_with = "gateway")]
    url: Option<String>,
    /// Starts this gateway (a configuration of `serve`) on a free port of loopback and asks through it
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A configuration of tenant-guard: says what its guards would do with each answer
    #[arg(long, value_name = "FILE", conflicts_with = "gateway")]
    guard: Option<PathBuf>,
    /// Only operations whose name contains this text; several are alternatives
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Sends the tokens to another machine, which has to be yours
    #[arg(long)]
    allow_remote: bool,
    /// How long one answer may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
    /// How long all of it may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    max_time: std::time::Duration,
    /// Bytes that are read of one body
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    max_body: u32,
    /// Operations; each is up to nine requests
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    max_operations: usize,
    /// Also writes the result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let shown = arguments.plan.display().to_string();
    let environment = |name: &str| std::env::var(name).ok();
    let mut plan = Plan::read(&arguments.plan, environment).with_context(|| shown.clone())?;
    let all = plan.operations.len();
    let wanted = |name: &str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|text| name.contains(text.as_str()))
    };
    plan.operations.retain(|operation| wanted(&operation.name));
    let left_out = all - plan.operations.len();
    ensure!(!plan.operations.is_empty(), "--filter selects none of {all} operations");
    ensure!(
        plan.operations.len() <= arguments.max_operations,
        "{} operations, more than --max-operations: take some with --filter, or raise it",
        plan.operations.len()
    );
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let outcome = runtime.block_on(probe(arguments, &plan, left_out))?;
    if let Some(path) = &arguments.junit {
        fs::write(path, report::junit(&outcome)).with_context(|| format!("write `{}`", path.display()))?;
    }
    match arguments.format {
        Format::Text => anstream::print!("{}", report::text(&outcome)),
        Format::Json => anstream::println!("{}", report::json(&outcome)),
    }
    if outcome.count("leaked") > 0 {
        return Ok(Answer::No);
    }
    match outcome.count("not_judged") {
        0 if outcome.count("skipped") == outcome.probed.len() => bail!("every operation is skipped"),
        0 => Ok(Answer::Yes),
        n => bail!("{n} operations could not be judged: give what they need, or say in `skip` why not"),
    }
}

async fn probe(arguments: &Arguments, plan: &Plan, left_out: usize) -> anyhow::Result<Outcome> {
    let limits =
        Limits { answer: arguments.timeout, body: usize::try_from(arguments.max_body).unwrap_or(usize::MAX) };
    let running = match &arguments.gateway {
        Some(file) => Some(start(file, arguments.allow_remote).await?),
        None => None,
    };
    let (url, target) = match (&running, &arguments.url, &plan.server) {
        (Some(running), ..) => {
            let file = arguments.gateway.as_ref().map(|file| file.display().to_string());
            (format!("http://{}", running.address()), file.unwrap_or_default())
        }
        (None, Some(url), _) | (None, None, Some(url)) => (url.clone(), url.clone()),
        (None, None, None) => bail!("say where: a URL, --gateway FILE, or `servers` in the description"),
    };
    let client = Client::new(&url, limits, arguments.allow_remote).await?;
    let guard = match (arguments.guard.as_ref().or(plan.guard.as_ref()), &running) {
        (Some(file), None) => Some(Guard::read(file)?),
        _ => None,
    };
    let deadline = Instant::now() + arguments.max_time;
    let probe = Probe { plan, client, guard, deadline, behind_guard: running.is_some() };
    let probed = probe.all().await;
    if let Some(running) = running {
        running.end().await;
    }
    Ok(Outcome { target, probed, left_out })
}

/// The gateway of a file, on loopback whatever it says.
async fn start(file: &std::path::Path, allow_remote: bool) -> anyhow::Result<gateway::Running> {
    let shown = file.display().to_string();
    let mut settings = config::Config::read(file).with_context(|| shown.clone())?;
    settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let upstream = &settings.upstream.address;
    let found = client::resolved(&upstream.host, upstream.port, allow_remote).await;
    found.with_context(|| format!("{shown}: `upstream.address`"))?;
    let chain = gateway::chain::Chain::prepare(&settings).with_context(|| shown.clone())?;
    gateway::Running::start(&settings, chain).await
}
