//! tenant-guard behind Envoy's own jwt_authn, which hands its claims on as metadata without types.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, jwt_authn, wasm},
    },
    loopback::{Request, Upstream, http2_websocket},
    tenant::{Real, World},
};
use serde_json::{Value, json};

#[test]
fn claims_that_envoys_own_filter_verified_prove_the_same() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let world = World::load("tenant-path.yaml", now)?;
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("tenant-guard.wasm");
    fs::write(&module, portcullis_modules::TENANT_GUARD.wasm)?;
    let upstream = Upstream::start()?;
    let native = jwt_authn(&json!({
        "providers": {"main": {
            "issuer": "https://login.example.com",
            "audiences": ["api"],
            "local_jwks": {"inline_string": world.jwks().to_string()},
            "payload_in_metadata": "payload",
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}],
    }));
    let guard = wasm(
        "tenant-guard",
        &module,
        &json!({
            "sources": [{"path": "/t/{tenant}/**", "use": "required"}],
            "proofs": [{
                "name": "main", "istio": "https://login.example.com", "tenant": "tenant_id",
                "memberships": {"claim": ["app", "orgs"], "shape": "objects", "id": "id", "roles": "roles"},
            }],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
            "forward": {"headers": {"id": "x-tenant-id", "roles": "x-tenant-roles", "subject": "x-tenant-user"}},
        }),
    );
    let bootstrap = Bootstrap::new()
        .cluster("upstream", upstream.address())
        .listener(Listener::new("gateway").filter(native).filter(guard).to_cluster("upstream"));
    let envoy = Envoy::start(&binary, &bootstrap.into_value())?;
    let ask = |path: &str, claims: Value| -> Result<(u16, Option<String>)> {
        let request = Request::get(path).bearer(&world.token(&claims)?).header("x-tenant-id", "globex");
        let reply = envoy.connect("gateway")?.call(&request)?;
        let code = reply.json().ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
        Ok((reply.status, code))
    };
    let refused = |status: u16, code: &str| (status, Some(code.to_owned()));

    let orgs =
        json!({"orgs": [{"id": "acme", "roles": ["owner", "a,b"]}, {"id": "initech", "roles": "reader"}]});
    assert_eq!(ask("/t/acme/x", json!({"app": orgs}))?, (200, None));
    let seen = upstream.take_seen().pop().expect("it was forwarded");
    assert_eq!(seen.all("x-tenant-id"), [b"acme"]);
    assert_eq!(seen.all("x-tenant-roles"), [b"owner,a%2Cb"]);
    assert_eq!(seen.all("x-tenant-user"), [b"alice"]);
    assert_eq!(ask("/t/initech/x", json!({"app": orgs}))?, (200, None));
    assert_eq!(upstream.take_seen().pop().expect("it was forwarded").all("x-tenant-roles"), [b"reader"]);
    assert_eq!(ask("/t/acme/x", json!({"tenant_id": "acme"}))?, (200, None));
    drop(upstream.take_seen());

    for (path, claims, expected) in [
        ("/t/globex/x", json!({"app": orgs}), refused(404, "TENANT_NOT_FOUND")),
        ("/t/acme/x", json!({}), refused(404, "TENANT_NOT_FOUND")),
        ("/t/acme/x", json!({"tenant_id": "initech", "app": orgs}), refused(403, "TENANT_SWITCH_REQUIRED")),
        ("/t/acme/x", json!({"tenant_id": 7}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"tenant_id": true}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"tenant_id": ["acme"]}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"tenant_id": {"acme": ""}}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"app": {"orgs": "acme"}}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"app": {"orgs": ["acme"]}}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"app": {"orgs": [{"id": ["acme"]}]}}), refused(403, "TENANT_PROOF_INVALID")),
        ("/t/acme/x", json!({"app": "acme"}), refused(403, "TENANT_PROOF_INVALID")),
    ] {
        assert_eq!(ask(path, claims.clone())?, expected, "{path} {claims}");
        assert!(upstream.take_seen().is_empty(), "{path} {claims}");
    }
    Ok(())
}

#[test]
fn other_parts_of_the_proxy_read_the_proven_tenant_and_a_websocket_over_http2_is_judged() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let world = World::load("tenant-subdomain.yaml", now)?;
    let told = r#"domains: ["*"]
              response_headers_to_add:
              - header: {key: x-seen-tenant, value: "%FILTER_STATE(wasm.portcullis_tenant_id:PLAIN)%"}"#;
    let real =
        Real::load_edited(&binary, &world, crate::MODULES, |text| text.replace(r#"domains: ["*"]"#, told))?;
    let token = world.token(&json!({"org_id": "org_Acme01"}))?;
    let ask = |host: &str| Request::new("GET", "/ws").header("host", host).bearer(&token);

    let reply = real.envoy().connect("gateway")?.call(&ask("acme.app.example.com"))?;
    assert_eq!((reply.status, reply.one("x-seen-tenant").as_deref()), (200, Some("org_Acme01")));

    let gateway = real.envoy().address("gateway");
    for (host, token, status, code) in [
        ("globex.app.example.com", Some(&token), 404, "TENANT_NOT_FOUND"),
        ("nobody.app.example.com", Some(&token), 404, "TENANT_NOT_FOUND"),
        ("acme.app.example.com", None, 401, "MISSING_TOKEN"),
    ] {
        let request = Request::new("GET", "/ws").header("host", host).header("sec-websocket-version", "13");
        let request = token.into_iter().fold(request, |request, token| request.bearer(token));
        let reply = http2_websocket(gateway, &request)?;
        assert_eq!((reply.status, reply.json()?["code"].as_str()), (status, Some(code)), "{host}");
    }
    Ok(())
}
