//! One set for all workers of a process, and for the configuration that comes after this one.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Claim, Counter, Effect, Event, Instant, Ledger, Life,
    ledger::Against,
    record::{Origin, Times},
    snapshot,
};
use crate::jwks::{self, KeySet};

/// How far ahead another worker's reading of the same clock may be: it read it later.
const AHEAD: Duration = Duration::from_secs(60);
/// What a lease has beyond the time of one fetch, for the callbacks around it.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

impl Life {
    /// The set and the state of its sources, for [`Life::restore`] elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.identity, self.outcome_at, &self.sources.0, self.record.as_ref())
    }

    /// A life that begins with what another one left, if that is for the same issuer and sources;
    /// otherwise as [`Life::new`]. Also does what is due `now`: no fetch where the set is fresh.
    #[must_use]
    pub fn restore(
        config: super::LifeConfig,
        snapshot: &[u8],
        now: Instant,
        random: u64,
    ) -> (Self, Vec<Effect>) {
        let mut life = Self::new(config);
        let effects = life.on(now, random, Event::Shared { snapshot });
        (life, effects)
    }

    /// Whether the [`super::Fetch`] with `id` may be made, where several workers share their
    /// fetches: to be asked with what is shared now, before the fetch is carried out.
    ///
    /// `shared` is the last published snapshot, `ledger` the shared [`Ledger`], `owner` a number
    /// that no other worker has. `effects` get what is to be done if the answer is
    /// [`Claim::Leave`].
    pub fn claim(
        &mut self,
        now: Instant,
        random: u64,
        id: u64,
        (shared, ledger): (Option<&[u8]>, Option<&[u8]>),
        owner: u64,
        effects: &mut Vec<Effect>,
    ) -> Claim {
        let now = self.clock(now);
        let Some(fetch) = self.in_flight.as_ref().filter(|fetch| fetch.id == id) else { return Claim::Leave };
        let (first, source, started_for, keys) = (fetch.first, fetch.source, fetch.cause, fetch.for_keys());
        if shared.is_some_and(|snapshot| self.take_over(now, snapshot, effects)) {
            // What another worker brought is looked at before more is asked for; if it is not
            // enough, `advance` wants another fetch.
            self.gate = Ledger::read(ledger).gate;
            self.call_off();
            self.advance(now, random, effects);
            return Claim::Leave;
        }
        let record = Ledger::read(ledger);
        if ledger.is_some() {
            self.gate = record.gate.clone();
        }
        // What another worker brought in the meantime may be enough, or a pause of the source, or
        // leave another reason.
        let Some(cause) = self.cause(now).filter(|_| self.sources.is_open(source, now)) else {
            self.call_off();
            if !first {
                self.end_round(effects);
            }
            self.advance(now, random, effects);
            return Claim::Leave;
        };
        if first && cause != started_for {
            // What is asked, and past which caches, depends on the cause.
            self.call_off();
            self.advance(now, random, effects);
            return Claim::Leave;
        }
        let lease = self.config.fetch_timeout.saturating_add(LEASE_MARGIN);
        if ledger.is_none() {
            // Nothing is shared: the machine's own gate has allowed this fetch, and is the bound.
            return Claim::Go { ledger: Ledger::alone(self.gate.clone(), owner, now.saturating_add(lease)) };
        }
        let limit = self.config.fetches_per_minute;
        match record.claim(now, owner, (cause, first, keys), limit, lease) {
            Ok((ledger, bytes)) => {
                self.gate = ledger.gate;
                Claim::Go { ledger: bytes }
            }
            Err((ledger, against)) => {
                self.gate = ledger.gate;
                self.call_off();
                match against {
                    Against::Lease(until) => self.held_until = Some(until),
                    // The bound ends a round that has begun: the others must not wait for it.
                    Against::Bound if !first => self.end_round(effects),
                    Against::Bound => effects.push(Effect::Count(Counter::BoundHit)),
                }
                self.advance(now, random, effects);
                Claim::Leave
            }
        }
    }

    /// Takes over what another worker published, if it is newer; whether it was.
    pub(super) fn take_over(&mut self, now: Instant, bytes: &[u8], effects: &mut Vec<Effect>) -> bool {
        let snapshot = snapshot::read(bytes, &self.identity, &self.config)
            .filter(|snapshot| snapshot.outcome_at <= now.saturating_add(AHEAD));
        let Some(snapshot) = snapshot else {
            effects.push(Effect::Count(Counter::SharedRefused));
            return false;
        };
        if snapshot.outcome_at <= self.outcome_at {
            return false;
        }
        self.outcome_at = snapshot.outcome_at;
        self.sources.0 = snapshot.sources;
        for source in &mut self.sources.0 {
            source.retry_at = source.retry_at.min(now.saturating_add(self.config.backoff_max));
            source.discovered = source.discovered.take().map(|(address, at)| (address, at.min(now)));
        }
        self.held_until = None;
        if let Some((times, origin, document)) = snapshot.record {
            self.take_record(now, (times, origin, document), effects);
        }
        true
    }

    fn take_record(
        &mut self,
        now: Instant,
        (times, origin, document): (Times, Origin, &[u8]),
        effects: &mut Vec<Effect>,
    ) {
        if self.record.as_ref().is_some_and(|own| own.times.asked_at >= times.asked_at) {
            return;
        }
        let Ok(set) = KeySet::parse(document, jwks::Origin::Remote, &self.config.limits) else {
            effects.push(Effect::Count(Counter::SharedRefused));
            return;
        };
        effects.push(Effect::Count(Counter::TakenOver));
        self.adopt(set, document, origin, times.within(now, &self.config), effects);
        self.answer_waiters(now, effects);
    }
}
