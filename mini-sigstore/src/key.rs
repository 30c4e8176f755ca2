//! Keys from a seed and a name, and what they sign.

use std::fmt;

use ed25519_dalek::pkcs8::EncodePublicKey as _;
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha384};

use crate::{base64, der, sha256};

/// The kinds of key that Sigstore's services and signers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// A private key.
#[derive(Clone)]
pub struct Key(Material);

#[derive(Clone)]
enum Material {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl fmt::Debug for Key {
    /// The public key's digest: enough to tell two keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", crate::hex(self.id()))
    }
}

impl Key {
    /// The key of this name: the same seed, name and kind make the same key.
    #[must_use]
    pub fn derive(seed: &[u8; 32], name: &str, kind: KeyKind) -> Self {
        // A scalar of zero or above the group's order has a chance of about 2^-32 at worst.
        for attempt in 0_u32.. {
            let input = [seed, name.as_bytes(), &[0], &attempt.to_be_bytes()].concat();
            let material = match kind {
                KeyKind::P256 => p256::ecdsa::SigningKey::from_slice(&sha256(input)).ok().map(Material::P256),
                KeyKind::P384 => {
                    p384::ecdsa::SigningKey::from_slice(&Sha384::digest(input)).ok().map(Material::P384)
                }
                KeyKind::Ed25519 => {
                    let key = ed25519_dalek::SigningKey::from_bytes(&sha256(input));
                    Some(Material::Ed25519(Box::new(key)))
                }
            };
            if let Some(material) = material {
                return Self(material);
            }
        }
        unreachable!("four billion digests in a row are no scalar")
    }

    /// The key's kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self.0 {
            Material::P256(_) => KeyKind::P256,
            Material::P384(_) => KeyKind::P384,
            Material::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// Signs `message`: ECDSA as DER (deterministic, RFC 6979), Ed25519 as its 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Material::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Material::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Material::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }

    /// Signs with SHA-256 whatever the curve: timestamp tokens name the hash apart from the key.
    pub(crate) fn sign_sha256(&self, message: &[u8]) -> Vec<u8> {
        use p384::ecdsa::signature::hazmat::PrehashSigner as _;
        match &self.0 {
            Material::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&sha256(message)).expect("a digest of 32 bytes is long enough");
                signature.to_der().as_bytes().to_vec()
            }
            Material::P256(_) | Material::Ed25519(_) => self.sign(message),
        }
    }

    /// The public key as DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        let document = match &self.0 {
            Material::P256(key) => key.verifying_key().to_public_key_der(),
            Material::P384(key) => key.verifying_key().to_public_key_der(),
            Material::Ed25519(key) => key.verifying_key().to_public_key_der(),
        };
        document.map(|document| document.as_bytes().to_vec()).expect("a public key has a DER form")
    }

    /// The public key as PEM, the form that a policy names.
    #[must_use]
    pub fn public_pem(&self) -> String {
        der::pem("PUBLIC KEY", &self.public_der())
    }

    /// The SHA-256 of the public key's DER: a log's ID and a bundle's key hint (then in base64).
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        sha256(self.public_der())
    }

    /// What cosign writes as a bundle's `publicKey.hint`.
    #[must_use]
    pub fn hint(&self) -> String {
        base64(self.id())
    }

    /// The raw public key, without its algorithm: what an Ed25519 note signature names.
    pub(crate) fn raw_public(&self) -> Vec<u8> {
        match &self.0 {
            Material::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
            Material::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Material::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// The name of `PublicKeyDetails` in Sigstore's protobuf.
    pub(crate) fn details(&self) -> &'static str {
        match self.kind() {
            KeyKind::P256 => "PKIX_ECDSA_P256_SHA_256",
            KeyKind::P384 => "PKIX_ECDSA_P384_SHA_384",
            KeyKind::Ed25519 => "PKIX_ED25519",
        }
    }

    /// The key's own hash over `message`: its name in Sigstore's protobuf, and the digest.
    pub(crate) fn digest(&self, message: &[u8]) -> (&'static str, Vec<u8>) {
        match self.kind() {
            KeyKind::P384 => ("SHA2_384", Sha384::digest(message).to_vec()),
            KeyKind::P256 | KeyKind::Ed25519 => ("SHA2_256", sha256(message).to_vec()),
        }
    }
}
