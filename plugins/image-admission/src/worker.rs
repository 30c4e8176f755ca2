//! What one worker has under way: reviews, reads of registries, and signatures to verify.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use portcullis_abi::{
    self as abi,
    http::{self, Call, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::UnixTime;
use portcullis_signature::{
    Answer, ReasonCode,
    registry::{Fetch, Incoming, Outgoing, Step, Tokens},
    review::Review,
};

use crate::{
    cache::Cache,
    case::{Case, Next},
    config::Config,
    metrics::Metrics,
};

/// How soon the next signature is verified. In between, the proxy serves what has come.
const HURRY: Duration = Duration::from_millis(1);
/// How often deadlines are looked at where nothing is to be verified.
const CALM: Duration = Duration::from_millis(50);

pub(crate) struct Worker {
    root: u32,
    config: Config,
    metrics: Metrics,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    cases: BTreeMap<u32, Case>,
    calls: BTreeMap<u32, Flight>,
    tokens: Tokens,
    cache: Cache,
    /// Images whose signatures are to be verified, by review and place in it.
    verify: VecDeque<(u32, usize)>,
}

/// A read under way.
struct Flight {
    stream: u32,
    image: usize,
    fetch: Fetch,
}

impl Worker {
    pub(crate) fn new(root: u32, config: Config) -> Self {
        Self { root, config, metrics: Metrics::new(), state: RefCell::default() }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Begins the review in the body of the request `stream`, whose context is the effective one.
    pub(crate) fn begin(&self, stream: u32, size: usize) {
        self.metrics.reviews.increment();
        let body = http::request_body(size.min(self.config.review_bytes)).unwrap_or_default();
        let review = match Review::parse(&body, &self.config.policy) {
            Ok(review) => review,
            Err(error) => {
                self.metrics.refused_reviews.increment();
                let _ = match error.answer() {
                    Some(answer) => reply::json(200, &answer, "portcullis_denied"),
                    None => {
                        let message = error.reason.message.replace(['"', '\\'], "'");
                        reply::json(400, &format!(r#"{{"error":"{message}"}}"#), "portcullis_malformed")
                    }
                };
                return;
            }
        };
        let (Ok(now), Ok(mut state)) = (abi::now(), self.state.try_borrow_mut()) else {
            let _ =
                reply::json(503, r#"{"error":"the proxy does not say what time it is"}"#, "portcullis_clock");
            return;
        };
        if state.cases.len() >= self.config.reviews {
            drop(state);
            self.metrics.refused_reviews.increment();
            let _ =
                reply::json(429, r#"{"error":"more reviews than are judged at a time"}"#, "portcullis_busy");
            return;
        }
        let case = Case::new(review, &self.config.evidence, now.saturating_add(self.config.deadline));
        let images = case.len();
        state.cases.insert(stream, case);
        for image in 0..images {
            self.advance(&mut state, stream, image, now);
        }
        self.verify_one(&mut state, Some(stream), now);
        drop(state);
        self.finish(stream, now);
        self.set_pace();
    }

    /// The answer to the call `token` is there; without `headers` there is none.
    pub(crate) fn answered(&self, token: u32, headers: bool, size: usize) {
        let (Ok(now), Ok(mut state)) = (abi::now(), self.state.try_borrow_mut()) else { return };
        let Some(mut flight) = state.calls.remove(&token) else { return };
        let step = match self.incoming(headers, size) {
            Ok((status, headers, body)) => {
                let incoming = Incoming { status, headers: &headers, body: body.as_deref() };
                flight.fetch.answered(incoming, &self.config.registries, &mut state.tokens, now)
            }
            Err(detail) => Step::Done(Fetch::unanswered(ReasonCode::RegistryUnavailable, detail)),
        };
        let (stream, image) = (flight.stream, flight.image);
        match step {
            Step::Send(outgoing) => self.send(&mut state, flight, &outgoing, now),
            Step::Done(answer) => {
                let answer = self.bounded(&state, answer);
                record(&mut state, &flight, answer);
            }
        }
        self.advance(&mut state, stream, image, now);
        self.verify_one(&mut state, Some(stream), now);
        drop(state);
        self.finish(stream, now);
        self.set_pace();
    }

    /// What is more than the worker may hold is not kept.
    fn bounded(&self, state: &State, answer: Answer) -> Answer {
        let held = state.cases.values().fold(0_usize, |sum, case| sum.saturating_add(case.bytes()));
        match &answer {
            Answer::Found(body) if held.saturating_add(body.0.len()) > self.config.evidence_bytes => {
                let detail = "the worker holds as much of registries' answers as it may";
                Fetch::unanswered(ReasonCode::RegistryOversized, detail)
            }
            _ => answer,
        }
    }

    fn incoming(&self, headers: bool, size: usize) -> Result<Received, String> {
        if !headers {
            return Err("the registry does not answer, or not in time".into());
        }
        let pairs = http::headers(Map::CallResponseHeaders).map_err(|refused| refused.to_string())?;
        let pairs = pairs.list().map_err(|refused| refused.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| (text(name).to_ascii_lowercase(), text(value))).collect();
        let status =
            headers.iter().find(|(name, _)| name == ":status").and_then(|(_, status)| status.parse().ok());
        let most = self.config.policy.document().limits.bytes;
        let body = if size > most {
            None
        } else {
            Some(http::call_response_body(size).map_err(|refused| refused.to_string())?)
        };
        Ok((status.ok_or("the registry's answer has no status")?, headers, body))
    }

    /// Does what comes next for an image: reads, or a place in the queue.
    fn advance(&self, state: &mut State, stream: u32, index: usize, now: UnixTime) {
        // A read that cannot be sent has its answer at once, and the plan may go on with that: there
        // are at most four rounds.
        for _ in 0..8 {
            let Some(image) = state.cases.get_mut(&stream).and_then(|case| case.image(index)) else { return };
            if let Some(key) = image.lookup()
                && let Some((evidence, facts)) = state.cache.get(&key, now)
            {
                self.metrics.cache_hits.increment();
                image.remember(&evidence, facts);
            }
            match image.next(&self.config.policy) {
                Next::Wait | Next::Done => return,
                Next::Verify => {
                    if !state.verify.contains(&(stream, index)) {
                        state.verify.push_back((stream, index));
                    }
                    return;
                }
                Next::Read(reads) => {
                    for read in reads {
                        self.metrics.reads.increment();
                        let (fetch, outgoing) =
                            Fetch::begin(read, &self.config.registries, &state.tokens, now);
                        self.send(state, Flight { stream, image: index, fetch }, &outgoing, now);
                    }
                }
            }
        }
    }

    fn send(&self, state: &mut State, flight: Flight, outgoing: &Outgoing, now: UnixTime) {
        let deadline = state.cases.get(&flight.stream).map_or(now, |case| case.deadline);
        let left = deadline.saturating_since(now);
        let answer = match self.config.cluster(&outgoing.host) {
            Some(cluster) => match dispatch(cluster, outgoing, left) {
                Ok(token) => {
                    state.calls.insert(token, flight);
                    return;
                }
                Err(detail) => Fetch::unanswered(ReasonCode::RegistryUnavailable, detail),
            },
            None => {
                let detail = format!("`{}` is not one of the configured `hosts`", outgoing.host);
                Fetch::unanswered(ReasonCode::RegistryUnavailable, detail)
            }
        };
        record(state, &flight, answer);
    }

    /// Verifies one signature: of the review `of` if there is one of it, else of the one that waits
    /// longest.
    fn verify_one(&self, state: &mut State, of: Option<u32>, now: UnixTime) -> Option<u32> {
        let at = match of {
            Some(stream) => state.verify.iter().position(|(waiting, _)| *waiting == stream)?,
            None => 0,
        };
        let (stream, index) = state.verify.remove(at)?;
        let image = state.cases.get_mut(&stream).and_then(|case| case.image(index))?;
        if image.verify(&self.config.policy, now) {
            if let Some(verdict) = image.verdict() {
                self.metrics.count(verdict);
            }
            if let Some((key, evidence, facts, allowed)) = image.keepsake()
                && !state.cache.has(&key, now)
            {
                let life = if allowed { self.config.cached } else { self.config.refused };
                state.cache.keep(key, evidence, facts, now, life, self.config.cached_images);
            }
        } else {
            state.verify.push_back((stream, index));
        }
        Some(stream)
    }

    /// Answers the review of the effective context, once all its images are judged.
    fn finish(&self, stream: u32, now: UnixTime) {
        let answer = {
            let Ok(mut state) = self.state.try_borrow_mut() else { return };
            let Some(case) = state.cases.get_mut(&stream) else { return };
            if now >= case.deadline {
                self.metrics.deadlines.increment();
                case.expire();
            }
            let Some(verdicts) = case.verdicts() else { return };
            let answer = case.review.answer(&verdicts, &self.config.policy);
            forget(&mut state, stream);
            answer
        };
        if let Err(refused) = reply::json(200, &answer, "portcullis_reviewed") {
            log::write(Level::Error, || format!("a review could not be answered: {refused}"));
        }
    }

    /// Time has passed: the next signature, and the reviews whose time is over.
    pub(crate) fn tick(&self) {
        let Ok(now) = abi::now() else { return };
        let (verified, expired) = {
            let Ok(mut state) = self.state.try_borrow_mut() else { return };
            let verified = self.verify_one(&mut state, None, now);
            let expired: Vec<u32> = state
                .cases
                .iter()
                .filter(|(_, case)| now >= case.deadline)
                .map(|(stream, _)| *stream)
                .collect();
            (verified, expired)
        };
        for stream in verified.into_iter().chain(expired) {
            if abi::set_effective_context(stream).is_ok() {
                self.finish(stream, now);
            } else {
                self.forget(stream);
            }
        }
        // The rest of this callback acts on the root again; if not, its calls are refused.
        let _ = abi::set_effective_context(self.root);
        self.set_pace();
    }

    /// The request `stream` is over.
    pub(crate) fn forget(&self, stream: u32) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            forget(&mut state, stream);
        }
    }

    fn set_pace(&self) {
        let Ok(state) = self.state.try_borrow() else { return };
        let period = match (state.verify.is_empty(), state.cases.is_empty()) {
            (false, _) => HURRY,
            (true, false) => CALM,
            (true, true) => Duration::ZERO,
        };
        // Refused: reads still end by their own time, and their answers bring the review on.
        let _ = abi::set_tick_period(period);
    }
}

/// Status, headers and body of an answer; no body where it is larger than is read.
type Received = (u16, Vec<(String, String)>, Option<Vec<u8>>);

fn record(state: &mut State, flight: &Flight, answer: Answer) {
    if let Some(image) = state.cases.get_mut(&flight.stream).and_then(|case| case.image(flight.image)) {
        image.answered(flight.fetch.read().clone(), answer);
    }
}

fn forget(state: &mut State, stream: u32) {
    state.cases.remove(&stream);
    state.calls.retain(|_, flight| flight.stream != stream);
    state.verify.retain(|(waiting, _)| *waiting != stream);
}

fn dispatch(cluster: &str, outgoing: &Outgoing, timeout: Duration) -> Result<u32, String> {
    let mut headers = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", outgoing.host.as_str()),
        (":path", outgoing.path.as_str()),
        ("user-agent", "portcullis"),
    ];
    headers.extend(outgoing.headers.iter().map(|(name, value)| (*name, value.as_str())));
    // A call with no time left would have none to fail in.
    let timeout = timeout.max(Duration::from_millis(1));
    http::dispatch(Call { cluster, headers: &headers, timeout })
        .map_err(|refused| format!("no call to the cluster `{cluster}`: {refused}"))
}
