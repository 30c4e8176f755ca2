//! Nobody takes another's share: how much each tenant may ask.
//!
//! A bucket ([`Gcra`]) per tenant and route class is one time: when it will be full again. A request
//! that is refused changes nothing, and a time that has passed is the same as none, so whatever is
//! forgotten here was a full bucket: no eviction refills one. The times lie in a fixed number of slots
//! that all workers share; tenants are hashed to them, and no client's word becomes a key.

pub(crate) mod config;

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::hash::Hasher as _;

use portcullis_core::gcra::Gcra;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::told::Told;

/// Tenants that one slot holds while their buckets are not full.
pub const SLOT_TENANTS: usize = 16;
/// Bytes for each of them: whose, and the time.
const ENTRY: usize = 16;

/// The quotas of a configuration.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Slots.
    pub slots: u32,
    pub(crate) plans: BTreeMap<String, Plan>,
    pub(crate) default: String,
    /// Profile fields with a tenant's own rate and burst.
    pub(crate) own: Option<(String, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rate: Gcra,
    pub(crate) classes: BTreeMap<String, Gcra>,
}

/// What a request takes, from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The slot.
    pub slot: u32,
    whose: u64,
    rate: Gcra,
    cost: u64,
    class: String,
}

/// What became of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charged {
    /// It fits: the slot has to become this, if it is still what it was.
    Admit {
        /// The slot's new content.
        slot: Vec<u8>,
        /// What is left.
        left: Left,
    },
    /// It does not: nothing changes, unless the clock stepped back.
    Refuse {
        /// What is left.
        left: Left,
        /// Nanoseconds after which it would fit.
        after: u64,
        /// Whether the slot is full of others, rather than the bucket empty.
        crowded: bool,
        /// What the slot should become where its clock stepped back: an empty bucket from now on.
        corrected: Option<Vec<u8>>,
    },
}

/// What a tenant has left of its quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    class: String,
    burst: u64,
    window: u64,
    units: u64,
    reset: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Left {
    /// The quota and its window, what is left, and the seconds until all of it is there again.
    #[must_use]
    pub fn told(&self) -> Told {
        let Self { class, burst, window, units, reset } = self;
        Told::new(format!("\"{class}\";q={burst};w={window}"), format!("\"{class}\";r={units};t={reset}"))
    }
}

/// How many tenants' buckets in `slot` are not full at `now`.
#[must_use]
pub fn in_use(slot: &[u8], now: u64) -> u64 {
    entries(slot).map(|(_, time)| u64::from(time > now)).sum()
}

impl Quotas {
    /// What a request of `tenant` takes. `key` is secret, so that nobody can choose ids that share a
    /// slot.
    pub(crate) fn charge(&self, tenant: &crate::Proven, class: &str, cost: u64, key: &[u8; 16]) -> Charge {
        let plan = tenant.plan.as_ref().and_then(|plan| self.plans.get(plan));
        let plan = plan.or_else(|| self.plans.get(&self.default));
        let rate = plan.map(|plan| plan.classes.get(class).copied().unwrap_or(plan.rate));
        let own = self.own.as_ref().and_then(|(rate, burst)| {
            let field =
                |name: &str| tenant.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value);
            config::rate(field(rate)?, field(burst)?.parse().ok()?).ok()
        });
        // A tenant's own rate is for everything that has no class of its own.
        let classed = plan.is_some_and(|plan| plan.classes.contains_key(class));
        let rate = if classed { rate } else { own.or(rate) };
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(tenant.id.as_bytes());
        hasher.write(&[0xff]);
        // Classes without a rate of their own share a bucket.
        hasher.write(if classed { class.as_bytes() } else { b"" });
        let hash = hasher.finish128();
        let slot = u32::try_from(hash.h1.checked_rem(u64::from(self.slots)).unwrap_or_default());
        Charge {
            slot: slot.unwrap_or_default(),
            whose: hash.h2,
            // The default plan is there: a configuration without it is refused.
            rate: rate.unwrap_or(Gcra { interval: u64::MAX, burst: 0 }),
            cost,
            class: if classed { class.into() } else { String::from("default") },
        }
    }
}

impl Charge {
    /// Takes it from what `slot` holds at `now`, in nanoseconds on a clock that all workers share.
    ///
    /// Where the clock stepped back nothing is given back: an empty bucket stays empty for as long as
    /// it takes to fill, and no longer.
    #[must_use]
    pub fn take(&self, slot: &[u8], now: u64) -> Charged {
        let stored = entries(slot).find(|(whose, _)| *whose == self.whose).map_or(now, |(_, time)| time);
        let mut kept: Vec<(u64, u64)> =
            entries(slot).filter(|(whose, time)| *whose != self.whose && *time > now).collect();
        let next = match self.rate.take(stored, now, self.cost) {
            Ok(next) => next,
            Err(after) => {
                let full = now.saturating_add(self.rate.fill_time());
                let corrected = (stored > full).then(|| {
                    kept.push((self.whose, full));
                    written(&kept)
                });
                return Charged::Refuse { left: self.left(stored, now), after, crowded: false, corrected };
            }
        };
        if kept.len() >= SLOT_TENANTS {
            let first = kept.iter().map(|(_, time)| time.saturating_sub(now)).min().unwrap_or_default();
            let left = self.left(stored, now);
            return Charged::Refuse { left, after: first, crowded: true, corrected: None };
        }
        kept.push((self.whose, next));
        Charged::Admit { slot: written(&kept), left: self.left(next, now) }
    }

    fn left(&self, time: u64, now: u64) -> Left {
        let owed = self.rate.owed(time, now);
        let free = self.rate.fill_time().saturating_sub(owed);
        Left {
            class: self.class.clone(),
            burst: self.rate.burst,
            window: self.rate.fill_time().div_ceil(SECOND),
            units: free.checked_div(self.rate.interval).unwrap_or_default(),
            reset: owed.div_ceil(SECOND),
        }
    }
}

fn written(entries: &[(u64, u64)]) -> Vec<u8> {
    entries.iter().flat_map(|(whose, time)| [whose.to_le_bytes(), time.to_le_bytes()]).flatten().collect()
}

fn entries(slot: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    slot.chunks_exact(ENTRY).filter_map(|entry| {
        let (whose, rest) = entry.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*whose), u64::from_le_bytes(*rest.first_chunk::<8>()?)))
    })
}
