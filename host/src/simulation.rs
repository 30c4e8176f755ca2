//! [`Simulation`]: scripted upstreams and virtual time for tests.
//!
//! Workers are driven on one thread and in order, so the same script gives the same run.

use crate::call::{CallFailure, CallId, CallResponse, OutgoingCall};
use crate::clock::{Clock, VirtualClock};
use crate::stream::Event;
use crate::worker::Worker;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Calls that one run answers at most: a plugin that calls again at once on every failure would
/// never be idle.
const MAX_CALLS: usize = 1_000_000;

/// What a scripted upstream does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    delay: Option<Duration>,
    result: Result<CallResponse, CallFailure>,
}

impl Answer {
    /// Answers without delay.
    #[must_use]
    pub fn now(response: CallResponse) -> Self {
        Self::after(Duration::ZERO, response)
    }

    /// Answers after a while. Beyond the call's timeout the guest gets Envoy's 504 instead.
    #[must_use]
    pub fn after(delay: Duration, response: CallResponse) -> Self {
        Self { delay: Some(delay), result: Ok(response) }
    }

    /// Resets the call: the guest sees no headers.
    #[must_use]
    pub fn reset() -> Self {
        Self { delay: Some(Duration::ZERO), result: Err(CallFailure) }
    }

    /// Never answers: the guest gets a 504 at its timeout, or waits for ever if it set none.
    #[must_use]
    pub fn never() -> Self {
        Self { delay: None, result: Err(CallFailure) }
    }
}

type Script = Box<dyn FnMut(&OutgoingCall) -> Answer + Send>;

/// Upstreams by cluster, and the answers that are on their way.
pub struct Simulation {
    clock: VirtualClock,
    upstreams: HashMap<String, Script>,
    pending: BTreeMap<(Duration, u64), Pending>,
    calls: Vec<(Duration, OutgoingCall)>,
}

struct Pending {
    worker: usize,
    call: CallId,
    result: Result<CallResponse, CallFailure>,
}

impl Simulation {
    /// No upstreams yet. The clock is the one that the process was built with.
    #[must_use]
    pub fn new(clock: VirtualClock) -> Self {
        Self { clock, upstreams: HashMap::new(), pending: BTreeMap::new(), calls: Vec::new() }
    }

    /// Scripts a cluster; a second script for it takes the first one's place. A cluster without a
    /// script refuses connections: [`CallResponse::no_connection`].
    #[must_use]
    pub fn upstream(
        mut self,
        cluster: &str,
        script: impl FnMut(&OutgoingCall) -> Answer + Send + 'static,
    ) -> Self {
        self.script(cluster, script);
        self
    }

    /// The same between two runs.
    pub fn script(&mut self, cluster: &str, script: impl FnMut(&OutgoingCall) -> Answer + Send + 'static) {
        self.upstreams.insert(cluster.to_owned(), Box::new(script));
    }

    /// Every call so far, with the monotonic time at which it was made.
    #[must_use]
    pub fn calls(&self) -> &[(Duration, OutgoingCall)] {
        &self.calls
    }

    /// Lets time pass from answer to answer until no call and no queue's notice is left. Ticks that
    /// come due on the way run; ticks alone do not keep it going.
    pub fn run_until_idle(&mut self, workers: &mut [&mut Worker]) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for _ in 0..MAX_CALLS {
            self.settle(workers, &mut events);
            let Some((due, _)) = self.pending.keys().next().copied() else { break };
            let due = next_tick(workers).map_or(due, |tick| tick.min(due));
            self.advance_to(due);
            self.answer_due(workers, &mut events);
        }
        events
    }

    /// Lets a span of time pass, with every answer, tick and notice that belongs into it.
    pub fn run_for(&mut self, span: Duration, workers: &mut [&mut Worker]) -> Vec<(usize, Event)> {
        let end = self.clock.monotonic().saturating_add(span);
        let mut events = Vec::new();
        for _ in 0..MAX_CALLS {
            self.settle(workers, &mut events);
            let answer = self.pending.keys().next().map(|(due, _)| *due);
            let next = answer.into_iter().chain(next_tick(workers)).min().filter(|due| *due <= end);
            let Some(due) = next else { break };
            self.advance_to(due);
            self.answer_due(workers, &mut events);
        }
        self.advance_to(end);
        events
    }

    /// Takes new calls and does what can be done without time passing.
    fn settle(&mut self, workers: &mut [&mut Worker], events: &mut Vec<(usize, Event)>) {
        for _ in 0..MAX_CALLS {
            let mut busy = false;
            for (index, worker) in workers.iter_mut().enumerate() {
                if worker.has_work() {
                    busy = true;
                    events.extend(worker.poll().into_iter().map(|event| (index, event)));
                }
                events.extend(worker.take_events().into_iter().map(|event| (index, event)));
                for call in worker.take_calls() {
                    self.dispatch(index, call);
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn dispatch(&mut self, worker: usize, call: OutgoingCall) {
        let now = self.clock.monotonic();
        let Answer { delay, result } = match self.upstreams.get_mut(&call.cluster) {
            Some(script) => script(&call),
            None => Answer::now(CallResponse::no_connection()),
        };
        let timeout = Some(call.timeout).filter(|timeout| !timeout.is_zero());
        let (delay, result) = match (delay, timeout) {
            (Some(delay), Some(timeout)) if delay > timeout => (timeout, Ok(CallResponse::timeout())),
            (None, Some(timeout)) => (timeout, Ok(CallResponse::timeout())),
            (Some(delay), _) => (delay, result),
            (None, None) => {
                self.calls.push((now, call));
                return;
            }
        };
        let order = u64::try_from(self.calls.len()).unwrap_or(u64::MAX);
        self.pending.insert((now.saturating_add(delay), order), Pending { worker, call: call.id, result });
        self.calls.push((now, call));
    }

    fn answer_due(&mut self, workers: &mut [&mut Worker], events: &mut Vec<(usize, Event)>) {
        let now = self.clock.monotonic();
        while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= now) {
            let Pending { worker: index, call, result } = entry.remove();
            if let Some(worker) = workers.get_mut(index) {
                events.extend(worker.complete_call(call, result).into_iter().map(|event| (index, event)));
            }
        }
    }

    fn advance_to(&self, time: Duration) {
        self.clock.advance(time.saturating_sub(self.clock.monotonic()));
    }
}

impl core::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Simulation")
            .field("calls", &self.calls.len())
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

fn next_tick(workers: &mut [&mut Worker]) -> Option<Duration> {
    workers.iter_mut().filter_map(|worker| worker.next_tick()).min()
}
