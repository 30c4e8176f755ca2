//! Whoever else comes, and however many they are: an empty bucket stays empty, and memory as it is.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use portcullis_host_tests::{envoy, loopback::Request};
use serde_json::json;

use crate::stage::{Stage, guard};

/// Tenants of one token.
const TOGETHER: usize = 100;
/// At a time.
const CONNECTIONS: usize = 4;

/// Requests each of another tenant, and what they got: admitted and refused.
fn visit(stage: &Stage, family: &str, count: usize) -> Result<(u64, u64)> {
    let visit = |from: usize| -> Result<(u64, u64)> {
        let (mut connection, mut got) = (stage.connect()?, (0, 0));
        for first in (from * TOGETHER..count).step_by(TOGETHER * CONNECTIONS) {
            let tenants: Vec<_> =
                (first..count.min(first + TOGETHER)).map(|n| format!("{family}{n}")).collect();
            let token = stage.token(&tenants)?;
            for tenant in &tenants {
                let request = Request::get("/x").header("x-tenant-id", tenant).bearer(&token);
                match connection.call(&request)?.status {
                    200 => got.0 += 1,
                    429 => got.1 += 1,
                    other => anyhow::bail!("`{tenant}` was answered with {other}"),
                }
            }
            // A name that the token does not have: nobody's bucket is touched.
            let forged = Request::get("/x").header("x-tenant-id", "forged").bearer(&token);
            ensure!(connection.call(&forged)?.status == 404, "a forged name got in");
        }
        Ok(got)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|from| scope.spawn(move || visit(from))).collect();
        threads.into_iter().try_fold((0, 0), |sum: (u64, u64), thread| {
            let got = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            Ok((sum.0 + got.0, sum.1 + got.1))
        })
    })
}

#[test]
fn an_exhausted_tenant_stays_so_after_ten_thousand_others_and_invented_names_take_no_memory() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    // One unit in half an hour: nothing flows in while this runs.
    let quotas = json!({"quotas": {"default": "all", "plans": {"all": {"rate": "2/h", "burst": 3}}}});
    let stage = Stage::start(&binary, &guard(&quotas), None)?;
    let acme = || -> Result<u16> { Ok(stage.call("/x", "acme")?.status) };
    assert_eq!([acme()?, acme()?, acme()?, acme()?], [200, 200, 200, 429]);

    assert_eq!(visit(&stage, "other-", 10_000)?, (10_000, 0), "there is room for each of them");
    assert_eq!(acme()?, 429, "after ten thousand others");

    // The shared table has 65,536 buckets; the long run fills it, and more.
    let names = std::env::var("PORTCULLIS_NAMES").map_or(Ok(20_000), |text| text.parse())?;
    let before = stage.envoy.resident_memory()?;
    let (admitted, refused) = visit(&stage, "invented-", names)?;
    let grown = stage.envoy.resident_memory()?.saturating_sub(before);
    println!("{names} names: {admitted} admitted, {refused} refused, {grown} bytes more");
    ensure!(admitted <= 65_536 - 10_001, "{admitted} buckets do not fit");
    ensure!(grown < 8 << 20, "memory grew by {grown} bytes with {names} names");
    assert_eq!(acme()?, 429, "after {names} invented names");
    assert_eq!(stage.stat("quota.crowded")?, refused, "only for want of room was anybody refused");
    assert_eq!(stage.stat("denied.tenant_not_found")?, (10_000 + names as u64).div_ceil(TOGETHER as u64));
    Ok(())
}
