//! Tokens: honest ones from a header and claims, malformed ones from any bytes.

use serde_json::{Map, Value};

use crate::keys::{Alg, KeyError, SigningKey, base64url};

/// A token before it is signed: a header object and a claims object.
///
/// Nothing is checked: a header that lies about the algorithm is what many tests need.
#[derive(Clone, Debug, Default)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    /// An empty header and no claims.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a header parameter.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Removes a header parameter.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `alg` and `kid` to what `key` is and signs with it: an honest token.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn compact(&self, key: &SigningKey) -> Result<String, KeyError> {
        let alg = key.natural_alg();
        self.clone().header("alg", alg.as_str()).header("kid", key.kid()).signed(key, alg)
    }

    /// Signs with `key` and `alg`, whatever the header says.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn signed(&self, key: &SigningKey, alg: Alg) -> Result<String, KeyError> {
        Ok(self.raw().signed(key, alg)?.compact())
    }

    /// The bytes of the token, without a signature.
    #[must_use]
    pub fn raw(&self) -> Raw {
        Raw::new(
            Value::Object(self.header.clone()).to_string(),
            Value::Object(self.claims.clone()).to_string(),
        )
    }
}

/// The three parts of a compact JWS as bytes, each of which may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// The header before base64url.
    pub header: Vec<u8>,
    /// The payload before base64url.
    pub payload: Vec<u8>,
    /// The signature before base64url.
    pub signature: Vec<u8>,
}

impl Raw {
    /// An unsigned token of these bytes.
    #[must_use]
    pub fn new(header: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Self {
        Self { header: header.into(), payload: payload.into(), signature: Vec::new() }
    }

    /// What a signature covers: `base64url(header) . base64url(payload)`.
    #[must_use]
    pub fn signing_input(&self) -> String {
        format!("{}.{}", base64url(&self.header), base64url(&self.payload))
    }

    /// With the signature of `key`.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::sign`].
    pub fn signed(mut self, key: &SigningKey, alg: Alg) -> Result<Self, KeyError> {
        self.signature = key.sign(alg, self.signing_input().as_bytes())?;
        Ok(self)
    }

    /// With this signature.
    #[must_use]
    pub fn signature(mut self, signature: impl Into<Vec<u8>>) -> Self {
        self.signature = signature.into();
        self
    }

    /// The compact serialization (RFC 7515 section 7.1).
    #[must_use]
    pub fn compact(&self) -> String {
        format!("{}.{}", self.signing_input(), base64url(&self.signature))
    }
}

/// Signs text that is already in base64url: for tokens whose encoding is wrong and whose signature
/// covers just that wrong text, so that only the encoding can be the reason for a refusal.
///
/// # Errors
///
/// As [`SigningKey::sign`].
pub fn sign_text(signing_input: &str, key: &SigningKey, alg: Alg) -> Result<String, KeyError> {
    Ok(format!("{signing_input}.{}", base64url(key.sign(alg, signing_input.as_bytes())?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Kind, Seed};

    #[test]
    fn an_honest_token_names_its_key_and_algorithm() {
        let key = SigningKey::generate(&Seed::new([1; 32]), "ed", Kind::Ed25519).unwrap();
        let token = Token::new().claim("sub", "alice").compact(&key).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (jsonwebtoken::Algorithm::EdDSA, Some("ed")));
        assert_eq!(token.split('.').count(), 3);
    }

    #[test]
    fn raw_parts_are_encoded_as_they_are() {
        assert_eq!(Raw::new([0xff], *b"x").signature([0]).compact(), "_w.eA.AA");
        assert_eq!(Raw::default().compact(), "..");
    }

    #[test]
    fn the_header_may_lie_about_the_algorithm() {
        let key = SigningKey::generate(&Seed::new([1; 32]), "k", Kind::Hmac(32)).unwrap();
        let token = Token::new().header("alg", "RS256").signed(&key, Alg::Hs256).unwrap();
        assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, jsonwebtoken::Algorithm::RS256);
    }
}
