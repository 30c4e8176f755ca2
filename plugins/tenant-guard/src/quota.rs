//! The slots of the tenants' quotas, in the data that all workers share.
//!
//! They exist before the first request and outlive configurations; their number is the
//! configuration's, and no key is a client's choice.

use std::{cell::Cell, time::Duration};

use portcullis_abi::{
    self as abi, Refused,
    log::{self, Level},
    metrics::Gauge,
    shared::{self, Change},
};
use portcullis_core::{Code, Denial};
use portcullis_tenant::{
    Outcome, Told,
    audit::Mode,
    quota::{self, Charged, Left},
};

use crate::{enforcer::Enforcer, secret};

/// The slots, and the secret by which tenants are put into them.
pub(crate) struct Slots {
    prefix: String,
    key: [u8; 16],
    count: u32,
}

/// Tries against other workers. One that loses them all refuses.
const TRIES: u8 = 16;

impl Slots {
    /// Makes those that are not there yet.
    pub(crate) fn prepare(slots: u32) -> Result<Self, String> {
        // Another number of slots is another table.
        let prefix = format!("portcullis/quota/1/{slots}");
        let key = secret::shared(&format!("{prefix}/key")).map_err(|reason| format!("`quotas`: {reason}"))?;
        let slots = Self { prefix, key, count: slots };
        (0..slots.count)
            .try_for_each(|slot| shared::create(&slots.name(slot), &[]))
            .map_err(|refused| format!("`quotas`: no shared data: {refused}"))?;
        Ok(slots)
    }

    fn name(&self, slot: u32) -> String {
        format!("{}/{slot:x}", self.prefix)
    }
}

impl Enforcer {
    /// Takes what the request costs from its tenant's quota: what is left, where there is one.
    pub(crate) fn charge(&self, outcome: &Outcome) -> Result<Result<Option<Told>, (Denial, Told)>, Refused> {
        let Some(slots) = &self.quota else { return Ok(Ok(None)) };
        let Some(charge) = self.policy.charge(outcome, &slots.key) else { return Ok(Ok(None)) };
        let name = slots.name(charge.slot);
        let now = abi::monotonic()?;
        let mut last = None;
        let charged = shared::change(&name, TRIES, |slot| {
            Ok(match charge.take(slot, now) {
                Charged::Admit { slot, left } => {
                    last = Some(left.clone());
                    Change::Set(slot, Ok(left))
                }
                Charged::Refuse { left, after, crowded, corrected } => {
                    let refused = Err((left, Duration::from_nanos(after), crowded));
                    match corrected {
                        Some(corrected) => Change::Set(corrected, refused),
                        None => Change::Keep(refused),
                    }
                }
            })
        });
        match (charged, last) {
            (Ok(Ok(left)), _) => {
                self.metrics.quota_admitted.increment();
                Ok(Ok(Some(left.told())))
            }
            (Ok(Err((left, after, crowded))), _) => {
                if crowded {
                    self.metrics.quota_crowded.increment();
                    log::write(Level::Debug, || {
                        "a slot is full of other tenants; raise `quotas.slots`".into()
                    });
                }
                Ok(Err(self.exceeded(&left, after)))
            }
            (Err(Refused::CAS_MISMATCH), Some(left)) => {
                self.metrics.quota_contended.increment();
                Ok(Err(self.exceeded(&left, Duration::ZERO)))
            }
            (Err(refused), _) => Err(refused),
        }
    }

    fn exceeded(&self, left: &Left, after: Duration) -> (Denial, Told) {
        self.metrics.quota_refused.increment();
        // Whole seconds, and not before it fits.
        let after = Duration::from_secs(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)));
        let denial = Denial::new(Code::TenantQuotaExceeded, "the bucket is empty").with_retry_after(after);
        (denial, left.told())
    }

    /// Whether limits are only reported.
    pub(crate) fn only_reports(&self) -> bool {
        self.audit.mode() == Mode::Shadow
    }
}

/// How long a look at all slots takes, in beats of a second.
const ROUND: u32 = 16;

/// A look at all slots, a part of them each second: how many buckets are not full.
#[derive(Default)]
pub(crate) struct Survey {
    next: Cell<u32>,
    found: Cell<u64>,
    last: Cell<u64>,
}

impl Survey {
    /// Time has passed: looks at some more, and says what there was when all were looked at.
    pub(crate) fn go_on(&self, slots: &Slots, gauge: &Gauge) {
        let Ok(now) = abi::monotonic() else { return };
        if now.abs_diff(self.last.get()) < 1_000_000_000 {
            return;
        }
        self.last.set(now);
        let to = self.next.get().saturating_add(slots.count.div_ceil(ROUND)).min(slots.count);
        for slot in self.next.get()..to {
            if let Ok(Some(found)) = shared::get(&slots.name(slot)) {
                self.found.set(self.found.get().saturating_add(quota::in_use(&found.value, now)));
            }
        }
        self.next.set(to);
        if to == slots.count {
            gauge.set(self.found.take());
            self.next.set(0);
        }
    }
}
