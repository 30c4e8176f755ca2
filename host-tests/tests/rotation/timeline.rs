//! A disjoint rotation under steady load, seen by jwt-auth and by Envoy's own jwt_authn in one
//! Envoy: every request with the time at which it was sent and its status.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use portcullis_host_tests::{
    envoy::config,
    loopback::{Connection, Endpoint, Request},
};
use serde_json::json;

use crate::scene::{self, OURS};

/// The listener with Envoy's own filter.
const NATIVE: &str = "jwt_authn";

/// What is run.
pub struct Plan {
    /// jwt_authn's `cache_duration`, in seconds.
    pub native_cache: u64,
    /// When the issuer replaces its only key.
    pub rotate_after: Duration,
    /// When the load ends.
    pub end: Duration,
    /// Connections to each gateway; each sends one request after the other.
    pub clients: usize,
    /// The pause of a client between two requests.
    pub every: Duration,
}

/// One request.
pub struct Sample {
    /// When it was sent, counted from the begin of the load.
    pub at: Duration,
    /// How long the answer took.
    pub took: Duration,
    /// The answer.
    pub status: u16,
    /// Signed with the key that came with the rotation.
    pub with_new_key: bool,
}

/// What came of it.
pub struct Run {
    /// When the issuer replaced its key: from here on it answers with the new one.
    pub rotated_at: Duration,
    /// The requests to jwt-auth, by time.
    pub ours: Vec<Sample>,
    /// The requests to jwt_authn, by time.
    pub native: Vec<Sample>,
    /// What each one's issuer was asked: jwt-auth's, jwt_authn's.
    pub fetches: (u64, u64),
}

impl Run {
    /// How many of `samples` there are, and how many of them were refused although the issuer
    /// published the token's key all the time from before the request until the answer.
    pub fn refused<'s>(&self, samples: impl IntoIterator<Item = &'s Sample>) -> (usize, usize) {
        let published = |sample: &Sample| sample.with_new_key || sample.at + sample.took < self.rotated_at;
        samples
            .into_iter()
            .filter(|sample| published(sample))
            .fold((0, 0), |(all, refused), sample| (all + 1, refused + usize::from(sample.status != 200)))
    }
}

/// Runs `plan` in the Envoy at `binary`, with two workers and the defaults of jwt-auth.
pub fn run(binary: &Path, plan: &Plan) -> Result<Run> {
    let (old, new) = (scene::key("2025", 1), scene::key("2026", 2));
    let tokens = [scene::token(&old), scene::token(&new)];
    let issuers = [Endpoint::start(scene::published(&[&old]))?, Endpoint::start(scene::published(&[&old]))?];
    let (_folder, module) = scene::module()?;
    let ours = config::wasm(OURS, &module, &scene::only(&json!({})));
    let bootstrap = scene::clusters(&issuers[0])?
        .cluster("idp-native", issuers[1].address())
        .listener(config::Listener::new(OURS).filter(ours))
        .listener(config::Listener::new(NATIVE).filter(native(plan.native_cache)));
    let envoy = scene::start(binary, bootstrap, 2)?;

    let rotated = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let clients = |listener| {
            let address = envoy.address(listener);
            let (rotated, tokens) = (&rotated, &tokens);
            let client = move || client(address, tokens, rotated, start, plan);
            (0..plan.clients).map(|_| scope.spawn(client)).collect::<Vec<_>>()
        };
        let threads = [clients(OURS), clients(NATIVE)];
        thread::sleep(plan.rotate_after);
        let rotated_at = start.elapsed();
        for issuer in &issuers {
            issuer.set(scene::published(&[&new]));
        }
        rotated.store(true, Ordering::SeqCst);
        let [ours, native] = threads.map(|threads| {
            let samples = threads.into_iter().map(|thread| thread.join().expect("a client that ends"));
            samples.collect::<Result<Vec<_>>>().map(|all| {
                let mut all: Vec<Sample> = all.into_iter().flatten().collect();
                all.sort_by_key(|sample| sample.at);
                all
            })
        });
        let fetches = (issuers[0].fetches(), issuers[1].fetches());
        Ok(Run { rotated_at, ours: ours?, native: native?, fetches })
    })
}

fn native(cache_seconds: u64) -> serde_json::Value {
    config::jwt_authn(&json!({
        "providers": {"main": {
            "issuer": scene::ISSUER,
            "audiences": ["api"],
            "remote_jwks": {
                "http_uri": {"uri": "http://idp/jwks", "cluster": "idp-native", "timeout": "5s"},
                "cache_duration": format!("{cache_seconds}s"),
            },
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}],
    }))
}

fn client(
    address: SocketAddr,
    [old, new]: &[String; 2],
    rotated: &AtomicBool,
    start: Instant,
    plan: &Plan,
) -> Result<Vec<Sample>> {
    let mut connection = Connection::open(address)?;
    let mut samples = Vec::new();
    while start.elapsed() < plan.end {
        let with_new_key = rotated.load(Ordering::SeqCst);
        let request = Request::get("/").bearer(if with_new_key { new } else { old });
        let at = start.elapsed();
        let status = connection.call(&request)?.status;
        samples.push(Sample { at, took: start.elapsed().saturating_sub(at), status, with_new_key });
        thread::sleep(plan.every);
    }
    Ok(samples)
}
