//! A directory that is fetched, in the real Envoy with two workers: it loads, one tenant is
//! suspended under load, and no answer is a wrong one.
//!
//! `PORTCULLIS_TENANTS=1000000` is the long run; its figures are in benches/README.md.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy, Options,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Connection, Request, Site},
};
use portcullis_issuer::{Seed, Setup};
use portcullis_tenant::{
    Listed, Membership, Record, Slug, State, TenantId,
    directory::pack::{self, Manifest, Pack},
};
use serde_json::json;

/// Each has one member.
const MEMBERS: usize = 40;
/// The one that is suspended.
const CHANGED: usize = 7;

fn record(number: usize) -> Record {
    let member = |number: usize| Membership {
        issuer: "main".into(),
        subject: format!("user-{number}"),
        roles: vec!["owner".into()],
    };
    Record {
        id: TenantId::new(format!("org_{number:08}")).unwrap(),
        slugs: vec![Slug::new(format!("tenant-{number}")).unwrap()],
        domains: vec![],
        state: State::Active,
        plan: Some(["free", "team", "enterprise"][number % 3].into()),
        region: Some("eu".into()),
        fields: [].into(),
        issuers: vec![],
        members: (number < MEMBERS).then(|| member(number)).into_iter().collect(),
    }
}

fn edition(records: Vec<Record>, version: u64, previous: Option<&Manifest>) -> Result<Pack> {
    let listed = Listed::new("tenants", records, &BTreeSet::new())?;
    let options = pack::Options { version, seed: pack::Seed(*b"a seed for tests") };
    Ok(pack::pack(&listed, options, previous)?)
}

/// Parts first, as `portcullis tenants pack` does.
fn publish(site: &Site, pack: &Pack) {
    for (name, part) in pack.manifest.parts().iter().zip(&pack.parts) {
        site.put(&format!("/live/parts/{}", name.hex()), "part", part.clone());
    }
    let version = pack.manifest.version().to_string();
    site.put("/live/manifest.json", &version, pack.manifest.write().into_bytes());
}

