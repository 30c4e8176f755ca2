//! A story: proxies with workers that run the built module, the clients, and what happens to them,
//! under one virtual clock.
//!
//! Everything follows from the seed. While nothing waits and no answer is on its way, a worker's
//! timer is late by up to a second, as on a busy machine; that also spares most of the 50 ticks a
//! second in which nothing happens.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_host::{
    CallFailure, CallId, CallResponse, Clock as _, Limits, LocalReply, LogLevel, Module, Outcome,
    OutgoingCall, Plugin, Process, StreamId, StreamInfo, VirtualClock, Worker,
};
use portcullis_jwt::Policy;

use crate::{
    issuer::{Issuer, Time},
    judge::{self, Fetch, Kind, Refused, Request},
    random::Random,
    setting::Setting,
    tokens::{self, Key, Tokens},
};

const END: Time = Duration::from_secs(900);
/// The clock's reading when the story begins: nothing may depend on it.
const CLOCK: Duration = Duration::from_secs(77_777);
/// What the module's linear memory may become: a story that needs more traps.
const MEMORY: usize = 8 << 20;
/// Metrics that a proxy may have, whatever its clients send.
const METRICS: usize = 100;

/// What happened in the stories.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub accepted: u64,
    pub waited: u64,
    pub refused_401: u64,
    pub refused_503: u64,
    pub fetches: u64,
    pub rotations: u64,
    pub upsets: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.waited += other.waited;
        self.refused_401 += other.refused_401;
        self.refused_503 += other.refused_503;
        self.fetches += other.fetches;
        self.rotations += other.rotations;
        self.upsets += other.upsets;
    }
}

/// How a story ended.
pub struct Ended {
    pub broken: Vec<String>,
    pub story: String,
    pub totals: Totals,
}

struct Proxy {
    process: Process,
    workers: Vec<Worker>,
    fetches: Vec<Fetch>,
    upset: Option<Time>,
}

/// A worker of a proxy.
type Place = (usize, usize);

enum Happening {
    Arrive(Place, Request),
    Landed {
        place: Place,
        call: CallId,
        result: Result<CallResponse, CallFailure>,
        /// Which of the proxy's fetches, and whether its answer is good.
        fetch: Option<(usize, bool)>,
    },
    Leave(Place, StreamId),
    /// The VM is started anew; what is under way ends in the old one.
    Restart(Place),
    /// The worker is gone with all it had, and another one takes its place.
    Crash(Place),
    Reconfigure(Place),
    /// The time of day jumps.
    Jump(i64),
}

pub struct World<'w> {
    module: &'w Module,
    tokens: &'w Tokens,
    random: Random,
    clock: VirtualClock,
    setting: Setting,
    issuer: Issuer,
    proxies: Vec<Proxy>,
    open: BTreeMap<(usize, usize, StreamId), Request>,
    in_flight: usize,
    queue: BinaryHeap<Reverse<(Time, usize)>>,
    happenings: Vec<Option<Happening>>,
    idle_until: Time,
    story: Option<Arc<Mutex<String>>>,
    broken: Vec<String>,
    totals: Totals,
}

/// Plays the story of `seed`; told only where `telling`.
pub fn play(module: &Module, tokens: &Tokens, seed: u64, telling: bool) -> Ended {
    let mut random = Random::new(seed);
    let setting = Setting::new(&mut random);
    let issuer = Issuer::new(&mut random, END, setting.first_is_gone());
    let clock = VirtualClock::at_unix_seconds(tokens::BEGIN - CLOCK.as_secs());
    clock.advance(CLOCK);
    let story = telling.then(|| Arc::new(Mutex::new(format!("{setting:?}\n{}", issuer.tell()))));
    let totals = Totals { rotations: issuer.rotations() as u64, ..Totals::default() };
    let mut world = World {
        module,
        tokens,
        random,
        clock,
        setting,
        issuer,
        proxies: Vec::new(),
        open: BTreeMap::new(),
        in_flight: 0,
        queue: BinaryHeap::new(),
        happenings: Vec::new(),
        idle_until: Time::ZERO,
        story,
        broken: Vec::new(),
        totals,
    };
    world.build(seed);
    world.plan();
    world.run();
    world.judge_the_end();
    let story =
        world.story.as_ref().map(|story| story.lock().unwrap_or_else(PoisonError::into_inner).clone());
    Ended { broken: world.broken, story: story.unwrap_or_default(), totals: world.totals }
}

