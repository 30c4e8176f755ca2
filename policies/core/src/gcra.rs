//! How much may come over time: the generic cell rate algorithm (ITU-T I.371 appendix I).
//!
//! All that is remembered of a bucket is one time: when it will be full again (the "theoretical
//! arrival time"). A time that has passed is the same as none, so nothing is lost where a full bucket
//! is forgotten; a refusal changes nothing, and there is no timer.

/// A bucket: how fast it fills and how much it holds. Times are nanoseconds on a clock that all who
/// share the bucket read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// Nanoseconds for one unit.
    pub interval: u64,
    /// Units.
    pub burst: u64,
}

impl Gcra {
    /// How long an empty bucket takes to be full, in nanoseconds.
    #[must_use]
    pub const fn fill_time(self) -> u64 {
        self.interval.saturating_mul(self.burst)
    }

    /// How long a bucket that will be full at `full_at` still takes, in nanoseconds: never longer than
    /// an empty one, also where the clock stepped back.
    #[must_use]
    pub const fn owed(self, full_at: u64, now: u64) -> u64 {
        let owed = full_at.saturating_sub(now);
        if owed < self.fill_time() { owed } else { self.fill_time() }
    }

    /// When the bucket will be full after `cost` is taken.
    ///
    /// # Errors
    ///
    /// The nanoseconds after which it will hold as much.
    pub const fn take(self, full_at: u64, now: u64, cost: u64) -> Result<u64, u64> {
        let owed = self.owed(full_at, now).saturating_add(self.interval.saturating_mul(cost));
        match owed.checked_sub(self.fill_time()) {
            None | Some(0) => Ok(now.saturating_add(owed)),
            Some(after) => Err(after),
        }
    }

    /// The first time at which a bucket that will be full at `full_at` holds `cost`.
    #[must_use]
    pub const fn earliest(self, full_at: u64, cost: u64) -> u64 {
        full_at.saturating_add(self.interval.saturating_mul(cost)).saturating_sub(self.fill_time())
    }

    /// When the bucket will be full after `cost` is taken, whether it holds as much or not.
    #[must_use]
    pub const fn after(self, full_at: u64, now: u64, cost: u64) -> u64 {
        let from = if full_at > now { full_at } else { now };
        from.saturating_add(self.interval.saturating_mul(cost))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const BUCKET: Gcra = Gcra { interval: 10, burst: 5 };

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let (mut full_at, mut taken) = (0, Vec::new());
        for now in 1000..1031 {
            while let Ok(next) = BUCKET.take(full_at, now, 1) {
                full_at = next;
                taken.push(now);
            }
        }
        assert_eq!(taken, [1000, 1000, 1000, 1000, 1000, 1010, 1020, 1030]);
    }

    #[test]
    fn a_refusal_says_exactly_when_it_fits() {
        for cost in 0..=5 {
            for owed in 0..=50 {
                let (full_at, now) = (1000 + owed, 1000);
                let after = BUCKET.take(full_at, now, cost).err().unwrap_or(0);
                assert_eq!(BUCKET.earliest(full_at, cost).saturating_sub(now), after, "{cost} {owed}");
                let next = BUCKET.take(full_at, now + after, cost);
                assert_eq!(next, Ok(BUCKET.after(full_at, now + after, cost)), "{cost} {owed}");
                assert!(after == 0 || BUCKET.take(full_at, now + after - 1, cost).is_err());
            }
        }
        assert!(BUCKET.take(0, u64::MAX / 2, 6).is_err(), "more than it holds never fits");
    }

    #[test]
    fn a_clock_that_steps_back_refills_nothing_and_owes_no_more_than_a_whole_bucket() {
        let full_at = BUCKET.after(0, 1000, 5);
        for now in [999, 990, 100, 0] {
            assert_eq!(BUCKET.take(full_at, now, 1), Err(10), "{now}");
        }
        assert_eq!(BUCKET.owed(u64::MAX, 7), 50);
    }

    #[test]
    fn numbers_at_their_ends_refuse_and_nothing_wraps() {
        let closed = Gcra { interval: u64::MAX, burst: 0 };
        assert_eq!(closed.take(0, 5, 1), Err(u64::MAX));
        let slow = Gcra { interval: u64::MAX, burst: u64::MAX };
        assert_eq!(slow.take(u64::MAX, u64::MAX, u64::MAX), Ok(u64::MAX));
        assert_eq!(slow.earliest(u64::MAX, u64::MAX), 0);
    }
}
