//! The contract: what `x_fanout` may say, and what a request with it may not.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::{
    Code,
    config::duration::Span,
    json::{self, JsonError, Object, Value},
};

use crate::{
    DEPTH, MEMBER, Plan, Policy, Refusal, Streaming,
    isolation::refuse_owned,
    plan::{self, Shared},
};

/// What a body asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing of this kind: it goes on as it is.
    Plain,
    /// Several questions.
    Questions(Settings, Plan),
}

/// What a request says of itself, within what the policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Calls at a time.
    pub parallel: usize,
    /// What one failure means.
    pub on_error: OnError,
    /// The whole request.
    pub deadline: Duration,
    /// One call.
    pub call_deadline: Duration,
    /// What the answers come back as.
    pub format: Format,
    /// One request or several.
    pub strategy: Strategy,
    /// The answer goes out as an event stream; whether with usage.
    pub stream: Option<bool>,
}

/// What one failure means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Nothing: the others are answered.
    #[default]
    Partial,
    /// The whole request fails, at once.
    Fail,
    /// It is asked once more; then as [`OnError::Partial`].
    RetryOnce,
}

/// What the answers come back as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A chat completion with one choice.
    #[default]
    Chat,
    /// A list with the model's message for each question.
    List,
}

/// One request or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// As the policy's estimate says.
    #[default]
    Auto,
    /// One per question.
    Split,
    /// One for all.
    Pack,
}

const MEMBERS: [&str; 7] =
    ["questions", "max_parallel", "on_error", "deadline", "call_deadline", "format", "strategy"];

/// Members that only a list can give back.
const LIST_ONLY: [&str; 4] = ["tools", "functions", "logprobs", "audio"];

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where `x_fanout` is there and breaks the contract or asks for too much, and where
    /// the bytes `x_fanout` are in what is no JSON object.
    pub fn read(body: &[u8], policy: &Policy) -> Result<Self, Refusal> {
        if !contains(body, MEMBER.as_bytes()) {
            return Ok(Self::Plain);
        }
        let mut object = json::parse_object_within(body, DEPTH).map_err(|error| {
            let reason = match error {
                JsonError::TooDeep => format!("nested deeper than {DEPTH} levels"),
                error => format!("{error}"),
            };
            Refusal::invalid(".", reason)
        })?;
        let own = object.take(MEMBER);
        let shared = Shared::find(&mut object)?;
        if own.is_none() && !shared.is_marked() {
            return Ok(Self::Plain);
        }
        let stream = check_members(&mut object, policy)?;
        let mut own = match own {
            None => Object::default(),
            Some(Value::Object(own)) => own,
            Some(_) => return Err(Refusal::invalid(MEMBER, "not an object")),
        };
        let questions = own.take("questions");
        let settings = settings(&own, stream, policy)?;
        check_format(&object, &settings)?;
        let plan = Plan::new(object, shared, questions, policy)?;
        if let Some((at, _)) = plan.too_long(policy.limits.question_tokens) {
            let reason =
                format!("more tokens than the {} that one answer may have", policy.limits.question_tokens);
            return Err(Refusal::invalid(at, reason));
        }
        if plan.tokens() > policy.limits.tokens {
            let reason = format!(
                "{} questions could have {} tokens of answers together; at most {} are allowed",
                plan.questions().len(),
                plan.tokens(),
                policy.limits.tokens
            );
            return Err(Refusal::invalid(plan::TOKENS, reason));
        }
        let bytes = plan.upstream_bytes();
        if bytes > policy.limits.upstream_bytes {
            let most = policy.limits.upstream_bytes;
            let reason =
                format!("its questions with what they share are {bytes} bytes; at most {most} are sent");
            return Err(Refusal::new(Code::FanoutTooLarge, reason));
        }
        Ok(Self::Questions(settings, plan))
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// What a request of several questions may not have. Takes `stream` out.
fn check_members(object: &mut Object<'_>, policy: &Policy) -> Result<Option<bool>, Refusal> {
    refuse_owned(object)?;
    let one = match object.get("n") {
        None | Some(Value::Null) => true,
        Some(Value::Number(text)) => text == "1",
        Some(_) => false,
    };
    if !one {
        return Err(Refusal::invalid("n", "each question has one answer; leave it out or say 1"));
    }
    let options = object.take("stream_options");
    let usage = match &options {
        Some(Value::Object(options)) => options.get("include_usage") == Some(&Value::Bool(true)),
        _ => false,
    };
    match object.take("stream") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) if policy.streaming == Streaming::AtEnd => Ok(Some(usage)),
        Some(Value::Bool(true)) => {
            let reason = "answers to several questions are merged when all are there; leave it out";
            Err(Refusal::invalid("stream", reason))
        }
        Some(_) => Err(Refusal::invalid("stream", "neither true nor false")),
    }
}

