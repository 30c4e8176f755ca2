//! The key sets of one worker: carries out what their lives want, and finds the waiting requests.
//!
//! A request only says what it needs. Fetching happens in the root context's callbacks, because a
//! call dispatched from a request dies with it.

use std::collections::{BTreeMap, VecDeque};

use portcullis_abi::{
    self as abi,
    http::{self, Call, Map},
    log::{self, Level},
};
use portcullis_core::{Code, Denial};
use portcullis_jwt::{
    KeySource, Missing, Need, Policy,
    jwks::KeySet,
    life::{
        self, Claim, Effect, Event, Fetch, Instant, KeyState, Life, LifeConfig, Refusal, ResponseHeaders,
    },
};

use crate::{metrics::IssuerMetrics, shared::SharedLife};

/// How often a life is told of the time, of other workers' news, and its gauges are set, where
/// nothing is urgent.
const CALM: u64 = 1_000_000_000;

/// What is to be done with a request that needs keys.
pub(crate) enum Answer {
    /// The keys have changed: judge it again.
    Again,
    Wait,
    Refuse(Denial),
}

/// Requests whose wait is over.
#[derive(Default)]
pub(crate) struct Wakes(VecDeque<(u32, Wake)>);

/// What is to be done with one of them.
pub(crate) enum Wake {
    /// It is to be judged again.
    Judge,
    /// It is to be answered.
    Refuse(Denial),
}

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    /// Takes the first `most` out.
    pub(crate) fn take(&mut self, most: usize) -> Self {
        let rest = self.0.split_off(most.min(self.0.len()));
        Self(std::mem::replace(&mut self.0, rest))
    }
}

impl IntoIterator for Wakes {
    type Item = (u32, Wake);
    type IntoIter = std::collections::vec_deque::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The remote key sets of one worker.
pub(crate) struct KeyStore {
    now: Instant,
    /// By the issuer's index; nothing for those with inline keys.
    issuers: Vec<Option<Issuer>>,
    waiting: BTreeMap<u32, Waiting>,
    /// Calls under way: token to issuer and fetch.
    calls: BTreeMap<u32, (usize, u64)>,
    /// Tells this worker from the others in leases.
    owner: u64,
    /// What came of requests' needs and is done in the next root callback.
    effects: Vec<(usize, Effect)>,
    calm_until: Instant,
}

struct Issuer {
    name: String,
    life: Life,
    clusters: Vec<String>,
    shared: SharedLife,
    metrics: IssuerMetrics,
}

struct Waiting {
    issuer: usize,
    since: Instant,
    /// The answer where the keys say that the token is bad.
    otherwise: Denial,
}

impl KeyStore {
    /// The key sets of `policy`, with what other workers or the previous configuration know.
    pub(crate) fn new(policy: &Policy) -> Self {
        let count = policy.remote_keys().map(|(index, ..)| index.saturating_add(1)).max().unwrap_or(0);
        let mut store = Self {
            now: monotonic().unwrap_or_default(),
            issuers: std::iter::repeat_with(|| None).take(count).collect(),
            waiting: BTreeMap::new(),
            calls: BTreeMap::new(),
            owner: random(),
            effects: Vec::new(),
            calm_until: Instant::default(),
        };
        for (index, name, remote) in policy.remote_keys() {
            let (issuer, effects) = Issuer::new(name, remote.life.clone(), &remote.clusters, store.now);
            if let Some(place) = store.issuers.get_mut(index) {
                *place = Some(issuer);
            }
            store.effects.extend(effects.into_iter().map(|effect| (index, effect)));
        }
        store
    }

