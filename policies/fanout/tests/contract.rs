//! The contract: what is taken, what is refused and where, and which bodies come out.

use portcullis_fanout::{Asked, Format, OnError, Plan, Policy, Settings, Strategy};
use serde_json::{Value, json};

fn policy(change: &Value) -> Policy {
    let mut document = json!({
        "provider": {"cluster": "model", "authority": "model.example"},
        "isolation": {"key": {"value": "a2V5IG9mIGF0IGxlYXN0IHRoaXJ0eS10d28gYnl0ZXM="}},
    });
    for (name, value) in change.as_object().unwrap() {
        document[name] = value.clone();
    }
    Policy::from_json(document.to_string().as_bytes(), &|_| None).unwrap()
}

fn read(body: &Value) -> (Settings, Plan) {
    match Asked::read(body.to_string().as_bytes(), &policy(&json!({}))) {
        Ok(Asked::Questions(settings, plan)) => (settings, plan),
        other => panic!("{other:?}"),
    }
}

/// `code param`.
fn refusal(body: &Value, policy: &Policy) -> String {
    match Asked::read(body.to_string().as_bytes(), policy) {
        Err(refusal) => format!("{} {}", refusal.code(), refusal.param().unwrap_or("-")),
        Ok(taken) => format!("{taken:?}"),
    }
}

fn members() -> Vec<(String, String)> {
    vec![("cache_salt".into(), "s".into()), ("user".into(), "u".into())]
}

#[test]
fn a_listed_question_becomes_a_request_with_what_is_shared_before_it() {
    let (settings, plan) = read(&json!({
        "model": "m", "temperature": 0.10, "max_tokens": 50,
        "messages": [{"role": "system", "content": "Be brief."}],
        "x_fanout": {"questions": ["One?", {"content": "Two?", "max_tokens": 7}]},
    }));
    assert_eq!(settings.parallel, 8);
    assert_eq!(
        (settings.format, settings.on_error, settings.strategy),
        (Format::Chat, OnError::Partial, Strategy::Auto)
    );
    assert_eq!(
        plan.body(0, &members()).unwrap(),
        r#"{"messages":[{"content":"Be brief.","role":"system"},{"role":"user","content":"One?"}],"max_tokens":50,"model":"m","temperature":0.1,"cache_salt":"s","user":"u"}"#
    );
    assert_eq!(
        plan.body(1, &[]).unwrap(),
        r#"{"messages":[{"content":"Be brief.","role":"system"},{"role":"user","content":"Two?"}],"max_tokens":7,"model":"m","temperature":0.1}"#
    );
    assert_eq!((plan.body(2, &[]), plan.tokens(), plan.model()), (None, 57, Some("m")));
}

#[test]
fn a_marked_part_becomes_a_request_with_the_other_parts_before_it() {
    let part = |text: &str| json!({"type": "text", "text": text});
    let question = |text: &str| json!({"type": "text", "text": text, "x_fanout": true});
    let (_, plan) = read(&json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [part("The text."), question("One?"), question("Two?"), part("More text.")]},
    ]}));
    assert_eq!(
        plan.body(1, &[]).unwrap(),
        r#"{"messages":[{"content":"Be brief.","role":"system"},{"role":"user","content":[{"text":"The text.","type":"text"},{"text":"More text.","type":"text"},{"text":"Two?","type":"text"}]}],"max_tokens":1024}"#
    );
    assert_eq!(plan.questions().len(), 2);
}

#[test]
fn the_same_request_gives_the_same_bytes_however_it_is_written() {
    let one = br#"{"model":"m","top_p":1,"messages":[],"x_fanout":{"questions":["a"]},"seed":1}"#;
    let two = br#" { "seed" : 1, "x_fanout" : {"questions":["\u0061"]} , "messages" : [ ],"model":"m","top_p":1 } "#;
    let policy = policy(&json!({}));
    let body = |bytes: &[u8]| match Asked::read(bytes, &policy).unwrap() {
        Asked::Questions(_, plan) => plan.body(0, &[]),
        Asked::Plain => None,
    };
    assert_eq!(body(one), body(two));
    assert!(body(one).is_some());
}

