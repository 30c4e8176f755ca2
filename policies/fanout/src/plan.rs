//! The bodies that are made of one body: what all share comes first, byte for byte the same, so that
//! a cache of prompts finds it again.

use alloc::{format, string::String, vec::Vec};

use portcullis_core::json::{self, Object, Value};

use crate::{MEMBER, Policy, Refusal, contract::whole};

/// The member that bounds an answer, where the request has no other.
pub(crate) const TOKENS: &str = "max_tokens";
/// What newer models call it.
const NEWER_TOKENS: &str = "max_completion_tokens";

/// The shared messages, and the questions that are marked in the last of them.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    messages: Vec<Value<'a>>,
    /// Marked parts, in order.
    marked: Vec<Value<'a>>,
}

impl<'a> Shared<'a> {
    /// Takes the messages out of `object`, and the marked parts out of the last message.
    pub(crate) fn find(object: &mut Object<'a>) -> Result<Self, Refusal> {
        let messages = match object.take("messages") {
            None => Vec::new(),
            Some(Value::Array(messages)) => messages,
            Some(_) => return Err(Refusal::invalid("messages", "not an array")),
        };
        let last = messages.len().saturating_sub(1);
        let mut shared = Self { messages: Vec::with_capacity(messages.len()), marked: Vec::new() };
        for (at, message) in messages.into_iter().enumerate() {
            let Value::Object(mut message) = message else {
                return Err(Refusal::invalid(format!("messages[{at}]"), "not an object"));
            };
            if let Some(Value::Array(parts)) = message.get("content")
                && parts.iter().any(is_marked)
            {
                let place = format!("messages[{at}].content");
                if at != last || message.get("role").and_then(Value::as_str) != Some("user") {
                    let reason = "questions are marked in the last message, and it is the user's";
                    return Err(Refusal::invalid(place, reason));
                }
                let Some(Value::Array(parts)) = message.take("content") else { continue };
                let rest = shared.take_marked(parts, &place)?;
                message = with(message, "content", Value::Array(rest));
            }
            shared.messages.push(Value::Object(message));
        }
        Ok(shared)
    }

    pub(crate) fn is_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    fn take_marked(&mut self, parts: Vec<Value<'a>>, place: &str) -> Result<Vec<Value<'a>>, Refusal> {
        let mut rest = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            match part {
                Value::Object(mut part) => match part.take(MEMBER) {
                    None => rest.push(Value::Object(part)),
                    Some(Value::Bool(true)) => self.marked.push(Value::Object(part)),
                    Some(_) => {
                        let place = format!("{place}[{at}].{MEMBER}");
                        return Err(Refusal::invalid(place, "a question is marked with `true`"));
                    }
                },
                part => rest.push(part),
            }
        }
        Ok(rest)
    }
}

fn is_marked(part: &Value<'_>) -> bool {
    part.as_object().is_some_and(|part| part.get(MEMBER).is_some())
}

fn with<'a>(object: Object<'a>, name: &'a str, value: Value<'a>) -> Object<'a> {
    object.with(name.into(), value)
}

/// The requests that a request becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Up to the question: the same for each.
    head: String,
    /// What ends the messages.
    end: &'static str,
    /// The member that bounds an answer.
    tokens_member: &'static str,
    /// The other members, each with its comma before it.
    rest: String,
    questions: Vec<Question>,
    model: Option<String>,
    marked: bool,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As JSON: a string, parts, or one part.
    content: String,
    /// For packing: its text, where it has nothing but text.
    text: Option<String>,
    max_tokens: u64,
}

impl Question {
    /// Bytes of its content.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.content.len()
    }

    /// Tokens that its answer may have.
    #[must_use]
    pub const fn max_tokens(&self) -> u64 {
        self.max_tokens
    }
}

