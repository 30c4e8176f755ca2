//! A language model for tests: an endpoint of chat completions that writes one token after the other,
//! many answers at a time, and that fails in every way a provider does.
//!
//! A question says what becomes of it, in double square brackets: `[[tokens 200]]` is the length of
//! the answer, `[[slow 5]]` makes it that many times slower, `[[status 500]]`, `[[hang]]`,
//! `[[malformed]]` and `[[large 2000000]]` fail, `[[first 429]]` fails the first time only.
//!
//! [`Script`] is what it says, [`Server`] says it on loopback in real time; under a virtual clock
//! [`Script::delay`] is when it would have said it.

mod server;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

pub use server::{Served, Server};

/// How fast a model is.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Until the first token.
    pub first: Duration,
    /// For each token, as long as the batch is not full.
    pub token: Duration,
    /// Answers that are written at a time without being slower; beyond it they share.
    pub knee: usize,
    /// Requests at a time; more are refused with 429.
    pub limit: usize,
}

impl Default for Speed {
    fn default() -> Self {
        Self { first: Duration::from_millis(20), token: Duration::from_millis(2), knee: 8, limit: 1000 }
    }
}

/// What a model does with one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Tokens that it writes.
    pub tokens: u64,
    /// How many times slower than its speed.
    pub slow: u32,
    /// Nothing is ever answered.
    pub hangs: bool,
    /// The answer's status.
    pub status: u16,
    /// Headers beside its type.
    pub headers: Vec<(&'static str, String)>,
    /// The answer's body.
    pub body: Vec<u8>,
}

/// What a model remembers: which questions failed already.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, u32>>);

impl Script {
    /// Reads a request.
    #[must_use]
    pub fn read(body: &[u8], memory: &Memory) -> Self {
        let Ok(request) = serde_json::from_slice::<Value>(body) else { return Self::refusal(400) };
        let question =
            request["messages"].as_array().and_then(|all| all.last()).map(|last| text(&last["content"]));
        let Some(question) = question else { return Self::refusal(400) };
        let said =
            |name: &str| directives(&question).into_iter().find(|(own, _)| own == name).map(|(_, n)| n);
        let most = request["max_tokens"].as_u64().or(request["max_completion_tokens"].as_u64()).unwrap_or(16);
        let lengths: u64 =
            directives(&question).iter().filter(|(name, _)| name == "tokens").map(|(_, n)| n).sum();
        let tokens = if lengths == 0 { 16 } else { lengths }.min(most);
        let mut script = Self::answer(&request, &question, tokens);
        script.slow = said("slow").map_or(1, |n| u32::try_from(n).unwrap_or(1));
        script.hangs = said("hang").is_some();
        if let Some(status) = said("first") {
            let mut seen = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
            let times = seen.entry(question.clone()).or_default();
            *times += 1;
            if *times == 1 {
                return Self::refusal(u16::try_from(status).unwrap_or(500));
            }
        }
        if let Some(status) = said("status") {
            return Self::refusal(u16::try_from(status).unwrap_or(500));
        }
        if said("malformed").is_some() {
            script.body = b"{\"choices\": [".to_vec();
        }
        if let Some(bytes) = said("large") {
            let text = "x".repeat(usize::try_from(bytes).unwrap_or(0));
            script.body =
                json!({"choices": [{"message": {"role": "assistant", "content": text}}]}).to_string().into();
        }
        script
    }

    /// A refusal, which takes no time. Its text is nobody's business.
    #[must_use]
    pub fn refusal(status: u16) -> Self {
        let headers = if status == 429 { vec![("retry-after", "1".to_owned())] } else { Vec::new() };
        let body = json!({"error": {"message": "internal detail sk-secret"}}).to_string().into_bytes();
        Self { tokens: 0, slow: 1, hangs: false, status, headers, body }
    }

    fn answer(request: &Value, question: &str, tokens: u64) -> Self {
        let prompt: usize = request["messages"].to_string().len().div_ceil(4);
        let finish = if request["max_tokens"].as_u64() == Some(tokens) { "length" } else { "stop" };
        let body = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": request["model"],
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": format!("answer to {question}")},
                "finish_reason": finish,
            }],
            "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt as u64 + tokens},
        });
        Self {
            tokens,
            slow: 1,
            hangs: false,
            status: 200,
            headers: Vec::new(),
            body: body.to_string().into(),
        }
    }

    /// How long it takes with `active` others; nothing where it never ends.
    #[must_use]
    pub fn delay(&self, speed: Speed, active: usize) -> Option<Duration> {
        if self.hangs {
            return None;
        }
        if self.status != 200 {
            return Some(Duration::from_millis(1));
        }
        let tokens = u32::try_from(self.tokens).unwrap_or(u32::MAX);
        let batch = (active + 1).max(speed.knee) as f64 / speed.knee as f64;
        Some((speed.first + (speed.token * tokens).mul_f64(batch)) * self.slow)
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// `[[name number]]`, or `[[name]]`.
fn directives(text: &str) -> Vec<(String, u64)> {
    let marked = text.split("[[").skip(1).filter_map(|rest| rest.split("]]").next());
    marked
        .map(|marked| {
            let (name, number) = marked.split_once(' ').unwrap_or((marked, ""));
            (name.to_owned(), number.parse().unwrap_or(1))
        })
        .collect()
}
