//! What one worker has under way: requests of several questions, and calls.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Call, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::{Code, header};
use portcullis_fanout::{
    Asked, Incoming, Names, Plain, Plan, Policy, Refusal, Settings, TenantRule,
    merge::{self, Head},
    share::{Denied, Lease},
};

use crate::{
    job::Job,
    metrics::Metrics,
    shared::{self, Uncounted},
};

/// How soon the first calls of a request are made.
const HURRY: Duration = Duration::from_millis(1);
/// How often deadlines are looked at, and whether other workers have given something of a tenant's
/// share back.
const CALM: Duration = Duration::from_millis(10);
/// How much longer than its call a lease lasts: the proxy ends a call at its timeout, and tells a
/// little later.
const SLACK: Duration = Duration::from_secs(1);
/// How many requests one callback answers by their deadline.
const MOST_EXPIRED: usize = 16;

/// The proven tenant, as tenant-guard publishes it.
const TENANT: &[&str] = &["portcullis_tenant_id"];

/// What becomes of a request.
pub(crate) enum Next {
    /// It goes on as it is.
    Pass,
    /// It was answered, or will be.
    Hold,
}

pub(crate) struct Worker {
    root: u32,
    policy: Policy,
    metrics: Metrics,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<u32, Job>,
    calls: BTreeMap<u32, Flight>,
    /// Requests in the order in which they get their next call.
    turns: VecDeque<u32>,
    held_bytes: usize,
}

/// A call under way. It outlives its request: it is the tenant's as long as the provider works on it.
struct Flight {
    stream: u32,
    index: usize,
    slot: [u8; 16],
    lease: Lease,
    began: Duration,
}

impl Worker {
    pub(crate) fn new(root: u32, policy: Policy) -> Self {
        Self { root, policy, metrics: Metrics::new(), state: RefCell::default() }
    }

    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// # Errors
    ///
    /// [`Refused`] where the host shares nothing between its workers.
    pub(crate) fn prepare(&self) -> Result<(), Refused> {
        shared::prepare()
    }

    /// Judges the request `stream` with its whole body of `size` bytes, whose context is the effective
    /// one.
    pub(crate) fn begin(&self, stream: u32, size: usize) -> Next {
        match self.admit(stream, size) {
            Ok(None) => {
                self.metrics.passed.increment();
                Next::Pass
            }
            // Without the timer nothing would ever be asked.
            Ok(Some(_)) if abi::set_tick_period(HURRY).is_err() => {
                self.refuse(&internal(Refused::UNIMPLEMENTED));
                Next::Hold
            }
            Ok(Some(job)) => {
                self.metrics.requests.increment();
                self.metrics.questions.add(u32::try_from(job.plan.questions().len()).unwrap_or(u32::MAX));
                if job.packed.is_some() {
                    self.metrics.packed.increment();
                }
                if let Ok(mut state) = self.state.try_borrow_mut() {
                    state.jobs.insert(stream, job);
                    state.turns.push_back(stream);
                }
                self.metrics.under_way.add(1);
                Next::Hold
            }
            Err(refusal) => {
                self.refuse(&refusal);
                Next::Hold
            }
        }
    }

    fn admit(&self, stream: u32, size: usize) -> Result<Option<Job>, Refusal> {
        let body = http::request_body(size).map_err(internal)?;
        let (settings, plan) = match Asked::read(&body, &self.policy)? {
            Asked::Plain if self.policy.plain == Plain::Pass => return Ok(None),
            Asked::Plain => return self.isolate(&body).map(|()| None),
            Asked::Questions(settings, plan) => (settings, plan),
        };
        let names = self.names()?;
        let now = now().map_err(internal)?;
        self.check_room(stream, &names)?;
        if let Some(allowance) = self.policy.shares.allowance {
            let questions = plan.questions().len();
            shared::charge(&names.slot, questions, allowance, now).map_err(not_charged)?;
        }
        self.job(settings, plan, names, now).map(Some)
    }

