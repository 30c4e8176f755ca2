//! `portcullis explain`: what jwt-auth finds about a token, check by check.
//!
//! The findings are [`Policy::examine`]'s, which makes the checks of a decision; here its input is
//! read and its answer is written.

mod report;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use portcullis_core::UnixTime;
use portcullis_crypto::Software;
use portcullis_jwt::{
    KeySource, Policy, Request,
    jwks::{KeySet, Limits, Origin},
    request::{self, Peer},
};

use crate::{
    document,
    output::{Answer, Format},
    rotation::source::fetch,
    source::Source,
    token::Token,
};

use report::Report;

/// What does jwt-auth find about a token, and why?
///
/// Makes every check that jwt-auth makes, not only those up to the first that fails, and says which
/// key verified the signature and how the request would change on its way. Nothing is fetched and
/// no token is sent: keys of an issuer with an address come from `--jwks`.
///
/// The token's header and claims are shown as it has them, verified or not. Its signature is never
/// shown, so nobody can use what this prints as the token.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis explain --config jwt-auth.json \"$TOKEN\"
  portcullis explain --config jwt-auth.yaml --jwks main=jwks.json --method POST --path /orders @token.txt
  pbpaste | portcullis explain --config jwt-auth.json --at 2026-01-01T00:00:00Z --redact --format json -

The token is the argument itself or, so that it is not in the list of processes, `@FILE` or `-` for
standard input. Without `--place` it is sent as `Authorization: Bearer`.

Exit codes: 0 the request would pass, 1 it would be refused, 2 it could not be found out (a file that
cannot be read, a configuration that is refused).")]
pub(crate) struct Arguments {
    /// The token, `@FILE`, or `-` for standard input
    #[arg(value_name = "TOKEN|@FILE|-")]
    token: Token,
    /// The configuration of jwt-auth, JSON or YAML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The key set of an issuer that has an address: its name in the configuration and a file
    #[arg(long = "jwks", value_name = "ISSUER=FILE|URL")]
    jwks: Vec<Named>,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's path and query
    #[arg(long, default_value = "/")]
    path: String,
    /// The request's host, with or without a port
    #[arg(long, default_value = "localhost")]
    host: String,
    /// A header of the request; can be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<Header>,
    /// Where the token is: `header:NAME`, `cookie:NAME` or `query:NAME`
    #[arg(long, value_name = "PLACE")]
    place: Option<Place>,
    /// The first URI in the client's certificate, such as a SPIFFE ID
    #[arg(long, value_name = "URI")]
    peer_uri_san: Option<String>,
    /// The first DNS name in the client's certificate
    #[arg(long, value_name = "NAME")]
    peer_dns_san: Option<String>,
    /// The time of the decision (RFC 3339, or seconds since 1970) instead of now
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<i64>,
    /// Show names of claims and headers, and no value that the token has
    #[arg(long)]
    redact: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Takes what is too much, which clap would print: a token that was not quoted, perhaps.
    #[arg(hide = true)]
    rest: Vec<Token>,
}

/// A file for an issuer.
#[derive(Clone, Debug)]
struct Named {
    issuer: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (issuer, file) = text.split_once('=').ok_or("an issuer's name, `=`, and a file")?;
        Ok(Self { issuer: issuer.into(), file: file.into() })
    }
}

/// A header line.
#[derive(Clone)]
struct Header(Vec<u8>, Vec<u8>);

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header(..)")
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (name, value) = line.split_once(':').ok_or("a name, `:` and a value")?;
        let name = name.trim().to_ascii_lowercase();
        portcullis_core::HeaderName::new(&name).map_err(|error| error.to_string())?;
        Ok(Self(name.into(), value.trim().into()))
    }
}

/// Where a token is.
#[derive(Clone, Debug)]
enum Place {
    Header(String),
    Cookie(String),
    Query(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("header", name)) if !name.is_empty() => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if !name.is_empty() => Ok(Self::Cookie(name.into())),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.into())),
            _ => Err("`header:NAME`, `cookie:NAME` or `query:NAME`".into()),
        }
    }
}

fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| "neither seconds since 1970 nor a time such as 2026-01-01T00:00:00Z")?;
    seconds(time).map_err(|error| error.to_string())
}

