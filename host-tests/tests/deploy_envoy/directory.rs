//! `deploy/envoy/tenant-directory.yaml`: who belongs where is fetched, over TLS.

use std::{
    collections::BTreeSet,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::{Relay, Reply, Request, Site},
};
use portcullis_tenant::{
    Listed, Membership, Record, Slug, State, TenantId,
    directory::pack::{self, Manifest, Pack},
};
use serde_json::json;

use super::scene::{Scene, assert_refused, certificate};

fn record(id: &str, slug: &str, subject: &str, state: State) -> Record {
    Record {
        id: TenantId::new(id).unwrap(),
        slugs: vec![Slug::new(slug).unwrap()],
        domains: vec![],
        state,
        plan: Some("pro".into()),
        region: None,
        fields: [].into(),
        issuers: vec![],
        members: vec![Membership { issuer: "main".into(), subject: subject.into(), roles: vec![] }],
    }
}

fn edition(version: u64, acme: State, previous: Option<&Manifest>) -> Pack {
    let records =
        vec![record("org_1", "acme", "alice", acme), record("org_2", "globex", "bob", State::Active)];
    let listed = Listed::new("tenants", records, &BTreeSet::new()).unwrap();
    pack::pack(&listed, pack::Options { version, seed: pack::Seed(*b"a seed for tests") }, previous).unwrap()
}

/// Parts first, as `portcullis tenants pack` does.
fn publish(site: &Site, pack: &Pack) {
    for (name, part) in pack.manifest.parts().iter().zip(&pack.parts) {
        site.put(&format!("/live/parts/{}", name.hex()), "part", part.clone());
    }
    let version = pack.manifest.version().to_string();
    site.put("/live/manifest.json", &version, pack.manifest.write().into_bytes());
}

/// The file with its directory at `server`, which `trusted` vouches for.
fn scene(server: &Relay, trusted: &str) -> Scene {
    let scene = Scene::load("tenant-directory.yaml");
    let authority = scene.folder.path().join("authority.pem");
    fs::write(&authority, trusted).unwrap();
    scene
        .replace(
            "{address: tenants.example.com, port_value: 443}",
            &format!("{{address: 127.0.0.1, port_value: {}}}", server.address().port()),
        )
        .replace("/etc/ssl/certs/ca-certificates.crt", authority.to_str().unwrap())
        .replace(r#""refresh": "5s""#, r#""refresh": "1s""#)
}

fn ask(envoy: &Envoy, tenant: &str, token: &str) -> Reply {
    let request = Request::get("/orders").bearer(token).header("x-tenant-id", tenant);
    envoy.connect("gateway").unwrap().call(&request).unwrap()
}

fn until_status(envoy: &Envoy, tenant: &str, token: &str, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = ask(envoy, tenant, token);
        if reply.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "still {reply:?}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn members_of_the_fetched_directory_pass_until_their_tenant_is_suspended() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let site = Site::start().unwrap();
    let first = edition(1, State::Active, None);
    publish(&site, &first);
    let (certificate, key) = certificate("tenants.example.com");
    let server = Relay::ending(&certificate, &key, site.address()).unwrap();
    let scene = scene(&server, &certificate);
    let envoy = scene.start(&binary);
    let token = |subject: &str| scene.token(&json!({"sub": subject}));
    let (alice, bob) = (token("alice"), token("bob"));

    until_status(&envoy, "acme", &alice, 200);
    let seen = scene.upstream.take_seen();
    assert_eq!(seen[0].all("x-tenant-id"), [b"org_1"]);
    assert_eq!(seen[0].all("x-tenant-plan"), [b"pro"]);
    assert_refused(&ask(&envoy, "globex", &alice), 404, "TENANT_NOT_FOUND");
    assert_refused(&ask(&envoy, "acme", &bob), 404, "TENANT_NOT_FOUND");
    assert_refused(&ask(&envoy, "acme", &scene.forged(&json!({"sub": "alice"}))), 401, "SIGNATURE_INVALID");
    // What a token says about tenants is nothing here.
    assert_eq!(ask(&envoy, "acme", &scene.token(&json!({"sub": "eve", "tenants": ["acme"]}))).status, 404);

    publish(&site, &edition(2, State::Suspended, Some(&first.manifest)));
    until_status(&envoy, "acme", &alice, 403);
    assert_refused(&ask(&envoy, "acme", &alice), 403, "TENANT_SUSPENDED");
    assert_eq!(ask(&envoy, "globex", &bob).status, 200);
}

#[test]
fn a_directory_of_somebody_else_makes_nobody_a_member() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let site = Site::start().unwrap();
    publish(&site, &edition(1, State::Active, None));
    // The authority is trusted, and the certificate is good: for another name.
    let (certificate, key) = certificate("other.example.com");
    let server = Relay::ending(&certificate, &key, site.address()).unwrap();
    let scene = scene(&server, &certificate);
    let envoy = scene.start(&binary);

    envoy
        .wait_for_stat("cluster.tenants.ssl.fail_verify_san", Duration::from_secs(60), |count| count > 0)
        .unwrap();
    let reply = ask(&envoy, "acme", &scene.token(&json!({"sub": "alice"})));
    assert_refused(&reply, 503, "TENANT_DIRECTORY_UNAVAILABLE");
    assert_eq!(site.fetches(), 0);
}
