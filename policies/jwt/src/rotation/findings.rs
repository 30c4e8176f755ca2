//! What is worth knowing about a rotation, each with a stable code.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use portcullis_crypto::{KeyError, KeyType};

use super::{KeyId, Rotation, RotationState, Times, by_name};
use crate::jwks::{KeySet, LeftOut, Quoted, Reason, Remark};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Valid tokens are refused, or forged ones could be made.
    Error,
    /// Some verifiers would choke, or it works only under a condition.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// The stable name: lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Which set a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// The one before the change.
    Old,
    /// The one after it.
    New,
    /// The change itself.
    Change,
}

impl Which {
    /// The stable name: lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Change => "change",
        }
    }
}

/// Declares the codes once, with their names and severities.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal $severity:ident,)*) => {
        /// What was found. Codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingCode {
            $($(#[$doc])* $name,)*
        }

        impl FindingCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name: upper snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// No key stayed: tokens of the old keys are refused, and so are those of the new keys by
    /// whoever still has the old set.
    NoOverlap "NO_OVERLAP" Error,
    /// A key is gone while tokens that it signed can still be good.
    RemovedTooEarly "REMOVED_TOO_EARLY" Error,
    /// A name stands for another key than before: verifiers that know the name do not look again.
    KidReused "KID_REUSED" Error,
    /// A key's private half is published.
    PrivateMembers "PRIVATE_MEMBERS" Error,
    /// A shared secret is published.
    SharedSecret "SHARED_SECRET" Error,
    /// An RSA key below 2048 bits, or a short secret.
    SmallKey "SMALL_KEY" Error,
    /// A key is in a set and cannot be used, for another reason.
    UnusableKey "UNUSABLE_KEY" Warning,
    /// A type, curve or algorithm that many verifiers do not know; some then lose the whole set.
    UnknownType "UNKNOWN_TYPE" Warning,
    /// Several keys have one name; many verifiers take the first.
    DuplicateKid "DUPLICATE_KID" Warning,
    /// A key has no name: verifiers have to try.
    MissingKid "MISSING_KID" Warning,
    /// A key has no `alg`: more than one algorithm can be used with it.
    MissingAlgorithm "MISSING_ALG" Info,
    /// A new key must be published before it signs.
    PublishBeforeUse "PUBLISH_BEFORE_USE" Info,
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// In which set.
    pub set: Which,
    /// The name of the key that it is about, where it has one.
    pub kid: Option<String>,
    /// In words: who is affected, for how long, what would be right.
    pub message: String,
    /// How long valid tokens are refused at the longest, where they are.
    pub refused_for: Option<Duration>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.set.as_str(), self.message)
    }
}

/// Everything about the change and both sets, the worst first.
pub(super) fn all(old: &KeySet, new: &KeySet, rotation: &Rotation, times: Times) -> Vec<Finding> {
    let mut findings = change(rotation, times);
    findings.extend(reused(old, new, times));
    for (which, set) in [(Which::Old, old), (Which::New, new)] {
        findings.extend(of_set(which, set));
    }
    findings.sort_by_key(|finding| (finding.code.severity(), finding.set, finding.code));
    findings
}

fn finding(code: FindingCode, set: Which, kid: Option<&str>, message: String) -> Finding {
    Finding { code, set, kid: kid.map(Into::into), message, refused_for: None }
}