    /// What the proven tenant of the effective context is called at the provider.
    fn names(&self) -> Result<Names, Refusal> {
        let tenant = match (abi::property(TENANT).map_err(internal)?, self.policy.tenant) {
            (Some(tenant), _) if !tenant.is_empty() => tenant,
            (_, TenantRule::Shared) => Vec::new(),
            (_, TenantRule::Required) => {
                let reason = "no tenant is proven for this request";
                return Err(Refusal::new(Code::FanoutTenantRequired, reason));
            }
        };
        Ok(self.policy.isolation.names(&tenant))
    }

    /// Gives a request that goes on the names of its tenant: every change, or it does not go on.
    fn isolate(&self, body: &[u8]) -> Result<(), Refusal> {
        let names = self.names()?;
        let isolated = names.isolate(body)?;
        http::remove_header(Map::RequestHeaders, b"content-length").map_err(internal)?;
        for (name, value) in &names.headers {
            http::set_header(Map::RequestHeaders, name.as_bytes(), value.as_bytes()).map_err(internal)?;
        }
        http::set_request_body(body.len(), &isolated).map_err(internal)
    }

    fn job(&self, settings: Settings, plan: Plan, names: Names, now: Duration) -> Result<Job, Refusal> {
        let headers = http::headers(Map::RequestHeaders).map_err(internal)?;
        Ok(Job::new(&self.policy, settings, plan, names, &headers, now))
    }

    fn check_room(&self, stream: u32, names: &Names) -> Result<(), Refusal> {
        let Ok(state) = self.state.try_borrow() else { return Err(internal(Refused::UNREADABLE)) };
        let after = Duration::from_secs(1);
        if state.jobs.len() >= self.policy.limits.requests || state.jobs.contains_key(&stream) {
            let reason = "the gateway has as many requests of several questions as it may hold";
            return Err(Refusal::new(Code::FanoutBusy, reason).with_retry_after(after));
        }
        let own = state.jobs.values().filter(|job| job.names.slot == names.slot).count();
        let most = self.policy.shares.requests;
        if own >= most {
            let reason = format!("{own} requests of several questions are under way; {most} may be");
            return Err(Refusal::new(Code::FanoutTenantBusy, reason).with_retry_after(after));
        }
        Ok(())
    }

    /// Answers the request of the effective context with a refusal.
    pub(crate) fn refuse(&self, refusal: &Refusal) {
        self.metrics.refused(refusal.code());
        log::write(Level::Debug, || format!("refused: {refusal}"));
        let answer = reply::Whole {
            status: refusal.code().status(),
            media_type: "application/json",
            body: &refusal.body(),
            details: &details(refusal.code()),
            retry_after: refusal.retry_after_secs(),
        };
        // Without an answer the request stays paused, and the proxy's own timeout ends it.
        let _ = reply::whole(&answer);
    }

    /// A call has ended.
    pub(crate) fn answered(&self, token: u32, has_headers: bool, size: usize) {
        let Ok(now) = now() else { return };
        let finished = {
            let Ok(mut state) = self.state.try_borrow_mut() else { return };
            let State { jobs, calls, held_bytes, .. } = &mut *state;
            let Some(flight) = calls.remove(&token) else { return };
            shared::end(&flight.slot, flight.lease);
            self.metrics.in_flight.add(-1);
            jobs.get_mut(&flight.stream).and_then(|job| {
                let retries = job.run.retries();
                let bytes = job.run.held_bytes();
                job.called = job.called.saturating_add(now.saturating_sub(flight.began));
                let room = self.policy.limits.held_bytes.saturating_sub(*held_bytes);
                receive(has_headers, size, self.policy.limits.answer_bytes.min(room), |incoming| {
                    job.run.answered(flight.index, incoming, now);
                });
                *held_bytes = held_bytes.saturating_add(job.run.held_bytes().saturating_sub(bytes));
                if job.run.retries() > retries {
                    self.metrics.retries.increment();
                }
                job.run.is_over(now).then_some(flight.stream)
            })
        };
        if let Some(stream) = finished {
            self.finish_in(stream, now);
        }
        self.make_calls(now);
        self.set_pace();
    }

