//! Shadow mode in the embedded host: all leaves, at every cut, and all is written down.

use anyhow::{Result, anyhow, ensure};
use portcullis_host::Limits;

use crate::{
    guards,
    hosted::{drive, worker},
    in_shadow,
    leaks::{Expect, cases},
};

#[test]
fn nothing_is_stopped_and_everything_is_reported_at_every_cut() -> Result<()> {
    let (mut worker, process) = worker(&in_shadow(&guards()), Limits::default())?;
    for case in cases() {
        let case = case.in_shadow();
        let size = case.answer.body.len();
        let every = (0..=size.min(100)).map(|at| vec![at]).chain([Vec::new(), (1..size.min(1000)).collect()]);
        for cuts in every {
            let reported = |kind: &str| {
                process.counter(&format!("portcullis.tenant.leak.reported.{kind}")).unwrap_or_default()
            };
            let before = match case.expect {
                Expect::Reported(kind) => reported(kind),
                _ => 0,
            };
            let (status, body, whole) = drive(&mut worker, &case, &cuts)?;
            let same = status == case.answer.status && whole;
            let same = same && (case.method == "HEAD" || body == case.answer.body);
            let at = || format!("{} cut at {cuts:?}", case.name);
            ensure!(same, "{}: {status} {whole} {}", at(), String::from_utf8_lossy(&body));
            if let Expect::Reported(kind) = case.expect {
                ensure!(reported(kind) > before, "{}: `{kind}` was not counted", at());
            }
        }
    }
    let counters = process.metrics();
    let stopped: u64 =
        counters.iter().filter(|(name, _)| name.contains("leak.stopped")).map(|(_, n)| n).sum();
    assert_eq!(stopped, 0);
    let log = process.log();
    let event = log.iter().find(|line| line.text.contains(r#""event":"leak_reported""#));
    let event = event.ok_or_else(|| anyhow!("no event was written down"))?;
    assert!(!log.iter().any(|line| line.text.contains("globex")), "{}", event.text);
    Ok(())
}
