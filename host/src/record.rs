//! What the guests did and what they were refused: counts, an ordered record, and fault injection.

use crate::shared::lock;
use crate::status::Status;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Entries that the ordered record keeps; later ones are counted but not kept.
const MAX_RECORD: usize = 100_000;

/// One host call of a guest, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The call, as the ABI names it (`proxy_replace_header_map_value`).
    pub call: &'static str,
    /// What it was about: a header's name, a property's path, a key, a cluster, a metric's name.
    /// Never a value. Empty for a call that was refused before it was looked at.
    pub subject: String,
    /// The context that made it; a stream's or a root's.
    pub context: u32,
    /// What the guest was answered (for WASI: the `errno`).
    pub status: u32,
}

/// Which occurrence of a host call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The nth call from now on, counted from 1.
    Nth(u64),
    /// Every call from now on.
    Always,
}

#[derive(Debug)]
struct Fault {
    call: &'static str,
    status: Status,
    when: When,
    seen: u64,
}

/// The host calls of a process.
#[derive(Debug)]
pub(crate) struct Recorder {
    names: Vec<&'static str>,
    counts: Vec<AtomicU64>,
    keeping: AtomicBool,
    record: Mutex<Vec<Effect>>,
    faulty: AtomicBool,
    faults: Mutex<Vec<Fault>>,
}

impl Recorder {
    pub(crate) fn new(names: Vec<&'static str>, keeping: bool) -> Self {
        let counts = names.iter().map(|_| AtomicU64::new(0)).collect();
        let keeping = AtomicBool::new(keeping);
        Self {
            names,
            counts,
            keeping,
            record: Mutex::default(),
            faulty: AtomicBool::new(false),
            faults: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, call: usize) {
        if let Some(count) = self.counts.get(call) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_keeping(&self) -> bool {
        self.keeping.load(Ordering::Relaxed)
    }

    pub(crate) fn keep(&self, effect: Effect) {
        let mut record = lock(&self.record);
        if record.len() < MAX_RECORD {
            record.push(effect);
        }
    }

    pub(crate) fn start_keeping(&self) {
        self.keeping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_record(&self) -> Vec<Effect> {
        core::mem::take(&mut *lock(&self.record))
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        self.names.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(count.load(Ordering::Relaxed)))
    }

    /// `false` when there is no such host call.
    pub(crate) fn refuse(&self, call: &str, status: Status, when: When) -> bool {
        let Some(call) = self.names.iter().copied().find(|name| *name == call) else { return false };
        lock(&self.faults).push(Fault { call, status, when, seen: 0 });
        self.faulty.store(true, Ordering::Relaxed);
        true
    }

    pub(crate) fn refuse_nothing(&self) {
        lock(&self.faults).clear();
        self.faulty.store(false, Ordering::Relaxed);
    }

    /// The status that this call was told to fail with, if it was.
    pub(crate) fn refusal(&self, call: &'static str) -> Option<Status> {
        if !self.faulty.load(Ordering::Relaxed) {
            return None;
        }
        let mut answer = None;
        for fault in lock(&self.faults).iter_mut().filter(|fault| fault.call == call) {
            fault.seen = fault.seen.saturating_add(1);
            if fault.when == When::Always || fault.when == When::Nth(fault.seen) {
                answer = answer.or(Some(fault.status));
            }
        }
        answer
    }
}
