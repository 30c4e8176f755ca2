//! What came back for one question.

use alloc::{format, string::String};
use core::time::Duration;

use portcullis_core::json::{self, Value};

use crate::{DEPTH, contract::whole};

/// What came back, as the proxy tells it.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'i> {
    /// An answer.
    Answer {
        /// The status.
        status: u16,
        /// `Retry-After`, where it says seconds.
        retry_after: Option<Duration>,
        /// The body; nothing where it is larger than is read.
        body: Option<&'i [u8]>,
    },
    /// The connection ended.
    Reset,
}

/// A question that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The model's message, as JSON.
    pub message: String,
    /// Its text; empty where it has none.
    pub text: String,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// `logprobs` as JSON, where there are any.
    pub logprobs: Option<String>,
    /// What it cost.
    pub usage: Usage,
    /// The model, as the provider names it.
    pub model: Option<String>,
}

/// Tokens, as the provider counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt: u64,
    /// Of the answer.
    pub completion: u64,
    /// Of the prompt, those that a cache had.
    pub cached: u64,
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one word.
    pub kind: FailureKind,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// When to ask again, where the provider says.
    pub retry_after: Option<Duration>,
}

macro_rules! kinds {
    ($($variant:ident $name:literal $message:literal)*) => {
        /// Why a question was not answered, in one word. The provider's own words stay inside: they
        /// may name the account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureKind {
            $(#[doc = $message] $variant,)*
        }

        impl FailureKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in answers and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The sentence for the client.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

kinds! {
    Timeout "timeout" "The answer did not come in time."
    NotStarted "not_started" "There was no time left to ask."
    RateLimited "rate_limited" "The provider takes no more requests now."
    Unavailable "unavailable" "The provider could not be reached."
    Upstream "upstream_error" "The provider refused the request."
    Malformed "malformed_answer" "The provider's answer cannot be read."
    TooLarge "answer_too_large" "The provider's answer is larger than is read."
    Stopped "stopped" "Another question failed, and the request wants all or nothing."
}

impl FailureKind {
    /// Whether asking again could help.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Timeout | Self::RateLimited | Self::Unavailable | Self::Malformed)
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self { kind, status: None, retry_after: None }
    }
}

impl Incoming<'_> {
    /// The answer in it. `late` is whether its time was over when it came: the proxy makes up a 504
    /// then.
    pub(crate) fn read(self, late: bool) -> Result<Answered, Failure> {
        let Self::Answer { status, retry_after, body } = self else {
            return Err(FailureKind::Unavailable.into());
        };
        let fail = |kind| Err(Failure { kind, status: Some(status), retry_after });
        match status {
            _ if late => Err(FailureKind::Timeout.into()),
            200..=299 => match body {
                None => fail(FailureKind::TooLarge),
                Some(body) => match Answered::parse(body) {
                    Some(answered) => Ok(answered),
                    None => fail(FailureKind::Malformed),
                },
            },
            429 => fail(FailureKind::RateLimited),
            408 | 504 => fail(FailureKind::Timeout),
            500..=599 => fail(FailureKind::Unavailable),
            _ => fail(FailureKind::Upstream),
        }
    }
}

impl Answered {
    fn parse(body: &[u8]) -> Option<Self> {
        let object = json::parse_object_within(body, DEPTH).ok()?;
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(String::from);
        let choice = object.get("choices")?.as_array()?.first()?.as_object()?;
        let message = choice.get("message")?;
        let members = message.as_object()?;
        let count = |object: Option<&Value<'_>>, name: &str| {
            object.and_then(Value::as_object).and_then(|object| whole(object.get(name)?)).unwrap_or(0)
        };
        let usage = object.get("usage");
        let details = usage.and_then(Value::as_object).and_then(|usage| usage.get("prompt_tokens_details"));
        Some(Self {
            text: text(members.get("content")).or_else(|| text(members.get("refusal"))).unwrap_or_default(),
            message: message.to_json(),
            finish_reason: text(choice.get("finish_reason")),
            logprobs: choice.get("logprobs").filter(|value| **value != Value::Null).map(Value::to_json),
            usage: Usage {
                prompt: count(usage, "prompt_tokens"),
                completion: count(usage, "completion_tokens"),
                cached: count(details, "cached_tokens"),
            },
            model: text(object.get("model")),
        })
    }

    /// About how many bytes are held of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.message
            .len()
            .saturating_add(self.text.len())
            .saturating_add(self.logprobs.as_ref().map_or(0, String::len))
    }
}

impl Usage {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
            cached: self.cached.saturating_add(other.cached),
        }
    }

    /// Of the prompt and the answer together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    pub(crate) fn write(self, out: &mut String) {
        out.push_str(&format!(
            "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":{}}}}}",
            self.prompt,
            self.completion,
            self.total(),
            self.cached
        ));
    }
}
