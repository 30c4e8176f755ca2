//! One fetch for all workers: a shared record that says who fetches, and what was fetched within
//! the last minute, so that the bound on fetches is the process's and not each worker's.
//!
//! The record lives where workers can compare and swap bytes. [`super::Life::claim`] says what to
//! write there before a fetch; [`Ledger::release`] what to write after it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    bytes::{Reader, Writer},
    gate::{Cause, Gate},
    time::Instant,
};

const VERSION: u64 = 0x504b_4c4c_0000_0002;
/// No limit is above 60 (see [`super::LifeConfigError::FetchesOutOfRange`]).
const MAX_STARTS: u64 = 64;

/// Who fetches, and the fetches of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub(super) gate: Gate,
    owner: u64,
    lease_until: Instant,
}

/// Whether a fetch may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Yes, if these bytes replace those that were read, and nobody was faster. If somebody was,
    /// read again and claim again.
    Go {
        /// The new record.
        ledger: Vec<u8>,
    },
    /// No: somebody else has the keys or fetches them, or the bound is used up. Nothing is to be
    /// written; the machine knows.
    Leave,
}

/// What stands against a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// Another worker fetches, at the longest until then.
    Lease(Instant),
    /// The bound.
    Bound,
}

impl Ledger {
    /// The record that `bytes` hold; an empty one where there are none, or of another version.
    #[must_use]
    pub fn read(bytes: Option<&[u8]>) -> Self {
        bytes.and_then(Self::decode).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.number()? != VERSION {
            return None;
        }
        let (owner, lease_until, whole_at) = (input.number()?, input.instant()?, input.instant()?);
        let given_back = Some(input.instant()?).filter(|instant| *instant != Instant::MAX);
        let count = input.number().filter(|count| *count <= MAX_STARTS)?;
        let starts = (0..count).map(|_| input.instant()).collect::<Option<Vec<_>>>()?;
        Some(Self { gate: Gate { starts, whole_at, given_back }, owner, lease_until })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let given_back = self.gate.given_back.unwrap_or(Instant::MAX);
        for number in [VERSION, self.owner, self.lease_until.0, self.gate.whole_at.0, given_back.0] {
            out.number(number);
        }
        out.number(u64::try_from(self.gate.starts.len()).unwrap_or(u64::MAX));
        for start in &self.gate.starts {
            out.number(start.0);
        }
        out.0
    }

    /// The first record, by a worker that has counted for itself.
    pub(super) fn alone(gate: Gate, owner: u64, lease_until: Instant) -> Vec<u8> {
        Self { gate, owner, lease_until }.write()
    }

    /// The record with a fetch by `owner` that starts `now` and is over after `lease` at the
    /// latest, or what stands against it. A lease is for a whole round, which renews it.
    pub(super) fn claim(
        mut self,
        now: Instant,
        owner: u64,
        (cause, first, keys): (Cause, bool, bool),
        limit: u32,
        lease: Duration,
    ) -> Result<(Self, Vec<u8>), (Self, Against)> {
        // No lease can be longer than the one that we would take.
        let lease_until = now.saturating_add(lease);
        if self.owner != owner && self.lease_until > now {
            let until = self.lease_until.min(lease_until);
            return Err((self, Against::Lease(until)));
        }
        if self.gate.earliest(now, cause, first, limit) > now {
            return Err((self, Against::Bound));
        }
        self.gate.start(now, cause, (first, keys), limit);
        self.owner = owner;
        self.lease_until = lease_until;
        let bytes = self.write();
        Ok((self, bytes))
    }

    /// The record in `bytes` without `owner`'s lease, to be written after [`super::Effect::Publish`]
    /// was carried out; none where there is nothing to release.
    #[must_use]
    pub fn release(bytes: Option<&[u8]>, owner: u64) -> Option<Vec<u8>> {
        let mut ledger = bytes.and_then(Self::decode).filter(|ledger| ledger.owner == owner)?;
        ledger.lease_until = Instant::default();
        Some(ledger.write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(7);

    fn claim(ledger: Option<&[u8]>, now: Instant, owner: u64) -> Result<Vec<u8>, Against> {
        let claimed = Ledger::read(ledger).claim(now, owner, (Cause::NoKeys, true, true), 4, LEASE);
        claimed.map(|(_, bytes)| bytes).map_err(|(_, against)| against)
    }

    #[test]
    fn one_worker_at_a_time_fetches() {
        let now = Instant(1_000);
        let taken = claim(None, now, 1).unwrap();
        assert_eq!(claim(Some(&taken), now, 2), Err(Against::Lease(now.saturating_add(LEASE))));
        assert!(claim(Some(&taken), now, 1).is_ok());
        assert!(claim(Some(&taken), now.saturating_add(LEASE), 2).is_ok());
        let released = Ledger::release(Some(&taken), 1).unwrap();
        assert!(claim(Some(&released), now, 2).is_ok());
        assert_eq!(Ledger::release(Some(&taken), 2), None);
    }

    #[test]
    fn the_bound_is_that_of_all_workers() {
        let now = Instant(1_000);
        let mut ledger = None;
        for owner in 0..4 {
            ledger = Some(claim(ledger.as_deref(), now, owner).unwrap());
            ledger = Ledger::release(ledger.as_deref(), owner);
        }
        assert_eq!(claim(ledger.as_deref(), now, 9), Err(Against::Bound));
        assert!(claim(ledger.as_deref(), now.saturating_add(Duration::from_secs(60)), 9).is_ok());
    }

    #[test]
    fn a_damaged_record_is_an_empty_one_and_a_lease_without_end_ends() {
        let taken = claim(None, Instant(1_000), 1).unwrap();
        for length in 0..taken.len() {
            assert_eq!(Ledger::read(taken.get(..length)), Ledger::default(), "{length}");
        }
        let endless = Ledger { lease_until: Instant::MAX, owner: 1, ..Ledger::default() }.write();
        assert_eq!(
            claim(Some(&endless), Instant(0), 2),
            Err(Against::Lease(Instant(0).saturating_add(LEASE)))
        );
    }
}
