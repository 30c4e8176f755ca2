//! The honest world that the attacks are made against.

use serde_json::{Map, Value, json};

use super::{Target, published};
use crate::{
    forge::Scene,
    keys::{Alg, KeyError, Kind, Seed, SigningKey, jwk_set},
    mint::Token,
};

/// The clock skew that the gateway allows, in seconds.
pub type SkewSeconds = i64;

/// An issuer, the gateway's policy towards it, and the time.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The value of `iss`.
    pub issuer: String,
    /// The value of `aud`.
    pub audience: String,
    /// The subject of honest tokens.
    pub subject: String,
    /// Seconds since 1970-01-01T00:00:00Z: the clock of the gateway.
    pub now: i64,
    /// The algorithms that the gateway allows for the issuer.
    pub algorithms: Vec<Alg>,
    /// How much clock skew the gateway allows.
    pub clock_skew: SkewSeconds,
    /// The header that the gateway sets to the verified subject.
    pub subject_header: String,
    /// A cookie that may carry the token, where the gateway looks for one.
    pub cookie: Option<String>,
    /// A query parameter that may carry the token, where the gateway looks for one.
    pub query: Option<String>,
    /// A path prefix that needs no token, where the gateway has one.
    pub public_prefix: Option<String>,
    /// The keys.
    pub keys: Keys,
}

/// The issuer's keys and the attacker's.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `rsa-1`: RSA-2048 for RS256.
    pub rsa: SigningKey,
    /// `ec-1`: P-256 for ES256.
    pub ec: SigningKey,
    /// `ed-1`: Ed25519 for EdDSA.
    pub ed: SigningKey,
    /// `rsa-pss`: RSA-2048, published with `alg` PS256.
    pub pss: SigningKey,
    /// `p384-1`: P-384, published without `alg`.
    pub p384: SigningKey,
    /// `rsa-1024`: published, and too small to be used.
    pub small: SigningKey,
    /// `ec-2`: P-256, published beside `ec-1` under one name.
    pub ec_second: SigningKey,
    /// RSA-2048 of the attacker.
    pub mallory_rsa: SigningKey,
    /// P-256 of the attacker.
    pub mallory_ec: SigningKey,
    /// Ed25519 of the attacker.
    pub mallory_ed: SigningKey,
}

impl Keys {
    fn generate(seed: &Seed) -> Result<Self, KeyError> {
        let key = |kid: &str, kind| SigningKey::generate(seed, kid, kind);
        Ok(Self {
            rsa: key("rsa-1", Kind::Rsa(2048))?,
            ec: key("ec-1", Kind::P256)?,
            ed: key("ed-1", Kind::Ed25519)?,
            pss: key("rsa-pss", Kind::Rsa(2048))?.for_alg(Alg::Ps256)?,
            p384: key("p384-1", Kind::P384)?,
            small: key("rsa-1024", Kind::Rsa(1024))?,
            ec_second: key("ec-2", Kind::P256)?,
            mallory_rsa: key("mallory-rsa", Kind::Rsa(2048))?,
            mallory_ec: key("mallory-ec", Kind::P256)?,
            mallory_ed: key("mallory-ed", Kind::Ed25519)?,
        })
    }
}

impl Setup {
    /// A gateway that allows RS256, ES256, EdDSA and PS256 from `issuer` for `audience` at the
    /// time `now` (seconds since 1970), with a clock skew of 60 s and `sub` in `x-sub`, and
    /// needs no token below `/public`.
    ///
    /// # Errors
    ///
    /// A key cannot be made.
    pub fn new(seed: &Seed, issuer: &str, audience: &str, now: i64) -> Result<Self, KeyError> {
        Ok(Self {
            issuer: issuer.into(),
            audience: audience.into(),
            subject: "alice".into(),
            now,
            algorithms: vec![Alg::Rs256, Alg::Es256, Alg::EdDsa, Alg::Ps256],
            clock_skew: 60,
            subject_header: "x-sub".into(),
            cookie: None,
            query: None,
            public_prefix: Some("/public".into()),
            keys: Keys::generate(seed)?,
        })
    }

