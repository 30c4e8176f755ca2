//! Nobody takes another's place: how many requests of each tenant are under way at a time.
//!
//! Each class of routes has a number of places. A part of them, the reserve, is kept back. While
//! places outside of it are free, whoever comes gets one. When there are none, only a tenant gets in
//! that has fewer than its **max-min fair share** of them: what there would be for it if every tenant
//! got as much as it uses, or as much as everybody else by weight, whichever is less. It gets in by
//! the reserve, at once, and whoever has more than its share gets nothing until enough of its own
//! requests have ended. So no request that is under way is ever ended, and shares are as they should
//! be within the time that requests take. The last half of the reserve is for those who have fewer
//! under way than they would leave places: a tenant with none gets in as long as there is any.
//!
//! What is under way is counted in a [`Table`] that all workers share, each worker in a part of its
//! own that it writes whole each time: what was lost comes right with the next change, and the part
//! of a worker that is silent for [`SILENCE`] is dropped.

pub(crate) mod config;
mod table;

use alloc::{collections::BTreeMap, format, string::String};
use core::{hash::Hasher as _, time::Duration};

use portcullis_core::{Code, Denial};
use siphasher::sip::SipHasher24;

use crate::{Proven, told::Told};

pub use table::{Held, Part, SILENCE, Table};

/// The places of one class of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Requests under way of all tenants.
    pub total: u32,
    /// How many of them are kept for tenants below their share.
    pub reserve: u32,
    /// Requests under way of one tenant, for each unit of its weight.
    pub each: u32,
}

/// The limits of a configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) classes: BTreeMap<String, Places>,
    /// By plan; 1 where there is none.
    pub(crate) weights: BTreeMap<String, u32>,
}

/// The class of routes that name none.
pub(crate) const DEFAULT: &str = "default";

/// The place that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    class: String,
    whose: u64,
    weight: u32,
    places: Places,
}

/// Why there is no place for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The tenant has as many under way as it may have.
    Tenant,
    /// Places are short, and the tenant has its share of them.
    Share,
    /// The tenant has less than its share, and the places of all are in use.
    All,
}

impl Full {
    /// What the client is told.
    #[must_use]
    pub fn denial(self) -> Denial {
        let (code, detail) = match self {
            Self::Tenant => {
                (Code::TenantConcurrencyExceeded, "the tenant has as many requests under way as it may have")
            }
            Self::Share => {
                (Code::TenantConcurrencyExceeded, "places are short, and the tenant has its share of them")
            }
            Self::All => (Code::TenantCapacityExhausted, "the places of all tenants are in use"),
        };
        // Whenever a request ends; nobody knows when.
        Denial::new(code, detail).with_retry_after(Duration::from_secs(1))
    }
}

impl Limits {
    /// The classes, and their places.
    pub fn classes(&self) -> impl Iterator<Item = (&str, Places)> {
        self.classes.iter().map(|(name, places)| (name.as_str(), *places))
    }

    /// The place that a request of `tenant` needs; none where its class is not limited. `key` is
    /// secret, so that nobody can choose ids that are taken for one.
    pub(crate) fn claim(&self, tenant: &Proven, class: Option<&str>, key: &[u8; 16]) -> Option<Claim> {
        let own = class.and_then(|class| self.classes.get_key_value(class));
        let (class, places) = own.or_else(|| self.classes.get_key_value(DEFAULT))?;
        let weight = tenant.plan.as_ref().and_then(|plan| self.weights.get(plan)).copied().unwrap_or(1);
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(tenant.id.as_bytes());
        Some(Claim { class: class.clone(), whose: hasher.finish(), weight, places: *places })
    }
}

impl Claim {
    /// The class whose places are asked for.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The tenant, by its keyed hash.
    #[must_use]
    pub const fn whose(&self) -> u64 {
        self.whose
    }

    /// The tenant's weight.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// How many more the tenant may have after this one, while what `table` says is under way.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no place, and why.
    pub fn decide(&self, table: &Table) -> Result<u32, Full> {
        let Places { total, reserve, .. } = self.places;
        let tenants = table.tenants();
        let own = tenants.get(&self.whose).map_or(0, |held| held.count);
        let next = own.saturating_add(1);
        let Some(left) = self.most().checked_sub(next) else { return Err(Full::Tenant) };
        let used = tenants.values().fold(0_u32, |sum, held| sum.saturating_add(held.count));
        if used < total.saturating_sub(reserve) {
            return Ok(left);
        }
        // Whoever has none may try, however many tenants there are.
        if own > 0 && !self.is_fair(next, &tenants) {
            return Err(Full::Share);
        }
        let free = total.saturating_sub(used);
        if free > reserve.div_ceil(2) || own < free { Ok(left) } else { Err(Full::All) }
    }

    /// Whether `count` is no more than the tenant's share: at that level, all tenants together have
    /// room outside of the reserve. Each other one counts with what it uses, or with as much by weight.
    fn is_fair(&self, count: u32, tenants: &BTreeMap<u64, Held>) -> bool {
        let (count, weight) = (u64::from(count), u64::from(self.weight));
        let room = u64::from(self.places.total.saturating_sub(self.places.reserve)).saturating_mul(weight);
        let others = tenants.iter().filter(|(whose, _)| **whose != self.whose).map(|(_, held)| {
            let used = u64::from(held.count).saturating_mul(weight);
            used.min(u64::from(held.weight).saturating_mul(count))
        });
        others.fold(count.saturating_mul(weight), u64::saturating_add) <= room
    }

    /// How many the tenant may have under way where places are not short.
    fn most(&self) -> u32 {
        let Places { total, reserve, each } = self.places;
        each.saturating_mul(self.weight).min(total.saturating_sub(reserve))
    }

    /// What the tenant is told: its own limit, and that it may have `left` more.
    #[must_use]
    pub fn told(&self, left: u32) -> Told {
        let Self { class, .. } = self;
        let most = self.most();
        Told::new(
            format!("\"{class}.concurrent\";q={most};qu=\"concurrent-requests\""),
            format!("\"{class}.concurrent\";r={left}"),
        )
    }
}
