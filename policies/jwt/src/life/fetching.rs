//! The fetches: which one is wanted, when it may start, what its answer means.

use alloc::{string::ToString, vec::Vec};

use super::{
    Address, Counter, Effect, Failure, Fetch, Instant, Life, ResponseHeaders, Source,
    discovery::jwks_address,
    gate::Cause,
    record::{Origin, Record, Times, missing},
};
use crate::jwks::{self, KeySet};

/// What a caller gets beyond the time of a fetch to report that it ran out.
const GRACE: core::time::Duration = core::time::Duration::from_secs(1);

/// A fetch that was not answered yet.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) id: u64,
    pub(super) source: usize,
    kind: Kind,
    address: Address,
    conditional: bool,
    started: Instant,
    pub(super) deadline: Instant,
    pub(super) cause: Cause,
    pub(super) first: bool,
}

impl InFlight {
    pub(super) fn for_keys(&self) -> bool {
        self.kind == Kind::Keys
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Keys,
    Discovery,
}

impl Life {
    /// Why a fetch is wanted at `now`, if one is.
    pub(super) fn cause(&self, now: Instant) -> Option<Cause> {
        let limit = self.config.fetches_per_minute;
        if self.config.sources.is_empty() {
            return None;
        }
        let Some(record) = self.usable(now) else { return Some(Cause::NoKeys) };
        let due = now >= record.times.refresh_at;
        let asked = !self.waiters.is_empty();
        match (due, asked) {
            (true, true) if self.gate.earliest(now, Cause::Due, !self.in_round, limit) > now => {
                Some(Cause::Asked)
            }
            (true, _) => Some(Cause::Due),
            (false, true) => Some(Cause::Asked),
            (false, false) => None,
        }
    }

    /// Starts the fetch that is wanted, if it may start.
    pub(super) fn drive(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.in_flight.is_some() || self.held_until.is_some() {
            return;
        }
        let Some(cause) = self.cause(now) else { return };
        let limit = self.config.fetches_per_minute;
        let room_for_two = self.gate.has_room_for_two(now, cause, limit);
        let Some(source) = self.sources.choose(now, room_for_two) else { return };
        if self.gate.earliest(now, cause, !self.in_round, limit) > now {
            if !core::mem::replace(&mut self.bound_counted, true) {
                effects.push(Effect::Count(Counter::BoundHit));
            }
            return;
        }
        self.bound_counted = false;
        let Some(target) = self.target(now, cause, source) else { return };
        let first = !core::mem::replace(&mut self.in_round, true);
        self.gate.start(now, cause, (first, target.0 == Kind::Keys), limit);
        effects.push(Effect::Fetch(self.start(now, (cause, first), source, target)));
    }

    fn start(
        &mut self,
        now: Instant,
        (cause, first): (Cause, bool),
        source: usize,
        (kind, address): (Kind, Address),
    ) -> Fetch {
        let mut headers = Vec::from([("accept", "application/jwk-set+json, application/json".to_string())]);
        // A token that the set does not verify may know more than the validators: some servers
        // keep theirs when the keys change, and some caches in between do not ask.
        let conditions = self.record.as_ref().filter(|_| kind == Kind::Keys && self.waiters.is_empty());
        let conditions =
            conditions.map(|record| record.origin.conditions(source, &address)).unwrap_or_default();
        let conditional = !conditions.is_empty();
        headers.extend(conditions);
        if cause == Cause::Asked {
            headers.push(("cache-control", "no-cache".to_string()));
        }
        let (id, timeout) = (self.next_id, self.config.fetch_timeout);
        self.next_id = self.next_id.wrapping_add(1);
        let deadline = now.saturating_add(timeout).saturating_add(GRACE);
        let fetch = Fetch { id, source, address: address.clone(), headers, timeout, cause, first };
        let started = now;
        self.in_flight =
            Some(InFlight { id, source, kind, address, conditional, started, deadline, cause, first });
        fetch
    }

    /// The discovery document where the address of the keys is not known, or old, and nobody waits
    /// for a key; else the keys.
    fn target(&self, now: Instant, cause: Cause, source: usize) -> Option<(Kind, Address)> {
        let discovery = match self.config.sources.get(source)? {
            Source::Keys(address) => return Some((Kind::Keys, address.clone())),
            Source::Discovery(address) => address,
        };
        let known = self.sources.0.get(source).and_then(|state| state.discovered.as_ref());
        let old = |at: Instant| now >= at.saturating_add(self.config.discovery_fresh);
        Some(match known {
            Some((keys, at)) if cause == Cause::Asked || !old(*at) => (Kind::Keys, keys.clone()),
            _ => (Kind::Discovery, discovery.clone()),
        })
    }

    /// The first instant, not before `now`, at which a fetch that is wanted could start.
    pub(super) fn earliest_fetch(&self, now: Instant) -> Instant {
        if self.config.sources.is_empty() {
            return Instant::MAX;
        }
        let opens = self.sources.opens_at().max(now);
        let cause = if self.usable(opens).is_none() { Cause::NoKeys } else { Cause::Asked };
        self.gate.earliest(opens, cause, !self.in_round, self.config.fetches_per_minute)
    }

    /// When the next fetch starts by itself; none while one is on its way.
    pub(super) fn next_fetch(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.held_until.is_some() || self.config.sources.is_empty() {
            return None;
        }
        let limit = self.config.fetches_per_minute;
        let opens = |wanted: Instant, cause: Cause| {
            self.gate.earliest(wanted.max(self.sources.opens_at()), cause, !self.in_round, limit)
        };
        let Some(record) = self.usable(self.now) else { return Some(opens(self.now, Cause::NoKeys)) };
        let due = opens(record.times.refresh_at.max(self.now), Cause::Due);
        let asked = (!self.waiters.is_empty()).then(|| opens(self.now, Cause::Asked));
        Some(asked.map_or(due, |asked| asked.min(due)))
    }

