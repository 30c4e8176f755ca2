//! The record that every worker looks at: which edition is in use, who fetches, and when next.

use alloc::vec::Vec;

use portcullis_core::fetch::{
    Instant,
    bytes::{Reader, Writer},
};

const VERSION: u64 = 0x5043_5444_0000_0001;

/// What workers agree on by compare-and-swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The number of the root in use; it rises by one with each.
    pub generation: u64,
    /// The start of the fetch that last confirmed it.
    pub confirmed_at: Instant,
    /// The root whose garbage is gone.
    pub swept: u64,
    /// The root whose pages somebody did not find.
    pub distrusted: u64,
    /// Nobody fetches before.
    pub next_at: Instant,
    /// Failures since the last success.
    pub failures: u32,
    /// Who fetches.
    pub owner: u64,
    /// Until then at the latest.
    pub lease_until: Instant,
}

impl Marker {
    /// The marker that `bytes` are; none where they are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.number()? != VERSION {
            return None;
        }
        let marker = Self {
            generation: input.number()?,
            confirmed_at: input.instant()?,
            swept: input.number()?,
            distrusted: input.number()?,
            next_at: input.instant()?,
            failures: input.small()?,
            owner: input.number()?,
            lease_until: input.instant()?,
        };
        input.0.is_empty().then_some(marker)
    }

    /// Its bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let Self { generation, confirmed_at, swept, distrusted, next_at, failures, owner, lease_until } =
            *self;
        let mut out = Writer::default();
        for number in [
            VERSION,
            generation,
            confirmed_at.0,
            swept,
            distrusted,
            next_at.0,
            failures.into(),
            owner,
            lease_until.0,
        ] {
            out.number(number);
        }
        out.0
    }
}
