//! Requests that lack a key: who waits, who is told what.

use alloc::vec::Vec;

use super::{
    Answer, Counter, Effect, Instant, KeyState, Life, Need, Refusal, memory::Wanted, record::Record,
    waiters::Waiter,
};
use crate::jwks::KeySet;

/// What a set that was fetched means for a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may change the judgement.
    Judge,
    /// It was asked for after the request came and changes nothing.
    Miss,
    /// It was asked for before the request came and changes nothing.
    Wait,
}

impl Life {
    pub(super) fn wait_or_refuse(
        &mut self,
        now: Instant,
        need: Need<'_>,
        effects: &mut Vec<Effect>,
    ) -> Answer {
        if let KeyState::Ready(_) = self.key_set(now) {
            if need.judged_with != self.generation(now) {
                return Answer::Ready;
            }
            // A name that no set can hold is not worth a fetch.
            let impossible = need.kid.is_some_and(|kid| kid.len() > self.config.limits.kid_bytes);
            if impossible || self.config.sources.is_empty() {
                return Answer::Refused(Refusal::Checked);
            }
        }
        let wanted = Wanted { kid: need.kid.map(Into::into), another: need.bad_signature };
        if need.judged_with.is_some() && self.memory.knows(now, &wanted).is_some() {
            effects.push(Effect::Count(Counter::KnownMiss));
            return Answer::Refused(Refusal::Checked);
        }
        if self.waiters.len() >= self.config.max_waiting {
            effects.push(Effect::Count(Counter::WaitersFull));
            return Answer::Refused(Refusal::TooManyWaiting { retry_after: self.retry_after(now) });
        }
        let deadline = need.since.saturating_add(self.config.wait);
        let judged_with = need.judged_with;
        self.waiters.add(Waiter { id: need.waiter, arrived: now, deadline, wanted, judged_with });
        self.drive(now, effects);
        if now < deadline && !self.hopeless(now, deadline) {
            return Answer::Wait;
        }
        self.waiters.remove(need.waiter);
        Answer::Refused(Refusal::Unavailable { retry_after: self.retry_after(now) })
    }

    /// Whether no fetch can start before `deadline`.
    fn hopeless(&self, now: Instant, deadline: Instant) -> bool {
        self.in_flight.is_none() && self.held_until.is_none() && self.earliest_fetch(now) >= deadline
    }

    /// Refuses those whose time is over, and those who would wait in vain.
    pub(super) fn dismiss(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.waiters.is_empty() {
            return;
        }
        let late = self.waiters.take(|waiter| now >= waiter.deadline);
        effects.extend(late.iter().map(|_| Effect::Count(Counter::WaitedInVain)));
        let earliest = self.earliest_fetch(now);
        let idle = self.in_flight.is_none() && self.held_until.is_none();
        let vain = self.waiters.take(|waiter| idle && earliest >= waiter.deadline);
        let refusal = Refusal::Unavailable { retry_after: self.retry_after(now) };
        let both = [late, vain].into_iter().filter(|ids| !ids.is_empty());
        effects.extend(both.map(|ids| Effect::Refuse(ids, refusal)));
    }

    /// Tells the waiters what the set that was just confirmed means for them.
    pub(super) fn answer_waiters(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(record) = self.record.as_ref().filter(|record| now < record.times.usable_until) else {
            return;
        };
        let (memory, config) = (&mut self.memory, &self.config);
        let mut woken = Vec::new();
        let mut refused = Vec::new();
        self.waiters.take(|waiter| {
            let verdict = verdict(waiter, record);
            if verdict == Verdict::Miss {
                let (first, most) = (config.kid_memory_first, config.kid_memory_max);
                memory.miss(now, waiter.wanted.clone(), first, most, config.kid_memory_entries);
            }
            // Who was judged without any keys is judged again: the answer that is ready for it
            // does not say what is wrong with its token.
            match verdict {
                Verdict::Miss if waiter.judged_with.is_some() => refused.push(waiter.id),
                Verdict::Wait if waiter.judged_with.is_some() => return false,
                _ => woken.push(waiter.id),
            }
            true
        });
        if !woken.is_empty() {
            effects.push(Effect::Wake(woken));
        }
        if !refused.is_empty() {
            effects.push(Effect::Refuse(refused, Refusal::Checked));
        }
    }
}

fn verdict(waiter: &Waiter, record: &Record) -> Verdict {
    let same = waiter.judged_with == Some(record.generation);
    let absent = !waiter.wanted.another && waiter.wanted.kid.is_some();
    let helps = if absent { names(&record.set, waiter.wanted.kid.as_deref()) } else { !same };
    match helps {
        true => Verdict::Judge,
        false if record.times.asked_at >= waiter.arrived => Verdict::Miss,
        false => Verdict::Wait,
    }
}

/// Whether the set has something to say about `kid`, also that its key is left out.
fn names(set: &KeySet, kid: Option<&str>) -> bool {
    kid.is_some_and(|kid| set.by_kid(kid).next().is_some() || set.left_out_kid(kid).is_some())
}
