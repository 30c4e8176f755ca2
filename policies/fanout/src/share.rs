//! How many calls and questions a tenant may have, in a table that all workers of a proxy share.
//!
//! The table has a fixed number of buckets with a fixed number of places each: a tenant's bucket is
//! its keyed hash, so nobody chooses it. A place is given to another tenant only where nothing would be
//! forgotten with it: no call is under way and the allowance is full again. A tenant that comes when
//! all places of its bucket are in use is refused, never let in uncounted.
//!
//! A call under way is a lease with an end. One whose worker has died ends by itself.
//!
//! The allowance is a [`Gcra`]: one time per tenant, no timer, and a refusal writes nothing.

use alloc::vec::Vec;
use core::time::Duration;

use portcullis_core::gcra::Gcra;

/// How much of the provider is one tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Calls at a time, in all workers together.
    pub parallel: usize,
    /// Requests at a time, in one worker.
    pub requests: usize,
    /// Questions over time, in all workers together.
    pub allowance: Option<Gcra>,
}

/// How many buckets there are.
pub const BUCKETS: u16 = 256;
/// How many tenants have a place in one.
const PLACES: usize = 8;
/// Leases of one place: the largest `share.parallel`.
const LEASES: usize = 256;

/// The bucket of a tenant.
#[must_use]
pub fn bucket(slot: &[u8; 16]) -> u16 {
    let [first, second, ..] = *slot;
    u16::from_le_bytes([first, second]) % BUCKETS
}

/// What is in one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket(Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    slot: [u8; 16],
    /// When the allowance is full again.
    full_at: u64,
    /// The ends of the calls under way.
    leases: Vec<u64>,
}

/// Why a tenant gets no more now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The allowance holds as many questions after this time.
    Allowance(Duration),
    /// The share is in use.
    Share,
    /// All places of the bucket are in use.
    Full,
}

/// A call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(u64);

impl Bucket {
    /// Reads what [`Bucket::write`] wrote; `None` where it is something else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut places = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (slot, tail) = rest.split_first_chunk::<16>()?;
            let (full_at, tail) = tail.split_first_chunk::<8>()?;
            let (count, tail) = tail.split_first_chunk::<2>()?;
            let count = usize::from(u16::from_le_bytes(*count));
            let (leases, tail) = tail.split_at_checked(count.checked_mul(8)?)?;
            let (leases, _) = leases.as_chunks::<8>();
            places.push(Place {
                slot: *slot,
                full_at: u64::from_le_bytes(*full_at),
                leases: leases.iter().map(|lease| u64::from_le_bytes(*lease)).collect(),
            });
            rest = tail;
        }
        (places.len() <= PLACES).then_some(Self(places))
    }

    /// The bytes that are shared.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for place in &self.0 {
            out.extend_from_slice(&place.slot);
            out.extend_from_slice(&place.full_at.to_le_bytes());
            let leases = place.leases.iter().take(LEASES);
            out.extend_from_slice(&u16::try_from(leases.len()).unwrap_or(0).to_le_bytes());
            leases.for_each(|lease| out.extend_from_slice(&lease.to_le_bytes()));
        }
        out
    }

    /// Takes `questions` out of the allowance of `slot`.
    ///
    /// # Errors
    ///
    /// [`Denied::Allowance`] and [`Denied::Full`]; then nothing has changed that is worth sharing.
    pub fn charge(
        &mut self,
        slot: &[u8; 16],
        questions: usize,
        allowance: Gcra,
        now: Duration,
    ) -> Result<(), Denied> {
        let now = nanos(now);
        let questions = u64::try_from(questions).unwrap_or(u64::MAX);
        let place = self.place(slot, now)?;
        place.full_at = allowance
            .take(place.full_at, now, questions)
            .map_err(|after| Denied::Allowance(Duration::from_nanos(after)))?;
        Ok(())
    }

    /// Begins a call of `slot` that ends by `until` at the latest; at most `parallel` are under way.
    ///
    /// # Errors
    ///
    /// [`Denied::Share`] and [`Denied::Full`].
    pub fn begin(
        &mut self,
        slot: &[u8; 16],
        parallel: usize,
        until: Duration,
        now: Duration,
    ) -> Result<Lease, Denied> {
        let place = self.place(slot, nanos(now))?;
        if place.leases.len() >= parallel.min(LEASES) {
            return Err(Denied::Share);
        }
        let lease = nanos(until);
        place.leases.push(lease);
        Ok(Lease(lease))
    }

    /// Ends a call. Leases that end at the same time are the same.
    pub fn end(&mut self, slot: &[u8; 16], lease: Lease) {
        let Some(place) = self.0.iter_mut().find(|place| place.slot == *slot) else { return };
        if let Some(at) = place.leases.iter().position(|own| *own == lease.0) {
            place.leases.swap_remove(at);
        }
    }

    /// Calls of `slot` under way.
    #[must_use]
    pub fn under_way(&self, slot: &[u8; 16], now: Duration) -> usize {
        let now = nanos(now);
        let place = self.0.iter().find(|place| place.slot == *slot);
        place.map_or(0, |place| place.leases.iter().filter(|lease| **lease > now).count())
    }

    /// The place of `slot`, which it has or gets.
    fn place(&mut self, slot: &[u8; 16], now: u64) -> Result<&mut Place, Denied> {
        for place in &mut self.0 {
            place.leases.retain(|lease| *lease > now);
        }
        if !self.0.iter().any(|place| place.slot == *slot) {
            self.0.retain(|place| !place.leases.is_empty() || place.full_at > now);
            if self.0.len() >= PLACES {
                return Err(Denied::Full);
            }
            self.0.push(Place { slot: *slot, full_at: 0, leases: Vec::new() });
        }
        self.0.iter_mut().find(|place| place.slot == *slot).ok_or(Denied::Full)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
