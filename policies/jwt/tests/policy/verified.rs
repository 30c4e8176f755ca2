//! A token whose signature is remembered is judged like any other.

use std::cell::Cell;
use std::hash::RandomState;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::{Request, UnixTime};
use portcullis_crypto::{Algorithm, Key, Software, Verifier, VerifyError};
use portcullis_jwt::{
    KeySource,
    jwks::{KeySet, Limits, Origin},
    verified::Verified,
};

use crate::common::{EVERYTHING, NOW, NoKeys, claims, configuration, headers, outcome, policy, token};

fn memory() -> Verified<RandomState> {
    Verified::new(1 << 20, RandomState::new())
}

/// The crates' answer, and how often it was asked for.
#[derive(Default)]
struct Counting(Cell<usize>);

impl Verifier for Counting {
    fn verify(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        self.0.set(self.0.get() + 1);
        Software.verify(key, algorithm, message, signature)
    }
}

#[test]
fn a_remembered_token_expires_and_is_held_to_the_rule_of_each_request() {
    let policy = policy(&configuration(
        "",
        r#""rules": [
            {"path": {"prefix": "/open"}, "require": {"any": ["main"]}},
            {"path": {"prefix": "/read"}, "require": {"any": ["main"]}, "scopes": ["read"]},
            {"path": {"prefix": "/write"}, "require": {"any": ["main"]}, "scopes": ["write"]}]"#,
    ));
    let (memory, counting) = (memory(), Counting::default());
    let bearer = format!("Bearer {}", token(&claims(r#","scope":"read""#)));
    let ask = |path: &str, now: i64| {
        let pairs =
            headers(&[(":method", "GET"), (":path", path), (":authority", "a"), ("authorization", &bearer)]);
        let (request, now) = (Request::new(&pairs), UnixTime::from_secs(now));
        outcome(&policy.decide_remembering(&request, &NoKeys, &counting, &memory, now))
    };
    for _ in 0..3 {
        assert_eq!(ask("/open", NOW), "PERMIT");
        assert_eq!(ask("/read", NOW), "PERMIT");
    }
    assert_eq!(ask("/write", NOW), "INSUFFICIENT_SCOPE");
    assert_eq!(ask("/else", NOW), "NO_RULE_MATCHED");
    // `exp` is 300 seconds away, and the skew 60.
    assert_eq!(ask("/open", NOW + 359), "PERMIT");
    assert_eq!(ask("/open", NOW + 360), "TOKEN_EXPIRED");
    // Twice: of a token's first time only its hash is left.
    assert_eq!(counting.0.get(), 2);
}

#[test]
fn any_byte_changed_in_a_remembered_token_is_a_refusal() {
    let policy = policy(&configuration("", EVERYTHING));
    let memory = memory();
    let good = token(&claims(""));
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        let pairs =
            headers(&[(":method", "GET"), (":path", "/"), (":authority", "a"), ("authorization", &bearer)]);
        let (request, now) = (Request::new(&pairs), UnixTime::from_secs(NOW));
        outcome(&policy.decide_remembering(&request, &NoKeys, &Software, &memory, now))
    };
    for _ in 0..3 {
        assert_eq!(ask(&good), "PERMIT");
    }
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_ne!(ask(&String::from_utf8(changed).unwrap()), "PERMIT", "byte {at}");
    }
    assert_eq!(ask(&good), "PERMIT");
}

#[test]
fn a_token_that_rules_refuse_is_remembered_as_well() {
    let rules = r#""rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}, "scopes": ["write"]}]"#;
    let policy = policy(&configuration("", rules));
    let (memory, counting) = (memory(), Counting::default());
    let bearer = format!("Bearer {}", token(&claims("")));
    let pairs =
        headers(&[(":method", "GET"), (":path", "/"), (":authority", "a"), ("authorization", &bearer)]);
    for asked in [1, 2, 2, 2] {
        let (request, now) = (Request::new(&pairs), UnixTime::from_secs(NOW));
        let decision = policy.decide_remembering(&request, &NoKeys, &counting, &memory, now);
        assert_eq!((outcome(&decision), counting.0.get()), ("INSUFFICIENT_SCOPE", asked));
    }
}

/// One issuer's set, which changes.
struct Published(KeySet);

impl KeySource for Published {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        Some(&self.0)
    }
}

// The public keys of RFC 7515 appendix A.3 and RFC 7517 appendix A.1.
const ONE: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
const OTHER: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;

