//! Counters and gauges with stable names and a bounded number of labels.

use portcullis_abi::metrics::{Counter, Gauge, Tally};
use portcullis_core::Code;
use portcullis_jwt::{
    life::{self, Failure, Status},
    verified::Counts,
};

/// The counters of one worker.
pub(crate) struct Metrics {
    pub(crate) permitted: Tally,
    remembered: Tally,
    verified: Tally,
    forgotten: Tally,
    /// One per code, in the order of [`Code::ALL`].
    denied: Vec<(Code, Counter)>,
    /// The same for what is only reported; empty where nothing is.
    reported: Vec<(Code, Counter)>,
}

impl Metrics {
    /// `reports` where a rule only reports, `ticks` where [`Metrics::tell`] is called by a timer.
    pub(crate) fn new(reports: bool, ticks: bool) -> Self {
        let each = |outcome: &str| {
            let counter = |code: &Code| {
                let label = code.as_str().to_ascii_lowercase();
                (*code, Counter::new(&format!("portcullis.jwt.{outcome}.{label}")))
            };
            Code::ALL.iter().map(counter).collect()
        };
        Self {
            permitted: Tally::new("portcullis.jwt.permitted", ticks),
            remembered: Tally::new("portcullis.jwt.signatures.remembered", ticks),
            verified: Tally::new("portcullis.jwt.signatures.verified", ticks),
            forgotten: Tally::new("portcullis.jwt.signatures.forgotten", ticks),
            denied: each("denied"),
            reported: if reports { each("reported") } else { Vec::new() },
        }
    }

    pub(crate) fn signatures(&self, counts: Counts) {
        let Counts { remembered, verified, forgotten } = counts;
        self.remembered.add(remembered);
        self.verified.add(verified);
        self.forgotten.add(forgotten);
    }

    /// Tells the proxy what was only added up.
    pub(crate) fn tell(&self) {
        for tally in [&self.permitted, &self.remembered, &self.verified, &self.forgotten] {
            tally.tell();
        }
    }

    pub(crate) fn denied(&self, code: Code) {
        count(&self.denied, code);
    }

    pub(crate) fn reported(&self, code: Code) {
        count(&self.reported, code);
    }
}

fn count(counters: &[(Code, Counter)], code: Code) {
    if let Some((_, counter)) = counters.iter().find(|(own, _)| *own == code) {
        counter.increment();
    }
}

/// What operators see of one issuer's key set. Gauges are this worker's; with several workers the
/// last to write shows.
pub(crate) struct IssuerMetrics {
    prefix: String,
    keys: Gauge,
    age: Gauge,
    phase: Gauge,
    next_refresh: Gauge,
    waiting: Gauge,
}

impl IssuerMetrics {
    /// The metrics of the issuer called `issuer` in the configuration.
    pub(crate) fn new(issuer: &str) -> Self {
        let label: String =
            issuer.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let prefix = format!("portcullis.jwt.issuer.{label}");
        let gauge = |name: &str| Gauge::new(&format!("{prefix}.{name}"));
        Self {
            keys: gauge("keys"),
            age: gauge("age_seconds"),
            phase: gauge("phase"),
            next_refresh: gauge("next_refresh_seconds"),
            waiting: gauge("waiting"),
            prefix,
        }
    }

    /// Shows the state of the set; `phase` counts from 0 for empty to 5 for the last resort.
    pub(crate) fn show(&self, status: &Status) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.keys.set(number(status.keys));
        self.age.set(status.age.map_or(0, |age| age.as_secs()));
        self.phase.set(status.phase as u64);
        self.next_refresh.set(status.next_refresh.map_or(0, |next| next.as_secs()));
        self.waiting.set(number(status.waiting));
    }

    pub(crate) fn count(&self, counter: life::Counter) {
        Counter::new(&format!("{}.{}", self.prefix, counter.label())).increment();
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        Counter::new(&format!("{}.fetch_failed.{}", self.prefix, failure.label())).increment();
    }
}
