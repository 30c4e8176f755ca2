//! Tokens by chance from a seed: honest ones, and ones that are odd in up to three ways, each of
//! which is named. For differential and property tests.

use std::collections::BTreeMap;

use anyhow::Result;
use portcullis_issuer::{Kind, Mint, Scene, Seed, SigningKey, jwk_set};
use serde_json::{Map, Value, json};

/// The issuer of honest tokens.
pub const ISSUER: &str = "https://issuer.example";
/// Their audience.
pub const AUDIENCE: &str = "api";
/// The skew that everybody allows, in seconds.
pub const SKEW: u64 = 60;

/// Chance from a seed (xorshift*): nothing for a secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed tells the same story.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.number();
        }
        random
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % (bound.max(1) as u64)).unwrap_or_default()
    }

    /// True this often in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A token, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The token as it is sent.
    pub token: String,
    /// The names of its oddities; an honest token has none.
    pub features: Vec<&'static str>,
}

/// One way to be odd.
type Oddity = (&'static str, fn(&mut Mint));

/// Sets a claim.
macro_rules! claim {
    ($name:literal $value:tt) => {
        |mint: &mut Mint| {
            mint.claims.insert($name.into(), json!($value));
        }
    };
}

/// Sets a header parameter.
macro_rules! header {
    ($name:literal $value:tt) => {
        |mint: &mut Mint| {
            mint.header.insert($name.into(), json!($value));
        }
    };
}

/// Sets a claim to JSON text.
macro_rules! text {
    ($name:literal $value:literal) => {
        |mint: &mut Mint| {
            mint.claims_text.insert($name.into(), $value.into());
        }
    };
}

/// Sets a field of the mint.
macro_rules! field {
    ($name:ident $value:expr) => {
        |mint: &mut Mint| mint.$name = Some($value.into())
    };
}

const ODDITIES: &[Oddity] = &[
    ("crit", header!("crit"["x"])),
    ("crit-empty", header!("crit"[])),
    ("b64-true", header!("b64" true)),
    ("zip", header!("zip" "DEF")),
    ("typ-other", header!("typ" "dpop+jwt")),
    ("typ-number", header!("typ" 1)),
    ("typ-absent", |mint| mint.without_header.push("typ".into())),
    ("cty-jwt", header!("cty" "JWT")),
    ("kid-absent", |mint| mint.without_header.push("kid".into())),
    ("kid-unknown", header!("kid" "nobody")),
    ("kid-number", header!("kid" 7)),
    ("private-object", header!("x-private" {"a": [1]})),
    ("private-number", header!("x-private" 1)),
    ("alg-none", header!("alg" "none")),
    ("alg-other", header!("alg" "PS256")),
    ("alg-lower", header!("alg" "hs256")),
    ("jwk", header!("jwk" {"kty": "oct", "k": "AAAA"})),
    ("iss-other", claim!("iss" "https://mallory.example")),
    ("iss-absent", |mint| mint.without.push("iss".into())),
    ("iss-array", claim!("iss"["https://issuer.example"])),
    ("aud-array", claim!("aud" ["billing", "api"])),
    ("aud-other", claim!("aud" "billing")),
    ("aud-absent", |mint| mint.without.push("aud".into())),
    ("aud-empty", claim!("aud" [])),
    ("aud-mixed", claim!("aud" ["api", 1])),
    ("aud-number", claim!("aud" 1)),
    ("exp-past", claim!("exp" "now - 1h")),
    ("exp-absent", |mint| mint.without.push("exp".into())),
    ("exp-text", text!("exp" "\"${now + 1h}\"")),
    ("exp-fraction", text!("exp" "${now + 1h}.5")),
    ("exp-zero", claim!("exp" 0)),
    ("exp-negative", claim!("exp"(-1))),
    ("exp-null", claim!("exp" null)),
    ("exp-huge", text!("exp" "1e30")),
    ("exp-wide", text!("exp" "18446744073709551616")),
    ("nbf-past", claim!("nbf" "now - 1h")),
    ("nbf-future", claim!("nbf" "now + 30m")),
    ("nbf-text", claim!("nbf" "0")),
    ("nbf-fraction", text!("nbf" "${now - 1h}.5")),
    ("iat-future", claim!("iat" "now + 30m")),
    ("iat-text", claim!("iat" "0")),
    ("iat-negative", claim!("iat"(-5))),
    ("sub-number", claim!("sub" 1)),
    ("sub-null", claim!("sub" null)),
    ("jti-number", claim!("jti" 1)),
    ("claim-twice", field!(payload_text "{\"role\":1,\"role\":2,${rest}")),
    ("sub-twice", field!(payload_text "{\"sub\":\"admin\",${rest}")),
    ("header-twice", field!(header_text "{\"x\":1,\"x\":2,${rest}")),
    ("payload-array", field!(payload_text "[${json}]")),
    ("payload-comma", field!(payload_text "${open},}")),
    ("payload-space", field!(payload_text " ${json}\n")),
    ("payload-not-utf8", field!(payload_text "${open},\"x\":\"${hex:ff}\"}")),
    ("payload-nan", field!(payload_text "${open},\"x\":NaN}")),
    ("header-comma", field!(header_text "${open},}")),
    ("stranger", field!(signer "stranger")),
    ("signature-empty", field!(signature Vec::<String>::new())),
    ("signature-flip", field!(signature vec!["flip:9".to_owned()])),
    ("signature-short", field!(signature vec!["first:31".to_owned()])),
    ("signature-long", field!(signature vec!["signature".to_owned(), "hex:00".to_owned()])),
    ("trailing-dot", field!(compact "${header}.${payload}.${signature}.")),
    ("padding", field!(compact "${header}.${payload}.${signature}==")),
    ("inner-padding", field!(signing_input "${header}.${payload}=")),
    ("unclean", field!(signing_input "${header}.${payload-unclean}")),
    ("space-in-signature", field!(compact "${header}.${payload}.${signature-left} ${signature-right}")),
    ("two-segments", field!(compact "${header}.${payload}")),
    ("claim-more", claim!("role" "user")),
    ("claim-nested", claim!("https://x.example/a" {"b": [1, null, "c"]})),
];

/// Makes tokens.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    scene: Scene,
}