    /// Whether there is anything to fetch.
    fn is_remote(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Reads the clock for the decision that follows.
    pub(crate) fn read_clock(&mut self) {
        if !self.is_remote() {
            return;
        }
        // A clock that does not tell stands still: sets age no further, and waits end when it
        // goes on.
        self.now = monotonic().unwrap_or(self.now);
    }

    /// What the request `stream` has to do about `need`.
    pub(crate) fn need(&mut self, need: Need, stream: u32) -> Answer {
        let now = self.now;
        let since = self.waiting.get(&stream).map_or(now, |waiting| waiting.since);
        let Some(Some(issuer)) = self.issuers.get_mut(need.issuer) else {
            return Answer::Refuse(need.otherwise);
        };
        let wanted = life::Need {
            // Without a set no name is looked up, so none is remembered, however long.
            kid: need.kid.as_deref().filter(|_| need.missing != Missing::KeySet),
            bad_signature: need.missing == Missing::Match,
            judged_with: match need.missing {
                Missing::KeySet => None,
                Missing::Key | Missing::Match => issuer.life.generation(now),
            },
            waiter: stream,
            since,
        };
        let mut effects = Vec::new();
        let answer = issuer.life.need(now, random(), wanted, &mut effects);
        self.effects.extend(effects.into_iter().map(|effect| (need.issuer, effect)));
        match answer {
            life::Answer::Ready => Answer::Again,
            life::Answer::Wait => {
                let waiting = Waiting { issuer: need.issuer, since, otherwise: need.otherwise };
                self.waiting.insert(stream, waiting);
                Answer::Wait
            }
            life::Answer::Refused(refusal) => {
                self.waiting.remove(&stream);
                Answer::Refuse(denial(refusal, need.otherwise))
            }
        }
    }

    /// The request `stream` is gone, or has its answer.
    pub(crate) fn forget(&mut self, stream: u32) {
        let Some(waiting) = self.waiting.remove(&stream) else { return };
        self.tell(waiting.issuer, Event::Gone { waiter: stream });
    }

    /// The answer to the call `token` is there; without `headers` there is none.
    pub(crate) fn answered(&mut self, token: u32, headers: bool, body: usize) -> Wakes {
        self.read_clock();
        if let Some((index, id)) = self.calls.remove(&token) {
            match response(self.limit(index), headers, body) {
                Ok((status, headers, body)) => {
                    self.tell(index, Event::Answered { id, status, headers, body: &body });
                }
                Err(reason) => self.tell(index, Event::Failed { id, reason: &reason }),
            }
        }
        self.carry_out()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) -> Wakes {
        self.read_clock();
        let calm = self.now >= self.calm_until;
        if calm {
            self.calm_until = Instant(self.now.0.saturating_add(CALM));
        }
        // While requests wait, another worker's answer is theirs as well.
        let look = calm || !self.waiting.is_empty();
        for index in 0..self.issuers.len() {
            let Some(Some(issuer)) = self.issuers.get_mut(index) else { continue };
            let news = if look { issuer.shared.news() } else { None };
            let due = issuer.life.next_wake().is_some_and(|at| at <= self.now);
            if calm {
                issuer.metrics.show(&issuer.life.status(self.now));
            }
            match news {
                Some(snapshot) => self.tell(index, Event::Shared { snapshot: &snapshot }),
                None if due || calm => self.tell(index, Event::Tick),
                None => {}
            }
        }
        self.carry_out()
    }

    fn limit(&self, index: usize) -> usize {
        let issuer = self.issuers.get(index).and_then(Option::as_ref);
        issuer.map_or(0, |issuer| issuer.life.config().limits.document_bytes)
    }

    fn tell(&mut self, index: usize, event: Event<'_>) {
        if let Some(Some(issuer)) = self.issuers.get_mut(index) {
            let effects = issuer.life.on(self.now, random(), event);
            self.effects.extend(effects.into_iter().map(|effect| (index, effect)));
        }
    }

    /// Does what the lives want, until they want nothing more.
    fn carry_out(&mut self) -> Wakes {
        // Far more than one callback can bring about; whatever is left waits for the next tick.
        const MOST: usize = 100_000;
        let mut wakes = Wakes::default();
        for _ in 0..MOST {
            if self.effects.is_empty() {
                break;
            }
            for (index, effect) in std::mem::take(&mut self.effects) {
                self.do_one(index, effect, &mut wakes);
            }
        }
        wakes
    }

    fn do_one(&mut self, index: usize, effect: Effect, wakes: &mut Wakes) {
        match effect {
            Effect::Wake(streams) => wakes.0.extend(streams.into_iter().map(|stream| (stream, Wake::Judge))),
            Effect::Refuse(streams, refusal) => {
                for stream in streams {
                    if let Some(waiting) = self.waiting.remove(&stream) {
                        let denial = denial(refusal, waiting.otherwise);
                        wakes.0.push_back((stream, Wake::Refuse(denial)));
                    }
                }
            }
            Effect::Fetch(fetch) => self.fetch(index, &fetch),
            other => {
                if let Some(Some(issuer)) = self.issuers.get_mut(index) {
                    issuer.note(other, self.owner);
                }
            }
        }
    }

    /// Makes the call, if this worker is the one to make it.
    fn fetch(&mut self, index: usize, fetch: &Fetch) {
        let Some(Some(issuer)) = self.issuers.get_mut(index) else { return };
        let mut effects = Vec::new();
        let claimed = issuer.claim(self.now, fetch.id, self.owner, &mut effects);
        let dispatched = claimed.then(|| issuer.dispatch(fetch));
        self.effects.extend(effects.into_iter().map(|effect| (index, effect)));
        match dispatched {
            Some(Ok(token)) => {
                self.calls.insert(token, (index, fetch.id));
            }
            Some(Err(reason)) => self.tell(index, Event::Failed { id: fetch.id, reason: &reason }),
            None => {}
        }
    }
}

/// The answers to calls under way are lost: others must not wait for them.
impl Drop for KeyStore {
    fn drop(&mut self) {
        for (index, _) in self.calls.values() {
            if let Some(Some(issuer)) = self.issuers.get(*index) {
                issuer.shared.release(self.owner);
            }
        }
    }
}

impl Issuer {
    fn new(name: &str, config: LifeConfig, clusters: &[String], now: Instant) -> (Self, Vec<Effect>) {
        let mut shared = SharedLife::new(&config.identity());
        let (life, effects) = match shared.news() {
            Some(snapshot) => Life::restore(config, &snapshot, now, random()),
            None => {
                let mut life = Life::new(config);
                let effects = life.on(now, random(), Event::Tick);
                (life, effects)
            }
        };
        let metrics = IssuerMetrics::new(name);
        (Self { name: name.into(), life, clusters: clusters.to_vec(), shared, metrics }, effects)
    }

