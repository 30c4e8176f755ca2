//! What a JWT filter costs in the real Envoy: CPU time a request, for no filter, a wasm filter that
//! does nothing, Envoy's own jwt_authn with and without its token cache, and jwt-auth.
//!
//! All are listeners of one Envoy with one worker; a round takes them in turn with the same
//! requests. `README.md` says how to read the result.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use portcullis_benches::report::{Comparison, Series};
use portcullis_benches::{load, modules, tokens};
use portcullis_host_tests::envoy::{self, Envoy, config};
use portcullis_host_tests::loopback::Request;
use portcullis_issuer::{SigningKey, jwk_set};
use serde_json::{Value, json};

const NONE: &str = "no filter";
const NOTHING: &str = "wasm that does nothing";
const NATIVE: &str = "jwt_authn";
const NATIVE_CACHE: &str = "jwt_authn with cache";
const OURS: &str = "jwt-auth";
const BESIDE: &str = "jwt-auth, the build beside";

/// Requests that bring each listener up to speed before the first round: V8 compiles hot functions
/// again, optimised, after some hundred calls.
const WARM_UP: usize = 1000;

/// CPU time a request in the real Envoy.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds; the medians are over these
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Requests to each listener in a round
    #[arg(long, default_value_t = 800)]
    requests: usize,
    /// A short run that shows whether everything works: its numbers mean little
    #[arg(long)]
    quick: bool,
    /// What to sign with
    #[arg(long, value_delimiter = ',', default_value = "RS256,ES256,EdDSA,HS256")]
    algorithms: Vec<String>,
    /// Another build of the jwt-auth module than the embedded one
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// One more build of it, beside the other in the same rounds
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = options.rounds.min(3);
        options.requests = options.requests.min(300);
    }
    ensure!(options.rounds > 0 && options.requests > 0, "there must be a round and a request");
    let binary = envoy::binary()?;
    let folder = tempfile::tempdir()?;
    let mut results = Vec::new();
    for algorithm in &options.algorithms {
        let arena = Arena::prepare(&binary, folder.path(), algorithm, &options)?;
        for (title, requests) in [
            (format!("{algorithm}, all tokens different"), arena.different()),
            (format!("{algorithm}, one token repeated"), arena.repeated()),
        ] {
            let comparison = arena.compare(title, &requests, options.rounds)?;
            println!("{}", comparison.to_markdown());
            results.push(comparison.to_json());
        }
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy-comparison.json");
    let document = json!({
        "envoy": envoy::VERSION,
        "rounds": options.rounds,
        "requests": options.requests,
        "comparisons": results,
    });
    fs::write(&path, format!("{document:#}\n"))?;
    println!("written: {}", path.display());
    Ok(())
}

/// One Envoy with all contenders for one algorithm, and the tokens for it.
struct Arena {
    envoy: Envoy,
    contenders: Vec<&'static str>,
    tokens: Vec<String>,
    requests: usize,
}

impl Arena {
    fn prepare(binary: &Path, folder: &Path, algorithm: &str, options: &Options) -> Result<Self> {
        let key = tokens::key(algorithm)?;
        let needed = options.rounds.saturating_mul(options.requests).saturating_add(WARM_UP);
        eprintln!("minting {needed} {algorithm} tokens");
        let tokens = tokens::mint(&key, needed)?;
        let mut contenders = vec![
            (NONE, None),
            (NOTHING, Some(nothing(folder)?)),
            (NATIVE, Some(native(&key, false))),
            (NATIVE_CACHE, Some(native(&key, true))),
            (OURS, Some(ours(&module(folder, options)?, &key))),
        ];
        if let Some(module) = &options.beside {
            contenders.push((BESIDE, Some(ours(&existing(module)?, &key))));
        }
        let bootstrap = contenders.iter().fold(config::Bootstrap::new(), |bootstrap, (name, filter)| {
            let listener = config::Listener::new(name);
            bootstrap.listener(match filter {
                Some(filter) => listener.filter(filter.clone()),
                None => listener,
            })
        });
        let envoy = Envoy::start(binary, &bootstrap.into_value())?;
        let contenders = contenders.into_iter().map(|(name, _)| name).collect();
        let arena = Self { envoy, contenders, tokens, requests: options.requests };
        arena.check_that_filters_work()?;
        Ok(arena)
    }

    /// A filter that lets everything through would win.
    fn check_that_filters_work(&self) -> Result<()> {
        let good = self.tokens.first().context("no tokens were minted")?;
        let forged = tokens::forged(good);
        for contender in &self.contenders {
            let expected = if [NONE, NOTHING].contains(contender) { 200 } else { 401 };
            let reply = self.envoy.connect(contender)?.call(&Request::get("/").bearer(&forged))?;
            ensure!(
                reply.status == expected,
                "`{contender}` answered a forged token with {} instead of {expected}",
                reply.status
            );
        }
        Ok(())
    }

    /// The warm-up's requests, then those of each round: no token is sent twice to a listener.
    fn different(&self) -> Vec<Vec<u8>> {
        self.tokens.iter().map(|token| load::request(token)).collect()
    }

    fn repeated(&self) -> Vec<Vec<u8>> {
        let only = self.tokens.first().map(|token| load::request(token)).unwrap_or_default();
        vec![only; self.tokens.len()]
    }

    fn compare(&self, title: String, requests: &[Vec<u8>], rounds: usize) -> Result<Comparison> {
        let (warm_up, measured) = requests.split_at(WARM_UP.min(requests.len()));
        for contender in &self.contenders {
            load::cpu_per_request(&self.envoy, contender, warm_up)?;
        }
        let mut series: Vec<_> = self
            .contenders
            .iter()
            .map(|name| Series { name: (*name).to_owned(), rounds: Vec::new() })
            .collect();
        for (round, requests) in measured.chunks_exact(self.requests).take(rounds).enumerate() {
            // Another one begins each round, so that no contender always follows the same one.
            let count = series.len();
            for turn in 0..count {
                if let Some(series) = series.get_mut((round + turn) % count) {
                    let cost = load::cpu_per_request(&self.envoy, &series.name, requests)?;
                    series.rounds.push(cost);
                }
            }
        }
        Ok(Comparison { title, series, yardstick: NATIVE.to_owned() })
    }
}

/// The module to measure: the one that was asked for, or the bundle's own.
fn module(folder: &Path, options: &Options) -> Result<PathBuf> {
    if let Some(path) = &options.module {
        return existing(path);
    }
    let path = folder.join("jwt-auth.wasm");
    fs::write(&path, portcullis_modules::JWT_AUTH.wasm)?;
    Ok(path)
}

fn existing(module: &Path) -> Result<PathBuf> {
    module.canonicalize().with_context(|| format!("no module `{}`", module.display()))
}

fn nothing(folder: &Path) -> Result<Value> {
    let path = folder.join("nothing.wasm");
    fs::write(&path, modules::nothing()?)?;
    Ok(config::wasm("nothing", &path, &json!({})))
}

fn native(key: &SigningKey, cache: bool) -> Value {
    let mut provider = json!({
        "issuer": tokens::ISSUER,
        "audiences": [tokens::AUDIENCE],
        "local_jwks": {"inline_string": jwk_set([key.jwk()]).to_string()},
        "claim_to_headers": [{"claim_name": "sub", "header_name": "x-sub"}],
    });
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
    }
    config::jwt_authn(&json!({
        "providers": {"main": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}],
    }))
}

fn ours(module: &Path, key: &SigningKey) -> Value {
    config::wasm("jwt-auth", module, &tokens::jwt_auth(key))
}
