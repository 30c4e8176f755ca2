//! What is written down about a decision: one JSON object, without a tenant's name in it.

mod top;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::{ConfigError, Request, json};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use top::Top;

use crate::{Guard, Outcome, Verdict, inspect::Found};

/// What is written down about decisions.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Hides tenants' names in the log, at least 16 bytes; the same one gives the same pseudonyms
    /// on every proxy. By default a random one for each process.
    salt: Option<String>,
    /// What becomes of a request that is refused. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
}

/// What becomes of a request that is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is answered.
    #[default]
    Enforce,
    /// It goes on as if there were no policy, without what only the policy may set: to see what
    /// would be refused before anything is. Nobody is kept from anybody's data.
    Shadow,
}

/// How decisions are written down.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    salt: Option<String>,
    mode: Mode,
}

impl Config {
    /// The checked form; `path` is where the document has it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a salt that can be guessed.
    pub fn resolve(self, path: &str) -> Result<Audit, ConfigError> {
        let Self { salt, mode } = self;
        if salt.as_ref().is_some_and(|salt| salt.len() < 16) {
            let reason =
                "shorter than 16 bytes: the hashes could be tried out; make one: openssl rand -hex 16";
            return Err(ConfigError::new(format!("{path}.salt"), reason));
        }
        Ok(Audit { salt, mode })
    }
}

impl Audit {
    /// What becomes of a request that is refused.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The same with this salt, where the configuration has none: hashes are then the same for as
    /// long as it is.
    #[must_use]
    pub fn with_default_salt(mut self, salt: String) -> Self {
        self.salt.get_or_insert(salt);
        self
    }

    /// How a tenant is called here: 64 bits of a salted SHA-256, in hexadecimal.
    #[must_use]
    pub fn pseudonym(&self, tenant: &str) -> String {
        let salt = self.salt.as_deref().unwrap_or_default();
        let hash = Sha256::new().chain_update(salt).chain_update(b"\0").chain_update(tenant).finalize();
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The event of something that a guard found in an answer: nothing of the answer is in it.
    #[must_use]
    pub fn leak(&self, guard: &Guard, found: Found) -> String {
        let event = if found.enforced { "leak_stopped" } else { "leak_reported" };
        let mut out = format!(
            "{{\"event\":\"{event}\",\"kind\":\"{}\",\"route\":\"{}\",\"tenant\":\"{}\"",
            found.leak.as_str(),
            guard.route(),
            self.pseudonym(guard.tenant())
        );
        if let Some(id) = guard.request_id() {
            member(&mut out, "request_id");
            json::write_string(id, &mut out);
        }
        out.push('}');
        out
    }

    /// The event of a refusal or a switch; in shadow mode of every decision, with method and path.
    #[must_use]
    pub fn event(&self, request: &Request<'_>, outcome: &Outcome) -> Option<String> {
        let trace = &outcome.trace;
        let shadow = self.mode == Mode::Shadow;
        let (event, code) = match &outcome.verdict {
            Verdict::Deny(denial) if shadow => ("would_refuse", Some(denial.code().as_str())),
            Verdict::Deny(denial) => ("refused", Some(denial.code().as_str())),
            Verdict::Switch(_) => ("switched", None),
            Verdict::Permit(_) if shadow => ("passed", None),
            Verdict::Permit(_) => return None,
        };
        let single = |name: &str| {
            request.single(name).and_then(|value| core::str::from_utf8(value).ok()).map(ToString::to_string)
        };
        let caller = trace.callers.first();
        let path = single(":path").map(|path| path.split('?').next().unwrap_or_default().to_string());
        let texts = [
            ("event", Some(event.to_string())),
            ("code", code.map(ToString::to_string)),
            ("reason", trace.reason.map(|reason| reason.as_str().to_string())),
            ("class", trace.class.map(|class| class.as_str().to_string())),
            ("route", trace.route.map(|route| route.to_string())),
            ("tenant", trace.tenant.as_deref().map(|tenant| self.pseudonym(tenant))),
            (
                "active",
                caller.and_then(|caller| caller.active.as_deref()).map(|active| self.pseudonym(active)),
            ),
            ("issuer", caller.map(|caller| caller.issuer.clone())),
            ("subject", caller.and_then(|caller| caller.subject.clone())),
            ("request_id", single("x-request-id")),
            ("method", single(":method").filter(|_| shadow)),
            ("path", path.filter(|_| shadow)),
        ];
        let mut out = String::from("{");
        for (name, value) in texts {
            let Some(value) = value else { continue };
            member(&mut out, name);
            json::write_string(&value, &mut out);
        }
        member(&mut out, "named");
        let named: Vec<_> = trace
            .selections
            .iter()
            .map(|selection| {
                let mut pair = String::from("[");
                json::write_string(&selection.source, &mut pair);
                let id = selection.id.as_deref().unwrap_or(&selection.name);
                pair.push_str(&format!(",\"{}\"]", self.pseudonym(id)));
                pair
            })
            .collect();
        out.push_str(&format!("[{}]}}", named.join(",")));
        Some(out)
    }
}

fn member(out: &mut String, name: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    out.push_str(&format!("\"{name}\":"));
}
