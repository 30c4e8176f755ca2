//! The crates against Wycheproof's raw signature vectors: every valid one is accepted, every invalid
//! one refused, and so is every one that is valid elsewhere but not in a JWS.

mod vectors;

use portcullis_crypto::{Algorithm, Software};
use vectors::{Expected, cases};

// The counts are those of the sets, so that a set that is empty or skipped fails.
fn check(algorithm: Algorithm, valid: usize, invalid: usize, waived: usize) {
    let mut counts = (0, 0, 0);
    for case in cases(algorithm) {
        let accepted = case.is_accepted_by(&Software);
        assert_eq!(accepted, case.expected == Expected::Valid, "{} {:?}", case.name, case.expected);
        match case.expected {
            Expected::Valid => counts.0 += 1,
            Expected::Invalid => counts.1 += 1,
            Expected::Waived(_) => counts.2 += 1,
        }
    }
    assert_eq!(counts, (valid, invalid, waived), "{algorithm}");
}

#[test]
fn rs256_agrees() {
    check(Algorithm::Rs256, 31, 999, 4);
}

#[test]
fn rs384_agrees() {
    check(Algorithm::Rs384, 28, 1003, 4);
}

#[test]
fn rs512_agrees() {
    check(Algorithm::Rs512, 30, 1003, 4);
}

#[test]
fn ps256_agrees() {
    check(Algorithm::Ps256, 191, 221, 153);
}

#[test]
fn ps384_agrees() {
    check(Algorithm::Ps384, 191, 92, 29);
}

#[test]
fn ps512_agrees() {
    check(Algorithm::Ps512, 133, 92, 161);
}

#[test]
fn es256_agrees() {
    check(Algorithm::Es256, 173, 89, 0);
}

#[test]
fn es384_agrees() {
    check(Algorithm::Es384, 193, 87, 0);
}

#[test]
fn es512_agrees() {
    check(Algorithm::Es512, 231, 87, 0);
}

#[test]
fn eddsa_agrees() {
    check(Algorithm::EdDsa, 88, 63, 0);
}

#[test]
fn hs256_agrees() {
    check(Algorithm::Hs256, 30, 108, 36);
}

#[test]
fn hs384_agrees() {
    check(Algorithm::Hs384, 30, 108, 36);
}

#[test]
fn hs512_agrees() {
    check(Algorithm::Hs512, 30, 108, 36);
}

#[test]
fn a_key_is_written_for_the_host_as_wycheproof_writes_it() {
    for algorithm in Algorithm::ALL {
        for case in cases(*algorithm) {
            if let Ok(key) = &case.key {
                assert_eq!(key.spki_der(), case.spki.as_deref(), "{}", case.name);
            }
        }
    }
}