impl Plan {
    pub(crate) fn new(
        mut object: Object<'_>,
        shared: Shared<'_>,
        listed: Option<Value<'_>>,
        policy: &Policy,
    ) -> Result<Self, Refusal> {
        const LIST: &str = "x_fanout.questions";
        let (tokens_member, tokens) = tokens(&mut object)?;
        let default = tokens.unwrap_or(policy.limits.default_tokens);
        let marked = shared.is_marked();
        let questions = match (listed, marked) {
            (Some(_), true) => {
                return Err(Refusal::invalid(LIST, "there are marked content parts too; say it in one way"));
            }
            (None, false) => return Err(Refusal::invalid(LIST, "missing, and no content part is marked")),
            (None, true) => shared.marked.iter().map(|part| Ok(Question::part(part, default))).collect(),
            (Some(Value::Array(listed)), false) => {
                let read = |(at, value)| Question::listed(value, &format!("{LIST}[{at}]"), default);
                listed.iter().enumerate().map(read).collect()
            }
            (Some(_), false) => Err(Refusal::invalid(LIST, "not an array")),
        };
        let questions: Vec<Question> = questions?;
        if questions.is_empty() {
            return Err(Refusal::invalid(LIST, "empty; at least one question is needed"));
        }
        if questions.len() > policy.limits.questions {
            let (count, most) = (questions.len(), policy.limits.questions);
            return Err(Refusal::invalid(LIST, format!("{count} questions; at most {most} are allowed")));
        }
        let model = object.get("model").and_then(Value::as_str).map(Into::into);
        let (head, end) = head(shared.messages, marked);
        let mut members: Vec<_> = object.iter().filter(|(name, _)| *name != "n").collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        let mut rest = String::new();
        for (name, value) in members {
            rest.push(',');
            json::write_string(name, &mut rest);
            rest.push(':');
            rest.push_str(&value.to_json());
        }
        Ok(Self { head, end, tokens_member, rest, questions, model, marked })
    }

    /// The questions in their order.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The model that the request names.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Bytes of what all questions share.
    #[must_use]
    pub const fn shared_bytes(&self) -> usize {
        self.head.len()
    }

    /// Tokens that all answers together may have.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.questions.iter().map(Question::max_tokens).fold(0, u64::saturating_add)
    }

    /// Bytes of all bodies, but for what the gateway adds.
    #[must_use]
    pub fn upstream_bytes(&self) -> usize {
        let each = self.head.len().saturating_add(self.rest.len());
        self.questions
            .iter()
            .fold(0, |sum, question| usize::saturating_add(sum, each.saturating_add(question.bytes())))
    }

    /// The first question whose answer may be longer than `most`: its place, and how long.
    pub(crate) fn too_long(&self, most: u64) -> Option<(String, u64)> {
        let at = self.questions.iter().position(|question| question.max_tokens > most)?;
        let tokens = self.questions.get(at)?.max_tokens;
        Some((format!("{MEMBER}.questions[{at}].{TOKENS}"), tokens))
    }

    /// The body that asks the question at `index`, with `members` of the gateway's own. The same
    /// request gives the same bytes.
    #[must_use]
    pub fn body(&self, index: usize, members: &[(String, String)]) -> Option<String> {
        let question = self.questions.get(index)?;
        Some(self.write(&question.content, self.end, question.max_tokens, members))
    }

    /// One body that asks all questions; `None` where one of them is more than text.
    #[must_use]
    pub fn packed(&self, members: &[(String, String)]) -> Option<String> {
        let mut text = String::from(
            "Answer each of the following questions by itself, in order. Begin each answer with its number in square \
             brackets.\n",
        );
        for (at, question) in self.questions.iter().enumerate() {
            text.push_str(&format!("\n[{}] {}\n", at.saturating_add(1), question.text.as_ref()?));
        }
        let mut content = String::new();
        if self.marked {
            content.push_str("{\"type\":\"text\",\"text\":");
        }
        json::write_string(&text, &mut content);
        if self.marked {
            content.push('}');
        }
        Some(self.write(&content, self.end, self.tokens(), members))
    }

    fn write(&self, content: &str, end: &str, tokens: u64, members: &[(String, String)]) -> String {
        let mut out = String::with_capacity(
            self.head.len().saturating_add(self.rest.len()).saturating_add(content.len()).saturating_add(256),
        );
        out.push_str(&self.head);
        out.push_str(content);
        out.push_str(end);
        out.push_str(&format!(",\"{}\":{tokens}", self.tokens_member));
        out.push_str(&self.rest);
        for (name, value) in members {
            out.push(',');
            json::write_string(name, &mut out);
            out.push(':');
            json::write_string(value, &mut out);
        }
        out.push('}');
        out
    }
}

