//! `portcullis attack`: who gets in that should not?

mod gateway;
mod hosted;
mod remote;
mod report;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use portcullis_issuer::attacks::{Case, Class, Entry, LeftOut, Seen, Target, Verdict, entries};
use serde_json::{Map, Value};

use crate::output::{Answer, Format};

/// Fires hostile requests at a policy or at a gateway, and prints which of them got in.
///
/// With --config the attack runs against the module in the embedded host, with keys that are made
/// for it in the place of the issuer's. With a URL it runs against any gateway, ours or not, over
/// the network: attack only what is yours.
///
/// Tokens are sent to the given URL and nowhere else: no redirect is followed, no name in a token
/// is looked up, nothing is reported. A sample token is not printed.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis attack --config jwt-auth.json
  portcullis attack --config jwt-auth.json --claims '{\"role\": \"user\"}' --path /orders
  portcullis attack http://127.0.0.1:8080/orders --key issuer-key.pem --kid main --iss https://issuer --aud api
  portcullis attack http://127.0.0.1:8080/orders --token token.txt
  portcullis attack --list --class header

With a sample token (--token) and no key, only attacks that need no new signature of the issuer are
possible; the others are listed as left out, with the reason. Against a URL, attacks on the issuer's
key set are left out, and a header that reaches the upstream cannot be seen.

Exit codes: 0 nothing got in, 1 something did, 2 it could not be found out (the honest request is
refused, say).")]
pub(crate) struct Arguments {
    /// The gateway's address and a path that needs a token
    #[arg(conflicts_with = "config")]
    url: Option<String>,
    /// A jwt-auth configuration to attack in the embedded host
    #[arg(long, value_name = "FILE", required_unless_present_any = ["url", "list"])]
    config: Option<PathBuf>,
    /// The issuer of the configuration, by its name; the first one if it is left out
    #[arg(long, value_name = "NAME", requires = "config")]
    issuer: Option<String>,
    /// The issuer's private key, PEM or JWK
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "token"])]
    key: Option<PathBuf>,
    /// The key's name in the issuer's key set
    #[arg(long, requires = "key")]
    kid: Option<String>,
    /// A file with a good token, in the place of a key; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    token: Option<PathBuf>,
    /// The issuer's identifier, `iss`
    #[arg(long, value_name = "URL", requires = "key")]
    iss: Option<String>,
    /// The audience, `aud`
    #[arg(long, value_name = "TEXT", requires = "key")]
    aud: Option<String>,
    /// More claims of an honest token, a JSON object
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Map<String, Value>>,
    /// More header parameters of an honest token, such as {"typ": "at+jwt"}
    #[arg(long, value_name = "JSON", value_parser = object)]
    header: Option<Map<String, Value>>,
    /// The path of an honest request
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    path: Option<String>,
    /// A path prefix that needs no token
    #[arg(long, value_name = "PATH")]
    public: Option<String>,
    /// Only this class; several are alternatives
    #[arg(long, value_name = "CLASS")]
    class: Vec<ClassName>,
    /// Only this case, by its id; several are alternatives
    #[arg(long, value_name = "ID")]
    case: Vec<String>,
    /// Prints the corpus and attacks nothing
    #[arg(long)]
    list: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The classes as the command line knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClassName {
    Container,
    Header,
    Confusion,
    Primitive,
    Keyset,
    Claims,
    Request,
}

