//! Keys and tokens, made once for all stories: signing costs more than most of what is simulated.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use portcullis_issuer::{Alg, SigningKey, Token, keys};
use serde_json::Value;

/// The issuer of every story.
pub const ISSUER: &str = "https://issuer.example";
/// An issuer that never answers.
pub const DEAD: &str = "https://dead.example";
/// The time of day at which a story begins: 2026-01-01T00:00:00Z.
pub const BEGIN: u64 = 1_767_225_600;

/// A key by its name and number: two numbers under one name are two keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub String, pub u8);

/// A key's public form, and a token that it signed.
#[derive(Debug)]
pub struct Made {
    pub jwk: Value,
    pub token: String,
    pub dead: String,
}

/// All that were made so far.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<Key, Arc<Made>>>);

impl Tokens {
    pub fn of(&self, key: &Key) -> Arc<Made> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key.clone()).or_insert_with(|| Arc::new(make(key))))
    }
}

fn make(Key(kid, number): &Key) -> Made {
    let key = SigningKey::generate(&keys::Seed::new([*number; 32]), kid, keys::Kind::P256).unwrap();
    let token = |issuer: &str| claims(issuer).compact(&key).unwrap();
    Made { jwk: key.jwk(), token: token(ISSUER), dead: token(DEAD) }
}

/// A token with this name whose signature is none.
pub fn forged(kid: &str) -> String {
    let token = claims(ISSUER).header("alg", Alg::Es256.as_str()).header("kid", kid);
    token.raw().signature([7; 64]).compact()
}

/// Good for years: the clock of a story jumps.
fn claims(issuer: &str) -> Token {
    Token::new()
        .claim("iss", issuer)
        .claim("aud", "api")
        .claim("sub", "alice")
        .claim("exp", 4_000_000_000_u64)
}