fn change(rotation: &Rotation, times: Times) -> Vec<Finding> {
    let Times { max_token_ttl, cache_ttl } = times;
    let names = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut findings = Vec::new();
    if rotation.state == RotationState::Disjoint {
        let message = format!(
            "no key stayed: tokens of the new keys are refused for up to {cache_ttl:?} by verifiers that still have \
             the old set, and tokens of the old keys for up to {max_token_ttl:?} by those that have the new one; \
             publish both for {:?}",
            rotation.overlap
        );
        let refused = Some(max_token_ttl.max(cache_ttl));
        findings.push(Finding {
            refused_for: refused,
            ..finding(FindingCode::NoOverlap, Which::Change, None, message)
        });
    }
    for id in &rotation.removed {
        let message = format!(
            "{id} is gone: tokens that it signed within the last {max_token_ttl:?} are refused until they expire; keep \
             it published for {max_token_ttl:?} after it signed last"
        );
        let removed = finding(FindingCode::RemovedTooEarly, Which::Change, id.kid.as_deref(), message);
        findings.push(Finding { refused_for: Some(max_token_ttl), ..removed });
    }
    if !rotation.added.is_empty() {
        let message = format!(
            "{} must not sign before being published for {cache_ttl:?}: verifiers that do not look again for an unknown \
             kid refuse it for as long",
            names(&rotation.added)
        );
        findings.push(finding(FindingCode::PublishBeforeUse, Which::Change, None, message));
    }
    findings
}

/// Names that stand for other keys than before.
fn reused(old: &KeySet, new: &KeySet, times: Times) -> Vec<Finding> {
    let after = by_name(new);
    let before = by_name(old).into_iter();
    let replaced = before.filter(|(kid, keys)| {
        after.get(kid).is_some_and(|now| !now.is_empty() && !keys.iter().any(|key| now.contains(key)))
    });
    replaced
        .map(|(kid, _)| {
            let message = format!(
                "`{}` is another key now: verifiers know the name, so they refuse its tokens for up to {:?} without \
                 looking again; give each key a name of its own",
                Quoted(kid),
                times.cache_ttl
            );
            let reused = finding(FindingCode::KidReused, Which::Change, Some(kid), message);
            Finding { refused_for: Some(times.cache_ttl), ..reused }
        })
        .collect()
}

fn of_set(which: Which, set: &KeySet) -> Vec<Finding> {
    let mut findings: Vec<Finding> = set.left_out().iter().map(|key| left_out(which, key)).collect();
    for note in set.notes().iter().filter(|note| note.remark == Remark::PrivateMembers) {
        findings.push(finding(FindingCode::PrivateMembers, which, note.kid.as_deref(), note.to_string()));
    }
    for (kid, keys) in by_name(set).into_iter().filter(|(_, keys)| keys.len() > 1) {
        let message =
            format!("{} keys are called `{}`; many verifiers take the first", keys.len(), Quoted(kid));
        findings.push(finding(FindingCode::DuplicateKid, which, Some(kid), message));
    }
    for key in set.keys() {
        let id = KeyId::of(key);
        if key.kid().is_none() && set.keys().len() > 1 {
            let message = format!("{id} has no `kid`; verifiers have to try keys, and some refuse to");
            findings.push(finding(FindingCode::MissingKid, which, None, message));
        }
        // RSA is the one type that several algorithms share.
        if key.algorithm().is_none() && key.key().key_type() == KeyType::Rsa {
            let message = format!("{id} has no `alg`; name the one algorithm that it signs with");
            findings.push(finding(FindingCode::MissingAlgorithm, which, key.kid(), message));
        }
    }
    findings
}

fn left_out(which: Which, key: &LeftOut) -> Finding {
    let code = match key.reason() {
        Reason::PrivateKeyFromAddress => FindingCode::PrivateMembers,
        Reason::SecretFromAddress => FindingCode::SharedSecret,
        Reason::Key(KeyError::ModulusBits { bits }) if *bits < portcullis_crypto::MIN_MODULUS_BITS => {
            FindingCode::SmallKey
        }
        Reason::Key(KeyError::SecretLength { .. }) => FindingCode::SmallKey,
        Reason::UnknownType(_) | Reason::UnknownCurve(_) | Reason::UnknownAlgorithm(_) => {
            FindingCode::UnknownType
        }
        Reason::Repeated | Reason::TooManyNamesakes { .. } => FindingCode::DuplicateKid,
        _ => FindingCode::UnusableKey,
    };
    finding(code, which, key.kid(), key.to_string())
}