fn seconds(time: SystemTime) -> anyhow::Result<i64> {
    Ok(i64::try_from(time.duration_since(UNIX_EPOCH)?.as_secs())?)
}

struct Sets(BTreeMap<usize, KeySet>);

impl KeySource for Sets {
    fn key_set(&self, issuer: usize) -> Option<&KeySet> {
        self.0.get(&issuer)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let Arguments { token, config, jwks, at, redact, format, rest, .. } = arguments;
    ensure!(
        rest.is_empty(),
        "{} arguments too many; there is one token, and `Bearer …` needs quotes",
        rest.len()
    );
    let from_input = std::path::Path::new("-");
    let inputs = jwks.iter().filter(|named| named.file == from_input).count();
    let inputs = inputs + usize::from(config == from_input) + usize::from(token.is_standard_input());
    ensure!(inputs <= 1, "standard input can be read once; use files for the others");

    let source = Source::read(config)?.for_plugin("jwt-auth")?;
    let policy = Policy::from_json(&source.json()?).map_err(|error| source.refused(&error.to_string()))?;
    let sets = key_sets(&policy, jwks)?;
    let token = token.read().context("read the token")?;
    let now = at.map_or_else(|| seconds(SystemTime::now()), Ok)?;

    let headers = request(arguments, &token);
    let headers = request::borrowed(&headers);
    let peer = Peer {
        uri_san: arguments.peer_uri_san.as_deref().map(str::as_bytes),
        dns_san: arguments.peer_dns_san.as_deref().map(str::as_bytes),
    };
    let request = Request::new(&headers).with_peer(peer);
    let examination = policy.examine(&request, &sets, &Software, UnixTime::from_secs(now));
    let missing: Vec<&str> = policy
        .remote_keys()
        .filter(|(index, ..)| !sets.0.contains_key(index))
        .map(|(_, name, _)| name)
        .collect();
    let report = Report::new(&examination, &token, now, *redact, &missing);
    match format {
        Format::Text => report.print(),
        Format::Json => anstream::println!("{}", report.to_json()),
    }
    Ok(if examination.permit().is_some() { Answer::Yes } else { Answer::No })
}

/// The sets that were given for issuers whose keys would be fetched.
fn key_sets(policy: &Policy, given: &[Named]) -> anyhow::Result<Sets> {
    let mut sets = BTreeMap::new();
    for Named { issuer, file } in given {
        let Some((index, ..)) = policy.remote_keys().find(|(_, name, _)| name == issuer) else {
            let known: Vec<_> = policy.remote_keys().map(|(_, name, _)| name).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            bail!("`--jwks {issuer}=…`: no issuer of this name has keys at an address; there are: {known}");
        };
        let bytes = match file.to_str().filter(|text| text.contains("://")) {
            Some(address) => fetch(address, None).with_context(|| address.to_owned())?,
            None => document::read(file)?,
        };
        let set = KeySet::parse(&bytes, Origin::Remote, &Limits::default());
        sets.insert(index, set.with_context(|| file.display().to_string())?);
    }
    Ok(Sets(sets))
}

/// The request's headers, with the token in its place.
fn request(arguments: &Arguments, token: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Arguments { method, path, host, headers, place, .. } = arguments;
    let mut target = path.clone().into_bytes();
    let mut all: Vec<(Vec<u8>, Vec<u8>)> =
        headers.iter().map(|Header(name, value)| (name.clone(), value.clone())).collect();
    match place {
        None => all.push((b"authorization".to_vec(), [b"Bearer ", token].concat())),
        Some(Place::Header(name)) => all.push((name.clone().into_bytes(), token.to_vec())),
        Some(Place::Cookie(name)) => {
            all.push((b"cookie".to_vec(), [name.as_bytes(), b"=", token].concat()));
        }
        Some(Place::Query(name)) => {
            target.push(if target.contains(&b'?') { b'&' } else { b'?' });
            target.extend([name.as_bytes(), b"=", token].concat());
        }
    }
    let pseudo = [(":method", method.clone().into_bytes()), (":path", target)];
    let pseudo = pseudo.into_iter().chain([(":authority", host.clone().into_bytes())]);
    pseudo.map(|(name, value)| (name.as_bytes().to_vec(), value)).chain(all).collect()
}
