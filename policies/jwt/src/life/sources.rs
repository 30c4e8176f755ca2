//! How each source does, and which one is asked next.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::{
    address::Address,
    config::LifeConfig,
    time::{Instant, between},
};

/// What is known of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceState {
    /// Failures since it last gave keys.
    pub(super) failures: u32,
    /// It is not asked before.
    pub(super) retry_at: Instant,
    /// The address that its discovery document named, and when.
    pub(super) discovered: Option<(Address, Instant)>,
}

/// The sources in the order of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Sources(pub(super) Vec<SourceState>);

impl Sources {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![SourceState::default(); count])
    }

    /// The first source that is not in a pause: each round prefers the first, so that a source
    /// that recovered is used again. One that failed is tried again before one that is well only
    /// where there is `room_for_two` fetches: a source that is gone for good would otherwise use up
    /// the bound, time after time, and the others would never be asked.
    pub(super) fn choose(&self, now: Instant, room_for_two: bool) -> Option<usize> {
        let usable = |source: &SourceState, failed_too: bool| {
            source.retry_at <= now && (failed_too || source.failures == 0)
        };
        let first = |failed_too| self.0.iter().position(|source| usable(source, failed_too));
        first(room_for_two).or_else(|| first(true))
    }

    /// Whether `source` is not in a pause.
    pub(super) fn is_open(&self, source: usize, now: Instant) -> bool {
        self.0.get(source).is_some_and(|source| source.retry_at <= now)
    }

    /// When the first pause ends.
    pub(super) fn opens_at(&self) -> Instant {
        self.0.iter().map(|source| source.retry_at).min().unwrap_or(Instant::MAX)
    }

    /// Whether every source failed when it was last asked.
    pub(super) fn all_fail(&self) -> bool {
        self.0.iter().all(|source| source.failures > 0)
    }

    pub(super) fn most_failures(&self) -> u32 {
        self.0.iter().map(|source| source.failures).max().unwrap_or(0)
    }

    pub(super) fn succeeded(&mut self, source: usize) {
        if let Some(state) = self.0.get_mut(source) {
            state.failures = 0;
            state.retry_at = Instant::default();
        }
    }

    /// Pauses `source`: twice as long as the last time, a random half of it less, and at least as
    /// long as it asked for (RFC 9110 section 10.2.3), within the configured most.
    pub(super) fn failed(
        &mut self,
        source: usize,
        now: Instant,
        random: u64,
        asked: Option<Duration>,
        config: &LifeConfig,
    ) {
        let Some(state) = self.0.get_mut(source) else { return };
        let doublings = 1_u32.checked_shl(state.failures).unwrap_or(u32::MAX);
        let longest = config.backoff_first.saturating_mul(doublings).min(config.backoff_max);
        let pause = between(random, longest.checked_div(2).unwrap_or_default(), longest);
        let pause = pause.max(asked.unwrap_or_default().min(config.backoff_max));
        state.failures = state.failures.saturating_add(1);
        state.retry_at = now.saturating_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_are_cut_by_chance() {
        let config = LifeConfig::new(String::new(), Vec::new());
        let pauses = |random: u64| {
            let mut sources = Sources::new(1);
            let now = Instant(7);
            let pause = |_| {
                sources.failed(0, now, random, None, &config);
                sources.opens_at().saturating_since(now).as_millis()
            };
            (0..40).map(pause).collect::<Vec<_>>()
        };
        assert_eq!(pauses(0)[..8], [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert!(pauses(u64::MAX)[..8].iter().zip([999, 1999, 3999, 7999]).all(|(a, b)| *a == b));
        assert!(pauses(u64::MAX).iter().all(|pause| *pause < 60_000));
    }

    #[test]
    fn a_source_may_ask_for_a_longer_pause_up_to_the_most() {
        let config = LifeConfig::new(String::new(), Vec::new());
        let mut sources = Sources::new(1);
        sources.failed(0, Instant(0), 0, Some(Duration::from_secs(20)), &config);
        assert_eq!(sources.opens_at(), Instant(0).saturating_add(Duration::from_secs(20)));
        sources.failed(0, Instant(0), 0, Some(Duration::MAX), &config);
        assert_eq!(sources.opens_at(), Instant(0).saturating_add(config.backoff_max));
    }

    #[test]
    fn the_first_source_that_is_not_paused_is_asked() {
        let config = LifeConfig::new(String::new(), Vec::new());
        let mut sources = Sources::new(2);
        assert_eq!(sources.choose(Instant(0), true), Some(0));
        sources.failed(0, Instant(0), 0, None, &config);
        assert_eq!((sources.choose(Instant(0), true), sources.all_fail()), (Some(1), false));
        sources.failed(1, Instant(0), u64::MAX, None, &config);
        assert_eq!((sources.choose(Instant(0), true), sources.all_fail()), (None, true));
        assert_eq!(sources.choose(sources.opens_at(), true), Some(0));
        sources.succeeded(1);
        assert_eq!(sources.choose(Instant(0), true), Some(1));
    }

    #[test]
    fn a_source_that_failed_is_tried_again_where_there_is_room_for_another_one_as_well() {
        let config = LifeConfig::new(String::new(), Vec::new());
        let mut sources = Sources::new(2);
        sources.failed(0, Instant(0), 0, None, &config);
        let later = sources.opens_at().saturating_add(config.backoff_max);
        assert_eq!(sources.choose(later, true), Some(0));
        assert_eq!(sources.choose(later, false), Some(1));
        sources.failed(1, Instant(0), 0, None, &config);
        assert_eq!(sources.choose(later, false), Some(0));
    }
}
