//! Every host call refused, one at a time: no trap, no bad request through, no good one
//! half-changed, and the next request is not harmed.

use anyhow::{Result, ensure};
use portcullis_host::{Status, When};
use portcullis_host_tests::{
    subject::Judgement,
    tenant::{Case, Class, Expect, Hosted, World, judgement},
};

use crate::{FIXED, MODULES, corpus, objection, ordinary};

const STATUSES: [Status; 3] = [Status::InternalFailure, Status::NotFound, Status::Unimplemented];

/// How often `case` makes each host call.
fn calls(world: &World, case: &Case) -> Result<Vec<(String, u64)>> {
    let mut hosted = Hosted::load(world, MODULES, FIXED)?;
    let before = hosted.process().host_calls();
    // Only the calls that it makes are of interest.
    let _ = hosted.outcome(case, &[]);
    let made = hosted.process().host_calls().into_iter().map(|(name, count)| {
        let earlier = before.get(name).copied().unwrap_or_default();
        (name.to_string(), count.saturating_sub(earlier))
    });
    Ok(made.filter(|(_, count)| *count > 0).collect())
}

#[test]
fn a_refused_call_never_lets_a_bad_request_through() -> Result<()> {
    let mut tried = 0;
    for (world, cases) in corpus(FIXED)? {
        let good = ordinary(&cases);
        let bad = cases.iter().filter(|case| {
            matches!(case.expect, Expect::Refuse(_)) && case.claims.is_some() && case.class == Class::Identity
        });
        for case in bad.take(1).chain([&good]) {
            let is_good = case.name == good.name;
            for (call, count) in calls(&world, case)? {
                for (nth, status) in (1..=count).flat_map(|nth| STATUSES.map(|status| (nth, status))) {
                    let mut hosted = Hosted::load(&world, MODULES, FIXED)?;
                    hosted.process().refuse(&call, status, When::Nth(nth));
                    let (outcome, _) = hosted.outcome(case, &[]);
                    let what = format!("{call} refused with {status:?} at call {nth} of {}", case.name);
                    ensure!(outcome.trap().is_none(), "trapped: {what}");
                    // Neither forwarded nor answered is paused: the proxy's own timeout ends it.
                    if let Ok(forwarded @ Judgement::Forwarded(_)) = judgement(&outcome) {
                        ensure!(is_good, "a bad request passed: {what}");
                        let objection = objection(case, &case.expect, &forwarded);
                        ensure!(objection.is_none(), "half-changed: {objection:?}: {what}");
                    }
                    hosted.process().refuse_nothing();
                    let objection = objection(&good, &good.expect, &hosted.judge(&good)?);
                    ensure!(objection.is_none(), "the next request: {objection:?}: {what}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 100, "only {tried} refusals were tried");
    Ok(())
}
