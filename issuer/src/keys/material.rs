//! The key itself: generation, export and signing, one arm for each family.
//!
//! jsonwebtoken signs, so that the fixtures do not come from the code that they test; it has no
//! ES512, no free salt length and no empty HMAC key, which are done here.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use p256::elliptic_curve::Generate as _;
use rand_chacha::{ChaCha20Rng, rand_core::Rng as _};
use rsa::{
    pkcs1::EncodeRsaPrivateKey as _,
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

use super::{Alg, KeyError, base64url};

/// What kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with a modulus of this many bits; honest ones have 2048 or more (RFC 7518 section 3.3).
    Rsa(usize),
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// An HMAC secret of this many bytes.
    Hmac(usize),
}

impl Kind {
    /// The kind of key that `alg` is usually signed with.
    #[must_use]
    pub const fn usual(alg: Alg) -> Self {
        match alg {
            Alg::Rs256 | Alg::Rs384 | Alg::Rs512 | Alg::Ps256 | Alg::Ps384 | Alg::Ps512 => Self::Rsa(2048),
            Alg::Es256 => Self::P256,
            Alg::Es384 => Self::P384,
            Alg::Es512 => Self::P521,
            Alg::EdDsa => Self::Ed25519,
            Alg::Hs256 => Self::Hmac(32),
            Alg::Hs384 => Self::Hmac(48),
            Alg::Hs512 => Self::Hmac(64),
        }
    }
}

#[derive(Clone)]
pub(super) enum Material {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Hmac(Vec<u8>),
    Sample(Sample),
}

