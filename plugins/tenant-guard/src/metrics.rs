//! Counters with stable names and a bounded number of labels.

use std::cell::{Cell, RefCell};

use portcullis_abi::{
    log::{self, Level},
    metrics::{Counter, Gauge, Tally},
};
use portcullis_core::Code;
use portcullis_tenant::{
    Setting,
    audit::Top,
    firewall::Finding,
    inspect::{Found, Leak},
};

/// The counters of one worker.
pub(crate) struct Metrics {
    pub(crate) permitted: Tally,
    pub(crate) switched: Counter,
    /// One per code, in the order of [`Code::ALL`].
    denied: Vec<(Code, Counter)>,
    missing: Vec<Missing>,
    found: Vec<(Finding, Counter)>,
    shadowed: Vec<(Code, Counter)>,
    top: RefCell<Top>,
    others: Counter,
    /// What guards found: stopped, and only reported.
    leaks: Vec<(Leak, Counter, Counter)>,
    /// Answers of which a part had left when they ended.
    pub(crate) cut: Counter,
    /// Answers that were looked into, and those without any of the fields.
    pub(crate) scanned: Counter,
    pub(crate) field_not_seen: Counter,
    /// Answers that went on before their body was there.
    pub(crate) headers_not_held: Counter,
    /// Requests within and beyond their tenant's quota; slots that were full; workers that were faster
    /// too often.
    pub(crate) quota_admitted: Tally,
    pub(crate) quota_refused: Counter,
    pub(crate) quota_crowded: Counter,
    pub(crate) quota_contended: Counter,
    /// Buckets that are not full.
    pub(crate) quota_in_use: Gauge,
    /// Requests that got a place, or none; workers that were faster too often.
    pub(crate) concurrency_admitted: Tally,
    pub(crate) concurrency_refused: Counter,
    pub(crate) concurrency_contended: Counter,
}

struct Missing {
    setting: Setting,
    counter: Counter,
    told: Cell<bool>,
}

impl Metrics {
    /// `ticks` where [`Metrics::tell`] is called by a timer.
    pub(crate) fn new(ticks: bool) -> Self {
        let counter = |name: &str| Counter::new(&format!("portcullis.tenant.{name}"));
        let tally = |name: &str| Tally::new(&format!("portcullis.tenant.{name}"), ticks);
        let denied =
            |code: &Code| (*code, counter(&format!("denied.{}", code.as_str().to_ascii_lowercase())));
        let missing = |setting: Setting| Missing {
            setting,
            counter: counter(&format!("missing_setting.{}", setting.as_str())),
            told: Cell::new(false),
        };
        Self {
            permitted: tally("permitted"),
            switched: counter("switched"),
            denied: Code::ALL.iter().map(denied).collect(),
            found: Finding::ALL
                .into_iter()
                .map(|finding| (finding, counter(&format!("response.{}", finding.as_str()))))
                .collect(),
            shadowed: Code::ALL
                .iter()
                .map(|code| (*code, counter(&format!("shadow.{}", code.as_str().to_ascii_lowercase()))))
                .collect(),
            top: RefCell::default(),
            leaks: Leak::ALL
                .into_iter()
                .map(|leak| {
                    let name = leak.as_str();
                    (
                        leak,
                        counter(&format!("leak.stopped.{name}")),
                        counter(&format!("leak.reported.{name}")),
                    )
                })
                .collect(),
            cut: counter("guard.cut"),
            scanned: counter("guard.scanned"),
            field_not_seen: counter("guard.field_not_seen"),
            headers_not_held: counter("guard.headers_not_held"),
            quota_admitted: tally("quota.admitted"),
            quota_refused: counter("quota.refused"),
            quota_crowded: counter("quota.crowded"),
            quota_contended: counter("quota.contended"),
            quota_in_use: Gauge::new("portcullis.tenant.quota.in_use"),
            concurrency_admitted: tally("concurrency.admitted"),
            concurrency_refused: counter("concurrency.refused"),
            concurrency_contended: counter("concurrency.contended"),
            others: counter("denied_by_tenant.others"),
            missing: Setting::ALL.into_iter().map(missing).collect(),
        }
    }

    /// Tells the proxy what was only added up.
    pub(crate) fn tell(&self) {
        for tally in [&self.permitted, &self.quota_admitted, &self.concurrency_admitted] {
            tally.tell();
        }
    }

    pub(crate) fn denied(&self, code: Code) {
        if let Some((_, counter)) = self.denied.iter().find(|(own, _)| *own == code) {
            counter.increment();
        }
    }

    /// A request would have been refused.
    pub(crate) fn shadow(&self, code: Code) {
        if let Some((_, counter)) = self.shadowed.iter().find(|(own, _)| *own == code) {
            counter.increment();
        }
    }

    /// A request to the tenant of this pseudonym was refused. Tenants that this happens to often have
    /// counters of their own, a bounded number of them.
    pub(crate) fn denied_to(&self, pseudonym: &str) {
        let named = self.top.try_borrow_mut().is_ok_and(|mut top| top.count(pseudonym));
        if named {
            Counter::new(&format!("portcullis.tenant.denied_by_tenant.{pseudonym}")).increment();
        } else {
            self.others.increment();
        }
    }

    /// An answer was changed.
    pub(crate) fn found(&self, finding: Finding) {
        if let Some((_, counter)) = self.found.iter().find(|(own, _)| *own == finding) {
            counter.increment();
        }
    }

    /// A guard found something in an answer.
    pub(crate) fn leak(&self, found: Found) {
        if let Some((_, stopped, reported)) = self.leaks.iter().find(|(own, ..)| *own == found.leak) {
            if found.enforced { stopped.increment() } else { reported.increment() }
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
