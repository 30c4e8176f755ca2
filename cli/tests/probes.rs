//! `portcullis probe` against services that leak in every way that it is to find, and against ones
//! that do not.
#![allow(missing_docs, reason = "tests")]

mod common;

use std::{
    fs,
    path::Path,
    process::Output,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use common::{portcullis, text};
use portcullis_host_tests::loopback::{Answer, Seen, Service};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

/// One order of each tenant: its id, whose it is, and where it goes.
const ORDERS: [(&str, &str, &str); 2] =
    [("o-1001", "acme", "Acme Inc., Main Street 1"), ("o-2002", "globex", "Globex GmbH, Ringstr. 5")];

fn order((id, tenant, to): (&str, &str, &str)) -> Value {
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    // Never the same twice, as answers with clocks in them are.
    let at = CLOCK.fetch_add(1, Ordering::Relaxed);
    json!({"id": id, "tenant_id": tenant, "to": to, "at": format!("2026-01-01T00:00:{:02}Z", at % 60), "nonce": at})
}

fn caller(seen: &Seen) -> String {
    let told = seen.all("x-tenant-id").first().map(|value| String::from_utf8_lossy(value).into_owned());
    let token = seen.all("authorization").first().map(|value| String::from_utf8_lossy(value).into_owned());
    told.or_else(|| token?.strip_prefix("Bearer token-of-").map(str::to_owned)).unwrap_or_default()
}

/// Answers each path as its first segment says.
fn service(seen: &Seen) -> Answer {
    let caller = caller(seen);
    let path = seen.target.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').skip(1);
    let kind = segments.next().unwrap_or_default();
    let last = segments.last().unwrap_or_default();
    let asked = ORDERS.into_iter().find(|(id, ..)| *id == last);
    let own = ORDERS.into_iter().find(|(_, tenant, _)| *tenant == caller);
    let is_own = asked.is_some() && asked == own;
    let none = || Answer { status: 404, ..Answer::json(&json!({"error": format!("no order {last}")})) };
    let given =
        |order: Option<(&str, &str, &str)>| order.map_or_else(none, |one| Answer::json(&self::order(one)));
    match kind {
        // Whoever asks gets it.
        "broken" => given(asked),
        "correct" if is_own => given(own),
        "correct" => none(),
        "forbids" if is_own => given(own),
        "forbids" => Answer::status(403),
        "talkative" if is_own => given(own),
        "talkative" => Answer {
            status: 404,
            ..Answer::json(&json!({"error": "not yours", "detail": asked.map(|one| one.2)}))
        },
        "ignores" => given(own),
        "list" => Answer::json(&json!({"data": [order(own.unwrap_or_default())]})),
        "mixed" => Answer::json(&json!({"data": ORDERS.map(order)})),
        "prices" => {
            Answer::json(&json!({"prices": ["10000 for a thousand"], "valid": "until further notice"}))
        }
        "search" => Answer::json(&json!({"query": last, "found": []})),
        "tagged" if seen.method == "HEAD" => Answer::status(200).header("etag", &format!("\"{last}-1\"")),
        "location" if is_own => given(own),
        "location" => {
            Answer::status(200).header("link", &format!("</orders/x>; owner={}", asked.unwrap_or_default().1))
        }
        "packed" => Answer::status(200).header("content-encoding", "gzip").body("application/json", "x"),
        "long" => Answer::status(200).body("text/plain", "x".repeat(5000)),
        "gone" => Answer::status(404),
        _ => Answer::status(500),
    }
}

fn plan(requests: &[&str], more: &Value) -> Value {
    let mut plan = json!({
        "requests": requests,
        "tenants": {
            "acme": {"token": {"env": "ACME_TOKEN"}, "parameters": {"order": "o-1001"}},
            "globex": {"token": {"file": "globex.token"}, "parameters": {"order": "o-2002"}},
        },
    });
    for (name, value) in more.as_object().unwrap() {
        plan[name] = value.clone();
    }
    plan
}

struct Scene {
    folder: tempfile::TempDir,
    service: Service,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("globex.token"), "token-of-globex\n").unwrap();
    Scene { folder, service: Service::start(service).unwrap() }
}