/// In the place of a key: one thing that it signed.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) alg: Alg,
    pub(super) input: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Material {
    pub(super) fn generate(rng: &mut ChaCha20Rng, kind: Kind) -> Result<Self, KeyError> {
        Ok(match kind {
            Kind::Rsa(bits) => Self::Rsa(Box::new(rsa::PrivateKey::new(rng, bits).map_err(KeyError::new)?)),
            Kind::P256 => Self::P256(p256::ecdsa::SigningKey::generate_from_rng(rng)),
            Kind::P384 => Self::P384(p384::ecdsa::SigningKey::generate_from_rng(rng)),
            Kind::P521 => Self::P521(p521::ecdsa::SigningKey::generate_from_rng(rng)),
            Kind::Ed25519 => {
                let mut secret = [0; 32];
                rng.fill_bytes(&mut secret);
                Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&secret)))
            }
            Kind::Hmac(length) => {
                let mut secret = vec![0; length];
                rng.fill_bytes(&mut secret);
                Self::Hmac(secret)
            }
        })
    }

    pub(super) const fn natural_alg(&self) -> Alg {
        match self {
            Self::Sample(sample) => sample.alg,
            Self::Rsa(_) => Alg::Rs256,
            Self::P256(_) => Alg::Es256,
            Self::P384(_) => Alg::Es384,
            Self::P521(_) => Alg::Es512,
            Self::Ed25519(_) => Alg::EdDsa,
            Self::Hmac(_) => Alg::Hs256,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sample(sample) => Kind::usual(sample.alg),
            Self::Rsa(key) => Kind::Rsa(key.size().saturating_mul(8)),
            Self::P256(_) => Kind::P256,
            Self::P384(_) => Kind::P384,
            Self::P521(_) => Kind::P521,
            Self::Ed25519(_) => Kind::Ed25519,
            Self::Hmac(secret) => Kind::Hmac(secret.len()),
        }
    }

    pub(super) fn sign(&self, alg: Alg, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if let Self::Sample(sample) = self {
            let known = sample.alg == alg && sample.input == message;
            return known.then(|| sample.signature.clone()).ok_or_else(KeyError::withheld);
        }
        if let (Self::P521(key), Alg::Es512) = (self, alg) {
            use p521::ecdsa::signature::Signer as _;
            let signature: p521::ecdsa::Signature = key.try_sign(message).map_err(KeyError::new)?;
            return Ok(signature.to_bytes().to_vec());
        }
        let foreign = alg.foreign().ok_or_else(|| KeyError::new(format!("`{alg}` needs a P-521 key")))?;
        let text =
            jsonwebtoken::crypto::sign(message, &self.encoding_key()?, foreign).map_err(KeyError::new)?;
        URL_SAFE_NO_PAD.decode(text).map_err(KeyError::new)
    }

    pub(super) fn sign_pss_with_salt(&self, message: &[u8], salt_len: usize) -> Result<Vec<u8>, KeyError> {
        use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
        if matches!(self, Self::Sample(_)) {
            return Err(KeyError::withheld());
        }
        let Self::Rsa(key) = self else { return Err(KeyError::new("PSS needs an RSA key")) };
        // A fixed salt: no secret depends on it in a test.
        let mut salt = <ChaCha20Rng as rand_chacha::rand_core::SeedableRng>::from_seed([0; 32]);
        let signer = rsa::pss::SigningKey::<sha2::Sha256>::new_with_salt_len((**key).clone(), salt_len);
        Ok(signer.try_sign_with_rng(&mut salt, message).map_err(KeyError::new)?.to_vec())
    }

    fn encoding_key(&self) -> Result<EncodingKey, KeyError> {
        Ok(match self {
            Self::Rsa(key) => {
                EncodingKey::from_rsa_der(key.to_pkcs1_der().map_err(KeyError::new)?.as_bytes())
            }
            Self::P256(key) => {
                EncodingKey::from_ec_der(key.to_pkcs8_der().map_err(KeyError::new)?.as_bytes())
            }
            Self::P384(key) => {
                EncodingKey::from_ec_der(key.to_pkcs8_der().map_err(KeyError::new)?.as_bytes())
            }
            Self::P521(_) => return Err(KeyError::new("a P-521 key signs ES512 only")),
            Self::Ed25519(key) => {
                EncodingKey::from_ed_der(key.to_pkcs8_der().map_err(KeyError::new)?.as_bytes())
            }
            Self::Hmac(secret) => EncodingKey::from_secret(secret),
            Self::Sample(_) => return Err(KeyError::withheld()),
        })
    }

    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(key) => json!({
                "kty": "RSA",
                "n": base64url(key.n().to_be_bytes_trimmed_vartime()),
                "e": base64url(key.e().to_be_bytes_trimmed_vartime()),
            }),
            Self::P256(key) => ec_jwk("P-256", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::P384(key) => ec_jwk("P-384", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::P521(key) => ec_jwk("P-521", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.verifying_key().as_bytes()) })
            }
            Self::Hmac(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
            Self::Sample(_) => json!({}),
        }
    }

    pub(super) fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        let der = match self {
            Self::Rsa(key) => key.to_public_key().to_public_key_der(),
            Self::P256(key) => key.verifying_key().to_public_key_der(),
            Self::P384(key) => key.verifying_key().to_public_key_der(),
            Self::P521(key) => key.verifying_key().to_public_key_der(),
            Self::Ed25519(key) => key.verifying_key().to_public_key_der(),
            Self::Hmac(_) => return Err(KeyError::new("an HMAC key has no public form")),
            Self::Sample(_) => return Err(KeyError::withheld()),
        };
        Ok(der.map_err(KeyError::new)?.into_vec())
    }

    pub(super) fn public_pem(&self) -> Result<String, KeyError> {
        match self {
            Self::Rsa(key) => key.to_public_key().to_public_key_pem(LineEnding::LF),
            Self::P256(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Self::P384(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Self::P521(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Self::Ed25519(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Self::Hmac(_) => return Err(KeyError::new("an HMAC key has no public form")),
            Self::Sample(_) => return Err(KeyError::withheld()),
        }
        .map_err(KeyError::new)
    }
}

/// The uncompressed point `04 || x || y` as `x` and `y` (RFC 7518 section 6.2.1).
fn ec_jwk(curve: &str, point: &[u8]) -> Value {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
}
