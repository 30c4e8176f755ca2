//! `portcullis serve`: the gateway in front of a real upstream.

mod watch;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::{
    gateway,
    output::{self, Answer},
};

/// Runs the gateway for a real upstream.
///
/// The plugins run in the embedded host, with the semantics that they have in Envoy. SIGTERM and
/// SIGINT end it: no new connections, requests under way finish within `drain`.
///
/// The configuration and every file that it names are watched: a change is taken up as a whole, for
/// the requests that come; those under way end as they began. A change that is refused is told of,
/// and what was in force stays in force. SIGHUP asks for the same at once.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Example:
  portcullis serve --config gateway.yaml

gateway.yaml:
  listen: 127.0.0.1:8080
  upstream: {address: 127.0.0.1:9000, timeout: 15s}
  clusters:                       # what plugins may call, by the names in their configuration
    idp: {address: login.example.com:443, tls: {}}
  plugins:
    - name: jwt-auth
      config:                     # or config_file: jwt-auth.json
        issuers:
          - name: main
            issuer: https://login.example.com
            audiences: [api]
            algorithms: [RS256]
            jwks: {remote: {uri: https://login.example.com/jwks, cluster: idp}}
            forward: {headers: [{claim: sub, header: x-sub}]}
        rules:
          - {path: {prefix: /}, require: {any: [main]}}
  # workers: 2                    # default: one for each processor
  # drain: 10s
  # limits: {connections: 4096, body_bytes: 1048576, idle: 5m}

Exit codes: 0 it was ended by a signal, or `--check` found nothing wrong; 2 it could not start.")]
pub(crate) struct Arguments {
    /// The gateway's configuration, YAML or JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration and the plugins, and end
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let shown = arguments.config.display().to_string();
    let mut files = watch::Files::new(&arguments.config);
    let settings = files.read().with_context(|| shown.clone())?;
    let chain = gateway::chain::Chain::prepare(&settings).with_context(|| shown.clone())?;
    if arguments.check {
        anstream::println!("{} {shown}", output::styled(output::GOOD, "ok:"));
        return Ok(Answer::Yes);
    }
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        let drain = settings.drain;
        let process = chain.process();
        let running = gateway::Running::start(&settings, chain).await?;
        eprintln!("listening on http://{}", running.address());
        let mut watch = watch::Watch::new(files, process);
        tokio::select! {
            ended = gateway::signal() => ended?,
            never = watch.follow(&running, settings) => match never? {},
        }
        eprintln!("ending: requests under way have {}", humantime::format_duration(drain));
        running.end().await;
        Ok(Answer::Yes)
    })
}
