//! What is under way in all workers, as they share it.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

/// How long a worker may say nothing until what it has under way is dropped: it has ended, or its VM
/// has. One that was only slow says it again with its next change.
pub const SILENCE: Duration = Duration::from_secs(5);

/// What one tenant has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Requests.
    pub count: u32,
    /// The tenant's weight.
    pub weight: u32,
}

/// What one worker has under way, by tenant; each has at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(BTreeMap<u64, Held>);

impl Part {
    /// One more of the tenant `whose`.
    pub fn enter(&mut self, whose: u64, weight: u32) {
        let held = self.0.entry(whose).or_insert(Held { count: 0, weight });
        *held = Held { count: held.count.saturating_add(1), weight };
    }

    /// One less.
    pub fn leave(&mut self, whose: u64) {
        let Some(held) = self.0.get_mut(&whose) else { return };
        held.count = held.count.saturating_sub(1);
        if held.count == 0 {
            self.0.remove(&whose);
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All workers' parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<Signed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    worker: u64,
    /// When the worker last said so, in nanoseconds.
    at: u64,
    part: Part,
}

impl Table {
    /// Reads what [`Table::write`] wrote; `None` where it is something else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (worker, tail) = rest.split_first_chunk::<8>()?;
            let (at, tail) = tail.split_first_chunk::<8>()?;
            let (size, tail) = tail.split_first_chunk::<4>()?;
            let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
            let (entries, tail) = tail.split_at_checked(size.checked_mul(16)?)?;
            let (entries, _) = entries.as_chunks::<16>();
            let part = entries.iter().filter_map(entry).collect();
            let (worker, at) = (u64::from_le_bytes(*worker), u64::from_le_bytes(*at));
            parts.push(Signed { worker, at, part: Part(part) });
            rest = tail;
        }
        Some(Self(parts))
    }

    /// The bytes that are shared.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for Signed { worker, at, part } in &self.0 {
            out.extend_from_slice(&worker.to_le_bytes());
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&u32::try_from(part.0.len()).unwrap_or(0).to_le_bytes());
            for (whose, Held { count, weight }) in &part.0 {
                out.extend_from_slice(&whose.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(&weight.to_le_bytes());
            }
        }
        out
    }

    /// Puts the part of `worker` in the place of what it said before, at `now`, in nanoseconds on a
    /// clock that all workers share; and drops the parts of those that have said nothing for
    /// [`SILENCE`], or have spoken in the future, as it looks where the clock stepped back.
    pub fn put(&mut self, worker: u64, part: &Part, now: u64) {
        let silence = u64::try_from(SILENCE.as_nanos()).unwrap_or(u64::MAX);
        self.0.retain(|own| own.worker != worker && own.at.abs_diff(now) < silence);
        if !part.is_empty() {
            self.0.push(Signed { worker, at: now, part: part.clone() });
        }
    }

    /// What each tenant has under way in all workers together.
    #[must_use]
    pub fn tenants(&self) -> BTreeMap<u64, Held> {
        let mut tenants = BTreeMap::new();
        for (whose, held) in self.0.iter().flat_map(|own| &own.part.0) {
            let sum = tenants.entry(*whose).or_insert(Held { count: 0, weight: held.weight });
            // Workers that have other configurations for a moment have other weights.
            *sum = Held { count: sum.count.saturating_add(held.count), weight: sum.weight.max(held.weight) };
        }
        tenants
    }

    /// How much is under way.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.0.iter().flat_map(|own| own.part.0.values()).map(|held| u64::from(held.count)).sum()
    }
}

fn entry(bytes: &[u8; 16]) -> Option<(u64, Held)> {
    let (whose, rest) = bytes.split_first_chunk::<8>()?;
    let (count, weight) = rest.split_first_chunk::<4>()?;
    let held = Held {
        count: u32::from_le_bytes(*count),
        weight: u32::from_le_bytes(*weight.first_chunk::<4>()?).max(1),
    };
    Some((u64::from_le_bytes(*whose), held))
}
