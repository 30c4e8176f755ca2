//! Tokens signed with HMAC, so that a decision can be tested without another crate.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::UnixTime;
use portcullis_crypto::{Software, hmac_sha256};
use portcullis_jwt::{Decision, HeaderPair, KeySource, Policy, Request, jwks::KeySet};

/// 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600;
pub const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// No remote key set has arrived.
pub struct NoKeys;

impl KeySource for NoKeys {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}

/// The configuration of an issuer `main` with the members of `more` added, and `rest` of the document.
pub fn configuration(more: &str, rest: &str) -> String {
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    format!(
        r#"{{"issuers": [{{"name": "main", "issuer": "https://issuer", "audiences": ["api"],
            "algorithms": ["HS256"], "jwks": {{"inline": {{"keys": [
                {{"kty": "oct", "kid": "one", "alg": "HS256", "k": "{secret}"}}]}}}} {more}}}],
            {rest}}}"#
    )
}

pub const EVERYTHING: &str = r#""rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}]"#;

pub fn token(claims: &str) -> String {
    token_with(r#"{"alg":"HS256","kid":"one"}"#, claims)
}

pub fn token_with(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(SECRET, &[input.as_bytes()]));
    format!("{input}.{signature}")
}

/// Good claims with `more` members added.
pub fn claims(more: &str) -> String {
    format!(r#"{{"iss":"https://issuer","aud":"api","sub":"alice","exp":{}{more}}}"#, NOW + 300)
}

pub fn headers<'p>(pairs: &[(&'p str, &'p str)]) -> Vec<HeaderPair<'p>> {
    pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

pub fn decide(policy: &Policy, pairs: &[(&str, &str)]) -> Decision {
    let headers = headers(pairs);
    policy.decide(&Request::new(&headers), &NoKeys, &Software, UnixTime::from_secs(NOW))
}

/// The code of the answer to GET `path` with `token`, or `PERMIT`.
pub fn code(policy: &Policy, path: &str, token: &str) -> &'static str {
    let authorization = format!("Bearer {token}");
    outcome(&decide(
        policy,
        &[(":method", "GET"), (":path", path), (":authority", "a"), ("authorization", &authorization)],
    ))
}

pub fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Decision::Permit(_) => "PERMIT",
        Decision::Deny(denial) => denial.code().as_str(),
        Decision::Need(need) => need.otherwise.code().as_str(),
    }
}

pub fn policy(document: &str) -> Policy {
    Policy::from_json(document.as_bytes()).unwrap()
}