    /// Time has passed: calls that wait, and requests whose time is over.
    pub(crate) fn tick(&self) {
        let Ok(now) = now() else { return };
        let expired: Vec<u32> = {
            let Ok(state) = self.state.try_borrow() else { return };
            let over = state.jobs.iter().filter(|(_, job)| job.run.is_over(now));
            over.map(|(stream, _)| *stream).take(MOST_EXPIRED).collect()
        };
        for stream in expired {
            self.finish_in(stream, now);
        }
        self.make_calls(now);
        self.set_pace();
    }

    /// Answers the request `stream` from the root's callback.
    fn finish_in(&self, stream: u32, now: Duration) {
        if abi::set_effective_context(stream).is_ok() {
            self.finish(stream, now);
        } else {
            self.forget(stream);
        }
        // The rest of this callback acts on the root again; if not, its calls are refused.
        let _ = abi::set_effective_context(self.root);
    }

    fn finish(&self, stream: u32, now: Duration) {
        let job = match self.state.try_borrow_mut() {
            Ok(mut state) => take(&mut state, stream),
            Err(_) => None,
        };
        let Some(job) = job else { return };
        self.metrics.under_way.add(-1);
        for failure in job.run.results().filter_map(Result::err) {
            self.metrics.failed(failure.kind);
        }
        let id = id();
        let created = abi::now().map_or(0, |now| u64::try_from(now.as_secs()).unwrap_or(0));
        let head = Head { id: &id, created, model: job.plan.model(), packed: job.packed.is_some() };
        let merged = merge::reply(&job.run, &job.settings, head);
        match merged.code {
            Some(code) => self.metrics.refused(code),
            None => {
                self.metrics.answered.increment();
                if job.run.failures() > 0 {
                    self.metrics.partial.increment();
                }
                let wall = now.saturating_sub(job.began);
                self.metrics.took(wall, job.called, job.packed_estimate(&self.policy));
            }
        }
        let answer = reply::Whole {
            status: merged.status,
            media_type: merged.media_type,
            body: &merged.body,
            details: &merged.code.map_or_else(|| "portcullis_fanout".to_owned(), details),
            retry_after: None,
        };
        if let Err(refused) = reply::whole(&answer) {
            log::write(Level::Error, || format!("a request could not be answered: {refused}"));
        }
    }

