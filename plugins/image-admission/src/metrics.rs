//! Counters with stable names.

use portcullis_abi::metrics::Counter;
use portcullis_signature::{Outcome, ReasonCode, Verdict};

/// The counters of one worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) reviews: Counter,
    pub(crate) refused_reviews: Counter,
    pub(crate) reads: Counter,
    pub(crate) cache_hits: Counter,
    pub(crate) deadlines: Counter,
    allowed: Counter,
    /// One per code that can be the cause of a refusal.
    denied: Vec<(ReasonCode, Counter)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counter = |name: &str| Counter::new(&format!("portcullis.image.{name}"));
        let denied =
            |code: &ReasonCode| (*code, counter(&format!("denied.{}", code.as_str().to_ascii_lowercase())));
        Self {
            reviews: counter("reviews"),
            refused_reviews: counter("refused_reviews"),
            reads: counter("registry_reads"),
            cache_hits: counter("cache_hits"),
            deadlines: counter("deadlines"),
            allowed: counter("allowed"),
            denied: ReasonCode::ALL.iter().map(denied).collect(),
        }
    }

    pub(crate) fn count(&self, verdict: &Verdict) {
        if verdict.outcome == Outcome::Allow {
            self.allowed.increment();
            return;
        }
        let cause = verdict.reason.root_cause().code;
        if let Some((_, counter)) = self.denied.iter().find(|(code, _)| *code == cause) {
            counter.increment();
        }
    }
}
