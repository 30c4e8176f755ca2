//! Counters with stable names and a bounded number of labels.

use std::cell::Cell;

use portcullis_abi::{
    log::{self, Level},
    metrics::Counter,
};
use portcullis_core::Code;
use portcullis_tenant::Setting;

/// The counters of one worker.
pub(crate) struct Metrics {
    pub(crate) permitted: Counter,
    pub(crate) switched: Counter,
    /// One per code, in the order of [`Code::ALL`].
    denied: Vec<(Code, Counter)>,
    missing: Vec<Missing>,
}

struct Missing {
    setting: Setting,
    counter: Counter,
    told: Cell<bool>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counter = |name: &str| Counter::new(&format!("portcullis.tenant.{name}"));
        let denied =
            |code: &Code| (*code, counter(&format!("denied.{}", code.as_str().to_ascii_lowercase())));
        let missing = |setting: Setting| Missing {
            setting,
            counter: counter(&format!("missing_setting.{}", setting.as_str())),
            told: Cell::new(false),
        };
        Self {
            permitted: counter("permitted"),
            switched: counter("switched"),
            denied: Code::ALL.iter().map(denied).collect(),
            missing: Setting::ALL.into_iter().map(missing).collect(),
        }
    }

    pub(crate) fn denied(&self, code: Code) {
        if let Some((_, counter)) = self.denied.iter().find(|(own, _)| *own == code) {
            counter.increment();
        }
    }

    /// A request has shown that the proxy lacks `setting`: counted each time, said once.
    pub(crate) fn missing(&self, setting: Setting) {
        let Some(missing) = self.missing.iter().find(|own| own.setting == setting) else { return };
        missing.counter.increment();
        if !missing.told.replace(true) {
            let name = setting.as_str();
            log::write(Level::Warn, || {
                format!(
                    "a request shows that the connection manager's `{name}` is not set as the files in deploy/ set it"
                )
            });
        }
    }
}
