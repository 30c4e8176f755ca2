//! Tokens minted before anything is measured.

use std::thread;
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};

/// The issuer, and the audience that the filters ask for.
pub const ISSUER: &str = "https://issuer";
/// The audience that the filters ask for.
pub const AUDIENCE: &str = "api";

/// The seconds that a token lives: longer than any measurement.
const LIFETIME: u64 = 3600;

/// The key for an algorithm name, made from a fixed seed.
///
/// # Errors
/// When no key is known for the name.
pub fn key(algorithm: &str) -> Result<SigningKey> {
    let kind = match algorithm {
        "RS256" => Kind::Rsa(2048),
        "ES256" => Kind::P256,
        "EdDSA" => Kind::Ed25519,
        "HS256" => Kind::Hmac(32),
        _ => return Err(anyhow!("unknown algorithm `{algorithm}`, there are RS256, ES256, EdDSA, HS256")),
    };
    Ok(SigningKey::generate(&Seed::new([7; 32]), format!("bench-{algorithm}"), kind)?)
}

/// `count` tokens of which no two are alike, each as the issuer of an ordinary API would write it, with
/// so many `roles` in a list as Keycloak's have.
///
/// # Errors
/// When the key cannot sign.
pub fn mint(key: &SigningKey, count: usize, roles: usize) -> Result<Vec<String>> {
    let roles: Vec<_> = (0..roles).map(|number| format!("orders-{number:04}-manager")).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let threads = thread::available_parallelism()?.get();
    let share = count.div_ceil(threads).max(1);
    thread::scope(|scope| {
        let numbers: Vec<usize> = (0..count).collect();
        let minting: Vec<_> = numbers
            .chunks(share)
            .map(|numbers| {
                let (numbers, roles) = (numbers.to_vec(), &roles);
                scope.spawn(move || numbers.into_iter().map(|number| one(key, now, number, roles)).collect())
            })
            .collect();
        let mut tokens = Vec::with_capacity(count);
        for minted in minting {
            let part: Result<Vec<String>> =
                minted.join().map_err(|_| anyhow!("a minting thread panicked"))?;
            tokens.extend(part?);
        }
        Ok(tokens)
    })
}

fn one(key: &SigningKey, now: u64, number: usize, roles: &[String]) -> Result<String> {
    let token = Token::new()
        .header("typ", "JWT")
        .claim("iss", ISSUER)
        .claim("aud", AUDIENCE)
        .claim("sub", format!("user-{number}"))
        .claim("jti", format!("{number:032x}"))
        .claim("scope", "orders:read orders:write profile")
        .claim("org_id", "acme")
        .claim("iat", now)
        .claim("exp", now.saturating_add(LIFETIME));
    let token = if roles.is_empty() { token } else { token.claim("realm_access", json!({"roles": roles})) };
    Ok(token.compact(key)?)
}

/// `count` issuers, of which the last one is the tokens' and the others have the same keys: a name for
/// each, and its `iss`.
#[must_use]
pub fn issuers(count: usize) -> Vec<(String, String)> {
    let others = (1..count).map(|number| (format!("other-{number}"), format!("{ISSUER}/other-{number}")));
    others.chain([("main".to_owned(), ISSUER.to_owned())]).collect()
}

/// jwt-auth's configuration for tokens of this key, from the last of so many `issuers`: the same checks
/// and the same header for the upstream as the native filter gets in the comparison.
#[must_use]
pub fn jwt_auth(key: &SigningKey, issuers: usize) -> Value {
    let all = self::issuers(issuers);
    let issuer = |(name, issuer): &(String, String)| {
        json!({
            "name": name,
            "issuer": issuer,
            "audiences": [AUDIENCE],
            "algorithms": [key.natural_alg().as_str()],
            "jwks": {"inline": jwk_set([key.jwk()])},
            "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]},
        })
    };
    let names: Vec<_> = all.iter().map(|(name, _)| name).collect();
    json!({
        "issuers": all.iter().map(issuer).collect::<Vec<_>>(),
        "rules": [{"path": {"prefix": "/"}, "require": {"any": names}}],
    })
}

/// The same token with another signature.
#[must_use]
pub fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{flipped}{}", signature.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_tokens_are_all_different_and_a_forged_one_differs_in_its_signature() {
        let mut tokens = mint(&key("HS256").unwrap(), 101, 3).unwrap();
        let forged = forged(&tokens[0]);

        assert_ne!(forged, tokens[0]);
        assert_eq!(forged.rsplit_once('.').unwrap().0, tokens[0].rsplit_once('.').unwrap().0);
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 101);
    }
}
