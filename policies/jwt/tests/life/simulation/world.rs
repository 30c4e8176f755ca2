//! The proxy's process: its workers with what they share, the clients, and the judge of it all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt::Write as _,
    time::Duration,
};

use portcullis_jwt::life::{
    Answer, Cause, Claim, Effect, Event, Fetch, Instant, KeyState, Ledger, Life, LifeConfig, Need, Refusal,
    ResponseHeaders,
};

use super::{
    Issuer, Random,
    issuer::{Key, Time},
};
use crate::{
    keys::thumbprint,
    rig::{config, seconds},
};

const END: Time = Duration::from_secs(2400);
/// The clock's reading when the story begins.
const BEGIN: Duration = Duration::from_secs(77_777);
/// Late by the resolution of a tick.
const TICK: Duration = Duration::from_millis(20);
/// A token that the judge lets be refused for what the stated bound and the pauses explain: one
/// pause (60 s), one window (60 s), two fetches that run into their timeouts (2 × 6 s).
const RECOVERY: Duration = Duration::from_secs(132);

/// What happened in all stories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) waited: u64,
    pub(crate) checked: u64,
    pub(crate) unavailable: u64,
    pub(crate) fetches: u64,
    pub(crate) rotations: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.waited += other.waited;
        self.checked += other.checked;
        self.unavailable += other.unavailable;
        self.fetches += other.fetches;
        self.rotations += other.rotations;
    }
}

#[derive(Clone, Debug)]
struct Request {
    key: Key,
    /// Signed by the issuer with the key that it signs with.
    valid: bool,
    since: Time,
    waiting: bool,
}

struct Worker {
    life: Life,
    requests: BTreeMap<u32, Request>,
    woken_at: Option<Time>,
}

enum Happening {
    Arrive { worker: usize, request: Request },
    Landed { worker: usize, id: u64, status: Option<u16>, headers: ResponseHeaders, body: String },
    Shared { worker: usize },
    Wake { worker: usize },
    Leave { worker: usize, id: u32 },
    Restart { worker: usize },
}

/// One story.
pub(crate) struct World {
    now: Time,
    random: Random,
    issuer: Issuer,
    workers: Vec<Worker>,
    queue: BinaryHeap<Reverse<(Time, usize)>>,
    happenings: Vec<Option<Happening>>,
    snapshot: Option<Vec<u8>>,
    ledger: Option<Vec<u8>>,
    fetches: Vec<(Time, Cause)>,
    sloppy: bool,
    next_request: u32,
    story: String,
    broken: Vec<String>,
    pub(crate) totals: Totals,
}

impl World {
    pub(crate) fn run(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let issuer = Issuer::new(&mut random, END);
        let config = LifeConfig { stale_if_error: seconds(300), max_waiting: 64, ..config() };
        let count = random.within(1, 5);
        let workers = (0..count)
            .map(|_| Worker { life: Life::new(config.clone()), requests: BTreeMap::new(), woken_at: None })
            .collect();
        let mut world = Self {
            now: Time::ZERO,
            sloppy: random.chance(20),
            random,
            workers,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            snapshot: None,
            ledger: None,
            fetches: Vec::new(),
            next_request: 0,
            story: format!("{count} workers\n{}", issuer.tell()),
            broken: Vec::new(),
            totals: Totals { rotations: issuer.steps.len() as u64 - 1, ..Totals::default() },
            issuer,
        };
        world.plan();
        world.play();
        world.judge_the_end();
        world
    }

    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(crate) fn story(&self) -> &str {
        &self.story
    }

    // --- the plan: who comes when

    fn plan(&mut self) {
        for worker in 0..self.workers.len() {
            self.at(Time::ZERO, Happening::Wake { worker });
        }
        let mut time = Time::ZERO;
        while time < END {
            time += self.random.millis(100, 4000);
            let key = self.issuer.at(time).signs.clone();
            self.arrive(time, key, true);
            if self.random.chance(10) {
                // A token of a key that was removed, or is not published yet and is no secret.
                let step = self.random.within(0, self.issuer.steps.len() as u64) as usize;
                let key = self.issuer.steps[step].signs.clone();
                if self.issuer.published_since(&key, time).is_none()
                    && self.issuer.removed_at(&key, time).is_some()
                {
                    self.arrive(time, key, false);
                }
            }
        }
        if self.random.chance(40) {
            let from = self.random.millis(0, 2_000_000);
            let to = from + self.random.millis(5_000, 120_000);
            self.attack(from, to);
        }
        if self.random.chance(30) {
            let time = self.random.millis(10_000, 2_000_000);
            let worker = self.random.within(0, self.workers.len() as u64) as usize;
            self.at(time, Happening::Restart { worker });
        }
    }