#[test]
fn what_does_not_say_x_fanout_is_plain_whatever_it_is() {
    let policy = policy(&json!({}));
    for body in [
        &b""[..],
        b"\xff\xfe not JSON",
        br#"{"model":"m","user":"me","stream":true,"n":3}"#,
        br#"{"model":"m","messages":[{"role":"user","content":"what is x_fanout?"}]}"#,
        br#"{"metadata":{"x_fanout":{"questions":[]}}}"#,
    ] {
        assert!(matches!(Asked::read(body, &policy), Ok(Asked::Plain)), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn what_breaks_the_contract_is_refused_with_its_place() {
    let policy = policy(&json!({"limits": {"questions": 3, "question_tokens": 100, "tokens": 250}}));
    let with = |name: &str, value: Value| {
        let mut body = json!({"max_tokens": 10, "x_fanout": {"questions": ["a", "b"]}});
        body[name] = value;
        body
    };
    let own = |name: &str, value: Value| with("x_fanout", json!({"questions": ["a"], name: value}));
    let questions = |value: Value| with("x_fanout", json!({"questions": value}));
    let marked = json!({"type": "text", "text": "a", "x_fanout": true});
    for (body, expected) in [
        (with("x_fanout", json!(true)), "x_fanout"),
        (with("x_fanout", json!({})), "x_fanout.questions"),
        (questions(json!("a")), "x_fanout.questions"),
        (questions(json!([])), "x_fanout.questions"),
        (questions(json!(["a", "b", "c", "d"])), "x_fanout.questions"),
        (questions(json!(["a", 1])), "x_fanout.questions[1]"),
        (questions(json!(["a", " "])), "x_fanout.questions[1]"),
        (questions(json!([{"text": "a"}])), "x_fanout.questions[0]"),
        (questions(json!([{"max_tokens": 1}])), "x_fanout.questions[0].content"),
        (questions(json!([{"content": []}])), "x_fanout.questions[0].content"),
        (questions(json!([{"content": ["a"]}])), "x_fanout.questions[0].content"),
        (questions(json!([{"content": "a", "max_tokens": 0}])), "x_fanout.questions[0].max_tokens"),
        (questions(json!([{"content": "a", "max_tokens": 101}])), "x_fanout.questions[0].max_tokens"),
        (own("max_parallel", json!(0)), "x_fanout.max_parallel"),
        (own("max_parallel", json!(1.5)), "x_fanout.max_parallel"),
        (own("on_error", json!("ignore")), "x_fanout.on_error"),
        (own("deadline", json!(30)), "x_fanout.deadline"),
        (own("deadline", json!("0s")), "x_fanout.deadline"),
        (own("call_deadline", json!("soon")), "x_fanout.call_deadline"),
        (own("format", json!("xml")), "x_fanout.format"),
        (own("strategy", json!("best")), "x_fanout.strategy"),
        (own("max_paralel", json!(1)), "x_fanout"),
        (with("max_tokens", json!(0)), "max_tokens"),
        (with("max_tokens", json!("10")), "max_tokens"),
        (with("max_tokens", json!(101)), "x_fanout.questions[0].max_tokens"),
        (with("max_completion_tokens", json!(10)), "max_tokens"),
        (with("messages", json!({})), "messages"),
        (with("messages", json!(["a"])), "messages[0]"),
        (with("messages", json!([{"role": "user", "content": [marked]}])), "x_fanout.questions"),
        (
            with(
                "messages",
                json!([{"role": "user", "content": [marked]}, {"role": "user", "content": "b"}]),
            ),
            "messages[0].content",
        ),
        (with("messages", json!([{"role": "system", "content": [marked]}])), "messages[0].content"),
        (
            with("messages", json!([{"role": "user", "content": [{"type": "text", "x_fanout": 1}]}])),
            "messages[0].content[0].x_fanout",
        ),
        (with("n", json!(2)), "n"),
        (with("stream", json!(true)), "stream"),
        (with("stream", json!("yes")), "stream"),
        (with("tools", json!([{}])), "tools"),
        (with("logprobs", json!(true)), "logprobs"),
        (with("user", json!("me")), "user"),
        (with("cache_salt", json!("another tenant's")), "cache_salt"),
        (with("prompt_cache_key", json!("k")), "prompt_cache_key"),
        (with("safety_identifier", Value::Null), "safety_identifier"),
        (with("cache", json!({"namespace": "globex"})), "cache"),
    ] {
        assert_eq!(refusal(&body, &policy), format!("FANOUT_INVALID {expected}"), "{body}");
    }
    let body = json!({"max_tokens": 100, "x_fanout": {"questions": ["a", "b", "c"]}});
    assert_eq!(refusal(&body, &policy), "FANOUT_INVALID max_tokens", "together too many tokens");
}

#[test]
fn a_hidden_member_is_found_and_a_double_one_refused() {
    let policy = policy(&json!({}));
    for (body, place) in [
        (r#"{"x_fanout":{"questions":["a"]},"us\u0065r":"me"}"#, "user"),
        (r#"{"x_fanout":{"questions":["a"]},"x_fanout":{}}"#, "."),
        (r#"{"x_fanout":{"questions":["a"],"questions":["b"]}}"#, "."),
        (r#"{"x_fanout":{"questions":["a"]}"#, "."),
        (r#"["x_fanout"]"#, "."),
    ] {
        let refusal = Asked::read(body.as_bytes(), &policy).unwrap_err();
        assert_eq!(refusal.param(), Some(place), "{body}");
    }
}

#[test]
fn a_large_shared_part_times_many_questions_is_refused() {
    let policy = policy(&json!({"limits": {"request_bytes": 4096, "upstream_bytes": 5000}}));
    let body = |count: usize| json!({"messages": [{"role": "user", "content": "x".repeat(2000)}], "x_fanout": {"questions": vec!["a"; count]}});
    assert!(matches!(Asked::read(body(2).to_string().as_bytes(), &policy), Ok(Asked::Questions(..))));
    assert_eq!(refusal(&body(3), &policy), "FANOUT_TOO_LARGE -");
}

#[test]
fn a_request_can_ask_for_less_than_is_allowed_and_not_for_more() {
    let ask = |own: Value| {
        let mut own = own;
        own["questions"] = json!(["a"]);
        read(&json!({"x_fanout": own})).0
    };
    let less = ask(json!({"max_parallel": 2, "deadline": "5s", "call_deadline": "2s", "on_error": "fail"}));
    assert_eq!((less.parallel, less.deadline.as_secs(), less.call_deadline.as_secs()), (2, 5, 2));
    assert_eq!(less.on_error, OnError::Fail);
    let more = ask(json!({"max_parallel": 1000, "deadline": "1h", "call_deadline": "1h"}));
    assert_eq!((more.parallel, more.deadline.as_secs(), more.call_deadline.as_secs()), (8, 60, 30));
}

#[test]
fn a_stream_is_taken_where_the_policy_says_so() {
    let policy = policy(&json!({"streaming": "at_end"}));
    let body = |usage: bool| json!({"stream": true, "stream_options": {"include_usage": usage}, "x_fanout": {"questions": ["a"]}});
    for usage in [false, true] {
        let Ok(Asked::Questions(settings, plan)) = Asked::read(body(usage).to_string().as_bytes(), &policy)
        else {
            panic!("refused")
        };
        assert_eq!(settings.stream, Some(usage));
        assert!(!plan.body(0, &[]).unwrap().contains("stream"));
    }
}

#[test]
fn all_questions_go_in_one_request_where_they_are_text() {
    let (_, plan) =
        read(&json!({"max_tokens": 10, "x_fanout": {"questions": ["One?", "Two?"], "strategy": "pack"}}));
    let packed: Value = serde_json::from_str(&plan.packed(&members()).unwrap()).unwrap();
    assert_eq!(packed["max_tokens"], 20);
    assert_eq!(packed["user"], "u");
    let text = packed["messages"][0]["content"].as_str().unwrap();
    assert!(text.contains("[1] One?") && text.contains("[2] Two?"), "{text}");
    let image = json!([{"type": "image_url", "image_url": {"url": "data:"}}]);
    let (_, plan) = read(&json!({"x_fanout": {"questions": ["One?", {"content": image}]}}));
    assert_eq!(plan.packed(&[]), None);
}

/// Every request that is taken gives bodies that are JSON, keep the order, share what comes before
/// the question, and have each member once.
#[test]
fn bodies_of_any_request_are_whole() {
    let mut random = 7_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let texts = ["a", "\"quoted\"", "line\nbreak", "\u{1f600}", "\\", "}],\"user\":\"mallory\",\"x\":[{"];
    let policy = policy(&json!({}));
    for _ in 0..500 {
        let mut text = || texts[next(texts.len() as u64) as usize].to_owned();
        let questions: Vec<String> = (0..5).map(|_| text()).collect();
        let shared: Vec<Value> = (0..3).map(|_| json!({"role": "user", "content": text()})).collect();
        let body = json!({"model": text(), "stop": [text()], "messages": shared, "x_fanout": {"questions": questions}});
        let Ok(Asked::Questions(_, plan)) = Asked::read(body.to_string().as_bytes(), &policy) else {
            panic!("{body}")
        };
        for (at, question) in questions.iter().enumerate() {
            let written = plan.body(at, &members()).unwrap();
            let parsed: Value = serde_json::from_str(&written).unwrap();
            assert_eq!(parsed["messages"].as_array().unwrap()[..3], shared[..]);
            assert_eq!(parsed["messages"][3], json!({"role": "user", "content": question}));
            assert_eq!((&parsed["model"], &parsed["stop"]), (&body["model"], &body["stop"]));
            assert_eq!(parsed["user"], "u");
            assert_eq!(parsed.as_object().unwrap().len(), 6);
            assert!(
                portcullis_core::json::parse_object(written.as_bytes()).is_ok(),
                "a member is there twice"
            );
            assert_eq!(written[..plan.shared_bytes()], plan.body(0, &[]).unwrap()[..plan.shared_bytes()]);
        }
    }
}

/// Bytes changed, lost and doubled at random: nothing panics, and what is still taken gives JSON.
#[test]
fn a_damaged_request_is_refused_or_whole() {
    let mut random = 3_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let policy = policy(&json!({"streaming": "at_end"}));
    let whole = json!({
        "model": "m", "max_tokens": 9, "stream": false,
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "shared"}, {"type": "text", "text": "a", "x_fanout": true}]}],
        "x_fanout": {"max_parallel": 2, "deadline": "5s", "format": "list"},
    })
    .to_string()
    .into_bytes();
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut body = whole.clone();
        for _ in 0..=next(3) {
            let at = next(body.len());
            match next(3) {
                0 => body[at] = [b'"', b'{', b'}', b',', b'0', b'\\', 0xff, b'a'][next(8)],
                1 => drop(body.remove(at)),
                _ => body.insert(at, body[at]),
            }
        }
        if let Ok(Asked::Questions(_, plan)) = Asked::read(&body, &policy) {
            taken += 1;
            let written = plan.body(0, &members()).unwrap();
            assert!(serde_json::from_str::<Value>(&written).is_ok(), "{written}");
        }
    }
    assert!(taken > 1000, "{taken}");
}

/// A default gives way to what is configured, and is not contradicted by it.
#[test]
fn one_setting_alone_is_a_whole_configuration() {
    for change in [
        json!({"limits": {"requests": 2}}),
        json!({"limits": {"question_tokens": 100_000}}),
        json!({"limits": {"question_tokens": 10}}),
        json!({"limits": {"request_bytes": 16_777_216}}),
        json!({"limits": {"questions": 256}}),
        json!({"deadlines": {"total": "5s"}}),
        json!({"allowance": {"questions": 1, "per": "1m"}}),
    ] {
        policy(&change);
    }
}