impl World<'_> {
    fn now(&self) -> Time {
        self.clock.monotonic().saturating_sub(CLOCK)
    }

    fn build(&mut self, seed: u64) {
        let proxies = self.random.within(1, 3);
        for number in 0..proxies {
            let mut builder = Process::builder()
                .clock(self.clock.clone())
                .seed(seed.wrapping_mul(31).wrapping_add(number))
                .limits(Limits { memory: MEMORY, ..Limits::default() })
                .log_level(LogLevel::Critical);
            for cluster in ["idp", "spare", "dead"] {
                builder = builder.cluster(cluster);
            }
            if let Some(story) = self.story.clone() {
                let clock = self.clock.clone();
                builder = builder.log_level(LogLevel::Info).on_log(move |line| {
                    let at = clock.monotonic().saturating_sub(CLOCK);
                    let line = format!("{at:?} proxy {number}: {line}\n");
                    story.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                });
            }
            self.proxies.push(Proxy {
                process: builder.build(),
                workers: Vec::new(),
                fetches: Vec::new(),
                upset: None,
            });
            for _ in 0..self.random.within(1, 4) {
                let proxy = usize::try_from(number).unwrap();
                let worker = self.worker(proxy);
                self.proxies[proxy].workers.push(worker);
            }
        }
    }

    fn worker(&self, proxy: usize) -> Worker {
        let mut worker = Worker::new(&self.proxies[proxy].process);
        let plugin = Plugin::new("jwt-auth").configuration(self.setting.configuration().to_string());
        worker.add(self.module, plugin).unwrap();
        worker
    }

    // --- the plan

    fn plan(&mut self) {
        let mut time = Time::ZERO;
        while time < END {
            time += self.random.millis(200, 12_000);
            self.arrive_valid(time);
            if self.random.chance(12) {
                let earlier = self.random.millis(0, 900_000).min(time);
                let key = self.issuer.signs(earlier);
                if self.issuer.published_since(&key, time).is_none() {
                    self.arrive(time, Kind::Old, key);
                }
            }
            if self.setting.dead && self.random.chance(20) {
                self.arrive(time, Kind::Dead, Key("k0".into(), 0));
            }
        }
        // The moments after a change are the ones that matter, and clients come in crowds.
        for (change, gone) in self.issuer.changes() {
            for _ in 0..self.random.within(1, 5) {
                let at = change + self.random.millis(0, 1500);
                self.arrive_valid(at);
            }
            for key in gone {
                for _ in 0..3 {
                    let at = change + self.random.millis(0, 400_000);
                    if self.issuer.published_since(&key, at).is_none() && at < END {
                        self.arrive(at, Kind::Old, key.clone());
                    }
                }
            }
        }
        if self.random.chance(30) {
            self.attack();
        }
        if self.random.chance(20) {
            self.crowd();
        }
        for _ in 0..self.random.within(0, 4) {
            let (at, place) = (self.random.millis(1000, 900_000), self.place());
            let happening = match self.random.within(0, 4) {
                0 => Happening::Restart(place),
                1 => Happening::Crash(place),
                2 => Happening::Reconfigure(place),
                _ => Happening::Jump(i64::try_from(self.random.within(0, 10_000_000)).unwrap() - 5_000_000),
            };
            self.at(at, happening);
        }
    }

    fn place(&mut self) -> Place {
        let proxy = usize::try_from(self.random.within(0, self.proxies.len() as u64)).unwrap();
        let worker = self.random.within(0, self.proxies[proxy].workers.len() as u64);
        (proxy, usize::try_from(worker).unwrap())
    }

    fn attack(&mut self) {
        let mut time = self.random.millis(0, 850_000);
        let end = time + self.random.millis(2000, 45_000);
        self.tell(&format!("attack from {time:?} to {end:?}"));
        while time < end {
            time += self.random.millis(10, 600);
            let random = self.random.next();
            let kid =
                if random.is_multiple_of(3) { self.issuer.signs(time).0 } else { format!("random-{random}") };
            self.arrive(time, Kind::Forged, Key(kid, u8::MAX));
        }
    }

    /// Clients that do not wait for the first fetch, and others behind them: a place that is given
    /// up is free.
    fn crowd(&mut self) {
        let first = (0, 0);
        for number in 0..24 {
            let (since, key) = (self.random.millis(0, 20), Key(format!("crowd-{number}"), u8::MAX));
            let request = Request { kind: Kind::Forged, key, since, impatient: true };
            self.at(since, Happening::Arrive(first, request));
        }
        for _ in 0..4 {
            let (since, key) = (self.random.millis(50, 90), self.issuer.signs(Time::ZERO));
            let request = Request { kind: Kind::Valid, key, since, impatient: false };
            self.at(since, Happening::Arrive(first, request));
        }
    }

    fn arrive_valid(&mut self, time: Time) {
        let key = self.issuer.signs(time);
        self.arrive(time, Kind::Valid, key);
    }

    fn arrive(&mut self, time: Time, kind: Kind, key: Key) {
        let place = self.place();
        self.at(time, Happening::Arrive(place, Request { kind, key, since: time, impatient: false }));
    }

    fn at(&mut self, time: Time, happening: Happening) {
        self.queue.push(Reverse((time, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    // --- the play

    fn run(&mut self) {
        self.run_until(END + judge::quiet(&self.setting));
        // Nothing is broken for ever: whoever asks now is served.
        for proxy in 0..self.proxies.len() {
            for worker in 0..self.proxies[proxy].workers.len() {
                let (since, key) = (self.now(), self.issuer.signs(self.now()));
                let accepted = self.totals.accepted;
                self.happen(Happening::Arrive(
                    (proxy, worker),
                    Request { kind: Kind::Valid, key, since, impatient: false },
                ));
                self.run_until(since + self.setting.wait() + Duration::from_secs(1));
                if self.totals.accepted == accepted {
                    self.breaks("a valid token long after all troubles is not accepted");
                }
            }
        }
        self.run_until(self.now() + Duration::from_secs(3));
    }

    fn run_until(&mut self, end: Time) {
        loop {
            let poll = self.next_poll();
            let next = self.queue.peek().map_or(Time::MAX, |Reverse((time, _))| *time);
            if poll.min(next) > end || self.broken.len() > 10 {
                self.advance_to(end);
                return;
            }
            if poll < next {
                self.advance_to(poll);
                self.poll();
            } else {
                self.advance_to(next);
                let Some(Reverse((_, index))) = self.queue.pop() else { return };
                if let Some(happening) = self.happenings[index].take() {
                    self.happen(happening);
                }
            }
        }
    }

    /// When the workers' timers run next.
    fn next_poll(&mut self) -> Time {
        if self.open.is_empty() && self.in_flight == 0 {
            return self.idle_until;
        }
        let workers = self.proxies.iter_mut().flat_map(|proxy| &mut proxy.workers);
        let tick = workers.filter_map(Worker::next_tick).min().unwrap_or_default();
        tick.saturating_sub(CLOCK).max(self.now())
    }

    fn advance_to(&self, time: Time) {
        self.clock.advance(time.saturating_sub(self.now()));
    }

    fn poll(&mut self) {
        for proxy in 0..self.proxies.len() {
            for worker in 0..self.proxies[proxy].workers.len() {
                for event in self.proxies[proxy].workers[worker].poll() {
                    self.event((proxy, worker), event.stream, &event.outcome);
                }
                self.after((proxy, worker));
            }
        }
        self.idle_until = self.now() + self.random.millis(20, 1000);
        self.judge_waiting();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(place, request) => self.arrived(place, request),
            Happening::Landed { place: (proxy, worker), call, result, fetch } => {
                self.in_flight -= 1;
                if let Some((fetch, good)) = fetch {
                    let now = self.now();
                    let fetch = &mut self.proxies[proxy].fetches[fetch];
                    let landed = if good { &mut fetch.good_at } else { &mut fetch.failed_at };
                    *landed = Some(now).filter(|_| !fetch.lost);
                }
                for event in self.proxies[proxy].workers[worker].complete_call(call, result) {
                    self.event((proxy, worker), event.stream, &event.outcome);
                }
                self.after((proxy, worker));
            }
            Happening::Leave((proxy, worker), stream) => {
                if self.open.remove(&(proxy, worker, stream)).is_some() {
                    self.proxies[proxy].workers[worker].close(stream);
                    self.after((proxy, worker));
                }
            }
            Happening::Restart((proxy, worker)) => {
                self.upset((proxy, worker), "gets a new VM");
                self.proxies[proxy].workers[worker].restart(0).unwrap();
                self.after((proxy, worker));
            }
            Happening::Reconfigure((proxy, worker)) => {
                self.upset((proxy, worker), "gets the configuration again");
                let configuration = self.setting.configuration().to_string();
                self.proxies[proxy].workers[worker].reconfigure(0, configuration).unwrap();
                self.after((proxy, worker));
            }
            Happening::Crash((proxy, worker)) => {
                self.upset((proxy, worker), "is lost");
                self.open.retain(|(own, other, _), _| (*own, *other) != (proxy, worker));
                let new = self.worker(proxy);
                self.proxies[proxy].workers[worker] = new;
                self.after((proxy, worker));
            }
            Happening::Jump(seconds) => {
                self.tell(&format!("the time of day jumps by {seconds} s"));
                let wall = self.clock.wall().as_secs().saturating_add_signed(seconds);
                self.clock.set_wall(Duration::from_secs(wall));
            }
        }
    }

    fn upset(&mut self, (proxy, worker): Place, what: &str) {
        self.totals.upsets += 1;
        self.tell(&format!("proxy {proxy} worker {worker} {what}"));
        self.proxies[proxy].upset = Some(self.now());
        let own = self.proxies[proxy].fetches.iter_mut().filter(|fetch| fetch.worker == worker);
        own.for_each(|fetch| fetch.lost = true);
    }

    fn arrived(&mut self, (proxy, worker): Place, mut request: Request) {
        request.since = self.now();
        let token = match request.kind {
            Kind::Valid | Kind::Old => self.tokens.of(&request.key).token.clone(),
            Kind::Forged => tokens::forged(&request.key.0),
            Kind::Dead => self.tokens.of(&request.key).dead.clone(),
        };
        let authorization = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":path", "/"),
            (":authority", "gateway"),
            (":scheme", "https"),
            ("authorization", authorization.as_str()),
        ];
        let own = &mut self.proxies[proxy].workers[worker];
        let stream = own.open(StreamInfo::new());
        let outcome = own.request_headers(stream, headers, true);
        let (dead, impatient) = (request.kind == Kind::Dead, request.impatient);
        self.open.insert((proxy, worker, stream), request);
        if outcome == Outcome::Pause {
            self.totals.waited += 1;
            let waiting = self.open.iter().filter(|((own, other, _), request)| {
                (*own, *other) == (proxy, worker) && (request.kind == Kind::Dead) == dead
            });
            // Whose wait was ended by the event that let another one in is told in the next callback.
            let (waiting, most) = (waiting.count(), self.setting.waiting_requests * 2);
            if waiting > most {
                self.breaks(&format!("{waiting} requests wait, and at most {most} may"));
            }
            if impatient || self.random.chance(4) {
                let at = self.now() + self.random.millis(0, if impatient { 20 } else { 4000 });
                self.at(at, Happening::Leave((proxy, worker), stream));
            }
        } else {
            self.event((proxy, worker), stream, &outcome);
        }
        self.after((proxy, worker));
    }

    /// What became of a request.
    fn event(&mut self, (proxy, worker): Place, stream: StreamId, outcome: &Outcome) {
        let Some(request) = self.open.remove(&(proxy, worker, stream)) else { return };
        let waiting = self.open.keys().filter(|(own, other, _)| (*own, *other) == (proxy, worker)).count();
        self.proxies[proxy].workers[worker].close(stream);
        let now = self.now();
        let verdict = match outcome {
            Outcome::Forward(_) => {
                self.totals.accepted += 1;
                self.judge(proxy).accepted(&request, now)
            }
            Outcome::Reply(reply) => {
                let refused = refused(reply, waiting);
                self.tell(&format!("proxy {proxy} worker {worker}: {refused:?} for {request:?}"));
                match refused.status {
                    401 => self.totals.refused_401 += 1,
                    _ => self.totals.refused_503 += 1,
                }
                self.judge(proxy).refused(&request, &refused, now)
            }
            Outcome::Trapped(trap, _) => Err(format!("the module trapped: {trap}")),
            Outcome::Pause | Outcome::Reset => Err(format!("{request:?} ends as {outcome:?}")),
        };
        self.verdict(verdict);
    }

    /// Takes what a worker wants after it was driven.
    fn after(&mut self, (proxy, worker): Place) {
        for event in self.proxies[proxy].workers[worker].take_events() {
            self.event((proxy, worker), event.stream, &event.outcome);
        }
        for call in self.proxies[proxy].workers[worker].take_calls() {
            self.called((proxy, worker), &call);
        }
    }

    fn called(&mut self, place: Place, call: &OutgoingCall) {
        let now = self.now();
        self.in_flight += 1;
        if call.cluster == "dead" {
            let result = Ok(CallResponse::no_connection());
            let at = now + Duration::from_millis(1);
            return self.at(at, Happening::Landed { place, call: call.id, result, fetch: None });
        }
        let asked = call.headers.text("cache-control") == Some("no-cache");
        let verdict = self.judge(place.0).fetched(asked, now);
        self.verdict(verdict);
        self.totals.fetches += 1;
        let path = call.headers.text(":path").unwrap_or_default();
        self.tell(&format!(
            "proxy {} worker {} fetches {path} from {}, asked: {asked}",
            place.0, place.1, call.cluster
        ));
        let reply = self.issuer.reply(&mut self.random, now, call, call.cluster == "spare", self.tokens);
        let fetches = &mut self.proxies[place.0].fetches;
        fetches.push(Fetch { at: now, asked, good_at: None, failed_at: None, worker: place.1, lost: false });
        let (index, late) = (fetches.len() - 1, reply.after > call.timeout);
        let good = reply.good && !late;
        let (after, result) = match (late, reply.response) {
            (true, _) => (call.timeout, Ok(CallResponse::timeout())),
            (false, response) => (reply.after, response.ok_or(CallFailure)),
        };
        self.at(now + after, Happening::Landed { place, call: call.id, result, fetch: Some((index, good)) });
    }

    // --- the judge

    fn judge(&self, proxy: usize) -> judge::Proxy<'_> {
        let Proxy { fetches, upset, .. } = &self.proxies[proxy];
        judge::Proxy { issuer: &self.issuer, setting: &self.setting, fetches, upset: *upset }
    }

    fn judge_waiting(&mut self) {
        let now = self.now();
        let late: Vec<_> = self
            .open
            .iter()
            .filter_map(|((proxy, ..), request)| self.judge(*proxy).waits(request, now).err())
            .collect();
        for broken in late {
            self.breaks(&broken);
        }
    }

    fn judge_the_end(&mut self) {
        if !self.open.is_empty() {
            self.breaks(&format!("left over: {:?}", self.open));
        }
        let configuration = self.setting.configuration().to_string();
        let policy = Policy::from_json(configuration.as_bytes()).unwrap();
        let identities: Vec<_> = policy.remote_keys().map(|(.., remote)| remote.life.identity()).collect();
        let mut found = Vec::new();
        for (number, Proxy { process, workers, .. }) in self.proxies.iter().enumerate() {
            if process.gauge("portcullis.jwt.issuer.main.waiting") != Some(0) {
                found.push(format!("proxy {number} says that requests wait"));
            }
            if process.metrics().len() > METRICS {
                found.push(format!("proxy {number} has {} metrics", process.metrics().len()));
            }
            found.extend(workers.iter().filter_map(|worker| worker.trap(0)).map(ToString::to_string));
            for identity in &identities {
                let identity: String = identity.iter().map(|byte| format!("{byte:02x}")).collect();
                // A document of 4096 bytes with its life, and 64 starts.
                for (what, most) in [("set", 5000), ("marker", 1), ("ledger", 40 + 64 * 8)] {
                    let key = format!("portcullis/jwt/1/{identity}/{what}");
                    let length = process.shared_data("jwt-auth", &key).map(|(value, _)| value.len());
                    if length.is_none_or(|length| length > most) {
                        found.push(format!("proxy {number} shares {length:?} bytes as {what}"));
                    }
                }
            }
        }
        for broken in found {
            self.breaks(&broken);
        }
    }

    fn verdict(&mut self, verdict: Result<(), String>) {
        if let Err(broken) = verdict {
            self.breaks(&broken);
        }
    }

    fn breaks(&mut self, promise: &str) {
        self.tell(&format!("BROKEN {promise}"));
        self.broken.push(format!("{:?}: {promise}", self.now()));
    }

    fn tell(&self, what: &str) {
        if let Some(story) = &self.story {
            let line = format!("{:?} {what}\n", self.now());
            story.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
        }
    }
}

fn refused(reply: &LocalReply, waiting: usize) -> Refused {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Refused {
        status: reply.status(),
        code: body["code"].as_str().unwrap_or_default().into(),
        retry_after: reply.headers.text("retry-after").and_then(|seconds| seconds.parse().ok()),
        waiting,
    }
}
