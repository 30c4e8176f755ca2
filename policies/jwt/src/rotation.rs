//! Whether a rotation is safe: two states of an issuer's key set in, a judgement and its reasons
//! out. It reads no file and prints nothing.

mod findings;

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{fmt, time::Duration};

use portcullis_core::{Code, Denial};
use portcullis_crypto::{Algorithm, Verifier};

pub use findings::{Finding, FindingCode, Severity, Which};

use crate::{
    jwks::{JsonWebKey, KeySet},
    token::{Compact, RawHeader, Types, Unverified, within},
};

/// Bytes of a sample token: far more than a request's headers may have anywhere.
const MAX_SAMPLE_BYTES: usize = 64 * 1024;

/// How the two sets relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationState {
    /// The same keys.
    NoChange,
    /// No key is gone: tokens of both sets are accepted by whoever has the new one. Whoever still
    /// has the old one learns of the new keys before they have to sign, if that waits for
    /// [`Rotation::publish_before_use`].
    SafeOverlap,
    /// Some keys stayed and some are gone.
    Overlap,
    /// No key stayed.
    Disjoint,
}

impl RotationState {
    /// The stable name: lower snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoChange => "no_change",
            Self::SafeOverlap => "safe_overlap",
            Self::Overlap => "overlap",
            Self::Disjoint => "disjoint",
        }
    }

    /// Whether nobody is refused because of the change.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::NoChange | Self::SafeOverlap)
    }
}

impl fmt::Display for RotationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The times that decide who would be refused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a token is good at most.
    pub max_token_ttl: Duration,
    /// How long a verifier uses a set before it looks again.
    pub cache_ttl: Duration,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How the sets relate.
    pub state: RotationState,
    /// Keys that are in both.
    pub stayed: Vec<KeyId>,
    /// Keys that only the new set has.
    pub added: Vec<KeyId>,
    /// Keys that only the old set has.
    pub removed: Vec<KeyId>,
    /// How long a new key must be published before it signs: until every cache has it.
    pub publish_before_use: Duration,
    /// How long a key must stay published after it signed last: until its last token has expired.
    pub keep_after_use: Duration,
    /// How long both keys must be published together: `publish_before_use` and then
    /// `keep_after_use`.
    pub overlap: Duration,
    /// What is worth knowing, the worst first.
    pub findings: Vec<Finding>,
}

/// A key as a report names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId {
    /// Its `kid`.
    pub kid: Option<String>,
    /// Its RFC 7638 thumbprint.
    pub thumbprint: [u8; 32],
    /// Its `alg`.
    pub algorithm: Option<Algorithm>,
}

impl KeyId {
    fn of(key: &JsonWebKey) -> Self {
        Self {
            kid: key.kid().map(Into::into),
            thumbprint: key.key().thumbprint(),
            algorithm: key.algorithm(),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "`{}`", crate::jwks::Quoted(kid)),
            None => {
                f.write_str("sha256:")?;
                self.thumbprint.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Judges the change from `old` to `new`.
///
/// A key is the same where name, key and `alg` are: verifiers find it by all three.
#[must_use]
pub fn classify(old: &KeySet, new: &KeySet, times: Times) -> Rotation {
    let (before, after) = (ids(old), ids(new));
    let pick = |one: &[KeyId], other: &[KeyId], there: bool| {
        one.iter().filter(|id| other.binary_search(id).is_ok() == there).cloned().collect::<Vec<_>>()
    };
    let (stayed, added, removed) =
        (pick(&before, &after, true), pick(&after, &before, false), pick(&before, &after, false));
    let state = match (stayed.is_empty(), added.is_empty(), removed.is_empty()) {
        (_, true, true) => RotationState::NoChange,
        (_, false, true) => RotationState::SafeOverlap,
        (false, _, false) => RotationState::Overlap,
        (true, _, false) => RotationState::Disjoint,
    };
    let mut rotation = Rotation {
        state,
        stayed,
        added,
        removed,
        publish_before_use: times.cache_ttl,
        keep_after_use: times.max_token_ttl,
        overlap: times.cache_ttl.saturating_add(times.max_token_ttl),
        findings: Vec::new(),
    };
    rotation.findings = findings::all(old, new, &rotation, times);
    rotation
}

/// The key of `set` that signed the sample `token`, of whatever issuer, audience and age it is: this
/// compares sets and lets nobody in. Access tokens may say so (`at+jwt`, RFC 9068 section 2.1).
///
/// # Errors
///
/// [`Code::KidNotFound`], [`Code::KeyUnusable`] or [`Code::SignatureInvalid`] where no key of the
/// set did; any other code where `token` is none that any set could verify.
pub fn signer(token: &[u8], set: &KeySet, verifier: &dyn Verifier) -> Result<KeyId, Denial> {
    within(token, MAX_SAMPLE_BYTES)?;
    let compact = Compact::parse(token)?;
    let types = Types { accepted: Vec::from(["jwt".into(), "at+jwt".into()]), absent: true };
    let header = RawHeader::parse(compact.header())?;
    let header = header.check(Algorithm::ALL, &types)?;
    let code = |why| match why {
        Unverified::NoKey => Code::KidNotFound,
        Unverified::Unusable => Code::KeyUnusable,
        Unverified::Mismatch => Code::SignatureInvalid,
        Unverified::Unavailable => Code::InternalError,
    };
    let key = compact.signer(header, set, verifier);
    key.map(KeyId::of).map_err(|why| Denial::new(code(why), "no key of the set signed it"))
}

/// The keys of `set`, sorted.
fn ids(set: &KeySet) -> Vec<KeyId> {
    let mut ids: Vec<KeyId> = set.keys().iter().map(KeyId::of).collect();
    ids.sort();
    ids
}

/// The thumbprints behind each name.
fn by_name(set: &KeySet) -> BTreeMap<&str, Vec<[u8; 32]>> {
    let mut names: BTreeMap<&str, Vec<[u8; 32]>> = BTreeMap::new();
    for key in set.keys() {
        if let Some(kid) = key.kid() {
            names.entry(kid).or_default().push(key.key().thumbprint());
        }
    }
    names
}

#[cfg(test)]
mod tests;
