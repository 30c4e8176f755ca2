//! The life of one issuer's key set: when it is fetched, how long it is used, who waits for it.
//!
//! [`Life`] is an event machine. It is told what happened and what time it is, and says what is to
//! be done: it reads no clock, makes no request, draws no random numbers. One machine is one
//! issuer's, so a dead issuer slows no other.
//!
//! # What holds
//!
//! - **The bound.** At most [`LifeConfig::fetches_per_minute`] (4) requests go to an issuer in any
//!   60 seconds, whatever the traffic, counting discovery, failover and retries. Clients can cause
//!   two at once and then one per 20 seconds. Where workers share a [`Ledger`], this is the bound
//!   of the process.
//! - **A rotation refuses nobody.** A token whose key is not in the set, or does not fit the key of
//!   its name, waits for one fetch that started after it came; all that wait share it. While there
//!   are keys, refreshing leaves one fetch of each minute unused for this.
//! - **A key that is taken back** is accepted for at most [`LifeConfig::max_fresh`] and one fetch
//!   after the issuer stops publishing it, plus [`LifeConfig::stale_if_error`] where no source
//!   answers. [`Life::generation`] changes with the keys: what was verified under another one is
//!   to be verified again.
//! - **Nothing bad replaces something good.** An answer becomes the set only after it was judged
//!   to be one with usable keys; anything else is a failure of the source.
//! - **Failures end.** A source that fails is paused, at most [`LifeConfig::backoff_max`]; then
//!   the set is stale, then expired, and requests are told that nobody knows (503), not that their
//!   token is bad (401).
//! - **Nothing waits for ever, nothing grows for ever.** Waiting requests, the memory of kids that
//!   do not exist, documents and snapshots are bounded.

mod config;
mod discovery;
mod event;
mod fetching;
mod gate;
mod ledger;
mod memory;
mod record;
mod sharing;
mod snapshot;
mod sources;
mod waiters;
mod waiting;

use alloc::vec::Vec;
use core::time::Duration;

use portcullis_core::fetch::{address, bytes, http, time};

pub use address::{Address, AddressError, Allow, Locality};
pub use config::{LifeConfig, LifeConfigError, Source};
pub use discovery::{DiscoveryError, discovery_addresses};
pub use event::{
    Answer, Counter, Effect, Event, Failure, Fetch, KeyName, KeyState, Need, Phase, Refusal, Status,
};
pub use gate::{Cause, WINDOW};
pub use http::ResponseHeaders;
pub use ledger::{Claim, Ledger};
pub use time::Instant;

use fetching::InFlight;
use gate::Gate;
use memory::Memory;
use record::Record;
use sources::Sources;
use waiters::Waiters;

use crate::jwks::KeySet;

/// The generation of the inline set, which does not change.
const INLINE: u64 = 0;

/// One issuer's key set and everything that is known of its life.
#[derive(Debug)]
pub struct Life {
    config: LifeConfig,
    identity: [u8; 32],
    /// The latest time that was told: a caller whose clock went back is taken to have stood still.
    now: Instant,
    record: Option<Record>,
    generation: u64,
    sources: Sources,
    gate: Gate,
    in_flight: Option<InFlight>,
    next_id: u64,
    /// A round of fetches has begun and not ended.
    in_round: bool,
    /// Another worker fetches, at the longest until then.
    held_until: Option<Instant>,
    /// When the last round ended, here or in another worker.
    outcome_at: Instant,
    waiters: Waiters,
    memory: Memory,
    phase: Phase,
    /// The bound was counted for the fetch that is wanted now.
    bound_counted: bool,
}

impl Life {
    /// A life that begins without keys, or with the inline ones where there is no source.
    ///
    /// `config` should have passed [`LifeConfig::check`]; one that did not makes a life that is
    /// worse for its issuer, not an unsafe one.
    #[must_use]
    pub fn new(config: LifeConfig) -> Self {
        let mut life = Self {
            identity: config.identity(),
            now: Instant::default(),
            record: None,
            generation: INLINE,
            sources: Sources::new(config.sources.len()),
            gate: Gate::default(),
            in_flight: None,
            next_id: 1,
            in_round: false,
            held_until: None,
            outcome_at: Instant::default(),
            waiters: Waiters::default(),
            memory: Memory::default(),
            phase: Phase::Empty,
            bound_counted: false,
            config,
        };
        life.phase = life.phase_at(life.now);
        life
    }

