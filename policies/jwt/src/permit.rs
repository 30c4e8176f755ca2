//! The proof that a request may continue, and how it changes on the way.

use alloc::{string::String, vec::Vec};

use portcullis_core::Denial;

use crate::{json, locations::Changes};

/// What was proven about a request, or that its rule only reports. Only a decision makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    changes: Changes,
    identities: Vec<Identity>,
    reported: Option<Denial>,
}

/// The verified claims of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) issuer: String,
    pub(crate) payload: Vec<u8>,
}

impl Identity {
    /// The issuer's name in the configuration.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The claims as the token carried them: a JSON object without duplicate members.
    #[must_use]
    pub fn claims(&self) -> &[u8] {
        &self.payload
    }
}

impl Permit {
    pub(crate) const fn new(changes: Changes, identities: Vec<Identity>) -> Self {
        Self { changes, identities, reported: None }
    }

    /// The permit of a request that only a report was made of: nothing about it is proven.
    pub(crate) const fn reported_only(changes: Changes, denial: Denial) -> Self {
        Self { changes, identities: Vec::new(), reported: Some(denial) }
    }

    /// What the request would have been refused with, did its rule not only report.
    #[must_use]
    pub const fn reported(&self) -> Option<&Denial> {
        self.reported.as_ref()
    }

    /// Headers to remove, first of all.
    #[must_use]
    pub fn remove(&self) -> &[Vec<u8>] {
        &self.changes.remove
    }

    /// Headers to set afterwards, each in place of whatever has its name.
    #[must_use]
    pub fn set(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.changes.set
    }

    /// The tokens that were verified; empty where the rule asks for none.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// What later filters may read: `{"<issuer's name>": {claims}, …}`.
    #[must_use]
    pub fn published(&self) -> Vec<u8> {
        let mut out = Vec::from(b"{");
        for (at, identity) in self.identities.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let mut name = String::new();
            json::write_string(&identity.issuer, &mut name);
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(&identity.payload);
        }
        out.push(b'}');
        out
    }
}
