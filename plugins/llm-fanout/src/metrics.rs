//! Counters with stable names.

use std::time::Duration;

use portcullis_abi::metrics::{Counter, Gauge};
use portcullis_core::Code;
use portcullis_fanout::FailureKind;

/// The counters of one worker.
pub(crate) struct Metrics {
    pub(crate) passed: Counter,
    pub(crate) requests: Counter,
    pub(crate) questions: Counter,
    pub(crate) calls: Counter,
    pub(crate) retries: Counter,
    pub(crate) packed: Counter,
    pub(crate) answered: Counter,
    pub(crate) partial: Counter,
    pub(crate) abandoned: Counter,
    pub(crate) share_waits: Counter,
    /// How long requests took, their calls together, and what a packed request would have taken
    /// longer, in milliseconds: calls over wall is the parallelism.
    wall_ms: Counter,
    call_ms: Counter,
    saved_ms: Counter,
    pub(crate) in_flight: Gauge,
    pub(crate) under_way: Gauge,
    refused: Vec<(Code, Counter)>,
    failed: Vec<(FailureKind, Counter)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counter = |name: &str| Counter::new(&format!("portcullis.fanout.{name}"));
        let gauge = |name: &str| Gauge::new(&format!("portcullis.fanout.{name}"));
        let own = |code: &&Code| code.as_str().starts_with("FANOUT_") || **code == Code::InternalError;
        Self {
            passed: counter("passed"),
            requests: counter("requests"),
            questions: counter("questions"),
            calls: counter("calls"),
            retries: counter("retries"),
            packed: counter("packed"),
            answered: counter("answered"),
            partial: counter("partial"),
            abandoned: counter("abandoned"),
            share_waits: counter("share_waits"),
            wall_ms: counter("wall_ms"),
            call_ms: counter("call_ms"),
            saved_ms: counter("saved_ms"),
            in_flight: gauge("calls_in_flight"),
            under_way: gauge("requests_under_way"),
            refused: Code::ALL
                .iter()
                .filter(own)
                .map(|code| (*code, counter(&format!("refused.{}", code.as_str().to_ascii_lowercase()))))
                .collect(),
            failed: FailureKind::ALL
                .iter()
                .map(|kind| (*kind, counter(&format!("failed.{}", kind.as_str()))))
                .collect(),
        }
    }

    /// A request was refused, or failed as a whole.
    pub(crate) fn refused(&self, code: Code) {
        if let Some((_, counter)) = self.refused.iter().find(|(own, _)| *own == code) {
            counter.increment();
        }
    }

    /// A question was not answered.
    pub(crate) fn failed(&self, kind: FailureKind) {
        if let Some((_, counter)) = self.failed.iter().find(|(own, _)| *own == kind) {
            counter.increment();
        }
    }

    /// A request was answered after `wall`, its calls took `called` together, and one request for
    /// all would have taken `packed`.
    pub(crate) fn took(&self, wall: Duration, called: Duration, packed: Duration) {
        let times =
            [(self.wall_ms, wall), (self.call_ms, called), (self.saved_ms, packed.saturating_sub(wall))];
        for (counter, time) in times {
            // An increment by nothing is an error in Envoy.
            if let Ok(milliseconds @ 1..) = u32::try_from(time.as_millis()) {
                counter.add(milliseconds);
            }
        }
    }
}
