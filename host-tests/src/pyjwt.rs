//! PyJWT in a process of its own, as a second opinion whose code and arithmetic (OpenSSL) share
//! nothing with ours.

use anyhow::Result;
use serde_json::{Value, json};

use crate::python::{Packages, Process};

const PACKAGES: Packages = Packages {
    folder: "pyjwt-2.10.1",
    packages: &["pyjwt==2.10.1", "cryptography==50.0.2"],
    probe: "import jwt, cryptography",
    skip: "PORTCULLIS_SKIP_PYJWT",
};

/// A running judge.
#[derive(Debug)]
pub struct PyJwt(Process);

impl PyJwt {
    /// Starts it, after installing PyJWT from PyPI once. `None`, with a line that says so, where
    /// the environment asks to leave it out.
    ///
    /// # Errors
    ///
    /// It cannot be had; the text says how to get it.
    pub fn start(jwks: &Value, issuer: &str, audience: &str, leeway: u64) -> Result<Option<Self>> {
        let Some(mut process) = PACKAGES.start(include_str!("pyjwt.py"))? else { return Ok(None) };
        process.say([&json!({ "jwks": jwks, "issuer": issuer, "audience": audience, "leeway": leeway })])?;
        Ok(Some(Self(process)))
    }

    /// Judges tokens, by the machine's clock: nothing where a token is good, else why it is not.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn judge(&mut self, tokens: &[&str]) -> Result<Vec<Option<String>>> {
        let questions: Vec<Value> = tokens.iter().map(|token| json!(token)).collect();
        self.0.say(&questions)?;
        let answer = || Ok(Some(self.0.hear()?).filter(|answer| answer != "ok"));
        std::iter::repeat_with(answer).take(tokens.len()).collect()
    }
}
