//! Monotonic time: what the life of something fetched is measured with, so that a wall clock that
//! jumps changes nothing.

use core::time::Duration;

/// Nanoseconds on a clock that never goes back and whose zero means nothing.
///
/// All workers of one process must read the same clock (WASI's `CLOCK_MONOTONIC` is one), for
/// instants are compared between workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than every reading of the clock: 584 years after its zero.
    pub const MAX: Self = Self(u64::MAX);

    /// `self + duration`, at most [`Instant::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// `self - duration`, at least the clock's zero.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration from `low` to `high`, chosen by `random`.
#[must_use]
pub fn between(random: u64, low: Duration, high: Duration) -> Duration {
    let span = nanos(high.saturating_sub(low));
    let part = u128::from(random).saturating_mul(u128::from(span)).checked_shr(64).unwrap_or(0);
    low.saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(span)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_saturate() {
        assert_eq!(Instant(1).saturating_sub(Duration::MAX), Instant(0));
        assert_eq!(Instant(1).saturating_add(Duration::MAX), Instant::MAX);
        assert_eq!(Instant(1).saturating_since(Instant(2)), Duration::ZERO);
    }

    #[test]
    fn a_random_duration_stays_between_its_ends() {
        let (low, high) = (Duration::from_secs(10), Duration::from_secs(20));
        assert_eq!(between(0, low, high), low);
        assert_eq!(between(u64::MAX / 2, low, high).as_secs(), 14);
        assert!(between(u64::MAX, low, high) < high);
        assert_eq!(between(u64::MAX, high, low), high);
    }
}
