//! jsonwebtoken's judgement of a token: a second opinion for differential tests. It never decides
//! anything.

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde_json::Value;

use crate::keys::KeyError;

/// A validation as a careful user of jsonwebtoken would set it up: the algorithm of the key that
/// `kid` names, issuer, audience, expiry and start.
pub struct Opinion {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
    leeway: u64,
}

struct Key {
    kid: Option<String>,
    alg: jsonwebtoken::Algorithm,
    key: DecodingKey,
}

impl Opinion {
    /// The opinion of somebody who knows these keys, each of which must say its `alg`.
    ///
    /// # Errors
    ///
    /// jsonwebtoken does not take the set.
    pub fn new(jwks: &Value, issuer: &str, audience: &str, leeway: u64) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_value(jwks.clone()).map_err(KeyError::new)?;
        let keys = set.keys.iter().map(|jwk| {
            let alg = jwk.common.key_algorithm.ok_or_else(|| KeyError::new("a key without `alg`"))?;
            Ok(Key {
                kid: jwk.common.key_id.clone(),
                alg: alg.to_string().parse().map_err(KeyError::new)?,
                key: DecodingKey::from_jwk(jwk).map_err(KeyError::new)?,
            })
        });
        let keys = keys.collect::<Result<_, KeyError>>()?;
        Ok(Self { keys, issuer: issuer.into(), audience: audience.into(), leeway })
    }

    /// Whether the token is good, by the machine's clock.
    ///
    /// # Errors
    ///
    /// Why it is not, in jsonwebtoken's words.
    pub fn judge(&self, token: &str) -> Result<(), String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| format!("{error:?}"))?;
        let fits = |key: &&Key| {
            key.alg == header.alg && (header.kid.is_none() || header.kid.as_deref() == key.kid.as_deref())
        };
        let mut reason = "no key".to_owned();
        for Key { alg, key, .. } in self.keys.iter().filter(fits) {
            let mut validation = Validation::new(*alg);
            validation.set_issuer(&[&self.issuer]);
            validation.set_audience(&[&self.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            validation.validate_nbf = true;
            validation.leeway = self.leeway;
            match jsonwebtoken::decode::<Value>(token, key, &validation) {
                Ok(_) => return Ok(()),
                Err(error) => reason = format!("{error:?}"),
            }
        }
        Err(reason)
    }
}
