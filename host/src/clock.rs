//! Where a process takes its time and its randomness from: the system, or a test.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two clocks: what guests see as the time of day, and what timers run by.
pub trait Clock: Send + Sync {
    /// The time since 1970-01-01T00:00:00Z; it can jump.
    fn wall(&self) -> Duration;
    /// The time since some fixed point; it never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Clocks whose monotonic zero is now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Clocks that stand still until they are told otherwise. A clone is the same clock.
///
/// ```
/// use portcullis_host::{Clock, VirtualClock};
/// use std::time::Duration;
///
/// let clock = VirtualClock::at_unix_seconds(1_767_225_600);
/// clock.advance(Duration::from_millis(1500));
/// assert_eq!(clock.wall().as_millis(), 1_767_225_601_500);
/// assert_eq!(clock.monotonic().as_millis(), 1500);
/// ```
#[derive(Debug, Clone, Default)]
pub struct VirtualClock(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    wall: Duration,
    monotonic: Duration,
}

impl VirtualClock {
    /// The given time of day; the monotonic clock starts at zero.
    #[must_use]
    pub fn at(wall: Duration) -> Self {
        Self(Arc::new(Mutex::new(Times { wall, monotonic: Duration::ZERO })))
    }

    /// The same in seconds since 1970.
    #[must_use]
    pub fn at_unix_seconds(seconds: u64) -> Self {
        Self::at(Duration::from_secs(seconds))
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut times = self.lock();
        times.wall = times.wall.saturating_add(by);
        times.monotonic = times.monotonic.saturating_add(by);
    }

    /// Sets the time of day alone, as a clock correction does: it may go back.
    pub fn set_wall(&self, wall: Duration) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn wall(&self) -> Duration {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }
}

/// Where `random_get` takes its bytes from.
#[derive(Debug)]
pub(crate) enum Randomness {
    System,
    /// SplitMix64: repeatable, and not for secrets.
    Seeded(u64),
}

impl Randomness {
    /// Fills the bytes; `false` when the system has no randomness to give.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> bool {
        match self {
            Self::System => getrandom::fill(bytes).is_ok(),
            Self::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    let word = split_mix(state).to_le_bytes();
                    for (byte, random) in chunk.iter_mut().zip(word) {
                        *byte = random;
                    }
                }
                true
            }
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
