//! Which question is asked when, what each failure means, and how the answers are merged.

use std::time::Duration;

use portcullis_core::Code;
use portcullis_fanout::{
    FailureKind, Format, Incoming, Limit, OnError, Run, Settings, Start, Strategy,
    merge::{self, Head},
};
use serde_json::{Value, json};

fn settings(on_error: OnError) -> Settings {
    Settings {
        parallel: 2,
        on_error,
        deadline: Duration::from_secs(10),
        call_deadline: Duration::from_secs(4),
        format: Format::Chat,
        strategy: Strategy::Auto,
        stream: None,
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn completion(text: &str) -> Vec<u8> {
    json!({
        "model": "m-1",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13,
                  "prompt_tokens_details": {"cached_tokens": 4}},
    })
    .to_string()
    .into_bytes()
}

fn status(status: u16) -> Incoming<'static> {
    Incoming::Answer { status, retry_after: None, body: Some(b"{}") }
}

fn answer(run: &mut Run, index: usize, text: &str, now: Duration) {
    let body = completion(text);
    run.answered(index, Incoming::Answer { status: 200, retry_after: None, body: Some(&body) }, now);
}

fn kinds(run: &Run) -> Vec<&'static str> {
    run.results().map(|result| result.map_or_else(|failure| failure.kind.as_str(), |_| "ok")).collect()
}

fn merged(run: &Run, settings: &Settings) -> merge::Reply {
    merge::reply(run, settings, Head { id: "fanout-1", created: 5, model: Some("m"), packed: false })
}

#[test]
fn the_next_question_starts_as_one_ends_and_the_order_stays() {
    let settings = settings(OnError::Partial);
    let mut run = Run::new(3, &settings, at(100));
    let timeout = at(4);
    assert_eq!(run.next(at(100)), Ok(Start { index: 0, timeout }));
    assert_eq!(run.next(at(100)), Ok(Start { index: 1, timeout }));
    assert_eq!(run.next(at(100)), Err(Limit::Parallel));
    answer(&mut run, 1, "two", at(101));
    assert_eq!(run.next(at(108)), Ok(Start { index: 2, timeout: at(2) }));
    answer(&mut run, 2, "three", at(102));
    answer(&mut run, 0, "one", at(103));
    assert!(run.is_over(at(103)));
    let reply = merged(&run, &settings);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((reply.status, reply.code), (200, None));
    assert_eq!(body["choices"][0]["message"]["content"], "[1] one\n\n[2] two\n\n[3] three");
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("m-1")));
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39,
               "prompt_tokens_details": {"cached_tokens": 12}})
    );
}

#[test]
fn a_list_has_the_models_message_or_the_error_of_each() {
    let settings = Settings { format: Format::List, ..settings(OnError::Partial) };
    let mut run = Run::new(2, &settings, at(0));
    run.next(at(0)).unwrap();
    run.next(at(0)).unwrap();
    run.answered(0, status(500), at(1));
    answer(&mut run, 1, "two", at(1));
    let body: Value = serde_json::from_str(&merged(&run, &settings).body).unwrap();
    assert_eq!(body["object"], "x_fanout.list");
    assert_eq!(body["failed"], 1);
    assert_eq!(
        body["data"][0],
        json!({"index": 0, "status": "unavailable", "error": {
            "code": "unavailable", "message": "The provider could not be reached.", "upstream_status": 500}})
    );
    assert_eq!(body["data"][1]["message"], json!({"role": "assistant", "content": "two"}));
    assert_eq!(body["data"][1]["usage"]["total_tokens"], 13);
}

