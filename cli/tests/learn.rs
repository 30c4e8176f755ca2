//! `portcullis learn` on the log of a shadow run.

mod common;

use common::{run, text};

const LOG: &str = r#"
[2026-01-01 00:00:00.000][12][info][wasm] wasm log tenant-guard tenant-guard: portcullis_audit {"event":"passed","class":"tenant","route":"0","tenant":"aa","active":"aa","issuer":"main","subject":"u1","method":"GET","path":"/api/orders/7","named":[["host","aa"]]}
[2026-01-01 00:00:00.000][12][info][wasm] wasm log tenant-guard tenant-guard: portcullis_audit {"event":"would_refuse","code":"TENANT_NOT_FOUND","reason":"disagreement","class":"tenant","route":"0","tenant":"aa","active":"aa","issuer":"main","method":"POST","path":"/api/orders/8","named":[["host","aa"],["header","bb"]]}
portcullis_audit {"event":"would_refuse","code":"NO_RULE_MATCHED","reason":"no_route","method":"GET","path":"/healthz","named":[]}
portcullis_audit {"event":"would_refuse","code":"TENANT_NOT_FOUND","reason":"not_a_member","class":"tenant","tenant":"bb","issuer":"main","method":"GET","path":"/api/orders/9","named":[["host","bb"]]}
portcullis_audit {"event":
an ordinary line
"#;

#[test]
fn a_shadow_run_is_summed_up_and_becomes_routes() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("envoy.log");
    std::fs::write(&log, LOG).unwrap();
    let learned = run(&["learn", log.to_str().unwrap(), "--format", "json"]);
    assert_eq!(learned.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&learned.stdout).unwrap();
    assert_eq!(
        (report["events"].as_u64(), report["passed"].as_u64(), report["unreadable"].as_u64()),
        (Some(4), Some(1), Some(1))
    );
    let disagreements = &report["disagreements"];
    assert_eq!(disagreements[0]["sources"], serde_json::json!(["header", "(proof)"]));
    assert_eq!(disagreements[1]["sources"], serde_json::json!(["host", "header"]));
    assert_eq!(
        report["policy"]["routes"],
        serde_json::json!([
            {"methods": ["GET", "POST"], "path": {"template": "/api/orders/{v1}"}, "class": "tenant"},
            {"methods": ["GET"], "path": {"exact": "/healthz"}, "class": "public"},
        ])
    );
    let shown = run(&["learn", log.to_str().unwrap()]);
    for part in
        ["4 decisions, 3 of them refusals", "not_a_member", "no route is for it", "routes to start with"]
    {
        assert!(text(&shown.stdout).contains(part), "{part}: {}", text(&shown.stdout));
    }
}

#[test]
fn a_log_without_events_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("envoy.log");
    std::fs::write(&log, "nothing here\n").unwrap();
    let learned = run(&["learn", log.to_str().unwrap()]);
    assert_eq!(learned.status.code(), Some(2));
    assert!(text(&learned.stderr).contains("has no audit events"));
}