fn check_format(object: &Object<'_>, settings: &Settings) -> Result<(), Refusal> {
    if settings.format == Format::List {
        if settings.stream.is_some() {
            return Err(Refusal::invalid("stream", "a list is no stream; leave it out"));
        }
        if settings.strategy == Strategy::Pack {
            let reason = "`pack` gives one text, which is not taken apart; `list` wants `split`";
            return Err(Refusal::invalid("x_fanout.strategy", reason));
        }
        return Ok(());
    }
    let is_set = |name: &&&str| !matches!(object.get(name), None | Some(Value::Null | Value::Bool(false)));
    match LIST_ONLY.iter().find(is_set) {
        Some(name) => {
            let reason = "its answers are more than text; say `\"format\": \"list\"` in `x_fanout`";
            Err(Refusal::invalid(*name, reason))
        }
        None => Ok(()),
    }
}

fn settings(own: &Object<'_>, stream: Option<bool>, policy: &Policy) -> Result<Settings, Refusal> {
    for (name, _) in own.iter() {
        if !MEMBERS.contains(&name) {
            let known: Vec<String> = MEMBERS.iter().map(|name| format!("`{name}`")).collect();
            let reason = format!("has a member that is none of {}", known.join(", "));
            return Err(Refusal::invalid(MEMBER, reason));
        }
    }
    let parallel = match own.get("max_parallel") {
        None => policy.limits.parallel,
        Some(value) => {
            let wanted = whole(value)
                .filter(|wanted| *wanted > 0)
                .ok_or_else(|| Refusal::invalid("x_fanout.max_parallel", "not a whole number from 1"))?;
            usize::try_from(wanted).unwrap_or(usize::MAX).min(policy.limits.parallel)
        }
    };
    let word = |name: &'static str, words: &[&str]| match own.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(|text| words.iter().position(|word| *word == text)) {
            Some(at) => Ok(Some(at)),
            None => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                let reason = format!("not one of {}", words.join(", "));
                Err(Refusal::invalid(format!("{MEMBER}.{name}"), reason))
            }
        },
    };
    let deadline = deadline(own, "deadline", policy.deadlines.total, policy.deadlines.total)?;
    Ok(Settings {
        parallel,
        on_error: match word("on_error", &["partial", "fail", "retry_once"])? {
            None => policy.on_error,
            Some(0) => OnError::Partial,
            Some(1) => OnError::Fail,
            Some(_) => OnError::RetryOnce,
        },
        deadline,
        call_deadline: self::deadline(
            own,
            "call_deadline",
            policy.deadlines.call.min(deadline),
            policy.deadlines.call,
        )?,
        format: match word("format", &["chat", "list"])? {
            Some(1) => Format::List,
            _ => Format::Chat,
        },
        strategy: match word("strategy", &["auto", "split", "pack"])? {
            Some(1) => Strategy::Split,
            Some(2) => Strategy::Pack,
            _ => Strategy::Auto,
        },
        stream,
    })
}

/// A deadline may be shorter than the policy's, and is the policy's where it would be longer.
fn deadline(
    own: &Object<'_>,
    name: &'static str,
    default: Duration,
    most: Duration,
) -> Result<Duration, Refusal> {
    let Some(value) = own.get(name) else { return Ok(default) };
    let span: Option<Span> = value.as_str().and_then(|text| text.parse().ok());
    match span {
        Some(Span(span)) if span >= Duration::from_millis(1) => Ok(span.min(most)),
        _ => {
            let reason = "not a duration such as `500ms` or `30s`, of at least a millisecond";
            Err(Refusal::invalid(format!("{MEMBER}.{name}"), reason))
        }
    }
}

/// A number without sign, fraction and exponent.
pub(crate) fn whole(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