#[test]
fn every_failure_has_its_name_and_none_of_the_providers_words() {
    let secret = br#"{"error":{"message":"bad key sk-secret"}}"#;
    let cases: [(Incoming<'_>, FailureKind); 8] = [
        (Incoming::Reset, FailureKind::Unavailable),
        (Incoming::Answer { status: 503, retry_after: None, body: Some(secret) }, FailureKind::Unavailable),
        (Incoming::Answer { status: 429, retry_after: None, body: Some(secret) }, FailureKind::RateLimited),
        (Incoming::Answer { status: 401, retry_after: None, body: Some(secret) }, FailureKind::Upstream),
        (Incoming::Answer { status: 504, retry_after: None, body: Some(secret) }, FailureKind::Timeout),
        (Incoming::Answer { status: 200, retry_after: None, body: None }, FailureKind::TooLarge),
        (
            Incoming::Answer { status: 200, retry_after: None, body: Some(b"{\"choices\":[") },
            FailureKind::Malformed,
        ),
        (
            Incoming::Answer { status: 200, retry_after: None, body: Some(b"{\"choices\":[]}") },
            FailureKind::Malformed,
        ),
    ];
    for (incoming, kind) in cases {
        let settings = settings(OnError::Partial);
        let mut run = Run::new(2, &settings, at(0));
        run.next(at(0)).unwrap();
        run.next(at(0)).unwrap();
        run.answered(0, incoming, at(1));
        answer(&mut run, 1, "two", at(1));
        assert_eq!(kinds(&run), [kind.as_str(), "ok"]);
        let reply = merged(&run, &settings);
        assert_eq!(reply.status, 200);
        assert!(!reply.body.contains("secret"), "{}", reply.body);
        assert!(reply.body.contains("(no answer: "), "{}", reply.body);
    }
}

#[test]
fn an_answer_after_its_time_is_late_whatever_it_says() {
    let settings = settings(OnError::Partial);
    let mut run = Run::new(2, &settings, at(0));
    run.next(at(0)).unwrap();
    run.next(at(0)).unwrap();
    answer(&mut run, 0, "one", at(4));
    answer(&mut run, 1, "two", at(3));
    assert_eq!(kinds(&run), ["timeout", "ok"]);
}

#[test]
fn all_or_nothing_ends_with_the_first_failure() {
    let settings = settings(OnError::Fail);
    let mut run = Run::new(3, &settings, at(0));
    run.next(at(0)).unwrap();
    run.next(at(0)).unwrap();
    run.answered(1, status(400), at(1));
    assert!(run.is_over(at(1)));
    assert_eq!(run.next(at(1)), Err(Limit::Nothing));
    assert_eq!(kinds(&run), ["stopped", "upstream_error", "stopped"]);
    let reply = merged(&run, &settings);
    assert_eq!((reply.status, reply.code), (502, Some(Code::FanoutFailed)));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&body["code"], &body["error"]["type"]), (&json!("FANOUT_FAILED"), &json!("api_error")));
    assert_eq!(body["x_fanout"]["answers"][1]["error"]["upstream_status"], 400);
}

#[test]
fn what_passes_is_asked_again_once_and_what_does_not_is_not() {
    let settings = settings(OnError::RetryOnce);
    let mut run = Run::new(2, &settings, at(0));
    run.next(at(0)).unwrap();
    run.next(at(0)).unwrap();
    run.answered(0, status(503), at(1));
    run.answered(1, status(400), at(1));
    assert_eq!(run.next(at(1)).map(|start| start.index), Ok(0));
    run.answered(0, status(503), at(2));
    assert_eq!(run.next(at(2)), Err(Limit::Nothing));
    assert_eq!((kinds(&run), run.retries()), (vec!["unavailable", "upstream_error"], 1));
    assert_eq!(merged(&run, &settings).status, 502);
}

#[test]
fn a_refused_question_waits_as_long_as_the_provider_says() {
    let settings = settings(OnError::RetryOnce);
    let mut run = Run::new(1, &settings, at(0));
    let limited = |after| Incoming::Answer { status: 429, retry_after: Some(at(after)), body: None };
    run.next(at(0)).unwrap();
    run.answered(0, limited(3), at(1));
    assert_eq!(run.next(at(2)), Err(Limit::Until(at(4))));
    assert_eq!(run.next(at(4)).map(|start| start.index), Ok(0));
    // No time for another try.
    let mut run = Run::new(1, &settings, at(0));
    run.next(at(0)).unwrap();
    run.answered(0, limited(9), at(1));
    assert!(run.is_over(at(1)));
    assert_eq!(kinds(&run), ["rate_limited"]);
}

