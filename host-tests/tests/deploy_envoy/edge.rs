//! `deploy/envoy/edge`: TLS, and a limit for each proven tenant.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use portcullis_host_tests::{
    envoy,
    loopback::{Connection, Relay, Reply, Request, http2},
};
use serde_json::{Value, json};

use super::scene::{Scene, assert_refused, certificate};

/// Whoever belongs to this tenant gets three requests and then none for as long as the test runs.
fn scene() -> Scene {
    Scene::load("edge/envoy.yaml").replace(
        "{max_tokens: 100, tokens_per_fill: 50, fill_interval: 1s}",
        "{max_tokens: 3, tokens_per_fill: 1, fill_interval: 3600s}",
    )
}

fn trusted(scene: &Scene) -> String {
    fs::read_to_string(scene.folder.path().join("edge/tls.crt")).unwrap()
}

fn get(client: &Relay, target: &str, token: Option<&str>) -> Reply {
    let request = Request::get(target);
    let request = token.iter().fold(request, |request, token| request.bearer(token));
    Connection::open(client.address()).unwrap().call(&request).unwrap()
}

#[test]
fn over_tls_a_proven_tenant_passes_and_nobody_else_does() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scene = scene();
    let envoy = scene.start(&binary);
    let address = envoy.address("gateway");
    let client = Relay::beginning(address, "localhost", &trusted(&scene), "http/1.1").unwrap();
    let claims = json!({"tenants": ["acme"]});
    let token = scene.token(&claims);

    assert_eq!(get(&client, "/t/acme/invoices", Some(&token)).status, 200);
    let seen = scene.upstream.take_seen();
    assert_eq!((seen[0].target.as_str(), seen[0].all("x-tenant-id")), ("/invoices", vec![&b"acme"[..]]));

    assert_refused(&get(&client, "/t/acme/invoices", None), 401, "MISSING_TOKEN");
    let forged = scene.forged(&claims);
    assert_refused(&get(&client, "/t/acme/invoices", Some(&forged)), 401, "SIGNATURE_INVALID");
    assert_refused(&get(&client, "/t/globex/invoices", Some(&token)), 404, "TENANT_NOT_FOUND");
    assert_refused(&get(&client, "/invoices", Some(&token)), 403, "NO_RULE_MATCHED");

    // The other protocol of the handshake.
    let client = Relay::beginning(address, "localhost", &trusted(&scene), "h2").unwrap();
    let reply = http2(client.address(), &Request::get("/t/acme/invoices").bearer(&token)).unwrap();
    assert_eq!(reply.status, 200);
    assert!(scene.upstream.take_seen().iter().all(|seen| seen.all("x-tenant-id") == [b"acme"]));
}

#[test]
fn what_is_not_tls_gets_no_answer_and_another_name_gets_no_handshake() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scene = scene();
    let envoy = scene.start(&binary);
    let address = envoy.address("gateway");

    assert!(Connection::open(address).unwrap().call(&Request::get("/status")).is_err());
    let other = Relay::beginning(address, "bank.example", &trusted(&scene), "http/1.1").unwrap();
    assert!(Connection::open(other.address()).unwrap().call(&Request::get("/status")).is_err());
    assert!(scene.upstream.seen().is_empty());
}

#[test]
fn a_limit_is_a_tenants_own_and_nobody_else_can_use_it_up() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scene = scene();
    let envoy = scene.start(&binary);
    let client =
        Relay::beginning(envoy.address("gateway"), "localhost", &trusted(&scene), "http/1.1").unwrap();
    let token = |tenant: &str| scene.token(&json!({"tenants": [tenant]}));
    let (acme, globex, big) = (token("acme"), token("globex"), token("big-customer"));

    // Whoever is not proven to belong to acme takes nothing from it, whatever is written where.
    let forged = scene.forged(&json!({"tenants": ["acme"]}));
    for _ in 0..5 {
        assert_eq!(get(&client, "/t/acme/x", Some(&forged)).status, 401);
        assert_eq!(get(&client, "/t/acme/x", Some(&globex)).status, 404);
        let spoofed = Request::get("/me").bearer(&globex).header("x-tenant-id", "acme");
        assert_eq!(Connection::open(client.address()).unwrap().call(&spoofed).unwrap().status, 200);
    }
    let statuses = |tenant: &str, token: &str| -> Vec<u16> {
        (0..5).map(|_| get(&client, &format!("/t/{tenant}/x"), Some(token)).status).collect()
    };
    assert_eq!(statuses("acme", &acme), [200, 200, 200, 429, 429]);
    // The other tenant's bucket is as full as before; a third one has bought more.
    assert_eq!(statuses("globex", &globex), [200, 200, 200, 429, 429]);
    assert_eq!(statuses("big-customer", &big), [200; 5]);
    // What has no tenant goes on too.
    assert_eq!(get(&client, "/status", None).status, 200);
    assert_eq!(get(&client, "/me", Some(&acme)).status, 200);
    let reply = get(&client, "/t/acme/x", Some(&acme));
    assert_eq!(reply.one("x-ratelimit-remaining").as_deref(), Some("0"));
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scene = scene();
    let envoy = scene.start(&binary);
    let (renewed, key) = certificate("localhost");
    let client = Relay::beginning(envoy.address("gateway"), "localhost", &renewed, "http/1.1").unwrap();
    let request = Request::get("/status");
    assert!(Connection::open(client.address()).unwrap().call(&request).is_err());

    for (name, text) in [("tls.key", key), ("tls.crt", renewed)] {
        let new = scene.folder.path().join("edge").join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(&new, scene.folder.path().join("edge").join(name)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while Connection::open(client.address()).unwrap().call(&request).is_err() {
        assert!(Instant::now() < deadline, "the renewed certificate is not used");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_access_log_says_why_and_tells_no_secret() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    // The same logger, to where the test reads.
    let scene = scene()
        .replace("envoy.access_loggers.stdout", "envoy.access_loggers.stderr")
        .replace("v3.StdoutAccessLog", "v3.StderrAccessLog");
    let envoy = scene.start(&binary);
    let client =
        Relay::beginning(envoy.address("gateway"), "localhost", &trusted(&scene), "http/1.1").unwrap();
    let token = scene.token(&json!({"tenants": ["acme"]}));
    for tenant in ["acme", "globex"] {
        get(&client, &format!("/t/{tenant}/x?secret=1"), Some(&token));
    }
    get(&client, "/t/acme/x", None);

    let deadline = Instant::now() + Duration::from_secs(30);
    let lines = loop {
        let log = envoy.log().unwrap();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() == 3 {
            assert!(!log.contains(&token) && !log.contains("secret=1"), "{log}");
            break lines;
        }
        assert!(Instant::now() < deadline, "{log}");
        sleep(Duration::from_millis(50));
    };
    let said = |line: &Value| {
        assert!(line["request_id"].is_string() && line["milliseconds"].is_u64(), "{line}");
        (line["status"].as_u64().unwrap(), line["details"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        lines.iter().map(said).collect::<Vec<_>>(),
        [
            (200, "via_upstream".into()),
            (404, "portcullis_tenant_not_found".into()),
            (401, "portcullis_missing_token".into()),
        ]
    );
    // As the upstream saw it, or as it was refused.
    let paths: Vec<_> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/x", "/t/globex/x", "/t/acme/x"]);
}