    /// The issuer's JWK Set: good keys, and keys that a gateway must not use or must use with care
    /// (`corpus/keys.yaml`).
    ///
    /// # Panics
    ///
    /// Where the corpus's own file is wrong, which this crate's tests find.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let target = self.target();
        let keys = published().and_then(|all| {
            all.iter()
                .map(|key| target.publish(key).map_err(|error| error.to_string()))
                .collect::<Result<Vec<_>, _>>()
        });
        jwk_set(keys.expect("the corpus's key set is sound"))
    }

    /// What the corpus has to know of this gateway.
    #[must_use]
    pub fn target(&self) -> Target {
        let keys = &self.keys;
        let named = [
            ("rsa", &keys.rsa),
            ("ec", &keys.ec),
            ("ed", &keys.ed),
            ("pss", &keys.pss),
            ("p384", &keys.p384),
            ("small", &keys.small),
            ("ec-2", &keys.ec_second),
            ("mallory-rsa", &keys.mallory_rsa),
            ("mallory-ec", &keys.mallory_ec),
            ("mallory-ed", &keys.mallory_ed),
        ];
        let scene = Scene {
            keys: named.map(|(name, key)| (name.to_owned(), key.clone())).into(),
            key: Some("ec".into()),
            header: Map::from_iter([("typ".into(), json!("JWT"))]),
            claims: Map::from_iter([
                ("iss".into(), json!(self.issuer)),
                ("aud".into(), json!(self.audience)),
                ("sub".into(), json!(self.subject)),
                ("iat".into(), json!("now")),
                ("exp".into(), json!("now + 5m")),
            ]),
            now: self.now,
            skew: self.clock_skew,
            ..Scene::default()
        };
        Target {
            scene,
            algorithms: Some(self.algorithms.iter().map(|alg| alg.as_str().to_owned()).collect()),
            path: "/orders/7".into(),
            subject_header: Some(self.subject_header.clone()),
            cookie: self.cookie.clone(),
            query: self.query.clone(),
            public_prefix: self.public_prefix.clone(),
            own_key_set: true,
            exact_clock: true,
        }
    }

    /// As [`Setup::jwt_auth_config`], with one rule: a token on every path.
    #[must_use]
    pub fn jwt_auth_everywhere(&self) -> Value {
        let mut configuration = self.jwt_auth_config();
        configuration["rules"] = json!([{ "path": { "prefix": "/" }, "require": { "any": ["main"] } }]);
        configuration
    }

    /// A jwt-auth configuration that enforces this setup, with the key set inline.
    #[must_use]
    pub fn jwt_auth_config(&self) -> Value {
        let algorithms: Vec<_> = self.algorithms.iter().map(|alg| alg.as_str()).collect();
        let mut issuer = json!({
            "name": "main",
            "issuer": self.issuer,
            "audiences": [self.audience],
            "algorithms": algorithms,
            "clock_skew": format!("{}s", self.clock_skew),
            "jwks": { "inline": self.jwks() },
            "forward": { "headers": [{ "claim": "sub", "header": self.subject_header }] },
        });
        if self.cookie.is_some() || self.query.is_some() {
            issuer["from"] = json!({
                "authorization": "Bearer",
                "cookies": Vec::from_iter(&self.cookie),
                "query": Vec::from_iter(&self.query),
            });
        }
        let mut rules = vec![json!({ "path": { "prefix": "/" }, "require": { "any": ["main"] } })];
        if let Some(prefix) = &self.public_prefix {
            rules.insert(0, json!({ "path": { "prefix": prefix }, "require": "none" }));
        }
        json!({ "issuers": [issuer], "rules": rules })
    }

    /// Honest claims for five minutes, and `typ`: what is left is to sign it.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::new()
            .header("typ", "JWT")
            .claim("iss", self.issuer.as_str())
            .claim("aud", self.audience.as_str())
            .claim("sub", self.subject.as_str())
            .claim("iat", self.now)
            .claim("exp", self.now.saturating_add(300))
    }
}