    pub(super) fn answered(
        &mut self,
        now: Instant,
        random: u64,
        id: u64,
        (status, headers, body): (u16, ResponseHeaders, &[u8]),
        effects: &mut Vec<Effect>,
    ) {
        let Some(fetch) = self.landed(id, effects) else { return };
        let asked = headers.retry_after.filter(|_| matches!(status, 429 | 503));
        let failure = match (status, fetch.kind) {
            (200, Kind::Keys) => match KeySet::parse(body, jwks::Origin::Remote, &self.config.limits) {
                Ok(set) => return self.new_set(now, random, &fetch, (set, headers, body), effects),
                Err(error) => Failure::KeySet(error),
            },
            (200, Kind::Discovery) => {
                let limit = self.config.limits.document_bytes;
                match jwks_address(body, &self.config.issuer, &fetch.address, limit) {
                    Ok(keys) => return self.discovered(now, fetch.source, keys, effects),
                    Err(error) => Failure::Discovery(error),
                }
            }
            (304, Kind::Keys) if fetch.conditional => {
                return self.unchanged(now, random, &fetch, &headers, effects);
            }
            (304, _) => Failure::NotModifiedUnasked,
            (300..=399, _) => Failure::Redirect(status),
            (_, _) => Failure::Status(status),
        };
        self.failed(now, random, (&fetch, failure, asked), effects);
    }

    pub(super) fn unanswered(
        &mut self,
        now: Instant,
        random: u64,
        id: u64,
        failure: Failure,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(fetch) = self.landed(id, effects) {
            self.failed(now, random, (&fetch, failure, None), effects);
        }
    }

    /// Gives up a fetch whose outcome was never reported.
    pub(super) fn give_up(&mut self, now: Instant, random: u64, effects: &mut Vec<Effect>) {
        if let Some(fetch) = self.in_flight.take_if(|fetch| now >= fetch.deadline) {
            self.failed(now, random, (&fetch, Failure::Timeout, None), effects);
        }
    }

    fn landed(&mut self, id: u64, effects: &mut Vec<Effect>) -> Option<InFlight> {
        let fetch = self.in_flight.take_if(|fetch| fetch.id == id);
        if fetch.is_none() {
            effects.push(Effect::Count(Counter::LateAnswer));
        }
        fetch
    }

    fn failed(
        &mut self,
        now: Instant,
        random: u64,
        (fetch, failure, asked): (&InFlight, Failure, Option<core::time::Duration>),
        effects: &mut Vec<Effect>,
    ) {
        self.sources.failed(fetch.source, now, random, asked, &self.config);
        if let Some(state) = self.sources.0.get_mut(fetch.source) {
            // The address may have moved.
            state.discovered = None;
        }
        effects.push(Effect::SourceFailed { source: fetch.source, failure });
        self.outcome_at = now;
        self.go_on(now, effects);
    }

    fn discovered(&mut self, now: Instant, source: usize, keys: Address, effects: &mut Vec<Effect>) {
        if let Some(state) = self.sources.0.get_mut(source) {
            state.discovered = Some((keys, now));
        }
        self.outcome_at = now;
        self.go_on(now, effects);
    }

    /// Goes on with the round, or ends it where nothing more may start now.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.drive(now, effects);
        if self.in_flight.is_none() {
            self.end_round(effects);
        }
    }

    pub(super) fn end_round(&mut self, effects: &mut Vec<Effect>) {
        self.in_round = false;
        effects.push(Effect::Publish(self.snapshot()));
    }

    fn new_set(
        &mut self,
        now: Instant,
        random: u64,
        fetch: &InFlight,
        (set, headers, body): (KeySet, ResponseHeaders, &[u8]),
        effects: &mut Vec<Effect>,
    ) {
        let times = Times::new(fetch.started, headers.lifetime, random, &self.config);
        let origin = Origin::new(fetch.source, &fetch.address, headers);
        effects.push(Effect::Count(Counter::FetchSucceeded));
        self.adopt(set, body, origin, times, effects);
        self.confirmed(now, fetch.source, effects);
    }

    fn unchanged(
        &mut self,
        now: Instant,
        random: u64,
        fetch: &InFlight,
        headers: &ResponseHeaders,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(record) = &mut self.record {
            record.times = Times::new(fetch.started, headers.lifetime, random, &self.config);
        }
        effects.push(Effect::Count(Counter::FetchUnchanged));
        self.confirmed(now, fetch.source, effects);
    }

    fn confirmed(&mut self, now: Instant, source: usize, effects: &mut Vec<Effect>) {
        self.sources.succeeded(source);
        self.outcome_at = now;
        self.end_round(effects);
        self.answer_waiters(now, effects);
    }

    /// Makes `set` the one that is used, and says which keys came and went.
    pub(super) fn adopt(
        &mut self,
        set: KeySet,
        document: &[u8],
        origin: Origin,
        times: Times,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.record.as_ref().map(|record| &record.set);
        let (gone, come) = (missing(before, Some(&set)), missing(Some(&set), before));
        if !gone.is_empty() || !come.is_empty() {
            self.generation = self.generation.wrapping_add(1);
            self.memory.keys_changed(|kid| set.by_kid(kid).next().is_some());
        }
        effects.extend(come.into_iter().map(Effect::KeyAppeared));
        effects.extend(gone.into_iter().map(Effect::KeyGone));
        let generation = self.generation;
        self.record = Some(Record { set, generation, document: document.to_vec(), origin, times });
    }

    /// Takes back a fetch that another worker makes unnecessary.
    pub(super) fn call_off(&mut self) {
        self.in_flight = None;
        self.in_round = false;
    }
}
