//! The arithmetic under `sigstore-verify`: the crates that the other policies use, or a host's.
//!
//! `sigstore-verify` looks for one provider in the process. Ours is installed before anything of it
//! is called; where somebody else was first, theirs is used, and the conformance tests would tell.

use std::sync::{Once, OnceLock};

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, traits::SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sigstore_verify::{
    crypto::{
        CryptoProvider, Error, HashContext, KeyAlgorithm, Result, SigningScheme, VerificationKey,
        install_default_provider, validate_raw_public_key,
    },
    types::{DerPublicKey, HashAlgorithm},
};

/// A host that verifies signatures faster than this module can.
pub trait Host: Send + Sync {
    /// Whether `signature` (ECDSA: DER) over `text`, hashed with `hash` (`sha256`, `sha384` or
    /// `sha512`), holds for the key, whose form is a DER SubjectPublicKeyInfo. RSA is RSASSA-PKCS1-v1_5.
    /// `None` where the host cannot say.
    fn verify(&self, hash: &'static str, spki: &[u8], signature: &[u8], text: &[u8]) -> Option<bool>;
}

static HOST: OnceLock<&'static dyn Host> = OnceLock::new();

/// Lets `host` do the arithmetic that it offers. Only the first call counts.
pub fn use_host(host: &'static dyn Host) {
    // A second host is the same one.
    let _ = HOST.set(host);
}

#[derive(Debug)]
struct Provider;

static PROVIDER: Provider = Provider;
static INSTALL: Once = Once::new();

/// To be called before anything of `sigstore-verify` that computes.
pub(crate) fn install() {
    INSTALL.call_once(|| {
        // Refused only where the process has one already.
        let _ = install_default_provider(&PROVIDER);
    });
}

/// Refuses a key that nothing could be verified with.
pub(crate) fn check_key(key: &DerPublicKey) -> std::result::Result<(), String> {
    let scheme = KeyAlgorithm::from_spki(key).map_err(|error| error.to_string())?.default_signing_scheme();
    if matches!(scheme, SigningScheme::MlDsa44 | SigningScheme::MlDsa65 | SigningScheme::MlDsa87) {
        return Err("ML-DSA is not verified here: ECDSA, Ed25519 and RSA are".into());
    }
    let key = VerificationKey::from_spki(key).map_err(|error| error.to_string())?;
    validate_raw_public_key(scheme, key.as_bytes()).map_err(|error| error.to_string())?;
    match scheme.key_algorithm() {
        KeyAlgorithm::EcdsaP256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(key.as_bytes()).is_ok(),
        KeyAlgorithm::EcdsaP384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(key.as_bytes()).is_ok(),
        KeyAlgorithm::Ed25519 => ed25519(key.as_bytes()).is_some_and(|key| !key.is_weak()),
        KeyAlgorithm::Rsa => rsa_key(key.as_bytes()).is_some(),
        _ => false,
    }
    .then_some(())
    .ok_or_else(|| "not a point of its curve, or numbers that make no key".into())
}

struct Context<D>(D);

impl<D: sha2::Digest + Send> HashContext for Context<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        match algorithm {
            HashAlgorithm::Sha2256 => Ok(Box::new(Context(Sha256::new()))),
            HashAlgorithm::Sha2384 => Ok(Box::new(Context(Sha384::new()))),
            HashAlgorithm::Sha2512 => Ok(Box::new(Context(Sha512::new()))),
            other => Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
        }
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        if scheme == SigningScheme::Ed25519 {
            let holds = ed25519(key)
                .zip(ed25519_dalek::Signature::from_slice(signature).ok())
                // Strict: also refuses an R of small order, which RFC 8032 leaves open.
                .is_some_and(|(key, signature)| key.verify_strict(data, &signature).is_ok());
            return answer(scheme, holds);
        }
        if let Some(holds) = ask_host(scheme, key, data, signature) {
            return answer(scheme, holds);
        }
        let digest = match scheme.hash_algorithm() {
            Some(HashAlgorithm::Sha2256) => Sha256::digest(data).to_vec(),
            Some(HashAlgorithm::Sha2384) => Sha384::digest(data).to_vec(),
            Some(HashAlgorithm::Sha2512) => Sha512::digest(data).to_vec(),
            _ => return Err(Error::UnsupportedAlgorithm(scheme.name().to_owned())),
        };
        self.verify_prehashed(scheme, key, &digest, signature)
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        use SigningScheme::{
            EcdsaP256Sha256, EcdsaP256Sha384, EcdsaP384Sha256, EcdsaP384Sha384, RsaPkcs1Sha256,
            RsaPkcs1Sha384, RsaPkcs1Sha512, RsaPssSha256, RsaPssSha384, RsaPssSha512,
        };
        let expected = scheme.hash_algorithm().map(|hash| match hash {
            HashAlgorithm::Sha2256 => 32,
            HashAlgorithm::Sha2384 => 48,
            _ => 64,
        });
        if expected != Some(digest.len()) {
            return Err(Error::UnsupportedAlgorithm(scheme.name().to_owned()));
        }
        let holds = match scheme {
            EcdsaP256Sha256 | EcdsaP256Sha384 => p256::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .ok()
                .zip(p256::ecdsa::Signature::from_der(signature).ok())
                .is_some_and(|(key, signature)| key.verify_prehash(digest, &signature).is_ok()),
            // A hash that is shorter than the group's order is padded on the left (FIPS 186-5 section
            // 6.4.1); the crate refuses one under half of it, which SHA-256 is not.
            EcdsaP384Sha256 | EcdsaP384Sha384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .ok()
                .zip(p384::ecdsa::Signature::from_der(signature).ok())
                .is_some_and(|(key, signature)| key.verify_prehash(digest, &signature).is_ok()),
            RsaPkcs1Sha256 => rsa(key, Pkcs1v15Sign::new::<Sha256>(), digest, signature),
            RsaPkcs1Sha384 => rsa(key, Pkcs1v15Sign::new::<Sha384>(), digest, signature),
            RsaPkcs1Sha512 => rsa(key, Pkcs1v15Sign::new::<Sha512>(), digest, signature),
            RsaPssSha256 => rsa(key, Pss::<Sha256>::new_with_salt(32), digest, signature),
            RsaPssSha384 => rsa(key, Pss::<Sha384>::new_with_salt(48), digest, signature),
            RsaPssSha512 => rsa(key, Pss::<Sha512>::new_with_salt(64), digest, signature),
            _ => return Err(Error::UnsupportedAlgorithm(scheme.name().to_owned())),
        };
        answer(scheme, holds)
    }
}

