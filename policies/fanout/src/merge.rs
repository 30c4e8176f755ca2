//! The answers as one, in the order of the questions.

use alloc::{format, string::String};

use portcullis_core::{Code, json};

use crate::{Answered, Failure, Format, Run, Settings, refusal::write_head};

/// What an answer says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    /// Its id, from the caller's randomness.
    pub id: &'h str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The model that the request names.
    pub model: Option<&'h str>,
    /// Whether all questions went out in one request.
    pub packed: bool,
}

/// A reply: its status, its media type and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200, or that of the code.
    pub status: u16,
    /// Why the request failed, where it did.
    pub code: Option<Code>,
    /// `application/json` or `text/event-stream`.
    pub media_type: &'static str,
    /// The body.
    pub body: String,
}

/// Writes what `run` has come to.
#[must_use]
pub fn reply(run: &Run, settings: &Settings, head: Head<'_>) -> Reply {
    if let Some(code) = run.failure() {
        let (failed, count) = (run.failures(), run.results().count());
        let reason = match code {
            Code::FanoutTimeout => format!("{failed} of {count} questions were not answered in time"),
            _ => format!("{failed} of {count} questions were not answered"),
        };
        let mut body = String::new();
        write_head(code, &reason, None, &mut body);
        body.push(',');
        write_summary(run, head.packed, &mut body);
        body.push('}');
        return Reply { status: code.status(), code: Some(code), media_type: JSON, body };
    }
    let (media_type, body) = match (settings.format, settings.stream) {
        (Format::List, _) => (JSON, list(run, head)),
        (Format::Chat, None) => (JSON, chat(run, head)),
        (Format::Chat, Some(usage)) => ("text/event-stream", events(run, head, usage)),
    };
    Reply { status: 200, code: None, media_type, body }
}

const JSON: &str = "application/json";

/// One choice, with every answer after the number of its question.
fn chat(run: &Run, head: Head<'_>) -> String {
    let mut out = String::new();
    write_start("chat.completion", run, head, &mut out);
    out.push_str(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    json::write_string(&text(run, head.packed), &mut out);
    out.push_str("},\"finish_reason\":");
    json::write_string(finish_reason(run), &mut out);
    out.push_str("}],\"usage\":");
    run.usage().write(&mut out);
    out.push(',');
    write_summary(run, head.packed, &mut out);
    out.push('}');
    out
}

/// The model's message for each question.
fn list(run: &Run, head: Head<'_>) -> String {
    let mut out = String::new();
    write_start("x_fanout.list", run, head, &mut out);
    out.push_str(",\"data\":[");
    for (index, result) in run.results().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_item(index, result, true, &mut out);
    }
    out.push_str("],\"usage\":");
    run.usage().write(&mut out);
    out.push(',');
    out.push_str(&format!("\"failed\":{}}}", run.failures()));
    out
}

/// The same as [`chat`], as the events that a client of a stream waits for.
fn events(run: &Run, head: Head<'_>, usage: bool) -> String {
    let mut out = String::new();
    let mut event = |rest: &str| {
        out.push_str("data: ");
        write_start("chat.completion.chunk", run, head, &mut out);
        out.push_str(rest);
        out.push_str("}\n\n");
    };
    let mut delta = String::from(",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":");
    json::write_string(&text(run, head.packed), &mut delta);
    delta.push_str("},\"finish_reason\":null}]");
    event(&delta);
    let mut last = format!(
        ",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{}\"}}],",
        finish_reason(run)
    );
    write_summary(run, head.packed, &mut last);
    event(&last);
    if usage {
        let mut total = String::from(",\"choices\":[],\"usage\":");
        run.usage().write(&mut total);
        event(&total);
    }
    out.push_str("data: [DONE]\n\n");
    out
}

fn write_start(object: &str, run: &Run, head: Head<'_>, out: &mut String) {
    out.push_str("{\"id\":");
    json::write_string(head.id, out);
    out.push_str(&format!(",\"object\":\"{object}\",\"created\":{}", head.created));
    let model = run.results().flatten().find_map(|answered| answered.model.as_deref()).or(head.model);
    if let Some(model) = model {
        out.push_str(",\"model\":");
        json::write_string(model, out);
    }
}

/// What became of each question, without its text.
fn write_summary(run: &Run, packed: bool, out: &mut String) {
    out.push_str(&format!("\"x_fanout\":{{\"packed\":{packed},\"failed\":{},\"answers\":[", run.failures()));
    for (index, result) in run.results().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_item(index, result, false, out);
    }
    out.push_str("]}");
}

fn write_item(index: usize, result: Result<&Answered, Failure>, whole: bool, out: &mut String) {
    out.push_str(&format!("{{\"index\":{index},\"status\":"));
    match result {
        Ok(answered) => {
            out.push_str("\"ok\"");
            if whole {
                out.push_str(",\"message\":");
                out.push_str(&answered.message);
                if let Some(logprobs) = &answered.logprobs {
                    out.push_str(",\"logprobs\":");
                    out.push_str(logprobs);
                }
            }
            out.push_str(",\"finish_reason\":");
            match &answered.finish_reason {
                Some(reason) => json::write_string(reason, out),
                None => out.push_str("null"),
            }
            out.push_str(",\"usage\":");
            answered.usage.write(out);
        }
        Err(failure) => {
            json::write_string(failure.kind.as_str(), out);
            out.push_str(",\"error\":{\"code\":");
            json::write_string(failure.kind.as_str(), out);
            out.push_str(",\"message\":");
            json::write_string(failure.kind.message(), out);
            if let Some(status) = failure.status {
                out.push_str(&format!(",\"upstream_status\":{status}"));
            }
            out.push('}');
        }
    }
    out.push('}');
}

fn text(run: &Run, packed: bool) -> String {
    let mut out = String::new();
    for (index, result) in run.results().enumerate() {
        if index > 0 {
            out.push_str("\n\n");
        }
        if !packed {
            out.push_str(&format!("[{}] ", index.saturating_add(1)));
        }
        match result {
            Ok(answered) => out.push_str(&answered.text),
            Err(failure) => out.push_str(&format!("(no answer: {})", failure.kind.message())),
        }
    }
    out
}

/// `length` where any answer was cut, so that a client that looks for it sees it.
fn finish_reason(run: &Run) -> &'static str {
    let reasons = || run.results().flatten().filter_map(|answered| answered.finish_reason.as_deref());
    if reasons().any(|reason| reason == "length") {
        "length"
    } else if reasons().any(|reason| reason == "content_filter") {
        "content_filter"
    } else {
        "stop"
    }
}
