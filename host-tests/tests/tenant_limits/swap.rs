//! What a tenant has used outlives configurations and modules.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use portcullis_host_tests::envoy;
use serde_json::{Value, json};

use crate::stage::{Stage, guard};

const LIMIT: Duration = Duration::from_secs(60);

/// A configuration that is seen to be in force by the burst of the class `marker`.
fn marked(rate: &str, marker: u64) -> Value {
    let class = json!({"marker": {"rate": "1000/s", "burst": marker}});
    guard(&json!({
        "routes": [
            {"path": {"prefix": "/marker"}, "class": "tenant", "quota": {"class": "marker"}},
            {"path": {"prefix": "/"}, "class": "tenant"},
        ],
        "quotas": {"default": "all", "plans": {"all": {"rate": rate, "burst": 3, "classes": class}}},
    }))
}

/// Waits until twelve fresh connections in a row see it: both workers have it.
fn in_force(stage: &Stage, marker: u64) -> Result<()> {
    let (start, mut seen) = (Instant::now(), 0);
    while seen < 12 {
        let policy = stage.call("/marker", "probe")?.one("ratelimit-policy").unwrap_or_default();
        seen = if policy.starts_with(&format!("\"marker\";q={marker};")) { seen + 1 } else { 0 };
        ensure!(start.elapsed() < LIMIT, "not in force after {LIMIT:?}: {policy}");
    }
    Ok(())
}

#[test]
fn an_exhausted_tenant_stays_so_when_configuration_and_module_are_swapped_until_its_rate_is_another()
-> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let mut stage = Stage::start(&binary, &marked("2/h", 1001), None)?;
    in_force(&stage, 1001)?;
    for expected in [200, 200, 200, 429] {
        assert_eq!(stage.call("/x", "acme")?.status, expected);
    }
    assert_eq!(stage.call("/x", "globex")?.status, 200);

    let swaps = [("first.wasm", 1002), ("second.wasm", 1003), ("second.wasm", 1004), ("first.wasm", 1005)];
    for (module, marker) in swaps {
        stage.swap(module, &marked("2/h", marker))?;
        in_force(&stage, marker)?;
        let refused = stage.call("/x", "acme")?;
        assert_eq!((refused.status, refused.json()?["code"].as_str()), (429, Some("TENANT_QUOTA_EXCEEDED")));
        ensure!(refused.one("retry-after").is_some_and(|after| after != "1"), "{:?}", refused.headers);
    }
    // Nobody's bucket was emptied or filled by it.
    let left = stage.call("/x", "globex")?.one("ratelimit").unwrap_or_default();
    ensure!(left.starts_with("\"default\";r=1;"), "{left}");

    // A faster rate counts from now on: an empty bucket is full after as long as it takes by that.
    stage.swap("second.wasm", &marked("2/s", 1006))?;
    in_force(&stage, 1006)?;
    let start = Instant::now();
    while stage.call("/x", "acme")?.status != 200 {
        ensure!(start.elapsed() < LIMIT, "the new rate does not apply");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
