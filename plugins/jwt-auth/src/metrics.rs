//! Counters with stable names and a bounded number of labels.

use portcullis_abi::metrics::Counter;
use portcullis_core::Code;

/// The counters of one worker.
pub(crate) struct Metrics {
    pub(crate) permitted: Counter,
    /// One per code, in the order of [`Code::ALL`].
    denied: Vec<(Code, Counter)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let denied = |code: &Code| {
            (*code, Counter::new(&format!("portcullis.jwt.denied.{}", code.as_str().to_ascii_lowercase())))
        };
        Self {
            permitted: Counter::new("portcullis.jwt.permitted"),
            denied: Code::ALL.iter().map(denied).collect(),
        }
    }

    pub(crate) fn denied(&self, code: Code) {
        if let Some((_, counter)) = self.denied.iter().find(|(own, _)| *own == code) {
            counter.increment();
        }
    }
}