fn published(keys: &str) -> Published {
    let document = format!(r#"{{"keys":[{keys}]}}"#);
    Published(KeySet::parse(document.as_bytes(), Origin::Remote, &Limits::default()).unwrap())
}

/// Stands for arithmetic with the key that signed.
struct SignedWith(Key, Cell<usize>);

impl Verifier for SignedWith {
    fn verify(&self, key: &Key, _: Algorithm, _: &[u8], _: &[u8]) -> Result<(), VerifyError> {
        self.1.set(self.1.get() + 1);
        if key.thumbprint() == self.0.thumbprint() { Ok(()) } else { Err(VerifyError::Mismatch) }
    }
}

#[test]
fn what_a_key_verified_is_worth_nothing_once_the_set_is_without_it() {
    let policy = policy(
        r#"{"issuers": [{"name": "main", "issuer": "https://issuer", "audiences": ["api"],
            "algorithms": ["ES256"], "jwks": {"remote": {"uri": "https://issuer/jwks", "cluster": "idp"}}}],
            "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}]}"#,
    );
    let own = |keys: &str| published(&format!(r#"{{"kid":"k",{keys}}}"#));
    let signed_with = SignedWith(own(ONE).0.keys()[0].key().clone(), Cell::default());
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims(""));
    let bearer = format!("Bearer {header}.{payload}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    let memory = memory();
    let ask = |set: &Published| {
        let pairs =
            headers(&[(":method", "GET"), (":path", "/"), (":authority", "a"), ("authorization", &bearer)]);
        let (request, now) = (Request::new(&pairs), UnixTime::from_secs(NOW));
        let decision = policy.decide_remembering(&request, set, &signed_with, &memory, now);
        (outcome(&decision), signed_with.1.get())
    };
    for asked in [1, 2, 2] {
        assert_eq!(ask(&own(ONE)), ("PERMIT", asked));
    }
    // Removed; replaced under its name; there under another name; there for another algorithm.
    let removed = published(&format!(r#"{{"kid":"new",{OTHER}}}"#));
    assert_eq!(ask(&removed), ("KID_NOT_FOUND", 2));
    assert_eq!(ask(&own(OTHER)), ("SIGNATURE_INVALID", 3));
    let renamed = published(&format!(r#"{{"kid":"new",{ONE}}}"#));
    assert_eq!(ask(&renamed), ("KID_NOT_FOUND", 3));
    let restricted = published(&format!(r#"{{"kid":"k","use":"enc",{ONE}}},{{"kid":"new",{OTHER}}}"#));
    assert_eq!(ask(&restricted), ("KEY_UNUSABLE", 3));
    assert_eq!(ask(&own(ONE)), ("PERMIT", 3));
}

/// Whatever a memory knows, the whole answer is the one without it: headers, claims, denials.
#[test]
fn a_memory_changes_no_answer() {
    let policy = policy(&configuration(
        r#", "forward": {"headers": [{"claim": "who", "header": "x-who"}, {"claim": "n", "header": "x-n"}],
            "payload_header": "x-payload"},
            "claims": [{"claim": "n", "at_most": 2}]"#,
        r#""rules": [
            {"path": {"prefix": "/read"}, "require": {"any": ["main"]}, "scopes": ["read"]},
            {"path": {"template": "/of/{who}"}, "require": {"any": ["main"]},
                "claims": [{"claim": "who", "equals_request": {"path_variable": "who"}}]},
            {"path": {"prefix": "/"}, "require": {"optional": ["main"]}}]"#,
    ));
    let memory = memory();
    let tokens: Vec<String> = [
        r#","who":"a","n":1"#,
        r#","who":"b","n":2.0,"scope":"read x""#,
        r#","who":"\u0061","n":3"#,
        r#","who":"b","deep":[{"a":[null,true,-1e3]}]"#,
    ]
    .iter()
    .map(|more| token(&claims(more)))
    .collect();
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..4 {
        for token in &tokens {
            for path in ["/", "/read", "/of/a", "/of/b"] {
                for now in [NOW, NOW + 400] {
                    let bearer = format!("Bearer {token}");
                    let pairs = headers(&[
                        (":method", "GET"),
                        (":path", path),
                        (":authority", "a"),
                        ("x-who", "forged"),
                        ("authorization", &bearer),
                    ]);
                    let (request, now) = (Request::new(&pairs), UnixTime::from_secs(now));
                    let plain = policy.decide(&request, &NoKeys, &Software, now);
                    let remembering = policy.decide_remembering(&request, &NoKeys, &Software, &memory, now);
                    assert_eq!(format!("{remembering:?}"), format!("{plain:?}"), "{path} {token}");
                    answers.insert(outcome(&plain));
                }
            }
        }
    }
    assert!(answers.len() >= 4, "{answers:?}");
    let counts = memory.take_counts();
    assert!(counts.remembered > 20 && counts.verified < 10, "{counts:?}");
}
