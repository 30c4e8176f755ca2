//! The seam: what every back end refuses before any arithmetic, what a changed bit does, and the
//! form of ECDSA signatures for hosts. Whether the arithmetic is right is left to the vectors.

mod vectors;

use portcullis_crypto::{
    Algorithm, Curve, Hash, Key, KeyType, Software, Verifier, VerifyError, check_shape, ecdsa_der,
    hmac_sha256,
};
use vectors::{Case, Expected, cases};

// A valid signature over a message that is not empty.
fn valid(algorithm: Algorithm) -> Case {
    let found = cases(algorithm)
        .into_iter()
        .find(|case| case.expected == Expected::Valid && !case.message.is_empty())
        .unwrap();
    assert!(found.is_accepted_by(&Software), "{}", found.name);
    found
}

fn key_types() -> Vec<Key> {
    use Algorithm::{EdDsa, Es256, Es384, Es512, Hs512, Rs256};
    [Rs256, Es256, Es384, Es512, EdDsa, Hs512].map(|algorithm| valid(algorithm).key.unwrap()).to_vec()
}

fn verify(case: &Case) -> Result<(), VerifyError> {
    Software.verify(case.key.as_ref().unwrap(), case.algorithm, &case.message, &case.signature)
}

#[test]
fn a_key_is_for_the_algorithms_of_its_type_alone() {
    for algorithm in Algorithm::ALL {
        let case = valid(*algorithm);
        for key in key_types() {
            let answer = Software.verify(&key, *algorithm, &case.message, &case.signature);
            let refused = answer == Err(VerifyError::AlgorithmNotForKey);
            assert_eq!(refused, key.key_type() != algorithm.key_type(), "{key:?} {algorithm}");
            assert_eq!(refused, !key.accepts(*algorithm), "{key:?} {algorithm}");
            let shape = check_shape(&key, *algorithm, &case.signature);
            assert_eq!(refused, shape == Err(VerifyError::AlgorithmNotForKey), "{key:?} {algorithm}");
        }
    }
}

// CVE-2016-5431: the public key as the secret of an HMAC that the attacker computes.
#[test]
fn a_public_key_is_not_a_secret() {
    for case in Algorithm::ALL.iter().map(|algorithm| valid(*algorithm)) {
        let (Some(spki), Ok(key)) = (&case.spki, &case.key) else { continue };
        let message = b"header.payload";
        let tag = hmac_sha256(spki, &[message]);
        let confused = Key::hmac(spki).unwrap();
        assert_eq!(Software.verify(&confused, Algorithm::Hs256, message, &tag), Ok(()));
        let answer = Software.verify(key, Algorithm::Hs256, message, &tag);
        assert_eq!(answer, Err(VerifyError::AlgorithmNotForKey), "{}", case.name);
    }
}

#[test]
fn a_signature_has_one_length() {
    for algorithm in Algorithm::ALL {
        let case = valid(*algorithm);
        let expected = case.signature.len();
        let mut padded = case.signature.clone();
        padded.insert(0, 0);
        let mut longer = case.signature.clone();
        longer.push(0);
        for wrong in [&[], &case.signature[1..], &case.signature[..expected - 1], &padded, &longer] {
            let answer = Software.verify(case.key.as_ref().unwrap(), *algorithm, &case.message, wrong);
            let actual = wrong.len();
            assert_eq!(answer, Err(VerifyError::SignatureLength { expected, actual }), "{algorithm}");
        }
    }
}

#[test]
fn every_changed_bit_of_a_signature_is_refused() {
    for algorithm in Algorithm::ALL {
        let mut case = valid(*algorithm);
        for bit in 0..8 * case.signature.len() {
            case.signature[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&case), Err(VerifyError::Mismatch), "{algorithm} bit {bit}");
            case.signature[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(verify(&case), Ok(()));
    }
}

#[test]
fn every_changed_bit_of_a_message_is_refused() {
    for algorithm in Algorithm::ALL {
        let mut case = valid(*algorithm);
        for bit in 0..8 * case.message.len() {
            case.message[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&case), Err(VerifyError::Mismatch), "{algorithm} bit {bit}");
            case.message[bit / 8] ^= 1 << (bit % 8);
        }
        case.message.push(0);
        assert_eq!(verify(&case), Err(VerifyError::Mismatch), "{algorithm} longer");
    }
}

#[test]
fn a_signature_of_zeros_or_ones_is_refused() {
    for algorithm in Algorithm::ALL {
        let mut case = valid(*algorithm);
        for byte in [0, 1, 0xff] {
            case.signature.fill(byte);
            assert_eq!(verify(&case), Err(VerifyError::Mismatch), "{algorithm} {byte}");
        }
    }
}

// RFC 7518 section 3.1: the hash belongs to the algorithm, for a key of one type as well.
#[test]
fn a_signature_is_for_one_algorithm_of_its_key() {
    let rsa = Algorithm::ALL.iter().filter(|algorithm| algorithm.key_type() == KeyType::Rsa);
    for algorithm in rsa.clone() {
        let case = valid(*algorithm);
        for other in rsa.clone().filter(|other| *other != algorithm) {
            let answer = Software.verify(case.key.as_ref().unwrap(), *other, &case.message, &case.signature);
            assert_eq!(answer, Err(VerifyError::Mismatch), "{algorithm} as {other}");
        }
    }
}

#[test]
fn an_ecdsa_signature_becomes_minimal_der() {
    let mut raw = [0; 64];
    (raw[31], raw[63]) = (1, 0x80);
    let mut out = vec![0xaa];
    ecdsa_der(Curve::P256, &raw, &mut out).unwrap();
    assert_eq!(out, [0xaa, 0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
}

#[test]
fn a_long_ecdsa_signature_has_a_long_der_length() {
    let mut raw = [0xff; 132];
    (raw[0], raw[66]) = (1, 1);
    let mut out = Vec::new();
    ecdsa_der(Curve::P521, &raw, &mut out).unwrap();
    assert_eq!(out[..7], [0x30, 0x81, 136, 2, 66, 1, 0xff]);
    assert_eq!(out.len(), 139);
}

#[test]
fn a_zero_half_or_another_length_has_no_der_form() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let (width, mut out) = (curve.field_len(), vec![0xaa]);
        for zero in [0..width, width..2 * width, 0..2 * width] {
            let mut raw = vec![1; 2 * width];
            raw[zero].fill(0);
            assert_eq!(ecdsa_der(curve, &raw, &mut out), Err(VerifyError::Mismatch));
        }
        for actual in [0, width, 2 * width - 1, 2 * width + 1] {
            let expected = 2 * width;
            let answer = ecdsa_der(curve, &vec![1; actual], &mut out);
            assert_eq!(answer, Err(VerifyError::SignatureLength { expected, actual }));
        }
        assert_eq!(out, [0xaa]);
    }
}

#[test]
fn hash_names_are_those_of_the_host() {
    let names = [Hash::Sha256, Hash::Sha384, Hash::Sha512].map(|hash| (hash.as_str(), hash.len()));
    assert_eq!(names, [("sha256", 32), ("sha384", 48), ("sha512", 64)]);
}
