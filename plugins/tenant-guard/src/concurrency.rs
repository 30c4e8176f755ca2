//! The requests under way, in the data that all workers share.
//!
//! There is one value for each class of the configuration, made before the first request. A request
//! has its place for as long as its filter exists, however it ends. What this worker has is in a ledger
//! that the configuration does not change, so that requests of an old one are counted on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use portcullis_abi::{
    self as abi, Refused,
    log::{self, Level},
    metrics::Gauge,
    shared::{self, Change},
};
use portcullis_core::Denial;
use portcullis_tenant::{
    Outcome, Told,
    concurrency::{Claim, Full, Limits, Part, SILENCE, Table},
};

use crate::{enforcer::Enforcer, secret};

/// Tries against other workers. One that loses them all refuses.
const TRIES: u8 = 16;
/// How often a worker says what it has, though nothing changes.
const BEAT: Duration = Duration::from_secs(1);
const _: () = assert!(BEAT.as_secs().saturating_mul(3) < SILENCE.as_secs());

/// What this worker has under way, of all of its root's configurations.
pub(crate) struct Ledger {
    worker: u64,
    parts: RefCell<BTreeMap<String, Part>>,
    said: Cell<u64>,
}

/// A request's place, which it has until it is dropped.
pub(crate) struct Place {
    ledger: Rc<Ledger>,
    class: String,
    whose: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut parts) = self.ledger.parts.try_borrow_mut()
            && let Some(part) = parts.get_mut(&self.class)
        {
            part.leave(self.whose);
        }
        if let Err(refused) = self.ledger.say(&self.class) {
            // The next change of this worker says it.
            log::write(Level::Debug, || format!("the end of a request is not counted yet: {refused}"));
        }
    }
}

fn name(class: &str) -> String {
    format!("portcullis/concurrency/1/{class}")
}

impl Ledger {
    pub(crate) fn new() -> Result<Self, String> {
        let worker = getrandom::u64().map_err(|error| format!("no randomness: {error}"))?;
        Ok(Self { worker, parts: RefCell::default(), said: Cell::default() })
    }

    fn part(&self, class: &str) -> Part {
        self.parts.try_borrow().ok().and_then(|parts| parts.get(class).cloned()).unwrap_or_default()
    }

    /// What `value` says with this worker's part as it is.
    fn table(&self, class: &str, value: &[u8], now: u64) -> Result<Table, Refused> {
        let mut table = Table::read(value).ok_or(Refused::UNREADABLE)?;
        table.put(self.worker, &self.part(class), now);
        Ok(table)
    }

    /// Says what this worker has: how much all have.
    fn say(&self, class: &str) -> Result<u64, Refused> {
        let now = abi::monotonic()?;
        shared::change(&name(class), TRIES, |value| {
            let table = self.table(class, value, now)?;
            let (new, in_use) = (table.write(), table.in_use());
            Ok(if new == value { Change::Keep(in_use) } else { Change::Set(new, in_use) })
        })
    }

    fn enter(self: &Rc<Self>, claim: &Claim) -> Result<Result<(Place, u32), Full>, Refused> {
        let now = abi::monotonic()?;
        let (class, whose) = (claim.class(), claim.whose());
        let decided = shared::change(&name(class), TRIES, |value| {
            let mut table = self.table(class, value, now)?;
            Ok(match claim.decide(&table) {
                Ok(left) => {
                    let mut part = self.part(class);
                    part.enter(whose, claim.weight());
                    table.put(self.worker, &part, now);
                    Change::Set(table.write(), Ok(left))
                }
                Err(full) => Change::Keep(Err(full)),
            })
        })?;
        Ok(decided.map(|left| {
            if let Ok(mut parts) = self.parts.try_borrow_mut() {
                parts.entry(class.to_owned()).or_default().enter(whose, claim.weight());
            }
            (Place { ledger: Rc::clone(self), class: class.to_owned(), whose }, left)
        }))
    }

    /// Says, once in a while, what this worker has under way in any class.
    pub(crate) fn beat(&self, gauges: &[(String, Gauge)]) {
        let Ok(now) = abi::monotonic() else { return };
        if now.abs_diff(self.said.get()) < u64::try_from(BEAT.as_nanos()).unwrap_or(u64::MAX) {
            return;
        }
        self.said.set(now);
        let busy: Vec<String> = match self.parts.try_borrow_mut() {
            Ok(mut parts) => {
                parts.retain(|_, part| !part.is_empty());
                parts.keys().cloned().collect()
            }
            Err(_) => Vec::new(),
        };
        let others = gauges.iter().map(|(class, _)| class).filter(|class| !busy.contains(class));
        for class in busy.iter().chain(others) {
            // Not said: once more with the next beat, or the next request.
            let Ok(in_use) = self.say(class) else { continue };
            if let Some((_, gauge)) = gauges.iter().find(|(own, _)| own == class) {
                gauge.set(in_use);
            }
        }
    }
}

/// The limits of one configuration.
pub(crate) struct Concurrency {
    key: [u8; 16],
    ledger: Rc<Ledger>,
    /// By class, what all workers have under way.
    pub(crate) gauges: Vec<(String, Gauge)>,
}

impl Concurrency {
    /// Makes the shared values that are not there yet.
    pub(crate) fn prepare(limits: &Limits, ledger: &Rc<Ledger>) -> Result<Self, String> {
        let failed = |reason: String| format!("`concurrency`: {reason}");
        let key = secret::shared("portcullis/concurrency/1").map_err(failed)?;
        let mut gauges = Vec::new();
        for (class, _) in limits.classes() {
            shared::create(&name(class), b"")
                .map_err(|refused| failed(format!("no shared data: {refused}")))?;
            let gauge = Gauge::new(&format!("portcullis.tenant.concurrency.in_use.{class}"));
            gauges.push((class.to_owned(), gauge));
        }
        Ok(Self { key, ledger: Rc::clone(ledger), gauges })
    }
}

/// A place, and what the tenant is told of it.
pub(crate) type Placed = (Place, Told);

impl Enforcer {
    /// Finds a place for the request; none where its class is not limited.
    pub(crate) fn place(&self, outcome: &Outcome) -> Result<Result<Option<Placed>, (Denial, Told)>, Refused> {
        let Some(concurrency) = &self.concurrency else { return Ok(Ok(None)) };
        let Some(claim) = self.policy.claim(outcome, &concurrency.key) else { return Ok(Ok(None)) };
        let full = match concurrency.ledger.enter(&claim) {
            Ok(Ok((place, left))) => {
                self.metrics.concurrency_admitted.increment();
                return Ok(Ok(Some((place, claim.told(left)))));
            }
            Ok(Err(full)) => full,
            Err(Refused::CAS_MISMATCH) => {
                self.metrics.concurrency_contended.increment();
                Full::All
            }
            Err(refused) => return Err(refused),
        };
        self.metrics.concurrency_refused.increment();
        Ok(Err((full.denial(), claim.told(0))))
    }
}
