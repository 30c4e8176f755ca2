//! Signing keys of every kind that a JWK Set can publish, made from a seed or from the system's
//! randomness, and the public documents that belong to them.

mod alg;
mod import;
mod material;
mod sample;
mod seed;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub use alg::Alg;
pub use material::Kind;
use material::Material;
pub use sample::SampleToken;
pub use seed::Seed;

/// A key could not be made, exported or used.
#[derive(Debug)]
pub struct KeyError {
    reason: String,
    withheld: bool,
}

impl KeyError {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), withheld: false }
    }

    /// The key is not here, only something that it signed.
    fn withheld() -> Self {
        Self { reason: "the private key is not here".into(), withheld: true }
    }

    /// Whether there would be no error if the private key were here.
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        self.withheld
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for KeyError {}

/// A private key with its name.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    /// What it is for, where that is not what the material says.
    alg: Option<Alg>,
    material: Material,
}

impl fmt::Debug for SigningKey {
    /// The name only: a private key does not belong in a log, not even a test's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes the key named `kid`. The same seed, name and kind make the same key, whatever other
    /// keys are made before it.
    ///
    /// # Errors
    ///
    /// An RSA size that the arithmetic refuses (below 1024 bits or above 16384).
    pub fn generate(seed: &Seed, kid: impl Into<String>, kind: Kind) -> Result<Self, KeyError> {
        let kid = kid.into();
        let material = Material::generate(&mut seed.rng(&kid, kind), kind)?;
        Ok(Self { kid, alg: None, material })
    }

    /// An HMAC key with exactly these bytes: for confusion attacks, where the secret is somebody
    /// else's public key.
    #[must_use]
    pub fn hmac(kid: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        Self { kid: kid.into(), alg: None, material: Material::Hmac(secret.into()) }
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The same key under another name.
    #[must_use]
    pub fn renamed(&self, kid: impl Into<String>) -> Self {
        Self { kid: kid.into(), ..self.clone() }
    }

    /// The same key for another algorithm of its family: PS256 in the place of RS256, say.
    ///
    /// # Errors
    ///
    /// `alg` is not of the key's family.
    pub fn for_alg(&self, alg: Alg) -> Result<Self, KeyError> {
        if !alg.fits(self.kind()) {
            return Err(KeyError::new(format!("`{alg}` does not fit the key `{}`", self.kid)));
        }
        Ok(Self { alg: Some(alg), ..self.clone() })
    }

    /// The algorithm that an issuer would use this key with.
    #[must_use]
    pub fn natural_alg(&self) -> Alg {
        self.alg.unwrap_or_else(|| self.material.natural_alg())
    }

    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.material.kind()
    }

    /// Signs `message`: the bytes of a JWS signature (ECDSA as `r || s`, RFC 7518 section 3.4).
    ///
    /// # Errors
    ///
    /// `alg` is not of the key's family.
    pub fn sign(&self, alg: Alg, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if !alg.fits(self.material.kind()) {
            return Err(KeyError::new(format!("`{alg}` does not fit the key `{}`", self.kid)));
        }
        self.material.sign(alg, message)
    }

    /// An RSASSA-PSS signature with SHA-256 and a salt of `salt_len` bytes (RFC 7518 section 3.5
    /// demands 32).
    ///
    /// # Errors
    ///
    /// The key is not an RSA key, or too small for that salt.
    pub fn sign_pss_with_salt(&self, message: &[u8], salt_len: usize) -> Result<Vec<u8>, KeyError> {
        self.material.sign_pss_with_salt(message, salt_len)
    }

    /// The public JWK (RFC 7517) with `kid`, `use` and `alg`. An HMAC key is its own public key:
    /// its document has the secret.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.natural_alg().as_str());
        jwk
    }

    /// The public JWK with nothing but the key and `kid`: what its algorithm is, is left open.
    #[must_use]
    pub fn bare_jwk(&self) -> Value {
        let mut jwk = self.material.jwk();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// The public key as DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    ///
    /// # Errors
    ///
    /// An HMAC key has no public form.
    pub fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        self.material.public_der()
    }

    /// The public key as PEM, `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    ///
    /// An HMAC key has no public form.
    pub fn public_pem(&self) -> Result<String, KeyError> {
        self.material.public_pem()
    }
}

/// A JWK Set document (RFC 7517 section 5) of these JWKs.
pub fn jwk_set(keys: impl IntoIterator<Item = Value>) -> Value {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() })
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed::new([7; 32]);

    fn key(kid: &str, kind: Kind) -> SigningKey {
        SigningKey::generate(&SEED, kid, kind).unwrap()
    }

    #[test]
    fn a_seed_makes_the_same_key_in_any_order() {
        let first = key("a", Kind::P256);
        key("b", Kind::Rsa(1024));
        assert_eq!(first.jwk(), key("a", Kind::P256).jwk());
        assert_ne!(first.bare_jwk()["x"], key("c", Kind::P256).bare_jwk()["x"]);
    }

    #[test]
    fn system_randomness_makes_another_key_each_time() {
        let [a, b] = [(); 2]
            .map(|()| SigningKey::generate(&Seed::from_os().unwrap(), "a", Kind::Ed25519).unwrap().jwk());
        assert_ne!(a, b);
    }

    #[test]
    fn a_key_refuses_the_algorithms_of_other_families() {
        let kinds = [Kind::Rsa(1024), Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519, Kind::Hmac(64)];
        for kind in kinds {
            let key = key("k", kind);
            for alg in Alg::ALL {
                assert_eq!(key.sign(*alg, b"x").is_ok(), alg.fits(kind), "{kind:?} {alg}");
            }
        }
    }

    /// jsonwebtoken judges what this crate exports: the JWK and the signature belong together.
    #[test]
    fn the_published_key_verifies_what_the_private_key_signed() {
        for (kind, alg) in [
            (Kind::Rsa(2048), Alg::Rs256),
            (Kind::Rsa(2048), Alg::Ps384),
            (Kind::P256, Alg::Es256),
            (Kind::P384, Alg::Es384),
            (Kind::Ed25519, Alg::EdDsa),
            (Kind::Hmac(32), Alg::Hs256),
        ] {
            let key = key("k", kind);
            let signature = base64url(key.sign(alg, b"message").unwrap());
            let jwk = serde_json::from_value(key.jwk()).unwrap();
            let public = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let verified = |message: &[u8]| {
                jsonwebtoken::crypto::verify(&signature, message, &public, alg.foreign().unwrap()).unwrap()
            };
            assert!(verified(b"message"), "{alg}");
            assert!(!verified(b"massage"), "{alg}");
        }
    }

    #[test]
    fn public_keys_have_der_and_pem_forms_and_secrets_have_none() {
        for kind in [Kind::Rsa(1024), Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519] {
            let key = key("k", kind);
            assert_eq!(key.public_der().unwrap()[0], 0x30, "{kind:?}");
            assert!(key.public_pem().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"), "{kind:?}");
        }
        assert!(key("k", Kind::Hmac(32)).public_der().is_err());
    }

    #[test]
    fn a_log_line_never_shows_a_private_key() {
        assert_eq!(format!("{:?}", key("k", Kind::Hmac(4))), r#"SigningKey { kid: "k", .. }"#);
    }
}