    /// Makes the calls that there is room for, one of each request in turn. Only in the root's
    /// callbacks.
    fn make_calls(&self, now: Duration) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let mut idle = 0_usize;
        while idle < state.turns.len() && state.calls.len() < self.policy.limits.calls {
            let Some(stream) = state.turns.pop_front() else { return };
            let State { jobs, calls, turns, .. } = &mut *state;
            // A request that is answered has no turn.
            let Some(job) = jobs.get_mut(&stream) else { continue };
            turns.push_back(stream);
            idle = if self.make_call(stream, job, calls, now) { 0 } else { idle.saturating_add(1) };
        }
    }

    fn make_call(
        &self,
        stream: u32,
        job: &mut Job,
        calls: &mut BTreeMap<u32, Flight>,
        now: Duration,
    ) -> bool {
        let Ok(start) = job.run.next(now) else { return false };
        let slot = job.names.slot;
        let until = now.saturating_add(start.timeout).saturating_add(SLACK);
        let lease = match shared::begin(&slot, self.policy.shares.parallel, until, now) {
            Ok(lease) => lease,
            Err(uncounted) => {
                if let Uncounted::Refused(refused) = uncounted {
                    log::write(Level::Error, || format!("a call could not be counted: {refused}"));
                }
                self.metrics.share_waits.increment();
                job.run.put_back(start.index, now);
                return false;
            }
        };
        let body = job.body(start.index).unwrap_or_default();
        let headers = job.headers(&self.policy);
        let timeout = start.timeout.max(Duration::from_millis(1));
        let call = Call { cluster: &self.policy.provider.cluster, headers: &headers, timeout };
        match http::dispatch_with(call, body.as_bytes()) {
            Ok(token) => {
                self.metrics.calls.increment();
                self.metrics.in_flight.add(1);
                calls.insert(token, Flight { stream, index: start.index, slot, lease, began: now });
            }
            Err(refused) => {
                let cluster = &self.policy.provider.cluster;
                log::write(Level::Error, || format!("no call to the cluster `{cluster}`: {refused}"));
                shared::end(&slot, lease);
                job.run.answered(start.index, Incoming::Reset, now);
            }
        }
        true
    }

    /// The request `stream` is over. Its calls under way cannot be taken back: they end by their time,
    /// and count until then. Those that were not made are not made.
    pub(crate) fn forget(&self, stream: u32) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        if take(&mut state, stream).is_some() {
            self.metrics.under_way.add(-1);
            self.metrics.abandoned.increment();
        }
    }

    fn set_pace(&self) {
        let Ok(state) = self.state.try_borrow() else { return };
        let over = |now: Duration| state.jobs.values().any(|job| job.run.is_over(now));
        let period = match state.jobs.is_empty() {
            true => Duration::ZERO,
            false if now().is_ok_and(over) => HURRY,
            false => CALM,
        };
        // Refused: answers still come, and bring the requests on.
        let _ = abi::set_tick_period(period);
    }
}

/// Takes a request out.
fn take(state: &mut State, stream: u32) -> Option<Job> {
    let job = state.jobs.remove(&stream)?;
    state.turns.retain(|turn| *turn != stream);
    state.held_bytes = state.held_bytes.saturating_sub(job.run.held_bytes());
    Some(job)
}

/// Shows what came back to `record`.
fn receive(has_headers: bool, size: usize, most: usize, record: impl FnOnce(Incoming<'_>)) {
    let head = || -> Option<(u16, Option<Duration>)> {
        let headers = http::headers(Map::CallResponseHeaders).ok()?;
        let list = headers.list().ok()?;
        let number = |name: &str| {
            let value = header::values(&list, name).next()?;
            core::str::from_utf8(value).ok()?.trim().parse::<u64>().ok()
        };
        let status = u16::try_from(number(":status")?).ok()?;
        Some((status, number("retry-after").map(Duration::from_secs)))
    };
    let head = if has_headers { head() } else { None };
    let Some((status, retry_after)) = head else { return record(Incoming::Reset) };
    let body = if size > most { None } else { http::call_response_body(size).ok() };
    record(Incoming::Answer { status, retry_after, body: body.as_deref() });
}

fn now() -> Result<Duration, Refused> {
    abi::monotonic().map(Duration::from_nanos)
}

/// A completion's id: nobody is to draw conclusions from it.
fn id() -> String {
    let number = || getrandom::u64().unwrap_or_default();
    format!("fanout-{:016x}{:016x}", number(), number())
}

fn details(code: Code) -> String {
    format!("portcullis_{}", code.as_str().to_ascii_lowercase())
}

fn internal(refused: Refused) -> Refusal {
    log::write(Level::Error, || format!("refused: INTERNAL_ERROR: {refused}"));
    Refusal::new(Code::InternalError, Code::InternalError.message())
}

fn not_charged(uncounted: Uncounted) -> Refusal {
    match uncounted {
        Uncounted::Denied(Denied::Allowance(after)) => {
            Refusal::new(Code::FanoutQuotaExceeded, "the allowance does not hold this many questions now")
                .with_retry_after(after)
        }
        Uncounted::Denied(_) => Refusal::new(Code::FanoutBusy, "too many tenants ask at once")
            .with_retry_after(Duration::from_secs(1)),
        Uncounted::Refused(refused) => internal(refused),
    }
}
