//! A point in time as an argument: policies never read a clock.

use core::{fmt, time::Duration};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX time).
///
/// The range is wide enough that no NumericDate a token can carry (RFC 7519 section 2) overflows:
/// sums and differences saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i128);

impl UnixTime {
    /// Later than every time that a clock can show.
    pub const MAX: Self = Self(i128::MAX);
    /// Earlier than every time that a clock can show.
    pub const MIN: Self = Self(i128::MIN);

    /// The time `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        // An i64 times 10^9 always fits an i128, so nothing wraps.
        Self((seconds as i128).wrapping_mul(NANOS_PER_SECOND))
    }

    /// The time `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i128 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i128 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// `self + duration`, at most [`UnixTime::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// `self - duration`, at least [`UnixTime::MIN`].
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = self.0.saturating_sub(earlier.0).max(0);
        let seconds = u64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0);
        Duration::new(seconds, rest)
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

impl fmt::Display for UnixTime {
    /// Seconds since the epoch, with a fraction only where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = self.0.rem_euclid(NANOS_PER_SECOND);
        if fraction == 0 {
            write!(f, "{}", self.as_secs())
        } else {
            write!(f, "{}.{fraction:09}", self.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_saturate() {
        assert_eq!(UnixTime::MAX.saturating_add(Duration::MAX), UnixTime::MAX);
        assert_eq!(UnixTime::MIN.saturating_sub(Duration::MAX), UnixTime::MIN);
        assert_eq!(UnixTime::from_secs(1).saturating_since(UnixTime::from_secs(2)), Duration::ZERO);
        assert!(UnixTime::MAX.saturating_since(UnixTime::MIN) >= Duration::from_secs(u64::MAX));
    }

    #[test]
    fn a_difference_keeps_the_nanoseconds() {
        let later = UnixTime::from_nanos(2_500_000_001);
        assert_eq!(later.saturating_since(UnixTime::from_secs(1)), Duration::new(1, 500_000_001));
    }
}
