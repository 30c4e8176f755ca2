//! A token of somebody's in the place of their key: enough for every attack that changes what was
//! signed, or signs with something else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{
    Alg, KeyError, SigningKey,
    material::{Material, Sample},
};
use crate::mint::Raw;

/// A token taken apart.
#[derive(Clone, Debug)]
pub struct SampleToken {
    /// A key that can sign what the token's key has signed, and nothing else.
    pub key: SigningKey,
    /// The three parts.
    pub raw: Raw,
    /// The header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

impl SampleToken {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    ///
    /// It is none, or its algorithm is not one that the corpus knows.
    pub fn parse(token: &str) -> Result<Self, KeyError> {
        let parts: Vec<_> = token.trim().split('.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(KeyError::new("a token has three parts, separated by dots"));
        };
        let decode = |name: &str, text: &str| {
            URL_SAFE_NO_PAD.decode(text).map_err(|error| KeyError::new(format!("the {name}: {error}")))
        };
        let raw = Raw {
            header: decode("header", header)?,
            payload: decode("payload", payload)?,
            signature: decode("signature", signature)?,
        };
        let object = |name: &str, bytes: &[u8]| {
            serde_json::from_slice::<Map<String, Value>>(bytes)
                .map_err(|error| KeyError::new(format!("the {name} is no JSON object: {error}")))
        };
        let (header, claims) = (object("header", &raw.header)?, object("payload", &raw.payload)?);
        let alg: Alg =
            header.get("alg").and_then(Value::as_str).unwrap_or_default().parse().map_err(KeyError::new)?;
        let kid = header.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
        let sample =
            Sample { alg, input: raw.signing_input().into_bytes(), signature: raw.signature.clone() };
        let key = SigningKey { kid, alg: None, material: Material::Sample(sample) };
        Ok(Self { key, raw, header, claims })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forge::{ForgeError, Mint, Scene},
        keys::{Kind, Seed},
        mint::Token,
    };

    #[test]
    fn a_sample_is_sent_as_it_is_and_never_signs_anything_else() {
        let key = SigningKey::generate(&Seed::new([1; 32]), "k", Kind::P256).unwrap();
        let token = Token::new().claim("sub", "alice").compact(&key).unwrap();
        let sample = SampleToken::parse(&token).unwrap();
        let scene = Scene::of_sample("ec", &sample, 0, 60);
        let forge = |json: Value| scene.forge(&serde_json::from_value::<Mint>(json).unwrap());
        assert_eq!(forge(serde_json::json!({})).unwrap(), token.as_bytes());
        let dotted = forge(serde_json::json!({ "compact": "${header}.${payload}.${signature}." })).unwrap();
        assert_eq!(dotted, format!("{token}.").as_bytes());
        assert!(forge(serde_json::json!({ "header": { "alg": "none" }, "signature": [] })).is_ok());
        assert!(forge(serde_json::json!({ "claims": { "sub": "admin" }, "signature": ["honest"] })).is_ok());
        let signed = forge(serde_json::json!({ "claims": { "sub": "admin" } }));
        assert!(matches!(signed, Err(ForgeError::NoKey(_))), "{signed:?}");
        assert!(matches!(forge(serde_json::json!({ "secret": "pem" })), Err(ForgeError::NoKey(_))));
    }
}