impl Generator {
    /// Tokens of an issuer with an HMAC, an Ed25519, a P-256 and an RSA key, at `now` in seconds
    /// since 1970. Everything odd in time is an hour off, so that a slow machine changes nothing.
    ///
    /// # Errors
    ///
    /// A key cannot be made.
    pub fn new(seed: u64, now: i64) -> Result<Self> {
        let keys = [
            ("hs", Kind::Hmac(32)),
            ("ed", Kind::Ed25519),
            ("ec", Kind::P256),
            ("rsa", Kind::Rsa(2048)),
            ("stranger", Kind::Ed25519),
        ];
        let keys = keys.map(|(name, kind)| {
            Ok((name.to_owned(), SigningKey::generate(&Seed::new([11; 32]), name, kind)?))
        });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": "now", "exp": "now + 1h",
        });
        let scene = Scene {
            keys: keys.into_iter().collect::<Result<BTreeMap<_, _>>>()?,
            key: Some("hs".into()),
            header: Map::from_iter([("typ".into(), json!("JWT"))]),
            claims: claims.as_object().cloned().unwrap_or_default(),
            now,
            skew: i64::try_from(SKEW)?,
            ..Scene::default()
        };
        Ok(Self { random: Random::new(seed), scene })
    }

    /// Sets the time of the tokens to come: others judge by the machine's clock, and a long run
    /// must not fall behind it.
    pub const fn set_now(&mut self, now: i64) {
        self.scene.now = now;
    }

    /// What honest tokens are like.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The issuer's key set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        jwk_set(["hs", "ed", "ec", "rsa"].iter().filter_map(|name| Some(self.scene.keys.get(*name)?.jwk())))
    }

    /// A jwt-auth configuration for the issuer.
    #[must_use]
    pub fn configuration(&self) -> Value {
        json!({
            "issuers": [{
                "name": "main", "issuer": ISSUER, "audiences": [AUDIENCE],
                "algorithms": ["HS256", "EdDSA", "ES256", "RS256"],
                "clock_skew": format!("{SKEW}s"), "jwks": { "inline": self.jwks() },
            }],
            "rules": [{ "path": { "prefix": "/" }, "require": { "any": ["main"] } }],
        })
    }

    /// The chance that the tokens come from, for what a test draws beside them.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// A key's name: cheap ones more often, RSA seldom, because signing costs what it costs.
    pub fn key(&mut self) -> &'static str {
        match self.random.below(100) {
            0..50 => "hs",
            50..85 => "ed",
            85..99 => "ec",
            _ => "rsa",
        }
    }

    /// The next token: a quarter is honest, the others have one to three oddities.
    ///
    /// # Errors
    ///
    /// A token cannot be made: a defect of the list of oddities.
    pub fn next_token(&mut self) -> Result<Generated> {
        let count = match self.random.below(100) {
            0..25 => 0,
            25..75 => 1,
            75..92 => 2,
            _ => 3,
        };
        let mut mint = Mint { key: Some(self.key().into()), ..Mint::default() };
        let mut features = Vec::new();
        for _ in 0..count {
            let at = self.random.below(ODDITIES.len());
            let Some((name, change)) = ODDITIES.get(at) else { continue };
            if !features.contains(name) {
                change(&mut mint);
                features.push(*name);
            }
        }
        let token = self.scene.forge(&mint).map_err(|error| anyhow::anyhow!("{features:?}: {error}"))?;
        Ok(Generated { token: String::from_utf8(token)?, features })
    }

    /// An honest token of some key.
    ///
    /// # Errors
    ///
    /// As [`Generator::next_token`].
    pub fn honest(&mut self) -> Result<(String, &'static str)> {
        let key = self.key();
        let token = self.scene.forge(&Mint { key: Some(key.into()), ..Mint::default() })?;
        Ok((String::from_utf8(token)?, key))
    }
}
