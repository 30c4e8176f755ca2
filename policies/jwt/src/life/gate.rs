//! How often an issuer may be asked: the stated bound, whatever the traffic.

use alloc::vec::Vec;
use core::time::Duration;

use portcullis_core::gcra::Gcra;

use super::time::Instant;

/// What the bound counts in.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Fetches that clients can cause at once after a quiet time. The second is for a key that was
/// published while the first was on its way.
const BURST: u64 = 2;

/// Why a fetch is wanted; the bound keeps one fetch for each kind that the others cannot use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There are no keys.
    NoKeys,
    /// The keys are due to be refreshed.
    Due,
    /// A token needs a key that the set does not have, or does not fit the one that it has.
    Asked,
}

/// The fetches of the last minute.
///
/// INVARIANT: at most `limit` starts in any 60 seconds. Of these, clients can cause two at once
/// and then one per `60 s / (limit - 1)`, so that the blind time under attack is short; and while
/// there are keys, refreshing leaves one unused, so that a rotation can always be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// Starts within the window, oldest first.
    pub(super) starts: Vec<Instant>,
    /// When the clients' allowance ([`clients`]) will be whole again.
    pub(super) whole_at: Instant,
    /// What that was before the round that is under way, until the round has asked for keys.
    pub(super) given_back: Option<Instant>,
}

impl Gate {
    /// The first instant, not before `now`, at which a fetch may start; `first` where it begins a
    /// round. The clients' allowance is for rounds: one that has begun is ended within the bound,
    /// or the discovery document would be fetched and the keys that it names would not.
    pub(super) fn earliest(&self, now: Instant, cause: Cause, first: bool, limit: u32) -> Instant {
        let window = self.window_opens(now, share(cause, limit));
        match cause {
            Cause::Asked if first => window.max(Instant(clients(limit).earliest(self.whole_at.0, 1))),
            Cause::NoKeys | Cause::Due | Cause::Asked => window,
        }
    }

    /// Whether two fetches for `cause` are within the bound at `now`.
    pub(super) fn has_room_for_two(&self, now: Instant, cause: Cause, limit: u32) -> bool {
        let started = self.starts.iter().filter(|start| start.saturating_add(WINDOW) > now).count();
        u32::try_from(started).unwrap_or(u32::MAX).saturating_add(2) <= share(cause, limit)
    }

    fn window_opens(&self, now: Instant, limit: u32) -> Instant {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let within = |start: &&Instant| start.saturating_add(WINDOW) > now;
        let counted = self.starts.iter().filter(within).count();
        // The start that has to leave the window before there is room.
        let blocking = counted.checked_sub(limit).and_then(|at| self.starts.iter().filter(within).nth(at));
        blocking.map_or(now, |start| start.saturating_add(WINDOW))
    }

    /// Notes a fetch that starts `now`; `first` where it is the first of its round, for a round
    /// with a discovery document or a second source still counts once for the clients; `keys`
    /// where it is for the keys. A round that the bound cuts off before it could ask for keys does
    /// not count: the one that comes after it, as soon as there is room, is to bring them.
    pub(super) fn start(&mut self, now: Instant, cause: Cause, (first, keys): (bool, bool), limit: u32) {
        self.starts.retain(|start| start.saturating_add(WINDOW) > now);
        self.starts.push(now);
        if first {
            self.given_back = None;
        }
        if cause == Cause::Asked && first {
            self.given_back = Some(self.whole_at);
            self.whole_at = Instant(clients(limit).after(self.whole_at.0, now.0, 1));
        }
        if keys {
            self.given_back = None;
        } else if self.window_opens(now, limit) > now
            && let Some(before) = self.given_back.take()
        {
            self.whole_at = before;
        }
    }
}

/// How many fetches of the window `cause` may use up.
fn share(cause: Cause, limit: u32) -> u32 {
    match cause {
        Cause::Due => limit.saturating_sub(1),
        Cause::NoKeys | Cause::Asked => limit,
    }
}

