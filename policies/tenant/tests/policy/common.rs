//! A request line by line, evidence, and what came of them.

use std::collections::BTreeMap;

use portcullis_core::{Code, Request};
use portcullis_tenant::{Evidence, Origin, Outcome, Permit, Policy, Unknown, Verdict};

/// What the host knows.
#[derive(Clone, Debug, Default)]
pub struct Host(pub BTreeMap<String, Vec<u8>>);

impl Host {
    pub fn nothing() -> Self {
        Self::default()
    }

    /// A token of the issuer `main` with these claims, as jwt-auth publishes them.
    pub fn token(claims: &str) -> Self {
        Self::nothing().with(&Origin::JwtAuth, format!("{{\"main\":{claims}}}"))
    }

    pub fn with(mut self, origin: &Origin, value: impl Into<Vec<u8>>) -> Self {
        self.0.insert(format!("{origin:?}"), value.into());
        self
    }
}

impl Evidence for Host {
    fn of(&self, origin: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        Ok(self.0.get(&format!("{origin:?}")).cloned())
    }
}

pub fn policy(json: &str) -> Policy {
    Policy::from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// `GET https://acme.app.test/t/acme/x` with `headers`, of which pseudo headers replace these.
pub fn decide(policy: &Policy, headers: &[(&str, &str)], host: &Host) -> Outcome {
    let mut all: Vec<(&[u8], &[u8])> = Vec::new();
    for (name, value) in [(":method", "GET"), (":authority", "acme.app.test"), (":path", "/")] {
        if !headers.iter().any(|(own, _)| *own == name) {
            all.push((name.as_bytes(), value.as_bytes()));
        }
    }
    all.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    policy.decide(&Request::new(&all), host)
}

pub fn permit(outcome: Outcome) -> Permit {
    match outcome.verdict {
        Verdict::Permit(permit) => permit,
        other => panic!("{other:?} {:?}", outcome.trace),
    }
}

pub fn code(outcome: &Outcome) -> Option<Code> {
    match &outcome.verdict {
        Verdict::Deny(denial) => Some(denial.code()),
        _ => None,
    }
}

/// The value that a permit sets for `name`.
pub fn set(permit: &Permit, name: &str) -> Option<String> {
    let found = permit.set().iter().find(|(own, _)| own == name.as_bytes());
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
}
