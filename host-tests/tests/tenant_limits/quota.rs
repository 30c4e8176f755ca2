//! Quotas in the real Envoy, with two workers over one table.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy, Options,
        config::{Bootstrap, Listener, wasm, wasm_holding},
    },
    loopback::{Connection, Request},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::json;

/// Requests for a second, and at once.
const RATE: u64 = 200;
const BURST: u64 = 50;

/// How long tenants press: the long run is for whoever asks for it.
fn span() -> Duration {
    let long = std::env::var_os("PORTCULLIS_SEEDS").is_some();
    Duration::from_secs(if long { 10 } else { 2 })
}

#[test]
fn two_workers_admit_what_one_would_and_nobody_pays_for_another() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let jwt_auth = setup.jwt_auth_everywhere();
    let guard = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id"}},
        "quotas": {"default": "all", "plans": {"all": {"rate": format!("{RATE}/s"), "burst": BURST}}},
    });
    let (first, second) = (
        portcullis_modules::JWT_AUTH.write_to(folder.path())?,
        portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
    );
    let listener = Listener::new("gateway").filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm_holding(
        "tenant-guard",
        &second,
        &guard,
    ));
    let bootstrap = Bootstrap::new().listener(listener).into_value();
    let envoy = Envoy::start_with(&binary, &bootstrap, Options { workers: 2, ..Options::default() })?;
    let token = |tenant: &str| -> Result<String> {
        Ok(setup.token().claim("sub", json!("u")).claim("org_id", json!(tenant)).compact(&setup.keys.ec)?)
    };
    let request = |tenant: &str| -> Result<Request> {
        Ok(Request::get("/x").header("x-tenant-id", tenant).bearer(&token(tenant)?))
    };

    let address = envoy.address("gateway");
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let noisy = request("acme")?;
    let quiet = request("globex")?;
    let start = Instant::now();
    let mut quiet_refused = 0;
    thread::scope(|scope| -> Result<()> {
        let press = || -> Result<()> {
            let mut connection = Connection::open(address)?;
            while start.elapsed() < span() {
                match connection.call(&noisy)?.status {
                    200 => admitted.fetch_add(1, Ordering::Relaxed),
                    429 => refused.fetch_add(1, Ordering::Relaxed),
                    other => anyhow::bail!("answered with {other}"),
                };
            }
            Ok(())
        };
        // Connections are spread over the workers.
        let pressing: Vec<_> = (0..4).map(|_| scope.spawn(press)).collect();
        let mut connection = Connection::open(address)?;
        while start.elapsed() < span() {
            quiet_refused += u32::from(connection.call(&quiet)?.status != 200);
            thread::sleep(Duration::from_millis(20));
        }
        for thread in pressing {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    })?;
    // The last answers came a little after the span.
    let bound = BURST + RATE * u64::try_from(start.elapsed().as_millis())? / 1000 + 1;
    let (admitted, refused) = (admitted.into_inner(), refused.into_inner());
    println!("{admitted} admitted of at most {bound}, {refused} refused");
    ensure!(admitted <= bound, "{admitted} were admitted, at most {bound} may be");
    ensure!(refused > 0, "nothing was pressed");
    assert_eq!(quiet_refused, 0, "a quiet tenant paid for a noisy one");

    // What a client is told.
    let mut connection = Connection::open(address)?;
    let own = request("initech")?;
    let told = connection.call(&own)?;
    assert_eq!(told.one("ratelimit-policy").as_deref(), Some("\"default\";q=50;w=1"));
    assert_eq!(told.one("ratelimit").as_deref(), Some("\"default\";r=49;t=1"));
    // Signed once: a token for each would be slower than the rate on a busy machine.
    let reply = (0..5000)
        .map(|_| connection.call(&own))
        .find(|reply| reply.as_ref().map_or(true, |reply| reply.status == 429));
    let reply = reply.ok_or_else(|| anyhow::anyhow!("5000 requests were not too many"))??;
    assert_eq!(reply.json()?["code"], "TENANT_QUOTA_EXCEEDED");
    assert_eq!(reply.one("retry-after").as_deref(), Some("1"));
    assert_eq!(reply.one("ratelimit").as_deref(), Some("\"default\";r=0;t=1"));
    // Nothing is taken from a tenant that the caller is not proven to belong to.
    let forged = Request::get("/x").header("x-tenant-id", "umbrella").bearer(&token("acme")?);
    for _ in 0..60 {
        assert_eq!(connection.call(&forged)?.status, 404);
    }
    assert_eq!(
        connection.call(&request("umbrella")?)?.one("ratelimit").as_deref(),
        Some("\"default\";r=49;t=1")
    );
    Ok(())
}