impl ClassName {
    const fn class(self) -> Class {
        match self {
            Self::Container => Class::Container,
            Self::Header => Class::Header,
            Self::Confusion => Class::Confusion,
            Self::Primitive => Class::Primitive,
            Self::Keyset => Class::KeySet,
            Self::Claims => Class::Claims,
            Self::Request => Class::Request,
        }
    }
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// Somebody who can be asked.
trait Gateway {
    /// How it is called in reports.
    fn name(&self) -> String;
    /// Seconds since 1970 by its clock.
    fn now(&self) -> i64;
    /// Whether it can be seen what the upstream got.
    fn shows_upstream(&self) -> bool;
    /// Sends one request.
    fn ask(&mut self, request: &portcullis_issuer::attacks::Request) -> anyhow::Result<Seen>;
}

/// One case and what came of it.
struct Shot {
    case: Case,
    verdict: Verdict,
}

/// What came of an attack.
struct Outcome {
    gateway: String,
    shots: Vec<Shot>,
    left_out: Vec<(Entry, String)>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let all = entries().map_err(|reason| anyhow::anyhow!(reason))?;
    let wanted = select(arguments, &all)?;
    if arguments.list {
        report::list(&wanted, arguments.format);
        return Ok(Answer::Yes);
    }
    let (mut target, mut gateway): (Target, Box<dyn Gateway>) = match (&arguments.config, &arguments.url) {
        (Some(config), _) => {
            let (target, hosted) = hosted::prepare(config, arguments)?;
            (target, Box::new(hosted))
        }
        (None, Some(url)) => {
            let (target, remote) = remote::prepare(url, arguments)?;
            (target, Box::new(remote))
        }
        (None, None) => bail!("say what to attack: --config FILE or a URL"),
    };
    gateway::honest(&target, gateway.as_mut())?;
    let outcome = attack(&mut target, gateway.as_mut(), wanted)?;
    let holes = outcome.shots.iter().filter(|shot| shot.verdict.is_hole()).count();
    report::write(&outcome, arguments.format);
    Ok(if holes == 0 { Answer::Yes } else { Answer::No })
}

fn select(arguments: &Arguments, all: &[(Class, Entry)]) -> anyhow::Result<Vec<(Class, Entry)>> {
    if let Some(unknown) = arguments.case.iter().find(|id| all.iter().all(|(_, entry)| entry.id != **id)) {
        bail!("no case is called `{unknown}`; `portcullis attack --list` shows them");
    }
    let wanted = |(class, entry): &&(Class, Entry)| {
        (arguments.class.is_empty() || arguments.class.iter().any(|name| name.class() == *class))
            && (arguments.case.is_empty() || arguments.case.contains(&entry.id))
    };
    let selected: Vec<_> = all.iter().filter(wanted).cloned().collect();
    ensure!(!selected.is_empty(), "no case of these classes has one of these ids");
    Ok(selected)
}

fn attack(
    target: &mut Target,
    gateway: &mut dyn Gateway,
    wanted: Vec<(Class, Entry)>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome { gateway: gateway.name(), shots: Vec::new(), left_out: Vec::new() };
    let total = wanted.len();
    let shown = std::io::stderr().is_terminal();
    for (index, (class, entry)) in wanted.into_iter().enumerate() {
        if shown {
            eprint!("\r{}", bar(index, total));
            // A line that is not shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
        // A long attack outlives its first tokens.
        target.scene.now = gateway.now();
        match target.build(class, &entry) {
            Err(LeftOut::Wrong(reason)) => bail!("the corpus's case `{}`: {reason}", entry.id),
            Err(left_out) => outcome.left_out.push((entry, left_out.to_string())),
            Ok(case) if !case.upstream.is_empty() && !gateway.shows_upstream() => {
                outcome.left_out.push((entry, "needs to see what the upstream gets".into()));
            }
            Ok(case) => {
                let seen = gateway.ask(&case.request).with_context(|| format!("case `{}`", case.id))?;
                outcome.shots.push(Shot { verdict: case.verdict(&seen), case });
            }
        }
    }
    if shown {
        eprint!("\r\u{1b}[K");
    }
    ensure!(!outcome.shots.is_empty(), "every case that was asked for is left out: {}", reasons(&outcome));
    Ok(outcome)
}

fn reasons(outcome: &Outcome) -> String {
    let mut reasons: Vec<_> = outcome.left_out.iter().map(|(_, reason)| reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.join("; ")
}

/// A bar of twenty cells.
fn bar(done: usize, total: usize) -> String {
    let cells = (done * 20).checked_div(total).unwrap_or_default();
    format!("[{}{}] {done}/{total}", "#".repeat(cells), " ".repeat(20 - cells.min(20)))
}
