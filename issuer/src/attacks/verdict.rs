//! What an answer says of a gateway.

use super::{Case, Expect};

/// What came of a request, as far as it can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It was let through.
    pub accepted: bool,
    /// The stable code of a refusal, where the gateway gives one.
    pub code: Option<String>,
    /// What the upstream got, where that can be seen: names in lower case, and values.
    pub upstream: Option<Vec<(String, Vec<u8>)>>,
}

/// What an answer says of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the right one.
    Right,
    /// A refusal that is right, for another reason than the expected one.
    AnotherReason(String),
    /// A hostile request was accepted.
    Accepted,
    /// The request was rightly let through, and the upstream was told something by the client that
    /// only the gateway may say: the header and what was seen of it.
    Leaked(String, Vec<String>),
    /// An honest request was refused.
    HonestRefused(Option<String>),
}

impl Verdict {
    /// Whether somebody got in who should not have, or said what they may not say.
    #[must_use]
    pub const fn is_hole(&self) -> bool {
        matches!(self, Self::Accepted | Self::Leaked(..))
    }
}

impl Case {
    /// Whether the case asks for a defence: a refusal, or a header that must not get through.
    #[must_use]
    pub const fn is_hostile(&self) -> bool {
        matches!(self.expect, Expect::Deny(_)) || !self.upstream.is_empty()
    }

    /// What `seen` says of the gateway.
    #[must_use]
    pub fn verdict(&self, seen: &Seen) -> Verdict {
        match (&self.expect, seen.accepted) {
            (Expect::Deny(_), true) => Verdict::Accepted,
            (Expect::Deny(codes), false) => match &seen.code {
                Some(code) if codes.iter().all(|own| own.as_str() != code) => {
                    Verdict::AnotherReason(code.clone())
                }
                _ => Verdict::Right,
            },
            (Expect::Allow, false) => Verdict::HonestRefused(seen.code.clone()),
            (Expect::Allow, true) => self.leak(seen).unwrap_or(Verdict::Right),
        }
    }

    fn leak(&self, seen: &Seen) -> Option<Verdict> {
        let upstream = seen.upstream.as_ref()?;
        self.upstream.iter().find_map(|expected| {
            let values: Vec<_> = upstream
                .iter()
                .filter(|(name, _)| *name == expected.name)
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                .collect();
            (values != expected.values).then(|| Verdict::Leaked(expected.name.clone(), values))
        })
    }
}
