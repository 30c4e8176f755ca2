//! The words of the machine: what it is told, and what it wants done.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use super::{address::Address, discovery::DiscoveryError, gate::Cause, http::ResponseHeaders};
use crate::jwks::{KeySetError, Quoted};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'e> {
    /// Time passed: to be sent at the start, and no later than [`super::Life::next_wake`] says.
    Tick,
    /// A fetch was answered.
    Answered {
        /// [`Fetch::id`].
        id: u64,
        /// The status; redirects must not have been followed.
        status: u16,
        /// The headers that matter.
        headers: ResponseHeaders,
        /// The body.
        body: &'e [u8],
    },
    /// A fetch got no answer.
    Failed {
        /// [`Fetch::id`].
        id: u64,
        /// Why, in the caller's words: a lower-case fragment for the log.
        reason: &'e str,
    },
    /// A waiting request went away.
    Gone {
        /// Its number.
        waiter: u32,
    },
    /// Another worker, or a previous configuration, published a [`Effect::Publish`].
    Shared {
        /// Its bytes.
        snapshot: &'e [u8],
    },
}

/// What a request lacks to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Need<'n> {
    /// The token's `kid`, as the client sent it.
    pub kid: Option<&'n str>,
    /// The set has a key for the token, and it does not fit: perhaps it was replaced under the
    /// same `kid`.
    pub bad_signature: bool,
    /// The [`super::Life::generation`] of the set that the request was judged with; none where
    /// there was no set.
    pub judged_with: Option<u64>,
    /// A number by which the caller finds the request again.
    pub waiter: u32,
    /// When the request needed keys for the first time: the time that it may wait counts from
    /// there, however often it is woken in between.
    pub since: super::Instant,
}

/// The answer to a [`Need`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Judge the request again now: the keys are other ones than it was judged with.
    Ready,
    /// The request waits; [`Effect::Wake`] or [`Effect::Refuse`] will name it, unless it is said
    /// to be [`Event::Gone`].
    Wait,
    /// The request is refused now.
    Refused(Refusal),
}

/// Why newer keys do not help a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The issuer's keys were looked at after the request came, or so shortly before that it is
    /// not done again: the token is bad. Answer as the first judgement did (401).
    Checked,
    /// Nobody knows: the keys cannot be had. Answer 503.
    Unavailable {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Too many requests wait already. Answer 503.
    TooManyWaiting {
        /// When it is worth trying again.
        retry_after: Duration,
    },
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fetch this, without following redirects, and report the outcome.
    Fetch(Fetch),
    /// Judge these requests again.
    Wake(Vec<u32>),
    /// Refuse these requests.
    Refuse(Vec<u32>, Refusal),
    /// Give these bytes to the other workers, if there are any.
    Publish(Vec<u8>),
    /// A key is accepted from now on.
    KeyAppeared(KeyName),
    /// A key is accepted no more.
    KeyGone(KeyName),
    /// The set is in another phase.
    PhaseChanged {
        /// Before.
        from: Phase,
        /// Now.
        to: Phase,
    },
    /// A source failed; what was known before is kept.
    SourceFailed {
        /// Its index in the configuration.
        source: usize,
        /// Why.
        failure: Failure,
    },
    /// Add one to this counter.
    Count(Counter),
}

/// A key as a log names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Its `kid`.
    pub kid: Option<String>,
    /// Its RFC 7638 thumbprint.
    pub thumbprint: [u8; 32],
    /// Its `alg`.
    pub algorithm: Option<portcullis_crypto::Algorithm>,
}

impl fmt::Display for KeyName {
    /// `` `kid` (sha256:…) ``, with the first eight bytes of the thumbprint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "`{}` (sha256:", Quoted(kid))?,
            None => f.write_str("without kid (sha256:")?,
        }
        for byte in self.thumbprint.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A request that the machine wants made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Tells this fetch from others.
    pub id: u64,
    /// The source, by its index in the configuration.
    pub source: usize,
    /// Where to.
    pub address: Address,
    /// Header names in lower case and values, to be sent with a GET.
    pub headers: Vec<(&'static str, String)>,
    /// How long it may take.
    pub timeout: Duration,
    /// Why it is wanted: what the bound on fetches asks.
    pub cause: Cause,
    /// Whether it is the first of its round, which may have a discovery document and several sources.
    pub first: bool,
}

