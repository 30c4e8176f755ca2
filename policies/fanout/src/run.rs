//! Which question is asked when, and what became of each: an event machine whose time is an
//! argument.
//!
//! Times are of a clock that never goes back, since any point.

use alloc::vec::Vec;
use core::time::Duration;

use portcullis_core::Code;

use crate::{Answered, Failure, FailureKind, Incoming, OnError, Settings, Usage};

/// How long a question that a provider refused waits where the provider does not say.
const BACKOFF: Duration = Duration::from_secs(1);

/// The questions of one request on their way.
#[derive(Clone, Debug)]
pub struct Run {
    questions: Vec<State>,
    parallel: usize,
    on_error: OnError,
    deadline: Duration,
    call_deadline: Duration,
    stopped: bool,
    retries: u32,
}

#[derive(Clone, Debug)]
enum State {
    Waiting { not_before: Duration, attempt: u8 },
    Open { attempt: u8, until: Duration },
    Done(Result<Answered, Failure>),
}

/// A call to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The question.
    pub index: usize,
    /// How long the call may take.
    pub timeout: Duration,
}

/// Why no call is to be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All questions are under way or done.
    Nothing,
    /// As many are under way as may be.
    Parallel,
    /// A question is to be asked again, but not before this.
    Until(Duration),
}

impl Run {
    /// `count` questions from `now` on.
    #[must_use]
    pub fn new(count: usize, settings: &Settings, now: Duration) -> Self {
        Self {
            questions: alloc::vec![State::Waiting { not_before: now, attempt: 0 }; count],
            parallel: settings.parallel.max(1),
            on_error: settings.on_error,
            deadline: now.saturating_add(settings.deadline),
            call_deadline: settings.call_deadline,
            stopped: false,
            retries: 0,
        }
    }

    /// The next call to be made, in the order of the questions.
    ///
    /// # Errors
    ///
    /// [`Limit`] where there is none now.
    pub fn next(&mut self, now: Duration) -> Result<Start, Limit> {
        if self.is_over(now) {
            return Err(Limit::Nothing);
        }
        if self.open() >= self.parallel {
            return Err(Limit::Parallel);
        }
        let mut soonest = None;
        for (index, state) in self.questions.iter_mut().enumerate() {
            let State::Waiting { not_before, attempt } = *state else { continue };
            if not_before > now {
                soonest = Some(soonest.map_or(not_before, |soonest: Duration| soonest.min(not_before)));
                continue;
            }
            let timeout = self.call_deadline.min(self.deadline.saturating_sub(now));
            *state = State::Open { attempt, until: now.saturating_add(timeout) };
            return Ok(Start { index, timeout });
        }
        Err(soonest.map_or(Limit::Nothing, Limit::Until))
    }

    /// The call that [`Run::next`] gave could not be made yet: there was no room for it.
    pub fn put_back(&mut self, index: usize, now: Duration) {
        if let Some(state) = self.questions.get_mut(index)
            && let State::Open { attempt, .. } = *state
        {
            *state = State::Waiting { not_before: now, attempt };
        }
    }

    /// The call for `index` has ended.
    pub fn answered(&mut self, index: usize, incoming: Incoming<'_>, now: Duration) {
        let Some(State::Open { attempt, until }) = self.questions.get(index) else { return };
        let (attempt, until) = (*attempt, *until);
        let result = incoming.read(now >= until);
        let next = match result {
            Err(failure) => self.failed(failure, attempt, now),
            Ok(answered) => State::Done(Ok(answered)),
        };
        if let Some(state) = self.questions.get_mut(index) {
            *state = next;
        }
    }

    fn failed(&mut self, failure: Failure, attempt: u8, now: Duration) -> State {
        if self.on_error == OnError::RetryOnce && attempt == 0 && failure.kind.is_passing() {
            let wait = match failure.kind {
                FailureKind::RateLimited => failure.retry_after.unwrap_or(BACKOFF),
                _ => Duration::ZERO,
            };
            let not_before = now.saturating_add(wait);
            if not_before < self.deadline {
                self.retries = self.retries.saturating_add(1);
                return State::Waiting { not_before, attempt: 1 };
            }
        }
        if self.on_error == OnError::Fail {
            self.stopped = true;
        }
        State::Done(Err(failure))
    }

    /// Whether there is nothing more to wait for.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        self.stopped
            || now >= self.deadline
            || self.questions.iter().all(|state| matches!(state, State::Done(_)))
    }

    /// When the whole request is over.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Calls under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.questions.iter().filter(|state| matches!(state, State::Open { .. })).count()
    }

    /// How many questions were asked again.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// What became of each question, in their order. What is not done is late, never asked, or was
    /// given up.
    pub fn results(&self) -> impl Iterator<Item = Result<&Answered, Failure>> {
        self.questions.iter().map(|state| match state {
            State::Done(Ok(answered)) => Ok(answered),
            State::Done(Err(failure)) => Err(*failure),
            _ if self.stopped => Err(FailureKind::Stopped.into()),
            State::Open { .. } | State::Waiting { attempt: 1.., .. } => Err(FailureKind::Timeout.into()),
            State::Waiting { .. } => Err(FailureKind::NotStarted.into()),
        })
    }

    /// About how many bytes of answers are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.results().flatten().map(Answered::bytes).fold(0, usize::saturating_add)
    }

    /// How many were not answered.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.results().filter(Result::is_err).count()
    }

    /// Tokens of all answers.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.results().flatten().fold(Usage::default(), |sum, answered| sum.plus(answered.usage))
    }

    /// Why the request as a whole fails, where it does: nothing was answered, or something was not
    /// and all were wanted.
    #[must_use]
    pub fn failure(&self) -> Option<Code> {
        let failures = self.failures();
        let whole = self.on_error == OnError::Fail && failures > 0;
        if !whole && failures < self.questions.len() {
            return None;
        }
        let late = |failure: &Failure| {
            matches!(failure.kind, FailureKind::Timeout | FailureKind::NotStarted | FailureKind::Stopped)
        };
        let all_late = self.results().filter_map(Result::err).all(|failure| late(&failure));
        Some(if all_late { Code::FanoutTimeout } else { Code::FanoutFailed })
    }
}