impl Scene {
    fn probe(&self, plan: &Value, arguments: &[&str]) -> Output {
        fs::write(self.folder.path().join("probe.json"), plan.to_string()).unwrap();
        let mut command = portcullis();
        command.args(["probe", "probe.json"]).args(arguments).current_dir(self.folder.path());
        command.env("ACME_TOKEN", "token-of-acme").output().unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.address())
    }

    /// The verdicts by operation.
    fn verdicts(&self, plan: &Value, arguments: &[&str]) -> (Option<i32>, Value) {
        let url = self.url();
        let output = self.probe(plan, &[&[url.as_str(), "--format", "json"], arguments].concat());
        let said =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        for secret in ["token-of", "Ringstr", "Main Street"] {
            assert!(!shown.contains(secret), "`{secret}` was printed: {shown}");
        }
        (output.status.code(), said)
    }

    fn one(&self, request: &str) -> (Option<i32>, Value) {
        let (code, said) = self.verdicts(&plan(&[request], &json!({})), &[]);
        (code, said["operations"][0].clone())
    }
}

#[test]
fn what_leaks_is_found_and_what_does_not_is_clean() {
    let scene = scene();
    for (request, code, verdict, why) in [
        ("/broken/{order}", 1, "leaked", "has what its own answer has at `/to`"),
        ("/mixed", 1, "leaked", "names the tenant"),
        ("/talkative/{order}", 1, "leaked", "has what its own answer has at `/to`"),
        ("/location/{order}", 1, "leaked", "names the tenant"),
        ("HEAD /tagged/{order}", 1, "leaked", "has its own answer's entity tag"),
        ("/correct/{order}", 0, "clean", ""),
        ("/forbids/{order}", 0, "clean", ""),
        ("/ignores/{order}", 0, "clean", ""),
        ("/list", 0, "clean", ""),
        ("/prices", 0, "clean", ""),
        // It says any id back, also one that nobody has.
        ("/search/{order}", 0, "clean", ""),
        ("/gone/{order}", 2, "not_judged", "not answered with 2xx"),
        ("/packed/{order}", 2, "not_judged", "encoded"),
        ("/list?page={page}", 2, "not_judged", "no value for `page`"),
    ] {
        let (exit, found) = scene.one(request);
        assert_eq!((exit, found["verdict"].as_str()), (Some(code), Some(verdict)), "{request}: {found}");
        let reasons = found["calls"].to_string();
        assert!(reasons.contains(why), "{request}: {reasons}");
    }
    let asked = scene.service.seen();
    assert!(asked.iter().all(|seen| matches!(seen.method.as_str(), "GET" | "HEAD") && seen.body.is_empty()));
}

