//! Every host call refused, one at a time and for good: no trap, nobody is asked without a tenant or
//! uncounted, and the next request is not harmed.

use std::time::Duration;

use anyhow::Result;
use portcullis_host::{Status, When};
use portcullis_host_tests::model::Speed;
use serde_json::json;

use crate::stage::{Stage, body, configuration};

const STATUSES: [Status; 3] = [Status::InternalFailure, Status::NotFound, Status::CasMismatch];

fn stage() -> Result<Stage> {
    let change = json!({"limits": {"questions": 4}, "allowance": {"questions": 1, "per": "1h", "burst": 4}});
    Stage::new(&configuration(&change), Speed::default())
}

#[test]
fn a_refused_call_lets_no_question_through_uncounted() -> Result<()> {
    let asked = body(&["a", "[[status 500]]"], &json!({"deadline": "2s"}));
    let mut first = stage()?;
    let before = first.process.host_calls();
    let (reply, _) = first.ask("acme", &asked)?;
    assert_eq!(reply.status(), 200);
    let made: Vec<(String, u64)> = first
        .process
        .host_calls()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.saturating_sub(before.get(name).copied().unwrap_or(0))))
        .filter(|(_, count)| *count > 0)
        .collect();
    let mut tried = 0;
    for (call, count) in made {
        // These two are the SDK's as well: SECURITY.md says what that means.
        let statuses = match call.as_str() {
            "proxy_set_effective_context" => continue,
            "proxy_http_call" => &STATUSES[..1],
            _ => &STATUSES[..],
        };
        for nth in 1..=count.min(12) {
            for status in statuses.iter().copied() {
                let what = format!("{call} refused with {status:?} at call {nth}");
                let mut stage = stage()?;
                stage.process.refuse(&call, status, When::Nth(nth));
                let stream = stage.begin("acme", &asked);
                stage.run_for(Duration::from_secs(90));
                assert!(stage.worker.trap(0).is_none(), "trapped: {what}");
                assert!(stage.simulation.calls().len() <= 2, "asked more than once: {what}");
                stage.worker.close(stream);
                stage.process.refuse_nothing();
                stage.run_for(Duration::from_secs(90));
                // Of four questions two were charged, or none: never are more than four asked.
                let mut answered = 0;
                for _ in 0..3 {
                    let (reply, _) = stage.ask("acme", &asked)?;
                    answered += usize::from(reply.status() == 200);
                }
                assert!((1..=2).contains(&answered), "{answered} later requests were answered: {what}");
                assert!(stage.simulation.calls().len() <= 4 + 2, "uncounted: {what}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 60, "only {tried} refusals were tried");
    Ok(())
}
