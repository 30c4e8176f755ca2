//! What jwt-auth costs outside Envoy: the native decision, the same in the module under the
//! embedded host, and taking up a configuration.
//!
//! The host's arithmetic here is this project's crates, not Envoy's BoringSSL: these numbers find
//! regressions of our own code, they do not predict Envoy. `envoy.rs` measures that.

use std::hint::black_box;
use std::time::SystemTime;

use anyhow::{Result, anyhow, ensure};
use criterion::Criterion;
use portcullis_benches::tokens;
use portcullis_core::{UnixTime, request::borrowed};
use portcullis_crypto::Software;
use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_jwt::{Decision, KeySource, Policy, Request, jwks::KeySet};

const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "EdDSA", "HS256"];

struct Inline;

impl KeySource for Inline {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let engine = Engine::new()?;
    let module = Module::compile(&engine, portcullis_modules::JWT_AUTH.wasm)?;
    for algorithm in ALGORITHMS {
        let key = tokens::key(algorithm)?;
        let configuration = tokens::jwt_auth(&key, 1).to_string();
        let token = tokens::mint(&key, 1, 0)?.pop().ok_or_else(|| anyhow!("no token was minted"))?;
        // Anew for each: a token of a minute from now would be none yet.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        native(&mut criterion, algorithm, &configuration, &token, now)?;
        hosted(&mut criterion, algorithm, &module, &configuration, &token, now)?;
    }
    let configuration = tokens::jwt_auth(&tokens::key("ES256")?, 1).to_string();
    configure(&mut criterion, &module, &configuration)?;
    criterion.final_summary();
    Ok(())
}

fn headers(token: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    [
        (":method", "GET"),
        (":path", "/orders/7"),
        (":authority", "gateway"),
        (":scheme", "https"),
        ("user-agent", "portcullis-benches"),
        ("accept", "*/*"),
        ("authorization", &format!("Bearer {token}")),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
    .to_vec()
}

fn native(
    criterion: &mut Criterion,
    algorithm: &str,
    configuration: &str,
    token: &str,
    now: u64,
) -> Result<()> {
    let policy = Policy::from_json(configuration.as_bytes()).map_err(|error| anyhow!("{error}"))?;
    let headers = headers(token);
    let pairs = borrowed(&headers);
    let now = UnixTime::from_secs(i64::try_from(now)?);
    let decide = || policy.decide(&Request::new(black_box(&pairs)), &Inline, &Software, now);
    ensure!(matches!(decide(), Decision::Permit(_)), "the native policy refuses its own token");
    criterion.bench_function(&format!("native decision/{algorithm}"), |bencher| bencher.iter(decide));
    Ok(())
}

fn hosted(
    criterion: &mut Criterion,
    algorithm: &str,
    module: &Module,
    configuration: &str,
    token: &str,
    now: u64,
) -> Result<()> {
    let headers = headers(token);
    for (arithmetic, in_host) in [("host", true), ("module", false)] {
        let builder = Process::builder().clock(VirtualClock::at_unix_seconds(now));
        let builder = if in_host { builder } else { builder.without_foreign_function("verify_signature") };
        let mut worker = Worker::new(&builder.build());
        worker.add(module, Plugin::new("jwt-auth").configuration(configuration))?;
        let mut serve = || {
            let stream = worker.open(StreamInfo::new());
            let outcome = worker.request_headers(stream, headers.clone(), true);
            worker.close(stream);
            outcome
        };
        ensure!(serve().is_forward(), "the module refuses its own token");
        criterion.bench_function(
            &format!("wasm request, arithmetic in the {arithmetic}/{algorithm}"),
            |bencher| {
                bencher.iter(&mut serve);
            },
        );
    }
    Ok(())
}

fn configure(criterion: &mut Criterion, module: &Module, configuration: &str) -> Result<()> {
    let mut worker = Worker::new(&Process::builder().build());
    let filter = worker.add(module, Plugin::new("jwt-auth").configuration(configuration))?;
    worker.reconfigure(filter, configuration)?;
    criterion.bench_function("configure/native", |bencher| {
        bencher.iter(|| Policy::from_json(black_box(configuration.as_bytes())));
    });
    criterion.bench_function("configure/wasm", |bencher| {
        bencher.iter(|| worker.reconfigure(filter, configuration));
    });
    Ok(())
}
