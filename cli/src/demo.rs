//! `portcullis demo`: an issuer, an upstream and the gateway with jwt-auth, on loopback.

mod calls;
mod client;
mod world;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::output::{self, Answer, Format};
use calls::{Call, Verdict};
use world::World;

/// Starts an issuer, an upstream and a gateway with jwt-auth on loopback, and prints curl lines
/// with live tokens.
///
/// The keys are made anew for each run. The gateway fetches the issuer's key set over HTTP, the
/// upstream answers with the headers that it saw.
#[derive(Args, Debug, Default)]
#[command(after_long_help = "\
Examples:
  portcullis                                  # the same as: portcullis demo
  portcullis demo --port 8080
  portcullis demo --self-check                # makes the calls itself and judges the answers
  portcullis demo --self-check --format json

Exit codes of --self-check: 0 every answer is as promised, 1 one is not, 2 it could not start.")]
pub(crate) struct Arguments {
    /// The gateway's port; by default a free one
    #[arg(long, default_value_t)]
    port: u16,
    /// Make the calls, print what was expected and what came, and end
    #[arg(long)]
    self_check: bool,
    /// How the result of --self-check is written
    #[arg(long, value_enum, default_value_t, requires = "self_check")]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        let world = World::start(arguments.port).await?;
        let calls = calls::all(&world)?;
        let answer = if arguments.self_check {
            self_check(&world, &calls, arguments.format).await?
        } else {
            introduce(&world, &calls);
            crate::gateway::signal().await?;
            Answer::Yes
        };
        world.end().await;
        Ok(answer)
    })
}

fn introduce(world: &World, calls: &[Call]) {
    let World { issuer, upstream, .. } = world;
    let gateway = world.gateway();
    let name = |text| output::styled(output::NAME, text);
    anstream::println!("{}   http://{gateway}        jwt-auth.wasm in the embedded host", name("gateway "));
    anstream::println!("{}   http://{issuer}/jwks   three keys: RSA, P-256, Ed25519", name("issuer  "));
    anstream::println!(
        "{}   http://{upstream}        answers with the headers that it sees",
        name("upstream")
    );
    anstream::println!("\nThe tokens are good for an hour. Ctrl-C ends it.");
    for call in calls {
        let style = if call.promised.status == 200 { output::GOOD } else { output::BAD };
        anstream::println!("\n# {}\n# -> {}", call.name, output::styled(style, &call.promised));
        anstream::println!("{}", call.curl(gateway));
    }
}

async fn self_check(world: &World, calls: &[Call], format: Format) -> anyhow::Result<Answer> {
    let mut verdicts = Vec::with_capacity(calls.len());
    for call in calls {
        verdicts.push(call.judge(world.gateway()).await?);
    }
    let wrong = verdicts.iter().filter(|verdict| !verdict.kept).count();
    match format {
        Format::Text => print_table(&verdicts, wrong),
        Format::Json => print_json(&verdicts, wrong),
    }
    Ok(if wrong == 0 { Answer::Yes } else { Answer::No })
}

fn print_table(verdicts: &[Verdict<'_>], wrong: usize) {
    let rows = verdicts.iter().map(|Verdict { call, got, kept }| {
        let mark = if *kept { "ok" } else { "WRONG" };
        [mark.to_owned(), call.name.to_owned(), call.promised.to_string(), got.to_string()]
    });
    for (at, line) in output::table(["", "request", "expected", "got"], rows).lines().enumerate() {
        let style = match at.checked_sub(1).and_then(|row| verdicts.get(row)) {
            None => output::NAME,
            Some(verdict) if verdict.kept => anstyle::Style::new(),
            Some(_) => output::BAD,
        };
        anstream::println!("{}", output::styled(style, line));
    }
    let total = verdicts.len();
    let (style, text) = if wrong == 0 {
        (output::GOOD, format!("{total} of {total} answers are as promised"))
    } else {
        (output::BAD, format!("{wrong} of {total} answers are not as promised"))
    };
    anstream::println!("\n{}", output::styled(style, text));
}

fn print_json(verdicts: &[Verdict<'_>], wrong: usize) {
    let checks: Vec<_> = verdicts
        .iter()
        .map(|Verdict { call, got, kept }| {
            json!({
                "name": call.name, "ok": kept,
                "expected": call.promised.to_string(), "got": got.to_string(),
            })
        })
        .collect();
    anstream::println!("{}", json!({ "ok": wrong == 0, "checks": checks }));
}
