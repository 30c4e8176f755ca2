//! The seam: the question whether a signature holds, the checks that every answer begins with, and
//! the answer of the crates.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{Pss, PublicKey, traits::SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::{Algorithm, Curve, Hash, Key, der, key::Material};

/// Answers whether a signature holds.
///
/// [`Software`] is the answer of this crate. An implementation that asks a host calls
/// [`check_shape`] before anything else, and has an answer for the algorithms that the host lacks.
pub trait Verifier {
    /// Verifies the raw `signature` of a JWS (ECDSA as `r` and `s`, RFC 7518 section 3.4) over
    /// `message` with `key`.
    ///
    /// # Errors
    ///
    /// Anything but `Ok` is a refusal. [`VerifyError::Unavailable`] says that nothing is known about
    /// the signature; the other errors say that it does not hold.
    fn verify(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError>;
}

/// Why a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// The key is not for the algorithm: [`Key::accepts`] is false.
    AlgorithmNotForKey,
    /// The signature does not have the one length that the key and the algorithm allow.
    SignatureLength {
        /// The right length in bytes.
        expected: usize,
        /// The length in bytes that was given.
        actual: usize,
    },
    /// The signature was not made over this message with this key.
    Mismatch,
    /// The arithmetic could not be done, so nothing is known. [`Software`] never says so.
    Unavailable,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlgorithmNotForKey => f.write_str("the key is not for this algorithm"),
            Self::SignatureLength { expected, actual } => {
                write!(f, "the signature has {actual} bytes; it must have {expected}")
            }
            Self::Mismatch => f.write_str("the signature does not match the message and the key"),
            Self::Unavailable => f.write_str("the signature cannot be verified at the moment"),
        }
    }
}

impl core::error::Error for VerifyError {}

/// Checks that `key` is for `algorithm` and that `signature` has the one length that it can have:
/// that of the modulus, two field elements, 64 bytes for Ed25519, or the whole hash. A longer,
/// shorter or truncated signature never reaches the arithmetic.
///
/// # Errors
///
/// [`VerifyError::AlgorithmNotForKey`] and [`VerifyError::SignatureLength`].
pub fn check_shape(key: &Key, algorithm: Algorithm, signature: &[u8]) -> Result<(), VerifyError> {
    if !key.accepts(algorithm) {
        return Err(VerifyError::AlgorithmNotForKey);
    }
    let expected = match key.material() {
        Material::Rsa(key) => key.length,
        Material::P256(_) => Curve::P256.signature_len(),
        Material::P384(_) => Curve::P384.signature_len(),
        Material::P521(_) => Curve::P521.signature_len(),
        Material::Ed25519(_) => ed25519_dalek::SIGNATURE_LENGTH,
        Material::Hmac(_) => algorithm.hash().ok_or(VerifyError::AlgorithmNotForKey)?.len(),
    };
    check_length(signature, expected)
}

fn check_length(signature: &[u8], expected: usize) -> Result<(), VerifyError> {
    match signature.len() {
        actual if actual == expected => Ok(()),
        actual => Err(VerifyError::SignatureLength { expected, actual }),
    }
}

/// Appends to `out` the DER form of a JWS's ECDSA signature, which is what hosts verify.
///
/// # Errors
///
/// [`VerifyError::SignatureLength`] where `raw` is not two field elements, [`VerifyError::Mismatch`]
/// where `r` or `s` is zero (CVE-2022-21449). `out` is then as it was.
pub fn ecdsa_der(curve: Curve, raw: &[u8], out: &mut Vec<u8>) -> Result<(), VerifyError> {
    check_length(raw, curve.signature_len())?;
    let (r, s) = raw.split_at_checked(curve.field_len()).ok_or(VerifyError::Mismatch)?;
    if [r, s].iter().any(|half| half.iter().all(|byte| *byte == 0)) {
        return Err(VerifyError::Mismatch);
    }
    der::put_ecdsa_signature(out, r, s);
    Ok(())
}

/// The verifier that computes with the RustCrypto and dalek crates, in this process or module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Software;

impl Verifier for Software {
    fn verify(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        check_shape(key, algorithm, signature)?;
        if holds(key.material(), algorithm, message, signature) { Ok(()) } else { Err(VerifyError::Mismatch) }
    }
}

// Each arm names the hash: which one belongs to an algorithm is decided here and in
// `Algorithm::hash`, and by no default of a crate. PSS's salt has the hash's length (RFC 7518 section
// 3.5); the RSA arms also refuse a signature that is not below the modulus.
fn holds(material: &Material, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    use Algorithm::{
        EdDsa, Es256, Es384, Es512, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512,
    };
    match (material, algorithm) {
        (Material::Rsa(key), Rs256) => key.holds(Hash::Sha256, &Sha256::digest(message), signature),
        (Material::Rsa(key), Rs384) => key.holds(Hash::Sha384, &Sha384::digest(message), signature),
        (Material::Rsa(key), Rs512) => key.holds(Hash::Sha512, &Sha512::digest(message), signature),
        (Material::Rsa(key), Ps256) => {
            rsa(&key.public, Pss::<Sha256>::new_with_salt(32), &Sha256::digest(message), signature)
        }
        (Material::Rsa(key), Ps384) => {
            rsa(&key.public, Pss::<Sha384>::new_with_salt(48), &Sha384::digest(message), signature)
        }
        (Material::Rsa(key), Ps512) => {
            rsa(&key.public, Pss::<Sha512>::new_with_salt(64), &Sha512::digest(message), signature)
        }
        (Material::P256(public), Es256) => p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|parsed| public.holds(Sha256::digest(message).into(), &parsed)),
        (Material::P384(public), Es384) => p384::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|parsed| public.verify_prehash(&Sha384::digest(message), &parsed).is_ok()),
        (Material::P521(public), Es512) => p521::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|parsed| public.verify_prehash(&Sha512::digest(message), &parsed).is_ok()),
        (Material::Ed25519(public), EdDsa) => public.holds(message, signature),
        (Material::Hmac(secret), Hs256) => hmac::<Hmac<Sha256>>(secret, message, signature),
        (Material::Hmac(secret), Hs384) => hmac::<Hmac<Sha384>>(secret, message, signature),
        (Material::Hmac(secret), Hs512) => hmac::<Hmac<Sha512>>(secret, message, signature),
        // `check_shape` has refused the pairs that do not belong together.
        _ => false,
    }
}

fn rsa(public: &PublicKey, scheme: impl SignatureScheme, digest: &[u8], signature: &[u8]) -> bool {
    public.verify(scheme, digest, signature).is_ok()
}

// `verify_slice` compares the whole tag in constant time.
fn hmac<M: Mac + KeyInit>(secret: &[u8], message: &[u8], tag: &[u8]) -> bool {
    M::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(message).verify_slice(tag).is_ok())
}
