//! Private keys that somebody else made: PEM and JWK.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{BoxedUint, pkcs1::DecodeRsaPrivateKey as _, pkcs8::DecodePrivateKey as _};
use serde_json::Value;

use super::{KeyError, SigningKey, material::Material};

impl SigningKey {
    /// The private key in PEM: PKCS #8, PKCS #1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// It is none of these, it is encrypted, or it is a public key.
    pub fn from_pem(kid: impl Into<String>, pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let material = rsa::PrivateKey::from_pkcs8_pem(pem)
            .ok()
            .or_else(|| rsa::PrivateKey::from_pkcs1_pem(pem).ok())
            .map(|key| Material::Rsa(Box::new(key)))
            .or_else(|| p256::SecretKey::from_pkcs8_pem(pem).ok().map(|key| Material::P256(key.into())))
            .or_else(|| p256::SecretKey::from_sec1_pem(pem).ok().map(|key| Material::P256(key.into())))
            .or_else(|| p384::SecretKey::from_pkcs8_pem(pem).ok().map(|key| Material::P384(key.into())))
            .or_else(|| p384::SecretKey::from_sec1_pem(pem).ok().map(|key| Material::P384(key.into())))
            .or_else(|| p521::SecretKey::from_pkcs8_pem(pem).ok().map(|key| Material::P521(key.into())))
            .or_else(|| p521::SecretKey::from_sec1_pem(pem).ok().map(|key| Material::P521(key.into())))
            .or_else(|| {
                ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
                    .ok()
                    .map(|key| Material::Ed25519(Box::new(key)))
            });
        let wrong =
            "no private key for RS, PS, ES or EdDSA in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted)";
        Ok(Self { kid: kid.into(), alg: None, material: material.ok_or_else(|| KeyError::new(wrong))? })
    }

    /// The private key in a JWK (RFC 7517, RFC 8037); its name is its `kid`, else `kid`.
    ///
    /// # Errors
    ///
    /// A member is missing, is not base64url, or makes no key.
    pub fn from_jwk(kid: impl Into<String>, jwk: &Value) -> Result<Self, KeyError> {
        let kid = jwk.get("kid").and_then(Value::as_str).map_or_else(|| kid.into(), Into::into);
        let key = Self { kid, alg: None, material: material(jwk)? };
        match jwk.get("alg").and_then(Value::as_str) {
            Some(alg) => key.for_alg(alg.parse().map_err(KeyError::new)?),
            None => Ok(key),
        }
    }
}

fn material(jwk: &Value) -> Result<Material, KeyError> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let member = |name: &str| {
        let text = text(name).ok_or_else(|| KeyError::new(format!("the private JWK has no `{name}`")))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|error| KeyError::new(format!("`{name}`: {error}")))
    };
    match (text("kty").unwrap_or_default(), text("crv").unwrap_or_default()) {
        ("RSA", _) => {
            let number = |name: &str| member(name).map(|bytes| BoxedUint::from_be_slice_vartime(&bytes));
            let (n, e, d) = (number("n")?, number("e")?, number("d")?);
            let primes = vec![number("p")?, number("q")?];
            let key = rsa::PrivateKey::from_components(n, e, d, primes).map_err(KeyError::new)?;
            Ok(Material::Rsa(Box::new(key)))
        }
        ("EC", "P-256") => {
            Ok(Material::P256(p256::ecdsa::SigningKey::from_slice(&member("d")?).map_err(KeyError::new)?))
        }
        ("EC", "P-384") => {
            Ok(Material::P384(p384::ecdsa::SigningKey::from_slice(&member("d")?).map_err(KeyError::new)?))
        }
        ("EC", "P-521") => {
            Ok(Material::P521(p521::ecdsa::SigningKey::from_slice(&member("d")?).map_err(KeyError::new)?))
        }
        ("OKP", "Ed25519") => {
            let bytes: [u8; 32] =
                member("d")?.try_into().map_err(|_| KeyError::new("`d` of an Ed25519 key has 32 bytes"))?;
            Ok(Material::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&bytes))))
        }
        ("oct", _) => Ok(Material::Hmac(member("k")?)),
        (kty, crv) => Err(KeyError::new(format!(
            "a JWK of type `{kty}` {crv} cannot sign here; there is: RSA, EC (P-256, P-384, P-521), OKP (Ed25519), oct"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Kind, Seed};

    #[test]
    fn what_is_no_private_key_says_what_would_be_one() {
        let key = SigningKey::generate(&Seed::new([1; 32]), "k", Kind::P256).unwrap();
        for pem in ["", "x", &key.public_pem().unwrap()] {
            let error = SigningKey::from_pem("k", pem).unwrap_err().to_string();
            assert!(error.contains("PKCS #8"), "{error}");
        }
        let error = SigningKey::from_jwk("k", &key.jwk()).unwrap_err().to_string();
        assert_eq!(error, "the private JWK has no `d`");
        let error = SigningKey::from_jwk("k", &serde_json::json!({"kty": "AKP"})).unwrap_err().to_string();
        assert!(error.starts_with("a JWK of type `AKP`"), "{error}");
    }

    #[test]
    fn private_keys_of_others_sign_as_theirs() {
        use ed25519_dalek::pkcs8::EncodePrivateKey as _;
        let ed = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let pem = ed.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        let by_pem = SigningKey::from_pem("k", &pem).unwrap();
        let d = URL_SAFE_NO_PAD.encode([7; 32]);
        let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "d": d, "kid": "own"});
        let by_jwk = SigningKey::from_jwk("k", &jwk).unwrap();
        assert_eq!((by_pem.kid(), by_jwk.kid()), ("k", "own"));
        assert_eq!(by_pem.renamed("own").jwk(), by_jwk.jwk());
        let sec1 = p256::SecretKey::from_slice(&[9; 32]).unwrap().to_sec1_pem(rsa::pkcs8::LineEnding::LF);
        assert_eq!(SigningKey::from_pem("k", &sec1.unwrap()).unwrap().kind(), Kind::P256);
    }
}