    /// Tells the machine what happened. `random` is drawn anew for each call.
    pub fn on(&mut self, now: Instant, random: u64, event: Event<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.clock(now);
        match event {
            Event::Tick => {}
            Event::Answered { id, status, headers, body } => {
                self.answered(now, random, id, (status, headers, body), &mut effects);
            }
            Event::Failed { id, reason } => {
                self.unanswered(now, random, id, Failure::Unreachable(reason.into()), &mut effects);
            }
            Event::Gone { waiter } => self.waiters.remove(waiter),
            Event::Shared { snapshot } => {
                self.take_over(now, snapshot, &mut effects);
            }
        }
        self.advance(now, random, &mut effects);
        effects
    }

    /// What a request that cannot be judged has to do. `effects` get what is to be done beside.
    pub fn need(&mut self, now: Instant, random: u64, need: Need<'_>, effects: &mut Vec<Effect>) -> Answer {
        let now = self.clock(now);
        self.advance(now, random, effects);
        self.wait_or_refuse(now, need, effects)
    }

    /// The keys as they are at `now`.
    #[must_use]
    pub fn key_set(&self, now: Instant) -> KeyState<'_> {
        match (self.usable(now), self.last_resort()) {
            (Some(record), _) => KeyState::Ready(&record.set),
            (None, Some(inline)) => KeyState::Ready(inline),
            (None, None) if self.sources.all_fail() => KeyState::Unavailable,
            (None, None) => KeyState::Pending,
        }
    }

    /// A number that changes when the keys of [`Life::key_set`] do; none where there are none.
    ///
    /// A verification is good for as long as the generation that it was made in: a key that is
    /// gone, or that is now for another algorithm, is in no later one.
    #[must_use]
    pub fn generation(&self, now: Instant) -> Option<u64> {
        self.usable(now).map(|record| record.generation).or_else(|| self.last_resort().map(|_| INLINE))
    }

    /// When [`Event::Tick`] is due at the latest; none where nothing will happen by itself.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let later = |instant: Instant| Some(instant).filter(|instant| *instant > self.now);
        let times = self.record.as_ref().map(|record| record.times);
        [
            self.waiters.deadline(),
            self.in_flight.as_ref().map(|fetch| fetch.deadline),
            self.held_until,
            self.next_fetch(),
            times.and_then(|times| later(times.fresh_until)),
            times.and_then(|times| later(times.usable_until)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What operators see.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let set = match self.key_set(now) {
            KeyState::Ready(set) => Some(set),
            KeyState::Pending | KeyState::Unavailable => None,
        };
        let times = self.record.as_ref().map(|record| record.times);
        Status {
            phase: self.phase_at(now),
            keys: set.map_or(0, |set| set.keys().len()),
            left_out: set.map_or(0, |set| set.left_out().len()),
            age: times.map(|times| now.saturating_since(times.asked_at)),
            next_refresh: self.next_fetch().map(|at| at.saturating_since(now)),
            usable_for: times.map(|times| times.usable_until.saturating_since(now)),
            generation: self.generation,
            failures: self.sources.most_failures(),
            waiting: self.waiters.len(),
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &LifeConfig {
        &self.config
    }

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn usable(&self, now: Instant) -> Option<&Record> {
        self.record.as_ref().filter(|record| now.max(self.now) < record.times.usable_until)
    }

    /// The inline set, where no source is left that could do better.
    fn last_resort(&self) -> Option<&KeySet> {
        self.config.inline.as_ref().filter(|_| self.sources.all_fail())
    }

    fn phase_at(&self, now: Instant) -> Phase {
        let now = now.max(self.now);
        let expired = if self.record.is_some() { Phase::Expired } else { Phase::Empty };
        match (self.usable(now), self.last_resort()) {
            (Some(record), _) if now < record.times.refresh_at => Phase::Fresh,
            (Some(record), _) if now < record.times.fresh_until => Phase::RefreshAhead,
            (Some(_), _) => Phase::Stale,
            (None, Some(_)) if self.config.sources.is_empty() => Phase::Fresh,
            (None, Some(_)) => Phase::LastResort,
            (None, None) => expired,
        }
    }

    /// Does what time alone brings about, and starts the fetch that is wanted.
    fn advance(&mut self, now: Instant, random: u64, effects: &mut Vec<Effect>) {
        self.give_up(now, random, effects);
        self.held_until = self.held_until.filter(|until| now < *until);
        self.drive(now, effects);
        self.dismiss(now, effects);
        let phase = self.phase_at(now);
        if phase != self.phase {
            effects.push(Effect::PhaseChanged { from: self.phase, to: phase });
            self.phase = phase;
        }
    }

    /// How long a refused request should stay away.
    fn retry_after(&self, now: Instant) -> Duration {
        self.earliest_fetch(now).saturating_since(now).clamp(Duration::from_secs(1), WINDOW)
    }
}