/// Takes what bounds an answer out of `object`.
fn tokens(object: &mut Object<'_>) -> Result<(&'static str, Option<u64>), Refusal> {
    let (newer, older) = (object.take(NEWER_TOKENS), object.take(TOKENS));
    let (member, value) = match (newer, older) {
        (Some(_), Some(_)) => {
            let reason = "there is `max_completion_tokens` too; say it in one way";
            return Err(Refusal::invalid(TOKENS, reason));
        }
        (Some(value), None) => (NEWER_TOKENS, value),
        (None, Some(value)) => (TOKENS, value),
        (None, None) => return Ok((TOKENS, None)),
    };
    match whole(&value) {
        Some(tokens) if tokens > 0 => Ok((member, Some(tokens))),
        _ => Err(Refusal::invalid(member, "not a whole number from 1")),
    }
}

/// Everything before the question, and what closes it.
fn head(mut messages: Vec<Value<'_>>, marked: bool) -> (String, &'static str) {
    let mut out = String::from("{\"messages\":[");
    let last = if marked { messages.pop() } else { None };
    for message in &messages {
        out.push_str(&message.to_json());
        out.push(',');
    }
    let Some(Value::Object(mut message)) = last else {
        out.push_str("{\"role\":\"user\",\"content\":");
        return (out, "}]");
    };
    // The parts that the questions share stand before each of them.
    let parts = message.take("content");
    let mut members: Vec<_> = message.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (name, value) in members {
        json::write_string(name, &mut out);
        out.push(':');
        out.push_str(&value.to_json());
        out.push(',');
    }
    out.push_str("\"content\":[");
    for part in parts.iter().filter_map(Value::as_array).flatten() {
        out.push_str(&part.to_json());
        out.push(',');
    }
    (out, "]}]")
}

impl Question {
    fn part(part: &Value<'_>, max_tokens: u64) -> Self {
        let is_text = |part: &Object<'_>| part.get("type").and_then(Value::as_str) == Some("text");
        let text = part.as_object().filter(|part| is_text(part)).and_then(|part| part.get("text")?.as_str());
        Self { content: part.to_json(), text: text.map(Into::into), max_tokens }
    }

    fn listed(value: &Value<'_>, place: &str, default: u64) -> Result<Self, Refusal> {
        match value {
            Value::String(_) => Self::content(value, place, default),
            Value::Object(object) => {
                let mut tokens = default;
                let mut content = None;
                for (name, value) in object.iter() {
                    match name {
                        "content" => content = Some(value),
                        TOKENS => {
                            tokens = whole(value).filter(|tokens| *tokens > 0).ok_or_else(|| {
                                Refusal::invalid(format!("{place}.{TOKENS}"), "not a whole number from 1")
                            })?;
                        }
                        _ => {
                            let reason = "has a member that is none of `content`, `max_tokens`";
                            return Err(Refusal::invalid(String::from(place), reason));
                        }
                    }
                }
                let content =
                    content.ok_or_else(|| Refusal::invalid(format!("{place}.content"), "missing"))?;
                Self::content(content, &format!("{place}.content"), tokens)
            }
            _ => Err(Refusal::invalid(String::from(place), "neither a text nor an object with `content`")),
        }
    }

    fn content(value: &Value<'_>, place: &str, max_tokens: u64) -> Result<Self, Refusal> {
        let is_empty = match value {
            Value::String(text) => text.trim().is_empty(),
            Value::Array(parts) => parts.is_empty() || !parts.iter().all(|part| part.as_object().is_some()),
            _ => true,
        };
        if is_empty {
            return Err(Refusal::invalid(String::from(place), "neither a text nor a list of content parts"));
        }
        Ok(Self { content: value.to_json(), text: value.as_str().map(Into::into), max_tokens })
    }
}