/// What clients can cause.
fn clients(limit: u32) -> Gcra {
    let period = WINDOW.checked_div(limit.saturating_sub(1).max(1)).unwrap_or(WINDOW);
    Gcra { interval: u64::try_from(period.as_nanos()).unwrap_or(u64::MAX), burst: BURST }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default().saturating_add(Duration::from_secs(seconds))
    }

    fn starts(cause: Cause, seconds: u64) -> Vec<u64> {
        let mut gate = Gate::default();
        let mut found = Vec::new();
        for second in 0..seconds {
            while gate.earliest(at(second), cause, true, 4) <= at(second) {
                gate.start(at(second), cause, (true, true), 4);
                found.push(second);
            }
        }
        found
    }

    #[test]
    fn clients_cause_two_at_once_and_then_one_each_twenty_seconds() {
        assert_eq!(starts(Cause::Asked, 121), [0, 0, 20, 40, 60, 80, 100, 120]);
    }

    #[test]
    fn room_for_two_is_counted_within_the_share() {
        let mut gate = Gate::default();
        for (started, asked, due) in [(0, true, true), (1, true, true), (2, true, false), (3, false, false)] {
            assert_eq!(gate.starts.len(), started);
            assert_eq!(gate.has_room_for_two(at(30), Cause::Asked, 4), asked, "{started}");
            assert_eq!(gate.has_room_for_two(at(30), Cause::Due, 4), due, "{started}");
            gate.start(at(0), Cause::NoKeys, (true, true), 4);
        }
        assert!(gate.has_room_for_two(at(60), Cause::Due, 4));
    }

    #[test]
    fn a_cold_start_may_use_the_whole_minute_and_refreshing_leaves_one() {
        assert_eq!(starts(Cause::NoKeys, 61), [0, 0, 0, 0, 60, 60, 60, 60]);
        assert_eq!(starts(Cause::Due, 61), [0, 0, 0, 60, 60, 60]);
    }

    #[test]
    fn a_round_that_has_begun_is_ended_within_the_bound() {
        let mut gate = Gate::default();
        gate.start(at(0), Cause::Asked, (true, true), 4);
        gate.start(at(0), Cause::Asked, (true, true), 4);
        assert_eq!(gate.earliest(at(0), Cause::Asked, true, 4), at(20));
        assert_eq!(gate.earliest(at(0), Cause::Asked, false, 4), at(0));
        gate.start(at(0), Cause::Asked, (false, true), 4);
        gate.start(at(0), Cause::Asked, (false, true), 4);
        assert_eq!(gate.earliest(at(0), Cause::Asked, false, 4), at(60));
    }

    #[test]
    fn a_round_that_the_bound_cuts_off_before_the_keys_gives_the_allowance_back() {
        let mut gate = Gate::default();
        for (second, first, keys) in [(0, true, true), (30, true, true), (50, true, false)] {
            assert_eq!(gate.earliest(at(second), Cause::Asked, first, 4), at(second));
            gate.start(at(second), Cause::Asked, (first, keys), 4);
        }
        // One that asked for keys has used it, whatever came of them.
        let mut asked = gate.clone();
        asked.start(at(50), Cause::Asked, (false, true), 4);
        assert_eq!((asked.whole_at, asked.given_back), (at(70), None));
        gate.start(at(50), Cause::Asked, (false, false), 4);
        assert_eq!((gate.whole_at, gate.given_back), (at(50), None));
        assert_eq!(gate.earliest(at(51), Cause::Asked, true, 4), at(60));
    }

    #[test]
    fn no_mixture_exceeds_the_limit_in_any_minute() {
        let mut gate = Gate::default();
        let mut starts: Vec<u64> = Vec::new();
        for second in 0..1000 {
            for cause in [Cause::Due, Cause::Asked, Cause::NoKeys] {
                if gate.earliest(at(second), cause, true, 4) <= at(second) {
                    gate.start(at(second), cause, (true, true), 4);
                    starts.push(second);
                }
            }
        }
        assert!(starts.len() >= 60);
        assert!(starts.windows(5).all(|five| five[4] - five[0] >= 60), "{starts:?}");
    }
}