fn answer(scheme: SigningScheme, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Verification(format!("{} signature invalid", scheme.name()))) }
}

fn ed25519(key: &[u8]) -> Option<ed25519_dalek::VerifyingKey> {
    ed25519_dalek::VerifyingKey::from_bytes(key.try_into().ok()?).ok()
}

fn rsa(key: &[u8], scheme: impl SignatureScheme, digest: &[u8], signature: &[u8]) -> bool {
    rsa_key(key).is_some_and(|key| key.verify(scheme, digest, signature).is_ok())
}

/// A PKCS #1 `RSAPublicKey`: a sequence of two integers, and nothing else.
fn rsa_key(der: &[u8]) -> Option<rsa::PublicKey> {
    let (sequence, rest) = element(0x30, der)?;
    let (modulus, after) = element(0x02, sequence)?;
    let (exponent, end) = element(0x02, after)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let modulus = BoxedUint::from_be_slice_vartime(modulus);
    rsa::PublicKey::new(modulus, BoxedUint::from_be_slice_vartime(exponent)).ok()
}

/// The contents of a DER element with `tag`, and what is after it.
pub(crate) fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=127 => (usize::from(short), rest),
        long @ 0x81..=0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// What the host says, where there is one that knows the scheme. Not PSS: the host's is the other one.
fn ask_host(scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Option<bool> {
    use SigningScheme::{
        EcdsaP256Sha256, EcdsaP256Sha384, EcdsaP384Sha256, EcdsaP384Sha384, RsaPkcs1Sha256, RsaPkcs1Sha384,
        RsaPkcs1Sha512,
    };
    let host = HOST.get()?;
    let (prefix, hash): (&[u8], _) = match scheme {
        EcdsaP256Sha256 => (P256, "sha256"),
        EcdsaP256Sha384 => (P256, "sha384"),
        EcdsaP384Sha256 => (P384, "sha256"),
        EcdsaP384Sha384 => (P384, "sha384"),
        RsaPkcs1Sha256 => (RSA, "sha256"),
        RsaPkcs1Sha384 => (RSA, "sha384"),
        RsaPkcs1Sha512 => (RSA, "sha512"),
        _ => return None,
    };
    // What is refused here must not depend on who computes: the form is checked by the crates first.
    let well_formed = match scheme.key_algorithm() {
        KeyAlgorithm::EcdsaP256 => p256::ecdsa::Signature::from_der(signature).is_ok(),
        KeyAlgorithm::EcdsaP384 => p384::ecdsa::Signature::from_der(signature).is_ok(),
        _ => rsa_key(key).is_some(),
    };
    if !well_formed {
        return Some(false);
    }
    host.verify(hash, &spki(prefix, key)?, signature, data)
}

/// AlgorithmIdentifiers: ecPublicKey with each curve (RFC 5480 section 2.1.1), rsaEncryption (RFC
/// 3279 section 2.3.1).
const P256: &[u8] = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

fn spki(algorithm: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    header(0x03, key.len().checked_add(1)?, &mut bits)?;
    bits.push(0);
    bits.extend(key);
    let mut spki = Vec::new();
    header(0x30, algorithm.len().checked_add(bits.len())?, &mut spki)?;
    spki.extend(algorithm);
    spki.extend(bits);
    Some(spki)
}

fn header(tag: u8, length: usize, out: &mut Vec<u8>) -> Option<()> {
    out.push(tag);
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    match (high, low) {
        (0, 0..=127) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    Some(())
}

#[cfg(test)]
mod tests;
