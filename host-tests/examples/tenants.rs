//! What tenant-guard costs with a directory of ten tenants and with one of a million: CPU time a
//! request in the real Envoy, and memory.
//!
//! ```console
//! $ cargo run --example tenants -- 1000000
//! ```

use std::{collections::BTreeSet, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Connection, Request, Site},
};
use portcullis_issuer::{Seed, Setup};
use portcullis_tenant::{
    Listed, Record, Slug, State, TenantId,
    directory::pack::{self, Pack},
};
use serde_json::{Value, json};

const ROUNDS: usize = 15;
const REQUESTS: usize = 2000;
/// Different tokens, each for one tenant.
const TOKENS: usize = 500;

fn directory(count: usize) -> Result<Pack> {
    let record = |number: usize| -> Result<Record> {
        Ok(Record {
            id: TenantId::new(format!("org_{number:08}"))?,
            slugs: vec![Slug::new(format!("tenant-{number}"))?],
            domains: vec![],
            state: State::Active,
            plan: Some("team".into()),
            region: Some("eu".into()),
            fields: [].into(),
            issuers: vec![],
            members: vec![],
        })
    };
    let records = (0..count).map(record).collect::<Result<_>>()?;
    let listed = Listed::new("tenants", records, &BTreeSet::new())?;
    Ok(pack::pack(&listed, pack::Options { version: 1, seed: pack::Seed([5; 16]) }, None)?)
}

fn publish(site: &Site, folder: &str, pack: &Pack) {
    for (name, part) in pack.manifest.parts().iter().zip(&pack.parts) {
        site.put(&format!("/{folder}/parts/{}", name.hex()), "part", part.clone());
    }
    site.put(&format!("/{folder}/manifest.json"), "1", pack.manifest.write().into_bytes());
}

fn tenant_guard(site: &Site, folder: &str) -> Value {
    json!({
        "directory": {"fetched": {
            "cluster": "tenants", "uri": format!("http://{}/{folder}/manifest.json", site.address()),
            "allow_insecure_http": true, "refresh": "60s", "max_age": "1h", "parallel": 8,
        }},
        "sources": [{"header": "x-tenant-id", "use": "required", "by": "slug"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id", "plan": "x-tenant-plan"}},
    })
}

struct Contender {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    rounds: Vec<f64>,
}

fn contender(name: &'static str, count: usize, setup: &Setup) -> Result<Contender> {
    let request = |at: usize| -> Result<Vec<u8>> {
        // Spread over the whole directory.
        let tenant = at.wrapping_mul(2_654_435_761) % count;
        let token = setup.token().claim("org_id", json!(format!("org_{tenant:08}")));
        let token = token.claim("jti", json!(format!("{at}"))).compact(&setup.keys.ec)?;
        let request = Request::get("/").bearer(&token).header("x-tenant-id", format!("tenant-{tenant}"));
        Ok(request.to_bytes())
    };
    Ok(Contender { name, requests: (0..TOKENS).map(request).collect::<Result<_>>()?, rounds: vec![] })
}

fn send(connection: &mut Connection, requests: &[Vec<u8>], how_many: usize) -> Result<()> {
    for request in requests.iter().cycle().take(how_many) {
        connection.send(request)?;
        let reply = connection.reply(false)?;
        ensure!(reply.status == 200, "answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn start(binary: &Path, site: &Site, setup: &Setup, folder: &Path) -> Result<Envoy> {
    let jwt_auth = setup.jwt_auth_everywhere();
    let (first, second) =
        (portcullis_modules::JWT_AUTH.write_to(folder)?, portcullis_modules::TENANT_GUARD.write_to(folder)?);
    let mut bootstrap = Bootstrap::new().cluster("tenants", site.address());
    for name in ["none", "ten", "many"] {
        let mut listener = Listener::new(name).filter(wasm("jwt-auth", &first, &jwt_auth));
        if name != "none" {
            listener = listener.filter(wasm(&format!("guard-{name}"), &second, &tenant_guard(site, name)));
        }
        bootstrap = bootstrap.listener(listener);
    }
    Envoy::start(binary, &bootstrap.into_value())
}

fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let binary = envoy::binary()?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([7; 32]), "https://login.example.com", "api", now)?;
    let (site, folder) = (Site::start()?, tempfile::tempdir()?);
    publish(&site, "ten", &directory(10)?);
    let many = directory(count)?;
    let packed: usize = many.parts.iter().map(Vec::len).sum();
    let mut contenders =
        [contender("none", count, &setup)?, contender("ten", 10, &setup)?, contender("many", count, &setup)?];
    let envoy = start(&binary, &site, &setup, folder.path())?;
    let before = envoy.resident_memory()?;
    publish(&site, "many", &many);
    let started = std::time::Instant::now();
    for contender in &contenders {
        let mut connection = envoy.connect(contender.name)?;
        while send(&mut connection, &contender.requests, 1).is_err() {
            ensure!(started.elapsed() < Duration::from_secs(180), "the directory did not load");
            thread::sleep(Duration::from_millis(20));
            connection = envoy.connect(contender.name)?;
        }
    }
    let loaded = started.elapsed();
    let memory = envoy.resident_memory()?.saturating_sub(before);
    for round in 0..ROUNDS {
        for at in 0..contenders.len() {
            let turn = (at + round) % contenders.len();
            let contender = contenders.get_mut(turn).context("no such contender")?;
            let mut connection = envoy.connect(contender.name)?;
            send(&mut connection, &contender.requests, TOKENS)?;
            let start = envoy.cpu_time()?;
            send(&mut connection, &contender.requests, REQUESTS)?;
            let used = envoy.cpu_time()?.saturating_sub(start);
            contender.rounds.push(used.as_secs_f64() * 1e6 / REQUESTS as f64);
        }
    }
    let [none, ten, many_tenants] = &contenders;
    println!(
        "{count} tenants: {} bytes each packed, {} parts, loaded in {loaded:.1?}; Envoy took {} MB more with them",
        packed / count,
        many.parts.len(),
        memory / 1_000_000
    );
    println!("CPU µs a request (medians of {ROUNDS} rounds of {REQUESTS}):");
    for contender in &contenders {
        println!("  {:5} {:.1}", contender.name, median(&contender.rounds));
    }
    let grown = ten.rounds.iter().zip(&many_tenants.rounds).map(|(ten, many)| many / ten).collect::<Vec<_>>();
    let added = |own: &Contender| {
        median(&own.rounds.iter().zip(&none.rounds).map(|(own, none)| own - none).collect::<Vec<_>>())
    };
    println!(
        "the guard adds {:.1} with ten and {:.1} with {count}; the whole request costs {:.2} times as much",
        added(ten),
        added(many_tenants),
        median(&grown)
    );
    Ok(())
}
