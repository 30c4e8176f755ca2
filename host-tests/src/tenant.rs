//! The tenant corpus: the files of `deploy/envoy` as they are, requests against them, and three
//! who answer: the native policies, the modules in the wasmtime host, and the modules in Envoy.

mod cases;
mod subjects;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
pub use cases::{Case, Class, Expect, cases};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};
pub use subjects::{Hosted, Native, Real, Transport, judgement};

/// A file of `deploy/envoy` with a test issuer in place of the example's.
pub struct World {
    /// The file's name.
    pub file: &'static str,
    text: String,
    /// What the file configures jwt-auth with.
    pub jwt_auth: Value,
    /// What the file configures tenant-guard with.
    pub tenant_guard: Value,
    setup: Setup,
}

impl World {
    /// Reads `file`; tokens are minted for the time `now`.
    ///
    /// # Errors
    ///
    /// The file is not there or has no such filters.
    pub fn load(file: &'static str, now: i64) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let setup = Setup::new(&Seed::new([7; 32]), "https://login.example.com", "api", now)?;
        let mut blocks = blocks(&text)?;
        ensure!(blocks.len() == 2, "`{file}` has {} configurations, not two", blocks.len());
        let tenant_guard = blocks.pop().context("no tenant-guard")?;
        let mut jwt_auth = blocks.pop().context("no jwt-auth")?;
        jwt_auth["issuers"][0]["jwks"] = json!({ "inline": setup.jwks() });
        Ok(Self { file, text, jwt_auth, tenant_guard, setup })
    }

    /// A good token with `claims` beside those that every token of the issuer has.
    ///
    /// # Errors
    ///
    /// It cannot be signed.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let mut token = self.setup.token();
        for (name, value) in claims.as_object().into_iter().flatten() {
            token = token.claim(name, value.clone());
        }
        Ok(token.compact(&self.setup.keys.ec)?)
    }

    /// The public keys of the issuer.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.setup.jwks()
    }

    /// The file with the test issuer, on free ports, before the upstream at `port`.
    ///
    /// # Errors
    ///
    /// The file does not have the places that are to change.
    pub fn bootstrap(&self, port: u16) -> Result<String> {
        let mut text = String::new();
        let mut rendered = [&self.jwt_auth, &self.tenant_guard].into_iter();
        let mut inside = None;
        for line in self.text.lines() {
            let indent = line.len() - line.trim_start().len();
            if inside.is_some_and(|deeper| line.is_empty() || indent > deeper) {
                continue;
            }
            inside = None;
            text.push_str(line);
            text.push('\n');
            if line.trim_end().ends_with("value: |") {
                inside = Some(indent);
                let document = rendered.next().context("more than two configurations")?;
                text.push_str(&format!("{}{document}\n", " ".repeat(indent + 2)));
            }
        }
        for (from, to) in [
            ("{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}".to_owned()),
            ("{address: 0.0.0.0, port_value: 10000}", "{address: 127.0.0.1, port_value: 0}".to_owned()),
            ("{address: 127.0.0.1, port_value: 8080}", format!("{{address: 127.0.0.1, port_value: {port}}}")),
        ] {
            ensure!(text.matches(from).count() == 1, "`{}` has no `{from}`", self.file);
            text = text.replace(from, &to);
        }
        Ok(text)
    }
}

/// The JSON documents that stand as block scalars in `text`.
fn blocks(text: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.trim_end().ends_with("value: |") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let mut block = String::new();
        while let Some(line) =
            lines.next_if(|line| line.is_empty() || line.len() - line.trim_start().len() > indent)
        {
            block.push_str(line);
            block.push('\n');
        }
        found.push(serde_json::from_str(&block).context("a configuration is no JSON")?);
    }
    Ok(found)
}
