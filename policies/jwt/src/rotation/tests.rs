//! Rotations and how they are judged.

use alloc::{format, string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_crypto::Key;

use super::*;
use crate::jwks::{Limits, Origin};

const TIMES: Times = Times { max_token_ttl: Duration::from_secs(3600), cache_ttl: Duration::from_secs(600) };

/// A key with this number and these other members.
fn key(number: u8, rest: &str) -> String {
    let x = (0..=255_u8)
        .map(|attempt| [[number, 7].as_slice(), &[attempt; 29], &[1]].concat())
        .find(|bytes| Key::ed25519(bytes).is_ok())
        .unwrap();
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{rest}}}"#, URL_SAFE_NO_PAD.encode(x))
}

fn named(kid: &str, number: u8) -> String {
    key(number, &format!(r#","kid":"{kid}""#))
}

fn set(keys: &[String]) -> KeySet {
    let document = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    KeySet::parse(document.as_bytes(), Origin::Remote, &Limits::default()).unwrap()
}

fn judge(old: &[String], new: &[String]) -> Rotation {
    classify(&set(old), &set(new), TIMES)
}

fn codes(rotation: &Rotation) -> Vec<&'static str> {
    rotation.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn the_state_says_which_keys_stayed() {
    let [a, b, c] = [named("a", 1), named("b", 2), named("c", 3)];
    let state = |old: &[&String], new: &[&String]| {
        let owned = |keys: &[&String]| keys.iter().map(|key| (*key).clone()).collect::<Vec<_>>();
        judge(&owned(old), &owned(new)).state
    };
    assert_eq!(state(&[&a, &b], &[&b, &a]), RotationState::NoChange);
    assert_eq!(state(&[&a], &[&a, &b]), RotationState::SafeOverlap);
    assert_eq!(state(&[&a, &b], &[&b, &c]), RotationState::Overlap);
    assert_eq!(state(&[&a, &b], &[&b]), RotationState::Overlap);
    assert_eq!(state(&[&a], &[&b]), RotationState::Disjoint);
    assert!(RotationState::SafeOverlap.is_safe() && !RotationState::Overlap.is_safe());
}

#[test]
fn a_safe_rotation_says_how_long_the_overlap_must_last() {
    let rotation = judge(&[named("a", 1)], &[named("a", 1), named("b", 2)]);
    assert_eq!(codes(&rotation), ["PUBLISH_BEFORE_USE"]);
    assert_eq!(rotation.publish_before_use, TIMES.cache_ttl);
    assert_eq!(rotation.keep_after_use, TIMES.max_token_ttl);
    assert_eq!(rotation.overlap, Duration::from_secs(4200));
    assert!(rotation.findings[0].message.starts_with("`b` must not sign before being published for 600s"));
}

#[test]
fn a_disjoint_rotation_says_who_is_refused_and_for_how_long() {
    let rotation = judge(&[named("a", 1)], &[named("b", 2)]);
    assert_eq!(codes(&rotation), ["NO_OVERLAP", "REMOVED_TOO_EARLY", "PUBLISH_BEFORE_USE"]);
    assert_eq!(rotation.findings[0].refused_for, Some(TIMES.max_token_ttl));
    assert_eq!(rotation.findings[1].kid.as_deref(), Some("a"));
    assert!(rotation.findings[0].message.contains("publish both for 4200s"));
}

#[test]
fn the_same_name_with_another_key_is_found() {
    let rotation = judge(&[named("a", 1), named("b", 2)], &[named("a", 9), named("b", 2)]);
    assert_eq!(rotation.state, RotationState::Overlap);
    let reused = rotation.findings.iter().find(|finding| finding.code == FindingCode::KidReused).unwrap();
    assert_eq!((reused.kid.as_deref(), reused.refused_for), (Some("a"), Some(TIMES.cache_ttl)));
    assert!(!codes(&judge(&[named("a", 1)], &[named("a", 1), named("a", 2)])).contains(&"KID_REUSED"));
}

#[test]
fn a_key_whose_alg_changes_is_another_key() {
    let rotation = judge(&[key(1, r#","kid":"a""#)], &[key(1, r#","kid":"a","alg":"EdDSA""#)]);
    assert_eq!(rotation.state, RotationState::Disjoint);
}

#[test]
fn keys_that_peers_would_choke_on_are_named() {
    let small =
        format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}","kid":"s"}}"#, URL_SAFE_NO_PAD.encode([0x81; 128]));
    let rsa =
        format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}","kid":"r"}}"#, URL_SAFE_NO_PAD.encode([0x83; 256]));
    for (bad, code) in [
        (r#"{"kty":"AKP","kid":"x"}"#.into(), "UNKNOWN_TYPE"),
        (key(5, r#","crv2":1,"alg":"ES256K""#), "UNKNOWN_TYPE"),
        (named("good", 5), "DUPLICATE_KID"),
        (named("good", 1), "DUPLICATE_KID"),
        (key(5, r#","kid":"p","d":"AA""#), "PRIVATE_MEMBERS"),
        (r#"{"kty":"oct","k":"c2VjcmV0","kid":"o"}"#.into(), "SHARED_SECRET"),
        (small, "SMALL_KEY"),
        (key(5, ""), "MISSING_KID"),
        (key(5, r#","kid":"e","use":"enc""#), "UNUSABLE_KEY"),
        (rsa, "MISSING_ALG"),
    ] {
        let both = [named("good", 1), bad];
        let found = codes(&judge(&both, &both));
        // Once for each of the two sets.
        assert_eq!(found, [code, code], "{both:?}");
    }
}

#[test]
fn the_worst_comes_first_and_codes_are_distinct() {
    let rotation = judge(&[named("a", 1), key(2, "")], &[named("a", 3)]);
    let severities: Vec<_> = rotation.findings.iter().map(|finding| finding.code.severity()).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    let mut names: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FindingCode::ALL.len());
}