#[test]
fn both_tenants_are_asked_for_both_and_are_who_they_are() {
    let scene = scene();
    let (_, found) = scene.one("/correct/{order}");
    let calls: Vec<_> = found["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| (call["caller"].clone(), call["asked_for"].clone(), call["status"].clone()))
        .collect();
    let expected =
        [("acme", "acme", 200), ("globex", "globex", 200), ("acme", "globex", 404), ("globex", "acme", 404)];
    assert_eq!(calls, expected.map(|(caller, owner, status)| (json!(caller), json!(owner), json!(status))));
    let sent: Vec<_> = scene.service.seen().iter().map(|seen| (caller(seen), seen.target.clone())).collect();
    assert!(sent.contains(&("acme".into(), "/correct/o-2002".into())), "{sent:?}");
}

#[test]
fn a_description_is_probed_as_a_whole_and_ci_can_read_the_result() {
    let scene = scene();
    let api = json!({
        "openapi": "3.0.3", "servers": [{"url": scene.url()}],
        "paths": {
            "/broken/{order}": {"get": {}, "delete": {}},
            "/correct/{order}": {
                "parameters": [{"name": "order", "in": "path", "required": true}],
                "get": {"parameters": [{"name": "view", "in": "query", "required": true, "schema": {"enum": ["full"]}}]},
            },
            "/gone/{order}": {"get": {}},
            "/mixed": {"post": {}},
        },
    });
    fs::write(scene.folder.path().join("api.json"), api.to_string()).unwrap();
    let mut plan =
        plan(&[], &json!({"openapi": "api.json", "skip": {"GET /gone/{order}": "nothing is there"}}));
    let output = scene.probe(&plan, &["--junit", "report.xml"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}{}", text(&output.stderr));
    assert!(shown.contains("1 clean, 0 stopped, 1 leaked, 0 not judged, 1 skipped"), "{shown}");
    assert!(
        shown.contains("LEAK") && shown.contains("acme, for globex's") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    let junit = fs::read_to_string(scene.folder.path().join("report.xml")).unwrap();
    assert!(junit.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{junit}");
    assert!(junit.contains("<failure message=\"acme, for globex&apos;s: "), "{junit}");
    assert!(scene.service.seen().iter().any(|seen| seen.target == "/correct/o-1001?view=full"));

    // What cannot be judged is no success.
    plan["skip"] = json!({});
    let output = scene.probe(&plan, &["--filter", "/gone", "--filter", "/correct"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("1 operations could not be judged"), "{}", text(&output.stderr));
    let output = scene.probe(&plan, &["--filter", "/correct"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn the_guard_says_what_it_would_have_stopped() {
    let scene = scene();
    let guard = |mode: &str| {
        let config = json!({
            "sources": [{"header": "x-tenant-id", "by": "id"}],
            "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
            "routes": [
                {"path": {"prefix": "/mixed"}, "class": "tenant"},
                {"path": {"prefix": "/"}, "class": "tenant", "guard": "orders"},
            ],
            "guards": {"orders": {"fields": {"keys": ["tenant_id"], "mode": mode}, "release": "hold"}},
        });
        fs::write(scene.folder.path().join("guard.json"), config.to_string()).unwrap();
    };
    let requests = ["/broken/{order}", "/mixed", "/correct/{order}", "/prices"];
    let plan = plan(&requests, &json!({"guard": "guard.json"}));
    for (mode, says) in [("enforce", "would stop (field)"), ("observe", "would report field")] {
        guard(mode);
        let (code, found) = scene.verdicts(&plan, &[]);
        assert_eq!(code, Some(1));
        let [broken, mixed, correct, prices] = [0, 1, 2, 3].map(|n| &found["operations"][n]["calls"]);
        let of = |calls: &Value, n: usize| calls[n]["guard"]["text"].as_str().unwrap_or_default().to_owned();
        // Its own order passes, the other's would not.
        assert_eq!((of(broken, 0), of(broken, 2)), ("would pass".into(), says.into()), "{found}");
        assert_eq!(of(mixed, 0), "no guard");
        // An error without a tenant may leave.
        assert_eq!((of(correct, 0), of(correct, 2)), ("would pass".into(), "would pass".into()));
        // An ordinary answer without the field: a person should know before this guard enforces.
        let unattributed = says.replace("field", "unattributed");
        assert_eq!(of(prices, 0), unattributed);
    }
    guard("enforce");
    let shown = text(&scene.probe(&plan, &[&scene.url()]).stdout);
    assert!(shown.contains("would stop (unattributed)"), "{shown}");
}

#[test]
fn behind_a_gateway_what_the_guard_stops_is_no_leak() {
    let scene = scene();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let setup =
        Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", i64::try_from(now).unwrap())
            .unwrap();
    let mut tenants = json!({});
    for (tenant, order) in [("acme", "o-1001"), ("globex", "o-2002")] {
        let token = setup.token().claim("sub", json!("u")).claim("org_id", json!(tenant));
        let file = format!("{tenant}.jwt");
        fs::write(scene.folder.path().join(&file), token.compact(&setup.keys.ec).unwrap()).unwrap();
        let headers = json!({"x-tenant-id": tenant});
        tenants[tenant] =
            json!({"token": {"file": file}, "headers": headers, "parameters": {"order": order}});
    }
    let jwt_auth = setup.jwt_auth_everywhere();
    let gateway = |release: &str| {
        let guard = json!({
            "sources": [{"header": "x-tenant-id", "by": "id"}],
            "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant", "guard": "orders"}],
            "guards": {"orders": {"fields": {"keys": ["tenant_id"]}, "release": release}},
            "forward": {"headers": {"id": "x-tenant-id"}},
        });
        let gateway = json!({
            "listen": "0.0.0.0:0", "workers": 1, "upstream": {"address": scene.service.address().to_string()},
            "plugins": [{"name": "jwt-auth", "config": jwt_auth}, {"name": "tenant-guard", "config": guard}],
        });
        fs::write(scene.folder.path().join("gateway.json"), gateway.to_string()).unwrap();
    };
    let requests = ["/broken/{order}", "/mixed", "/correct/{order}", "/list"];
    let plan = plan(&requests, &json!({"tenants": tenants}));
    for (release, code, broken, mixed) in [
        ("hold", 0, "stopped", "stopped"),
        ("verified_prefix", 0, "stopped", "stopped"),
        ("observe", 1, "leaked", "leaked"),
    ] {
        gateway(release);
        let output = scene.probe(&plan, &["--gateway", "gateway.json", "--format", "json"]);
        let found: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let verdicts: Vec<_> =
            (0..4).map(|n| found["operations"][n]["verdict"].as_str().unwrap_or_default()).collect();
        assert_eq!(verdicts, [broken, mixed, "clean", "clean"], "{release}: {found}");
        assert_eq!(output.status.code(), Some(code), "{release}");
    }
}

#[test]
fn nothing_is_sent_where_it_should_not_be() {
    let scene = scene();
    let url = scene.url();
    let plan = plan(&["/list"], &json!({}));
    let far = "http://192.0.2.1:9/";
    let gateway = json!({"listen": "127.0.0.1:0", "upstream": {"address": "192.0.2.1:9"}, "plugins": [{"name": "jwt-auth"}]});
    fs::write(scene.folder.path().join("far.json"), gateway.to_string()).unwrap();
    for (arguments, expected) in [
        (&[far][..], "`192.0.2.1` is not on this machine"),
        (&["--gateway", "far.json"], "`upstream.address`: `192.0.2.1` is not on this machine"),
        (&["http://u:p@127.0.0.1/"], "credentials do not belong in the address"),
        (&["ftp://127.0.0.1/"], "begins with http:// or https://"),
        (&["http://127.0.0.1:1/"], "connect to 127.0.0.1:1"),
        (&[], "say where"),
        (&[&url, "--filter", "nothing"], "--filter selects none of 1 operations"),
        (&[&url, "--max-operations", "0"], "more than --max-operations"),
        (&[&url, "--gateway", "far.json"], "cannot be used with"),
        (&[&url, "--guard", "none.json"], "read `none.json`"),
    ] {
        let output = scene.probe(&plan, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("token-of"), "{error}");
    }
    assert!(scene.service.seen().is_empty(), "something was sent");
}

#[test]
fn answers_cost_no_more_than_they_may() {
    let scene = scene();
    let (code, found) = scene.verdicts(&plan(&["/long"], &json!({})), &["--max-body", "1000"]);
    assert_eq!((code, found["operations"][0]["verdict"].as_str()), (Some(2), Some("not_judged")), "{found}");
    assert!(found.to_string().contains("longer than --max-body, 1000 bytes"), "{found}");
    let (code, found) = scene.verdicts(&plan(&["/list", "/prices"], &json!({})), &["--max-time", "0s"]);
    assert_eq!(code, Some(2));
    assert!(found.to_string().contains("--max-time is over"), "{found}");
}

#[test]
fn help_teaches() {
    let help = text(&portcullis().args(["probe", "--help"]).output().unwrap().stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["probe.yaml:", "only to this machine unless --allow-remote", "Exit codes: 0 nothing leaked"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/probe.md").exists());
}