    /// Whether this worker may make the fetch: another one may be at it, or have the answer.
    fn claim(&mut self, now: Instant, id: u64, owner: u64, effects: &mut Vec<Effect>) -> bool {
        // Each try that fails is another worker's success.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let (snapshot, ledger) = self.shared.read();
            let version = ledger.as_ref().map_or(0, |ledger| ledger.version);
            let seen = (snapshot.as_deref(), ledger.as_ref().map(|ledger| ledger.value.as_slice()));
            match self.life.claim(now, random(), id, seen, owner, effects) {
                Claim::Leave => return false,
                Claim::Go { ledger } if self.shared.write_ledger(&ledger, version) => return true,
                Claim::Go { .. } => {}
            }
        }
        effects.extend(self.life.on(
            now,
            random(),
            Event::Failed { id, reason: "the workers did not agree on who fetches" },
        ));
        false
    }

    fn dispatch(&self, fetch: &Fetch) -> Result<u32, String> {
        let cluster = self.clusters.get(fetch.source).map(String::as_str).unwrap_or_default();
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", fetch.address.scheme()),
            (":authority", fetch.address.authority()),
            (":path", fetch.address.path()),
            ("accept", "application/jwk-set+json, application/json"),
        ];
        headers.extend(fetch.headers.iter().map(|(name, value)| (*name, value.as_str())));
        http::dispatch(Call { cluster, headers: &headers, timeout: fetch.timeout })
            .map_err(|refused| format!("cluster `{cluster}`: {refused}"))
    }

    /// What is only to be told: to the other workers, the log and the metrics.
    fn note(&mut self, effect: Effect, owner: u64) {
        let name = &self.name;
        match effect {
            Effect::Publish(snapshot) => self.shared.publish(&snapshot, owner),
            Effect::KeyAppeared(key) => {
                log::write(Level::Info, || format!("issuer {name}: key {key} is accepted from now on"));
            }
            Effect::KeyGone(key) => {
                log::write(Level::Info, || format!("issuer {name}: key {key} is accepted no more"));
            }
            Effect::PhaseChanged { from, to } => {
                let level = match to {
                    life::Phase::Stale | life::Phase::Expired | life::Phase::LastResort => Level::Warn,
                    _ => Level::Debug,
                };
                let (from, to) = (from.label(), to.label());
                log::write(level, || format!("issuer {name}: the key set was {from} and is {to}"));
            }
            Effect::SourceFailed { source, failure } => {
                self.metrics.failed(&failure);
                log::write(Level::Warn, || format!("issuer {name}: source {source}: {failure}"));
            }
            Effect::Count(counter) => self.metrics.count(counter),
            // Done by the store.
            Effect::Fetch(_) | Effect::Wake(_) | Effect::Refuse(..) => {}
        }
    }
}

impl KeySource for KeyStore {
    fn key_set(&self, issuer: usize) -> Option<&KeySet> {
        match self.issuers.get(issuer)?.as_ref()?.life.key_set(self.now) {
            KeyState::Ready(set) => Some(set),
            KeyState::Pending | KeyState::Unavailable => None,
        }
    }
}

/// The answer of an HTTP call: status, headers and as much of the body as tells that it is too
/// long.
fn response(limit: usize, headers: bool, body: usize) -> Result<(u16, ResponseHeaders, Vec<u8>), String> {
    if !headers {
        return Err("the connection was reset".into());
    }
    let headers = http::headers(Map::CallResponseHeaders).map_err(|refused| refused.to_string())?;
    let headers = headers.list().map_err(|refused| refused.to_string())?;
    let status = headers.iter().find(|(name, _)| *name == b":status").map(|(_, value)| *value);
    let status = status.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let status = status.ok_or("the answer has no status")?;
    let body =
        http::call_response_body(body.min(limit.saturating_add(1))).map_err(|refused| refused.to_string())?;
    Ok((status, ResponseHeaders::from_pairs(headers.iter().copied()), body))
}

/// What a refusal to wait means for the client.
fn denial(refusal: Refusal, otherwise: Denial) -> Denial {
    match refusal {
        Refusal::Checked => otherwise,
        Refusal::Unavailable { retry_after } => {
            Denial::new(Code::KeysUnavailable, "the key set could not be had in time")
                .with_retry_after(retry_after)
        }
        Refusal::TooManyWaiting { retry_after } => {
            Denial::new(Code::KeysUnavailable, "too many requests wait for keys")
                .with_retry_after(retry_after)
        }
    }
}

fn monotonic() -> Option<Instant> {
    abi::monotonic().ok().map(Instant)
}

/// For jitter and leases, never for secrets: a host without randomness gets none.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
