//! An examination makes the checks of a decision, and all of them.

use portcullis_core::UnixTime;
use portcullis_crypto::Software;
use portcullis_jwt::{Check, Decision, Examination, Outcome, Policy, Request};

use crate::common::{EVERYTHING, NOW, NoKeys, claims, configuration, headers, policy, token, token_with};

fn examine(policy: &Policy, path: &str, token: &str) -> Examination {
    let authorization = format!("Bearer {token}");
    let headers = headers(&[
        (":method", "GET"),
        (":path", path),
        (":authority", "a"),
        ("authorization", &authorization),
        ("x-sub", "mallory"),
    ]);
    let (request, now) = (Request::new(&headers), UnixTime::from_secs(NOW));
    let examination = policy.examine(&request, &NoKeys, &Software, now);
    match policy.decide(&request, &NoKeys, &Software, now) {
        Decision::Permit(permit) => assert_eq!(examination.permit(), Some(&permit)),
        Decision::Deny(denial) => {
            assert_eq!(examination.permit(), None);
            assert_eq!(examination.first_failure().map(|(_, failure)| failure), Some(&denial));
        }
        Decision::Need(need) => panic!("{need:?}"),
    }
    examination
}

fn failed(examination: &Examination) -> Vec<(&'static str, &'static str)> {
    examination.failures().map(|(check, denial)| (check.as_str(), denial.code().as_str())).collect()
}

fn not_reached(examination: &Examination) -> Vec<(&'static str, &'static str)> {
    let findings = examination.findings().iter();
    findings
        .filter_map(|finding| match finding.outcome {
            Outcome::NotReached { failed } => Some((finding.check.as_str(), failed.as_str())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_good_token_passes_every_check_in_the_order_of_the_list() {
    let policy = policy(&configuration("", EVERYTHING));
    let examination = examine(&policy, "/", &token(&claims("")));
    let checks: Vec<Check> = examination.findings().iter().map(|finding| finding.check).collect();
    assert_eq!(checks, Check::ALL);
    assert!(examination.findings().iter().all(|finding| finding.outcome == Outcome::Passed));
    assert_eq!(examination.rule(), Some(0));
    let keys: Vec<_> =
        examination.keys().iter().map(|key| (key.issuer.as_str(), key.kid.as_deref())).collect();
    assert_eq!(keys, [("main", Some("one"))]);
}

#[test]
fn every_failure_of_a_token_is_found_not_only_the_first() {
    let policy = policy(&configuration(
        r#", "types": ["at+jwt"], "max_lifetime": "1m", "required_claims": ["jti"],
           "claims": [{"claim": "plan", "one_of": ["gold"]}]"#,
        r#""rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}, "scopes": ["read"]}]"#,
    ));
    let bad = claims(r#","plan":"lead","scope":"write""#).replace("\"api\"", "\"billing\"");
    let good = token_with(r#"{"alg":"HS256","kid":"one","typ":"JWT","crit":["x"]}"#, &bad);
    let forged = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'E' } else { 'A' });
    let examination = examine(&policy, "/", &forged);
    assert_eq!(
        failed(&examination),
        [
            ("extensions", "CRITICAL_HEADER_UNKNOWN"),
            ("type", "TYPE_MISMATCH"),
            ("signature", "SIGNATURE_INVALID"),
            ("audience", "AUDIENCE_MISMATCH"),
            ("lifetime", "LIFETIME_TOO_LONG"),
            ("required_claims", "MISSING_CLAIM"),
            ("claim_values", "CLAIM_MISMATCH"),
            ("scopes", "INSUFFICIENT_SCOPE"),
        ]
    );
    assert_eq!(not_reached(&examination), []);
    assert!(examination.keys().is_empty());
}

#[test]
fn what_depends_on_a_failed_check_is_not_reached_and_says_on_which() {
    let policy = policy(&configuration("", EVERYTHING));
    let expired = claims("").replace(&(NOW + 300).to_string(), "0");
    let examination = examine(&policy, "/", &token_with(r#"{"alg":"none","kid":"one"}"#, &expired));
    assert_eq!(failed(&examination), [("algorithm", "ALGORITHM_NOT_ALLOWED"), ("expiry", "TOKEN_EXPIRED")]);
    assert_eq!(not_reached(&examination), [("key", "algorithm"), ("signature", "algorithm")]);
    let examination = examine(&policy, "/", "a.b");
    assert_eq!(failed(&examination), [("form", "MALFORMED_TOKEN")]);
    assert_eq!(not_reached(&examination).len(), Check::ALL.len() - 5);
    let policy = crate::common::policy(&configuration(
        "",
        r#""rules": [{"path": {"prefix": "/a"}, "require": {"any": ["main"]}}]"#,
    ));
    let examination = examine(&policy, "/a/%2e", &token(&claims("")));
    assert_eq!(failed(&examination), [("request", "REQUEST_AMBIGUOUS")]);
    assert_eq!(not_reached(&examination).len(), Check::ALL.len() - 1);
}

#[test]
fn each_token_that_a_rule_wants_is_examined() {
    let other = configuration(r#", "from": {"headers": [{"name": "x-other"}]}"#, "");
    let start = other.find('[').unwrap() + 1;
    let issuer = other[start..other.rfind("],").unwrap()]
        .replace(r#""main""#, r#""other""#)
        .replace("https://issuer", "https://other");
    let document =
        configuration("", r#""rules": [{"path": {"prefix": "/"}, "require": {"all": ["main", "other"]}}]"#)
            .replacen("\"issuers\": [", &format!("\"issuers\": [{issuer}, "), 1);
    let examination = examine(&policy(&document), "/", &token(&claims("").replace("api", "x")));
    let of: Vec<_> = examination
        .findings()
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::Failed(_)))
        .map(|finding| (finding.issuer.as_deref(), finding.check))
        .collect();
    assert_eq!(of, [(Some("main"), Check::Audience), (Some("other"), Check::Token)]);
}
