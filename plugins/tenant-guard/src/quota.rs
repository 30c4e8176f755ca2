//! The slots of the tenants' quotas, in the data that all workers share.
//!
//! They exist before the first request and outlive configurations; their number is the
//! configuration's, and no key is a client's choice.

use std::time::Duration;

use portcullis_abi::{
    self as abi, Refused,
    log::{self, Level},
    shared,
};
use portcullis_core::{Code, Denial};
use portcullis_tenant::{
    Outcome,
    audit::Mode,
    quota::{Charged, Left},
};

use crate::enforcer::Enforcer;

/// The slots, and the secret by which tenants are put into them.
pub(crate) struct Slots {
    prefix: String,
    key: [u8; 16],
}

/// Tries against other workers. One that loses them all refuses.
const TRIES: usize = 16;

impl Slots {
    /// Makes those that are not there yet.
    pub(crate) fn prepare(slots: u32) -> Result<Self, String> {
        // Another number of slots is another table.
        let prefix = format!("portcullis/quota/1/{slots}");
        let failed = |refused: Refused| format!("`quotas`: no shared data: {refused}");
        let name = format!("{prefix}/key");
        let known = shared::get(&name).map_err(failed)?;
        if let Some(Ok(key)) = known.map(|shared| <[u8; 16]>::try_from(shared.value)) {
            return Ok(Self { prefix, key });
        }
        // Envoy configures a VM on its main thread before it makes those of the workers.
        for slot in 0..slots {
            shared::set(&format!("{prefix}/{slot:x}"), &[], 0).map_err(failed)?;
        }
        let random = || getrandom::u64().map_err(|error| format!("`quotas`: no randomness: {error}"));
        let mut key = [0; 16];
        let halves = [random()?, random()?];
        for (place, byte) in key.iter_mut().zip(halves.iter().flat_map(|half| half.to_le_bytes())) {
            *place = byte;
        }
        shared::set(&name, &key, 0).map_err(failed)?;
        // Whoever was faster is right.
        match shared::get(&name).map_err(failed)?.map(|shared| <[u8; 16]>::try_from(shared.value)) {
            Some(Ok(key)) => Ok(Self { prefix, key }),
            _ => Err("`quotas`: shared data does not keep what it is given".into()),
        }
    }
}

/// A request beyond its tenant's quota.
pub(crate) struct Exceeded {
    pub(crate) denial: Denial,
    pub(crate) headers: [(&'static str, String); 2],
}

impl Enforcer {
    /// Takes what the request costs from its tenant's quota: what is left, where there is one.
    pub(crate) fn charge(&self, outcome: &Outcome) -> Result<Result<Option<Left>, Exceeded>, Refused> {
        let Some(slots) = &self.quota else { return Ok(Ok(None)) };
        let Some(charge) = self.policy.charge(outcome, &slots.key) else { return Ok(Ok(None)) };
        let name = format!("{}/{:x}", slots.prefix, charge.slot);
        let now = abi::monotonic()?;
        let mut last = None;
        for _ in 0..TRIES {
            let found = shared::get(&name)?.ok_or(Refused::NOT_FOUND)?;
            match charge.take(&found.value, now) {
                Charged::Admit { slot, left } => match shared::set(&name, &slot, found.version) {
                    Ok(()) => {
                        self.metrics.quota_admitted.increment();
                        return Ok(Ok(Some(left)));
                    }
                    Err(Refused::CAS_MISMATCH) => last = Some(left),
                    Err(refused) => return Err(refused),
                },
                Charged::Refuse { left, after, crowded, corrected } => {
                    if let Some(corrected) = corrected {
                        // Whoever was faster has corrected it.
                        let _ = shared::set(&name, &corrected, found.version);
                    }
                    if crowded {
                        self.metrics.quota_crowded.increment();
                        log::write(Level::Debug, || {
                            "a slot is full of other tenants; raise `quotas.slots`".into()
                        });
                    }
                    return Ok(Err(self.exceeded(&left, Duration::from_nanos(after))));
                }
            }
        }
        self.metrics.quota_contended.increment();
        last.map_or(Err(Refused::CAS_MISMATCH), |left| Ok(Err(self.exceeded(&left, Duration::ZERO))))
    }

    fn exceeded(&self, left: &Left, after: Duration) -> Exceeded {
        self.metrics.quota_refused.increment();
        // Whole seconds, and not before it fits.
        let after = Duration::from_secs(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)));
        let denial = Denial::new(Code::TenantQuotaExceeded, "the bucket is empty").with_retry_after(after);
        Exceeded { denial, headers: left.headers() }
    }

    /// Whether quotas are only reported.
    pub(crate) fn only_reports(&self) -> bool {
        self.audit.mode() == Mode::Shadow
    }
}
