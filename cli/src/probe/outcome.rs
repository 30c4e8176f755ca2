//! What came of a probe.

use std::collections::BTreeSet;

use super::{guarded::Said, judge::Sign};

/// One request and what its answer was found to be.
pub(super) struct Call {
    /// Who asked.
    pub(super) caller: String,
    /// Whose things were asked for.
    pub(super) asked_for: String,
    pub(super) status: Option<u16>,
    pub(super) verdict: Verdict,
    /// What the guard of the plan says about the answer.
    pub(super) guard: Option<Said>,
}

/// What an answer was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing of the other tenant's is in it.
    Clean,
    /// A gateway answered in its place, for what was in it.
    Stopped(String),
    Leaked(BTreeSet<Sign>),
    NotJudged(String),
}

impl Verdict {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Stopped(_) => "stopped",
            Self::Leaked(_) => "leaked",
            Self::NotJudged(_) => "not_judged",
        }
    }

    /// The verdict's reason in words.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Clean => String::new(),
            Self::Stopped(why) | Self::NotJudged(why) => why.clone(),
            Self::Leaked(signs) => signs.iter().map(Sign::text).collect::<Vec<_>>().join(", "),
        }
    }
}

/// One operation and its calls.
pub(super) struct Probed {
    pub(super) operation: String,
    pub(super) calls: Vec<Call>,
    /// Why it was not asked.
    pub(super) skipped: Option<String>,
}

impl Probed {
    /// The worst of its calls.
    pub(super) fn verdict(&self) -> &'static str {
        let has = |name: &str| self.calls.iter().any(|call| call.verdict.as_str() == name);
        if self.skipped.is_some() {
            return "skipped";
        }
        ["leaked", "not_judged", "stopped"].into_iter().find(|name| has(name)).unwrap_or("clean")
    }
}

/// All of it.
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) probed: Vec<Probed>,
    pub(super) left_out: usize,
}

impl Outcome {
    pub(super) fn count(&self, verdict: &str) -> usize {
        self.probed.iter().filter(|one| one.verdict() == verdict).count()
    }
}
