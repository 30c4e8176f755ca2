//! An examination of a request and the decision about it are one list of checks.

use anyhow::{Result, anyhow};
use portcullis_core::UnixTime;
use portcullis_crypto::Software;
use portcullis_issuer::{Seed, Setup, catalogue};
use portcullis_jwt::{Decision, HeaderPair, KeySource, Outcome, Policy, Request, jwks::KeySet};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

struct NoRemoteKeys;

impl KeySource for NoRemoteKeys {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}

#[test]
fn the_first_failed_check_of_every_attack_is_the_answer_of_the_decision() -> Result<()> {
    let mut setup = Setup::new(&Seed::new([7; 32]), "https://issuer", "api", NOW)?;
    setup.cookie = Some("session".into());
    setup.query = Some("access_token".into());
    let plain = setup.jwt_auth_config();
    let mut demanding = plain.clone();
    demanding["issuers"][0]["required_claims"] = json!(["tenant"]);
    demanding["rules"][1]["scopes"] = json!(["orders"]);
    assert!(compare(&setup, &plain)? < 10);
    // Nearly every token lacks what this one asks for, beside what else is wrong with it.
    assert!(compare(&setup, &demanding)? > 80);
    Ok(())
}

/// Compares an examination with the decision for every case; how many fail more than one check.
fn compare(setup: &Setup, configuration: &Value) -> Result<usize> {
    let document = configuration.to_string();
    let policy = Policy::from_json(document.as_bytes()).map_err(|error| anyhow!("{error}"))?;
    let now = UnixTime::from_secs(NOW);
    let mut several = 0;
    for case in catalogue(setup)? {
        let pseudo = [(":method", case.request.method.as_str()), (":path", &case.request.path)];
        let pseudo = pseudo.into_iter().chain([(":authority", "gateway"), (":scheme", "https")]);
        let headers: Vec<HeaderPair<'_>> = pseudo
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .chain(case.request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
            .collect();
        let request = Request::new(&headers);
        let examination = policy.examine(&request, &NoRemoteKeys, &Software, now);
        let first = examination.first_failure().map(|(_, denial)| denial);
        match policy.decide(&request, &NoRemoteKeys, &Software, now) {
            Decision::Permit(permit) => {
                assert_eq!((examination.permit(), first), (Some(&permit), None), "{}", case.name);
            }
            Decision::Deny(denial) => {
                assert_eq!((examination.permit(), first), (None, Some(&denial)), "{}", case.name);
            }
            Decision::Need(need) => panic!("{}: {need:?}", case.name),
        }
        for finding in examination.findings() {
            if let Outcome::Failed(denial) = &finding.outcome {
                assert!(finding.check.codes().contains(&denial.code()), "{}: {finding:?}", case.name);
            }
        }
        let in_order = examination.findings().is_sorted_by(|one, next| one.check < next.check);
        assert!(in_order, "{}", case.name);
        several += usize::from(examination.failures().count() > 1);
    }
    Ok(several)
}
