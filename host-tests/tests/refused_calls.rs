//! Every host call refused, one at a time: the module must not trap, must not let a bad request
//! through, and must not let a good one through half-changed.

use anyhow::{Result, ensure};
use portcullis_host::{Status, When};
use portcullis_host_tests::subject::{ArithmeticIn, Hosted, Judgement, judgement};
use portcullis_issuer::{Seed, Setup, attacks::Request};

const NOW: i64 = 1_767_225_600;
const STATUSES: [Status; 4] =
    [Status::InternalFailure, Status::BadArgument, Status::NotFound, Status::Unimplemented];

/// Requests that must not pass, and one that may, with a header that it pretends to have.
fn requests(setup: &Setup) -> Result<(Vec<Request>, Request)> {
    let good = setup.token().compact(&setup.keys.rsa)?;
    let forged = setup.token().compact(&setup.keys.mallory_rsa.renamed("rsa-1"))?;
    let expired = setup.token().claim("exp", NOW - 3600).compact(&setup.keys.ec)?;
    let spoofed = |token: &str| Request::get().header("x-sub", "mallory").bearer(token);
    let misdirected = setup.token().claim("aud", "reporting").compact(&setup.keys.rsa)?;
    let bad = vec![
        spoofed(&forged),
        spoofed(&expired),
        spoofed(&misdirected),
        Request::get().header("x-sub", "mallory"),
    ];
    Ok((bad, spoofed(&good)))
}

fn load(setup: &Setup) -> Result<Hosted> {
    Hosted::load(portcullis_modules::JWT_AUTH.wasm, &setup.jwt_auth_config(), NOW, ArithmeticIn::Host)
}

/// Names of the host calls that `request` makes, with how often.
fn calls(setup: &Setup, request: &Request) -> Result<Vec<(String, u64)>> {
    let mut subject = load(setup)?;
    subject.process().start_recording();
    let before = subject.process().host_calls();
    // Only the calls that it makes are of interest.
    let _ = subject.outcome(request);
    let after = subject.process().host_calls();
    let made = after.into_iter().map(|(name, count)| {
        let earlier = before.get(name).copied().unwrap_or_default();
        (name.to_string(), count - earlier)
    });
    Ok(made.filter(|(_, count)| *count > 0).collect())
}

#[test]
fn a_refused_call_never_traps_and_never_lets_a_bad_request_through() -> Result<()> {
    let setup = Setup::new(&Seed::new([3; 32]), "https://issuer", "api", NOW)?;
    let (bad, good) = requests(&setup)?;
    let mut tried = 0;
    for request in bad.iter().chain([&good]) {
        let is_good = *request == good;
        for (call, count) in calls(&setup, request)? {
            for status in STATUSES {
                for nth in 1..=count {
                    let mut subject = load(&setup)?;
                    subject.process().refuse(&call, status, When::Nth(nth));
                    let outcome = subject.outcome(request);
                    let what = format!("{call} refused with {status:?} at call {nth} of {request:?}");
                    ensure!(outcome.trap().is_none(), "trapped: {what}");
                    check(&judgement(&outcome), is_good, &what)?;
                    // The next request is not harmed.
                    subject.process().refuse_nothing();
                    let next = judgement(&subject.outcome(&good))?;
                    ensure!(next.upstream("x-sub") == Some(vec!["alice".into()]), "the next request: {what}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 100, "only {tried} refusals were tried");
    Ok(())
}

fn check(judgement: &Result<Judgement>, is_good: bool, what: &str) -> Result<()> {
    // Neither forwarded nor answered is paused: the proxy's own timeout ends it.
    let Ok(forwarded @ Judgement::Forwarded(_)) = judgement else { return Ok(()) };
    ensure!(is_good, "a bad request passed: {what}");
    ensure!(forwarded.upstream("x-sub") == Some(vec!["alice".into()]), "half-changed: {forwarded:?}: {what}");
    ensure!(forwarded.upstream("authorization") == Some(Vec::new()), "the token stayed: {what}");
    Ok(())
}

#[test]
fn a_refused_call_while_configuring_refuses_the_configuration_or_changes_nothing() -> Result<()> {
    let setup = Setup::new(&Seed::new([3; 32]), "https://issuer", "api", NOW)?;
    let (bad, good) = requests(&setup)?;
    for call in portcullis_host::Process::host_call_names() {
        for nth in 1..=3 {
            let loaded = Hosted::load_with(
                portcullis_modules::JWT_AUTH.wasm,
                &setup.jwt_auth_config(),
                NOW,
                ArithmeticIn::Host,
                |process| process.refuse(call, Status::InternalFailure, When::Nth(nth)),
            );
            let mut subject = match loaded {
                Ok(subject) => subject,
                Err(error) => {
                    ensure!(!format!("{error:#}").contains("trap"), "{call} {nth}: {error:#}");
                    continue;
                }
            };
            subject.process().refuse_nothing();
            for request in &bad {
                let judgement = judgement(&subject.outcome(request));
                ensure!(
                    !matches!(judgement, Ok(Judgement::Forwarded(_))),
                    "{call} {nth}: a bad request passed"
                );
            }
            let next = judgement(&subject.outcome(&good))?;
            ensure!(next.upstream("x-sub") == Some(vec!["alice".into()]), "{call} {nth}: {next:?}");
        }
    }
    Ok(())
}
