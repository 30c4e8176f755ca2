//! The promises, as a judge checks them. It knows what the issuer published and what the network
//! let through; it knows nothing of the module's insides.

use std::time::Duration;

use crate::{
    issuer::{Issuer, Time},
    setting::{Setting, Source},
    tokens::Key,
};

/// One tick of the module, which is how late it may be.
const TICK: Duration = Duration::from_millis(20);
/// How late the timer of an idle proxy is at the most: see `world.rs`.
const IDLE: Duration = Duration::from_secs(1);
/// How long a name that was looked up in vain is remembered at the most, where it was looked up
/// once and where it was looked up often.
const MEMORY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// The window of the bound on fetches.
const WINDOW: Duration = Duration::from_secs(60);
/// What the worker that fetches has beyond the timeout before another one may.
const LEASE: Duration = Duration::from_secs(2);

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Signed by the issuer with the key that it signs with.
    Valid,
    /// Signed by the issuer with a key that it signed with once.
    Old,
    /// Signed by nobody.
    Forged,
    /// For the issuer that never answers.
    Dead,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub key: Key,
    pub since: Time,
    /// Its client goes away at once where it has to wait.
    pub impatient: bool,
}

/// A fetch that a proxy made for the issuer that rotates.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub at: Time,
    /// On behalf of a request whose key is not in the set.
    pub asked: bool,
    /// When its good answer arrived, if one did.
    pub good_at: Option<Time>,
    /// When it failed, if it did.
    pub failed_at: Option<Time>,
    /// The worker that made it.
    pub worker: usize,
    /// The worker or its configuration was taken away meanwhile, and the answer perhaps with it.
    pub lost: bool,
}

/// How a request was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub retry_after: Option<u64>,
    /// Requests that waited in that worker.
    pub waiting: usize,
}

/// What the judge knows of one proxy.
pub struct Proxy<'p> {
    pub issuer: &'p Issuer,
    pub setting: &'p Setting,
    pub fetches: &'p [Fetch],
    /// When a worker or its configuration was taken away last, and its fetch perhaps with it.
    pub upset: Option<Time>,
}