/// Where a key set is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No set was ever fetched.
    Empty,
    /// The set is fresh.
    Fresh,
    /// The set is fresh and is being refreshed.
    RefreshAhead,
    /// The set is no longer fresh, and used while no source answers.
    Stale,
    /// The set is too old to be used.
    Expired,
    /// The inline set is used, because no source answers.
    LastResort,
}

impl Phase {
    /// A name for gauges and logs: lower snake case, stable.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::RefreshAhead => "refresh_ahead",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::LastResort => "last_resort",
        }
    }
}

/// Things worth counting that no other effect tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// An answer brought a set, the same or another one.
    FetchSucceeded,
    /// An answer said that nothing changed (304).
    FetchUnchanged,
    /// An answer came for a fetch that was given up.
    LateAnswer,
    /// A set was taken over from another worker or configuration.
    TakenOver,
    /// A shared set could not be read, or was for something else.
    SharedRefused,
    /// A fetch was wanted and had to wait for the bound.
    BoundHit,
    /// A request was refused because too many wait.
    WaitersFull,
    /// A request was refused from the memory of kids that do not exist.
    KnownMiss,
    /// A waiting request reached its deadline.
    WaitedInVain,
}

impl Counter {
    /// A name for metrics: lower snake case, stable.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::FetchSucceeded => "fetch_succeeded",
            Self::FetchUnchanged => "fetch_unchanged",
            Self::LateAnswer => "late_answer",
            Self::TakenOver => "taken_over",
            Self::SharedRefused => "shared_refused",
            Self::BoundHit => "fetch_bound_hit",
            Self::WaitersFull => "waiters_full",
            Self::KnownMiss => "known_miss",
            Self::WaitedInVain => "waited_in_vain",
        }
    }
}

/// Why a source gave no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No answer in time.
    Timeout,
    /// No answer, for this reason.
    Unreachable(String),
    /// Another status than 200.
    Status(u16),
    /// A redirect: it could lead anywhere, so it is not followed.
    Redirect(u16),
    /// 304 to a request that was not conditional.
    NotModifiedUnasked,
    /// The answer is no key set that can be used.
    KeySet(KeySetError),
    /// The discovery document leads nowhere.
    Discovery(DiscoveryError),
}

impl Failure {
    /// A name for metrics: lower snake case, stable.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Status(_) => "status",
            Self::Redirect(_) => "redirect",
            Self::NotModifiedUnasked => "not_modified_unasked",
            Self::KeySet(error) => error.label(),
            Self::Discovery(_) => "discovery",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unreachable(reason) => write!(f, "no answer: {}", Quoted(reason)),
            Self::Status(status) => write!(f, "status {status} instead of 200"),
            Self::Redirect(status) => write!(f, "redirect {status}; write the final address instead"),
            Self::NotModifiedUnasked => f.write_str("status 304 to an unconditional request"),
            Self::KeySet(error) => write!(f, "the key set is {error}"),
            Self::Discovery(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for Failure {}

/// The keys as they are now.
#[derive(Clone, Copy, Debug)]
pub enum KeyState<'l> {
    /// These may be used.
    Ready(&'l crate::jwks::KeySet),
    /// There are none yet, and no attempt has failed.
    Pending,
    /// There are none, and no source answers.
    Unavailable,
}

/// What operators see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// Keys that are accepted now.
    pub keys: usize,
    /// Keys of the set that are not used.
    pub left_out: usize,
    /// How long ago a source last answered for the set.
    pub age: Option<Duration>,
    /// How long until the next refresh; zero where it is due.
    pub next_refresh: Option<Duration>,
    /// How long the set may still be used if no source answers.
    pub usable_for: Option<Duration>,
    /// Changes of the keys since the start.
    pub generation: u64,
    /// Failures in a row of the source that has the most.
    pub failures: u32,
    /// Requests that wait.
    pub waiting: usize,
}