fn gateway(binary: &Path, site: &Site, setup: &Setup, folder: &Path) -> Result<Envoy> {
    let jwt_auth = setup.jwt_auth_everywhere();
    let tenant_guard = json!({
        "directory": {"fetched": {
            "cluster": "tenants", "uri": format!("http://{}/live/manifest.json", site.address()),
            "allow_insecure_http": true, "refresh": "1s", "max_age": "60s", "parallel": 8,
        }},
        "sources": [{"header": "x-tenant-id", "use": "required", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "membership": "directory"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id", "plan": "x-tenant-plan"}},
    });
    let listener = Listener::new("gateway")
        .filter(wasm("jwt-auth", &portcullis_modules::JWT_AUTH.write_to(folder)?, &jwt_auth))
        .filter(wasm("tenant-guard", &portcullis_modules::TENANT_GUARD.write_to(folder)?, &tenant_guard));
    let bootstrap = Bootstrap::new().cluster("tenants", site.address()).listener(listener);
    Envoy::start_with(binary, &bootstrap.into_value(), Options { workers: 2, ..Options::default() })
}

fn ask(connection: &mut Connection, token: &str, tenant: usize) -> Result<(u16, String)> {
    let request = Request::get("/").bearer(token).header("x-tenant-id", format!("org_{tenant:08}"));
    let reply = connection.call(&request)?;
    let code = reply.json().ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
    Ok((reply.status, code.unwrap_or_default()))
}

struct Load<'l> {
    envoy: &'l Envoy,
    tokens: &'l [String],
    stop: &'l AtomicBool,
    asked: &'l AtomicU64,
    /// Connections that have seen the change.
    seen: &'l AtomicU64,
}

impl Load<'_> {
    /// One connection, and so one worker, until it is told to stop.
    fn run(&self, first: usize) -> Result<()> {
        let mut connection = self.envoy.connect("gateway")?;
        // The other worker may have been asked so far.
        until(Duration::from_secs(10), "the first directory in this worker", || {
            Ok(ask(&mut connection, &self.tokens[1], 1)?.0 == 200)
        })?;
        let mut suspended = false;
        let mut number = first;
        while !self.stop.load(Ordering::Relaxed) {
            number = (number + 1) % MEMBERS;
            let token = &self.tokens[number];
            let own = ask(&mut connection, token, number)?;
            if number == CHANGED {
                let now = own == (403, "TENANT_SUSPENDED".into());
                ensure!(now || (own.0 == 200 && !suspended), "tenant {number}: {own:?}");
                if now && !suspended {
                    suspended = true;
                    self.seen.fetch_add(1, Ordering::Relaxed);
                }
            } else {
                ensure!(own.0 == 200, "tenant {number}: {own:?}");
            }
            for foreign in [(number + 1) % MEMBERS, CHANGED, 99_999_999] {
                if foreign != number {
                    let other = ask(&mut connection, token, foreign)?;
                    ensure!(other == (404, "TENANT_NOT_FOUND".into()), "{number} in {foreign}: {other:?}");
                }
            }
            self.asked.fetch_add(4, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn until(limit: Duration, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    while !done()? {
        ensure!(start.elapsed() < limit, "{what} did not happen within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(start.elapsed())
}

#[test]
fn one_tenant_changes_under_load_and_no_answer_is_wrong() -> Result<()> {
    const CONNECTIONS: usize = 8;
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let count = std::env::var("PORTCULLIS_TENANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let mut records: Vec<Record> = (0..count).map(record).collect();
    let first = edition(records.clone(), 1, None)?;
    records[CHANGED].state = State::Suspended;
    let second = edition(records, 2, Some(&first.manifest))?;
    let bytes: usize = first.parts.iter().map(Vec::len).sum();

    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([7; 32]), "https://login.example.com", "api", now)?;
    let token = |number: usize| {
        Ok(setup.token().claim("sub", json!(format!("user-{number}"))).compact(&setup.keys.ec)?)
    };
    let tokens: Vec<String> = (0..MEMBERS).map(token).collect::<Result<_>>()?;
    let (site, folder) = (Site::start()?, tempfile::tempdir()?);
    let envoy = gateway(&binary, &site, &setup, folder.path())?;
    let before = envoy.resident_memory()?;
    let mut connection = envoy.connect("gateway")?;
    let nothing = ask(&mut connection, &tokens[0], 0)?;
    ensure!(nothing == (503, "TENANT_DIRECTORY_UNAVAILABLE".into()), "before there is one: {nothing:?}");
    publish(&site, &first);
    // Both workers: connections go to either.
    let mut others: Vec<_> = (0..CONNECTIONS).map(|_| envoy.connect("gateway")).collect::<Result<_>>()?;
    let loaded = until(Duration::from_secs(120), "the first directory", || {
        let mut all = true;
        for connection in &mut others {
            all &= ask(connection, &tokens[1], 1)?.0 == 200;
        }
        Ok(all)
    })?;
    let resident = envoy.resident_memory()?.saturating_sub(before);
    let fetched = site.fetches();

    let (stop, asked, seen) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let load = Load { envoy: &envoy, tokens: &tokens, stop: &stop, asked: &asked, seen: &seen };
    let live = thread::scope(|scope| -> Result<Duration> {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|at| {
                scope.spawn({
                    let load = &load;
                    move || load.run(at * 5)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        publish(&site, &second);
        let live = until(Duration::from_secs(30), "the change on every connection", || {
            Ok(seen.load(Ordering::Relaxed) as usize == CONNECTIONS
                || threads.iter().any(thread::ScopedJoinHandle::is_finished))
        });
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        live
    })
    .with_context(|| {
        envoy
            .log()
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("directory:"))
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let changed = first.parts.iter().zip(&second.parts).filter(|(a, b)| a != b).count();
    println!(
        "{count} tenants, {} parts, {} MB packed: loaded in {loaded:.1?} with {fetched} fetches, {} MB of memory; \
         {} answers under load, none wrong; {changed} parts changed, on every connection after {live:.2?}",
        first.parts.len(),
        bytes / 1_000_000,
        resident / 1_000_000,
        asked.load(Ordering::Relaxed),
    );
    ensure!(asked.load(Ordering::Relaxed) > 0, "no load");
    Ok(())
}