    /// Random kids, and forged signatures under the known one.
    fn attack(&mut self, from: Time, to: Time) {
        let _ = writeln!(self.story, "attack from {from:?} to {to:?}");
        let mut time = from;
        while time < to {
            time += self.random.millis(10, 400);
            let kid = if self.random.chance(30) {
                self.issuer.at(time).signs.0.clone()
            } else {
                format!("random-{}", self.random.next())
            };
            self.arrive(time, (kid, 4_000_000), false);
        }
    }

    fn arrive(&mut self, time: Time, key: Key, valid: bool) {
        let worker = self.random.within(0, self.workers.len() as u64) as usize;
        let request = Request { key, valid, since: time, waiting: false };
        self.at(time, Happening::Arrive { worker, request });
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.queue.push(Reverse((time, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    // --- the play

    fn play(&mut self) {
        while let Some(Reverse((time, index))) = self.queue.pop() {
            if time > END + seconds(30) {
                break;
            }
            self.now = time;
            let happening = self.happenings[index].take().unwrap();
            self.happen(happening);
            self.judge_waiting();
        }
    }

    fn clock(&self) -> Instant {
        Instant(0).saturating_add(BEGIN + self.now)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { worker, request } => {
                self.next_request += 1;
                let id = self.next_request;
                self.workers[worker].requests.insert(id, request);
                self.decide(worker, id);
                if self.random.chance(2) {
                    let after = self.now + self.random.millis(0, 3000);
                    self.at(after, Happening::Leave { worker, id });
                }
            }
            Happening::Landed { worker, id, status, headers, body } => {
                let event = match status {
                    Some(status) => Event::Answered { id, status, headers, body: body.as_bytes() },
                    None => Event::Failed { id, reason: "cut off" },
                };
                self.tell(worker, event);
            }
            Happening::Shared { worker } => {
                if let Some(snapshot) = self.snapshot.clone() {
                    self.tell(worker, Event::Shared { snapshot: &snapshot });
                }
            }
            Happening::Wake { worker } => {
                self.workers[worker].woken_at = None;
                self.tell(worker, Event::Tick);
            }
            Happening::Leave { worker, id } => {
                if self.workers[worker].requests.remove(&id).is_some() {
                    self.tell(worker, Event::Gone { waiter: id });
                }
            }
            Happening::Restart { worker } => self.restart(worker),
        }
    }

    /// The VM is started anew: its requests are gone, the shared set is taken over.
    fn restart(&mut self, worker: usize) {
        let _ = writeln!(self.story, "{:?} worker {worker} restarts", self.now);
        self.workers[worker].requests.clear();
        let config = self.workers[worker].life.config().clone();
        let before = self.fetches.len();
        let (now, random) = (self.clock(), self.random.next());
        match self.snapshot.clone() {
            Some(snapshot) => {
                let (life, effects) = Life::restore(config, &snapshot, now, random);
                let fresh = life.status(now).phase == portcullis_jwt::life::Phase::Fresh;
                self.workers[worker].life = life;
                self.carry_out(worker, effects);
                if fresh && self.fetches.len() > before {
                    self.breaks("a fetch for a set that is fresh");
                }
            }
            None => {
                self.workers[worker].life = Life::new(config);
                self.tell(worker, Event::Tick);
            }
        }
    }

    fn tell(&mut self, worker: usize, event: Event<'_>) {
        let (now, random) = (self.clock(), self.random.next());
        let effects = self.workers[worker].life.on(now, random, event);
        self.carry_out(worker, effects);
    }

    /// What the plugin does with a request: judge it, and ask the machine where keys are missing.
    fn decide(&mut self, worker: usize, id: u32) {
        let (now, random) = (self.clock(), self.random.next());
        for _ in 0..3 {
            let own = &mut self.workers[worker];
            let Some(request) = own.requests.get_mut(&id) else { return };
            let (kid, number) = request.key.clone();
            let named = match own.life.key_set(now) {
                KeyState::Ready(set) => Some(set.by_kid(&kid).next().map(|key| key.key().thumbprint())),
                KeyState::Pending | KeyState::Unavailable => None,
            };
            let fits = |print: [u8; 32]| number < 1_000_000 && print == thumbprint(number);
            if named.flatten().is_some_and(fits) {
                return self.accepted(worker, id);
            }
            let need = Need {
                kid: Some(&kid),
                bad_signature: named.flatten().is_some(),
                judged_with: own.life.generation(now),
                waiter: id,
                since: Instant(0).saturating_add(BEGIN + request.since),
            };
            request.waiting = true;
            let mut effects = Vec::new();
            let answer = own.life.need(now, random, need, &mut effects);
            self.carry_out(worker, effects);
            match answer {
                Answer::Wait => {
                    self.totals.waited += 1;
                    return;
                }
                Answer::Refused(why) => return self.refused(worker, id, why),
                Answer::Ready => {}
            }
        }
        self.breaks("a request is judged again and again");
    }

    fn carry_out(&mut self, worker: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Fetch(fetch) => self.claim(worker, &fetch),
                Effect::Wake(ids) => ids.into_iter().for_each(|id| self.decide(worker, id)),
                Effect::Refuse(ids, why) => ids.into_iter().for_each(|id| self.refused(worker, id, why)),
                Effect::Publish(bytes) => self.publish(worker, bytes),
                Effect::KeyAppeared(key) => self.note(worker, &format!("has {key}")),
                Effect::KeyGone(key) => self.note(worker, &format!("drops {key}")),
                Effect::SourceFailed { failure, .. } => self.note(worker, &failure.to_string()),
                Effect::PhaseChanged { to, .. } => self.note(worker, to.label()),
                Effect::Count(_) => {}
            }
        }
        self.wake_later(worker);
    }

    fn wake_later(&mut self, worker: usize) {
        let now = self.clock();
        let Some(wake) = self.workers[worker].life.next_wake() else { return };
        let time =
            self.now + wake.saturating_since(now) + Duration::from_micros(self.random.within(0, 20_000));
        if self.workers[worker].woken_at.is_none_or(|own| time < own) {
            self.workers[worker].woken_at = Some(time);
            self.at(time, Happening::Wake { worker });
        }
    }

    fn claim(&mut self, worker: usize, fetch: &Fetch) {
        let (now, random) = (self.clock(), self.random.next());
        // Now and then another worker is faster and the record is read again.
        let tries = if self.random.chance(10) { 2 } else { 1 };
        let mut claim = Claim::Leave;
        let mut effects = Vec::new();
        for _ in 0..tries {
            let shared = (self.snapshot.as_deref(), self.ledger.as_deref());
            claim =
                self.workers[worker].life.claim(now, random, fetch.id, shared, worker as u64, &mut effects);
        }
        if let Claim::Go { ledger } = claim {
            self.ledger = Some(ledger);
            self.go(worker, fetch);
        }
        self.carry_out(worker, effects);
    }

    fn go(&mut self, worker: usize, fetch: &Fetch) {
        self.note(worker, &format!("fetches ({:?})", fetch.cause));
        self.fetches.push((self.now, fetch.cause));
        self.totals.fetches += 1;
        let condition =
            fetch.headers.iter().find(|(name, _)| *name == "if-none-match").map(|(_, etag)| etag.as_str());
        let reply = self.issuer.reply(&mut self.random, self.now, condition);
        if self.sloppy && self.random.chance(5) {
            // The outcome is never reported: the machine has to notice itself.
            return;
        }
        let late = reply.after > fetch.timeout;
        let (after, status) = if late { (fetch.timeout, None) } else { (reply.after, reply.status) };
        let pairs = reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = ResponseHeaders::from_pairs(pairs);
        self.at(
            self.now + after,
            Happening::Landed { worker, id: fetch.id, status, headers, body: reply.body },
        );
    }

    fn publish(&mut self, worker: usize, bytes: Vec<u8>) {
        self.snapshot = Some(bytes);
        self.ledger = Ledger::release(self.ledger.as_deref(), worker as u64).or(self.ledger.take());
        for other in (0..self.workers.len()).filter(|other| *other != worker) {
            if self.sloppy && self.random.chance(20) {
                continue;
            }
            let after = self.now + self.random.millis(0, 25);
            self.at(after, Happening::Shared { worker: other });
        }
    }

    // --- the judge

    fn accepted(&mut self, worker: usize, id: u32) {
        let Some(request) = self.workers[worker].requests.remove(&id) else { return };
        self.totals.accepted += 1;
        if let Some(removed) = self.issuer.removed_at(&request.key, self.now) {
            // The longest life of a set, one fetch, and the stale time where the issuer was in trouble.
            let life = seconds(900) + seconds(7);
            let stale = if self.issuer.is_healthy() && !self.sloppy { Duration::ZERO } else { seconds(300) };
            if self.now > removed + life + stale {
                self.breaks(&format!("{request:?} is accepted, its key is gone since {removed:?}"));
            }
        }
    }

    fn refused(&mut self, worker: usize, id: u32, why: Refusal) {
        let Some(request) = self.workers[worker].requests.remove(&id) else { return };
        match why {
            Refusal::Checked => self.totals.checked += 1,
            Refusal::Unavailable { .. } | Refusal::TooManyWaiting { .. } => self.totals.unavailable += 1,
        }
        if request.valid {
            self.judge_refusal(worker, &request, why);
        }
    }

    fn judge_refusal(&mut self, worker: usize, request: &Request, why: Refusal) {
        // Still published: the issuer would prove it.
        let Some(published) = self.issuer.published_since(&request.key, self.now) else { return };
        let known_for = self.now - published;
        let told = format!("{why:?} for {request:?}, published for {known_for:?}");
        match why {
            Refusal::Checked => {
                // A name that was given to another key, and a token of that key just before.
                let reused = self.issuer.reused(&request.key, self.now);
                if !(reused && known_for <= seconds(17)) {
                    self.breaks(&told);
                }
            }
            Refusal::Unavailable { .. } | Refusal::TooManyWaiting { .. } => {
                let sick = self.issuer.well_for(self.now) < RECOVERY || self.sloppy;
                // The stated bound: four in a minute; of these, clients cause two and then one per
                // 20 seconds. After that, one fetch and its timeout.
                let clients =
                    self.fetched(seconds(40), |cause| cause == Cause::Asked) >= 2 && known_for <= seconds(27);
                let minute = self.fetched(seconds(60), |_| true) >= 4 && known_for <= seconds(67);
                if !sick && !clients && !minute {
                    self.breaks(&told);
                }
            }
        }
        self.note(worker, &told);
    }

    fn fetched(&self, span: Duration, counts: impl Fn(Cause) -> bool) -> usize {
        self.fetches.iter().filter(|(time, cause)| *time + span >= self.now && counts(*cause)).count()
    }

    /// Nothing waits for ever, and no more wait than may.
    fn judge_waiting(&mut self) {
        let now = self.now;
        let late = |request: &&Request| request.waiting && now > request.since + seconds(5) + TICK * 2;
        let found: Vec<Request> =
            self.workers.iter().flat_map(|worker| worker.requests.values()).filter(late).cloned().collect();
        for request in found {
            self.breaks(&format!("{request:?} waits too long"));
        }
        if self.workers.iter().any(|worker| worker.life.status(self.clock()).waiting > 64) {
            self.breaks("too many wait");
        }
    }

    fn judge_the_end(&mut self) {
        let minute = seconds(60);
        if let Some(five) = self.fetches.windows(5).find(|five| five[4].0 - five[0].0 < minute) {
            self.breaks(&format!("more than four fetches in a minute: {five:?}"));
        }
        if self.workers.iter().any(|worker| !worker.requests.is_empty()) {
            self.breaks("requests are left over");
        }
    }

    fn note(&mut self, worker: usize, what: &str) {
        let _ = writeln!(self.story, "{:?} worker {worker} {what}", self.now);
    }

    fn breaks(&mut self, promise: &str) {
        let told = format!("{:?}: {promise}", self.now);
        let _ = writeln!(self.story, "BROKEN {told}");
        self.broken.push(told);
    }
}