impl Proxy<'_> {
    /// A request went through at `now`.
    ///
    /// - A forged token never does, nor one of the issuer that never gave keys, nor one of a key
    ///   that was never published.
    /// - A removed key's may until its set stops being fresh and one refresh is over; where the
    ///   issuer could not be asked, until the set stops being usable, and not a moment longer.
    pub fn accepted(&self, request: &Request, now: Time) -> Result<(), String> {
        if matches!(request.kind, Kind::Forged | Kind::Dead) {
            return Err(format!("{request:?} is accepted"));
        }
        if self.issuer.published_since(&request.key, now).is_some() {
            return Ok(());
        }
        let Some(removed) = self.issuer.removed_at(&request.key, now) else {
            return Err(format!("{request:?} is accepted, its key was never published"));
        };
        let fresh = self.setting.fresh(self.issuer.max_age);
        // A pause after a failure, a fetch whose worker is taken away, a fetch.
        let fetch = Setting::TIMEOUT * 2 + LEASE + IDLE * 2;
        let asked = self.setting.backoff() + fetch;
        let well = self.issuer.was_well(removed.saturating_sub(asked), now);
        let until = removed + fresh + if well { fetch } else { self.setting.stale() + IDLE };
        if now > until {
            return Err(format!("{request:?} is accepted, its key is gone since {removed:?}; well: {well}"));
        }
        Ok(())
    }

    /// A request was refused at `now`.
    ///
    /// A valid token is refused only where no published set that proves it was within reach, or
    /// the bound did not allow to fetch it. Within reach means: the issuer publishes the key since
    /// before the request and until the refusal, and gave everybody who asked a good answer, also
    /// in the time before that the module's pauses after failures reach back to.
    pub fn refused(&self, request: &Request, refused: &Refused, now: Time) -> Result<(), String> {
        let odd = match (refused.status, refused.retry_after) {
            (401, None) => refused.code == "KEYS_UNAVAILABLE",
            (503, Some(1..=60)) => refused.code != "KEYS_UNAVAILABLE",
            _ => true,
        };
        if odd {
            return Err(format!("{request:?} is refused in an odd way: {refused:?}"));
        }
        match (request.kind, refused.status) {
            (Kind::Valid, 401) => self.called_bad(request, refused, now),
            (Kind::Valid, _) => self.unavailable(request, refused, now),
            (Kind::Dead, 401) => Err(format!("{request:?} is called bad, and nobody knows")),
            _ => Ok(()),
        }
    }

    /// A name that belonged to another key a moment ago, or whose key was gone a moment ago, may
    /// have been looked up in vain; nothing else makes a valid token a bad one.
    fn called_bad(&self, request: &Request, refused: &Refused, now: Time) -> Result<(), String> {
        let Some(since) = self.issuer.published_since(&request.key, now) else { return Ok(()) };
        let fetch = Setting::TIMEOUT + LEASE;
        let shared = self.issuer.name_had_another_key(&request.key, now) && now <= since + MEMORY.0 + fetch;
        let back = self.issuer.came_back(&request.key, now) && now <= since + MEMORY.1 + fetch;
        if shared || back {
            return Ok(());
        }
        Err(format!("valid {request:?} is refused: {refused:?}, its key is published since {since:?}"))
    }

    fn unavailable(&self, request: &Request, refused: &Refused, now: Time) -> Result<(), String> {
        let Some(since) = self.issuer.published_since(&request.key, now) else { return Ok(()) };
        let crowded = refused.waiting >= self.setting.waiting_requests;
        if !crowded && self.has_keys_of(since, now) {
            return Err(format!("valid {request:?} is refused: {refused:?}, its key was fetched"));
        }
        if !self.within_reach(request, now) || self.bound_used_up(since, now) || crowded {
            return Ok(());
        }
        Err(format!("valid {request:?} is refused: {refused:?}, its key is published since {since:?}"))
    }

    /// Whether the proxy has a set that is usable at `now` and was asked for after `since`: troubles
    /// may come, but a key that it knows stays known.
    fn has_keys_of(&self, since: Time, now: Time) -> bool {
        let usable = Duration::from_secs(self.setting.min_fresh) + self.setting.stale();
        let arrived = |fetch: &Fetch| !fetch.lost && fetch.good_at.is_some_and(|at| at < now);
        let good = self.fetches.iter().rev().find(|fetch| arrived(fetch));
        good.is_some_and(|fetch| fetch.at >= since && now < fetch.at + usable)
    }

    fn within_reach(&self, request: &Request, now: Time) -> bool {
        let back = self.setting.backoff() + Setting::TIMEOUT * 2 + IDLE;
        let well = self.issuer.was_well(request.since.saturating_sub(back), now);
        let undisturbed = self.upset.is_none_or(|upset| now > upset + Setting::TIMEOUT * 2 + LEASE);
        well && undisturbed
    }

    /// Whether the fetches of the last minute explain that a key that is published since `since`
    /// could not be fetched: one that started later, and not in trouble, would have brought it.
    fn bound_used_up(&self, since: Time, now: Time) -> bool {
        let since = since.max(self.issuer.well_since(now));
        let within = |span: Duration| self.fetches.iter().filter(move |fetch| fetch.at + span >= now);
        // What held the fetch up that is under way, where one is.
        let held = self.fetches.iter().find(|fetch| under_way(fetch, now)).map_or(now, |fetch| fetch.at);
        let before = |fetch: &&Fetch| fetch.at < held && fetch.at + WINDOW + TICK >= held;
        let answer = Setting::TIMEOUT + LEASE;
        // Clients cause two at once and then one per 20 seconds.
        let third = WINDOW / 3;
        let asked =
            within(third * 2).filter(|fetch| fetch.asked).count() >= 2 && now <= since + third + answer;
        let all =
            self.fetches.iter().filter(before).count() >= Setting::FETCHES && now <= since + WINDOW + answer;
        asked || all
    }

    /// Another fetch starts: never beside one that is under way, never more than the bound in any
    /// minute, of which clients and refreshing have their shares, none before the pause after
    /// failures is over, and none without a reason while a good answer is not half through its
    /// life.
    pub fn fetched(&self, asked: bool, now: Time) -> Result<(), String> {
        if let Some(other) = self.fetches.iter().find(|fetch| under_way(fetch, now)) {
            return Err(format!("a fetch beside the one of {:?}", other.at));
        }
        self.shares(asked, now)?;
        if let Some(fifth) = self.fetches.len().checked_sub(Setting::FETCHES) {
            let begin = self.fetches[fifth].at;
            if now < begin + WINDOW {
                return Err(format!("more than {} fetches since {begin:?}", Setting::FETCHES));
            }
        }
        if self.setting.source == Source::Remote
            && let Some(until) = self.paused_until()
            && now < until
        {
            return Err(format!("a fetch in the pause after failures, which ends at {until:?}"));
        }
        // A set's life counts from when its fetch was wanted, which may be a timer earlier.
        let half = (self.setting.fresh(self.issuer.max_age) / 2).saturating_sub(IDLE);
        let last = self.fetches.iter().rev().find(|fetch| fetch.good_at.is_some_and(|at| at < now));
        match last {
            Some(last) if !asked && now < last.at + half => {
                Err(format!("a fetch that nobody needs: the keys are those of {:?}", last.at))
            }
            _ => Ok(()),
        }
    }

    /// Clients cause two fetches at once and then one per 20 seconds; while there are keys,
    /// refreshing them leaves one fetch of each minute unused.
    fn shares(&self, asked: bool, now: Time) -> Result<(), String> {
        if asked && self.setting.source == Source::Remote {
            let first = self.fetches.iter().rev().filter(|fetch| fetch.asked).nth(1);
            return match first {
                Some(first) if now < first.at + WINDOW / 3 => {
                    Err(format!("clients cause a third fetch since {:?}", first.at))
                }
                _ => Ok(()),
            };
        }
        let fresh = self.setting.fresh(self.issuer.max_age).saturating_sub(IDLE);
        let held = |fetch: &&Fetch| fetch.good_at.is_some_and(|at| at < now);
        let has_keys = self.fetches.iter().rev().find(held).is_some_and(|last| now < last.at + fresh);
        let started = self.fetches.iter().filter(|fetch| now < fetch.at + WINDOW).count();
        if !asked && has_keys && started >= Setting::FETCHES - 1 {
            return Err(format!("refreshing is fetch {} within a minute", started + 1));
        }
        Ok(())
    }

    /// When the pause after the last failures ends at the earliest: it begins with a second and
    /// doubles, and up to half of it is left out.
    fn paused_until(&self) -> Option<Time> {
        let failed = self.fetches.iter().rev().map_while(|fetch| fetch.failed_at);
        let count = u32::try_from(failed.clone().count()).unwrap_or(u32::MAX);
        let doublings = count.checked_sub(1)?.min(16);
        let pause = Duration::from_secs(1_u64 << doublings).min(self.setting.backoff()) / 2;
        failed.max().map(|at| at + pause)
    }

    /// A request has waited since `since`.
    pub fn waits(&self, request: &Request, now: Time) -> Result<(), String> {
        if now > request.since + self.setting.wait() + TICK {
            return Err(format!("{request:?} still waits"));
        }
        Ok(())
    }
}

/// Whether the answer to `fetch` may still come.
fn under_way(fetch: &Fetch, now: Time) -> bool {
    let landed = fetch.good_at.or(fetch.failed_at).is_some();
    !landed && !fetch.lost && now < fetch.at + Setting::TIMEOUT
}

/// Until when a source's trouble is felt after all troubles are over: for the probe at the end.
pub fn quiet(setting: &Setting) -> Duration {
    let rounds = if setting.source == Source::Remote { 2 } else { 3 };
    setting.backoff() + WINDOW + (Setting::TIMEOUT + LEASE) * rounds
}
