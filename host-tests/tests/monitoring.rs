//! The dashboard and the alerts ask only for metrics that the modules in the real Envoy have.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use portcullis_host_tests::{
    envoy::{self, Discovered, Envoy, config},
    loopback::{Answer, Endpoint, Request},
};
use portcullis_issuer::{SigningKey, Token, jwk_set, keys};
use regex_automata::{
    Anchored, Input,
    dfa::{Automaton as _, StartKind, dense},
};
use serde_json::{Value, json};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring").join(file)).unwrap()
}

/// Every string under a member called `expr`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(text) if name == "expr" => found.push(text.to_owned()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The metrics of an Envoy with both plugins that has refused and let through, and whose key set came
/// from an issuer.
fn emitted(binary: &Path) -> BTreeSet<String> {
    let key = SigningKey::generate(&keys::Seed::new([1; 32]), "one", keys::Kind::P256).unwrap();
    let issuer = Endpoint::start(Answer::json(&jwk_set([key.jwk()]))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for module in [portcullis_modules::JWT_AUTH, portcullis_modules::TENANT_GUARD] {
        fs::write(folder.path().join(format!("{}.wasm", module.name)), module.wasm).unwrap();
    }
    let remote = json!({"uri": "http://idp/jwks", "cluster": "idp", "allow_insecure_http": true});
    let jwt = json!({
        "issuers": [{
            "name": "main", "issuer": "https://issuer.example", "audiences": ["api"], "algorithms": ["ES256"],
            "jwks": {"remote": remote},
        }],
        "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}],
    });
    let guard = json!({
        "sources": [{"path": "/t/{tenant}/**", "use": "required"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "tid"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "quotas": {"default": "all", "plans": {"all": {"rate": "10/s", "burst": 10}}},
        "concurrency": {"classes": {"default": {"total": 10}}},
    });
    let module = |name: &str| folder.path().join(format!("{name}.wasm"));
    let typed = config::wasm_config("jwt-auth", &module("jwt-auth"), &jwt);
    let discovered = Discovered::create(folder.path(), "jwt-auth", &typed).unwrap();
    let listener = config::Listener::new("gateway")
        .filter(config::discovered("jwt-auth", &discovered))
        .filter(config::wasm("tenant-guard", &module("tenant-guard"), &guard));
    let bootstrap = config::Bootstrap::new().cluster("idp", issuer.address()).listener(listener);
    let envoy = Envoy::start(binary, &bootstrap.into_value()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let token = Token::new()
        .claim("iss", "https://issuer.example")
        .claim("aud", "api")
        .claim("sub", "alice")
        .claim("tid", "acme")
        .claim("exp", now + 600)
        .compact(&key)
        .unwrap();
    let call = |request: &Request| envoy.connect("gateway").unwrap().call(request).unwrap().status;
    assert_eq!(call(&Request::get("/t/acme/x")), 401);
    assert_eq!(call(&Request::get("/t/acme/x").bearer(&token)), 200);
    assert_eq!(call(&Request::get("/t/globex/x").bearer(&token)), 404);
    // A worker writes the gauges of its key sets once a second.
    std::thread::sleep(Duration::from_millis(1500));
    let text = String::from_utf8(envoy.admin("/stats/prometheus").unwrap()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let alerts: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    expressions(&alerts, &mut asked);
    assert!(asked.len() >= 18, "{}", asked.len());
    let emitted = emitted(&binary);

    for expression in &asked {
        // Prometheus takes the name away from a rate: without another label several are the same.
        let nameless = ["rate({__name__", "increase({__name__"].iter().any(|call| expression.contains(call));
        assert!(!nameless, "give the series a label of its own before it loses its name: {expression}");
        let mut checked = 0;
        // Names by a pattern: Prometheus anchors it at both ends.
        for (_, rest) in
            expression.match_indices("__name__=~\"").map(|(at, text)| (at, &expression[at + text.len()..]))
        {
            let pattern = rest.split('"').next().unwrap();
            let dfa = dense::Builder::new()
                .configure(dense::Config::new().start_kind(StartKind::Anchored))
                .build(&format!("(?:{pattern})$"))
                .unwrap();
            let matches = |name: &&String| {
                let input = Input::new(name.as_str()).anchored(Anchored::Yes);
                dfa.try_search_fwd(&input).unwrap().is_some()
            };
            assert!(emitted.iter().any(|name| matches(&name)), "`{pattern}` names nothing: {expression}");
            checked += 1;
        }
        let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        for name in outside
            .split(|c| !is_name(c))
            .filter(|word| word.starts_with("portcullis_") || word.starts_with("envoy_"))
        {
            assert!(emitted.contains(name), "`{name}` is not there: {expression}");
            checked += 1;
        }
        assert!(checked > 0, "nothing was checked in {expression}");
    }
}

#[test]
fn what_a_client_sends_makes_no_metric() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let emitted = emitted(&binary);

    assert!(emitted.iter().any(|name| name == "portcullis_tenant_denied_tenant_not_found"));
    let chosen = |name: &&String| ["globex", "acme", "alice"].iter().any(|word| name.contains(word));
    assert_eq!(emitted.iter().find(chosen), None);
}