#[test]
fn the_deadline_ends_what_is_under_way_and_what_was_never_asked() {
    let settings = settings(OnError::Partial);
    let mut run = Run::new(3, &settings, at(0));
    run.next(at(0)).unwrap();
    run.next(at(0)).unwrap();
    answer(&mut run, 0, "one", at(1));
    run.next(at(1)).unwrap();
    assert!(!run.is_over(at(9)));
    assert!(run.is_over(at(10)));
    assert_eq!(kinds(&run), ["ok", "timeout", "timeout"]);
    let nothing = Run::new(2, &settings, at(0));
    assert_eq!(kinds(&nothing), ["not_started", "not_started"]);
    let reply = merged(&nothing, &settings);
    assert_eq!((reply.status, reply.code), (504, Some(Code::FanoutTimeout)));
}

#[test]
fn a_call_without_room_is_made_later() {
    let mut run = Run::new(1, &settings(OnError::Partial), at(0));
    assert_eq!(run.next(at(0)).map(|start| start.index), Ok(0));
    run.put_back(0, at(0));
    assert_eq!(run.next(at(1)).map(|start| start.index), Ok(0));
    // One that was answered is not made again.
    answer(&mut run, 0, "one", at(2));
    run.put_back(0, at(2));
    assert!(run.is_over(at(2)));
}

#[test]
fn an_event_stream_is_the_same_text_and_ends() {
    let settings = Settings { stream: Some(true), ..settings(OnError::Partial) };
    let mut run = Run::new(1, &settings, at(0));
    run.next(at(0)).unwrap();
    answer(&mut run, 0, "one\n\ntwo", at(1));
    let reply = merged(&run, &settings);
    assert_eq!(reply.media_type, "text/event-stream");
    let events: Vec<&str> = reply.body.split_terminator("\n\n").collect();
    let data = |at: usize| serde_json::from_str::<Value>(events[at].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(events.len(), 4);
    assert_eq!(data(0)["choices"][0]["delta"]["content"], "[1] one\n\ntwo");
    assert_eq!(data(0)["object"], "chat.completion.chunk");
    assert_eq!(data(1)["choices"][0]["finish_reason"], "stop");
    assert_eq!(data(2)["usage"]["total_tokens"], 13);
    assert_eq!(events[3], "data: [DONE]");
}

/// Whatever comes back and when: no more calls are under way than may be, each question has a result in
/// its place, the end comes by the deadline, and what is written is JSON.
#[test]
fn any_history_ends_in_a_result_for_each_question() {
    let mut random = 11_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..2000 {
        let on_error = [OnError::Partial, OnError::Fail, OnError::RetryOnce][next(3) as usize];
        let count = 1 + next(6) as usize;
        let settings = Settings { parallel: 1 + next(4) as usize, ..settings(on_error) };
        let mut run = Run::new(count, &settings, at(0));
        let mut now = Duration::ZERO;
        let mut open: Vec<usize> = Vec::new();
        let mut calls = 0;
        while !run.is_over(now) {
            match next(4) {
                0 | 1 => match run.next(now) {
                    Ok(start) => {
                        assert!(start.timeout <= settings.call_deadline);
                        open.push(start.index);
                        calls += 1;
                    }
                    Err(_) => now += Duration::from_millis(500),
                },
                2 if !open.is_empty() => {
                    let index = open.swap_remove(next(open.len() as u64) as usize);
                    match next(5) {
                        0 => run.answered(index, Incoming::Reset, now),
                        1 => run.answered(index, status(429), now),
                        2 => run.answered(index, status(400), now),
                        _ => answer(&mut run, index, &format!("answer {index}"), now),
                    }
                }
                _ => now += Duration::from_millis(next(1000)),
            }
            assert!(run.open() <= settings.parallel);
            assert_eq!(run.open(), open.len(), "round {round}");
        }
        assert!(now <= at(12));
        assert!(calls <= count * if on_error == OnError::RetryOnce { 2 } else { 1 });
        assert_eq!(run.results().count(), count);
        for (index, result) in run.results().enumerate() {
            if let Ok(answered) = result {
                assert_eq!(answered.text, format!("answer {index}"));
            }
        }
        let body: Value = serde_json::from_str(&merged(&run, &settings).body).unwrap();
        assert_eq!(body["x_fanout"]["answers"].as_array().unwrap().len(), count);
    }
}
