//! Sample tokens: which of the two sets verifies them, and what follows. Nothing here shows a
//! token, or a part of one.

use std::time::Duration;

use anyhow::bail;
use portcullis_core::Code;
use portcullis_crypto::Software;
use portcullis_jwt::{
    jwks::KeySet,
    rotation::{self, KeyId, Severity, Times},
};

/// What is said of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Any,
    /// The old set verifies it.
    Old,
    /// The new set verifies it.
    New,
}

impl Kind {
    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::Any => "--sample-token",
            Self::Old => "--sample-old-token",
            Self::New => "--sample-new-token",
        }
    }
}

/// A sample that was tried with both sets: the key that verifies it, or the code of the refusal.
pub(super) struct Sample {
    pub(super) kind: Kind,
    pub(super) old: Result<KeyId, Code>,
    pub(super) new: Result<KeyId, Code>,
}

/// What follows from a sample for those who hold tokens like it.
pub(super) struct Meaning {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) refused_for: Option<Duration>,
}

impl Sample {
    /// # Errors
    ///
    /// `token` is none that any set could verify.
    pub(super) fn judge(kind: Kind, token: &[u8], old: &KeySet, new: &KeySet) -> anyhow::Result<Self> {
        let signer = |set| match rotation::signer(token, set, &Software) {
            Ok(key) => Ok(Ok(key)),
            Err(denial) => match denial.code() {
                code @ (Code::KidNotFound | Code::KeyUnusable | Code::SignatureInvalid) => Ok(Err(code)),
                // The detail can quote the token's header; the code's own words cannot.
                code => bail!(
                    "`{}`: {code}: {}; it must be a signed JWT in compact form, or `@` and its file",
                    kind.flag(),
                    code.message()
                ),
            },
        };
        Ok(Self { kind, old: signer(old)?, new: signer(new)? })
    }

    pub(super) fn meaning(&self, times: Times) -> Meaning {
        let Times { max_token_ttl, cache_ttl } = times;
        let shown = humantime::format_duration;
        let (severity, message, refused_for) = match (&self.old, &self.new) {
            (Ok(_), Ok(_)) => (Severity::Info, "accepted before and after the change".into(), None),
            (Ok(_), Err(_)) => (
                Severity::Error,
                format!(
                    "refused by verifiers that have the new set until it expires, for up to {}",
                    shown(max_token_ttl)
                ),
                Some(max_token_ttl),
            ),
            (Err(_), Ok(_)) => (
                Severity::Warning,
                format!("refused by verifiers that still have the old set, for up to {}", shown(cache_ttl)),
                Some(cache_ttl),
            ),
            (Err(_), Err(_)) => {
                (Severity::Error, "neither set verifies it; is it a token of this issuer?".into(), None)
            }
        };
        Meaning { severity, message, refused_for }
    }

    /// Whether the sample is what it was said to be. One that is not answers another question than
    /// the one that was asked.
    pub(super) fn keeps_its_promise(&self) -> anyhow::Result<()> {
        let (set, code) = match (self.kind, &self.old, &self.new) {
            (Kind::Any, Err(code), Err(_)) => ("neither set verifies it", code),
            (Kind::Old, Err(code), _) => ("the old set does not verify it", code),
            (Kind::New, _, Err(code)) => ("the new set does not verify it", code),
            _ => return Ok(()),
        };
        bail!("`{}`: {set} ({code}); is it a token of this issuer and of that set?", self.kind.flag())
    }
}
