//! llm-fanout in the embedded host, in virtual time: what reaches the provider, what the client gets,
//! and that everything that began has ended.

#[path = "fanout/refused_calls.rs"]
mod refused_calls;
#[path = "fanout/stage.rs"]
mod stage;

use std::time::Duration;

use anyhow::Result;
use portcullis_host::{Answer, CallResponse, Headers};
use portcullis_host_tests::model::{Script, Speed};
use serde_json::{Value, json};
use stage::{Stage, body, configuration, questions};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Every status of `x_fanout.answers`.
fn kinds(reply: &Value) -> Vec<&str> {
    let answers = reply["x_fanout"]["answers"].as_array().unwrap();
    answers.iter().map(|answer| answer["status"].as_str().unwrap()).collect()
}

#[test]
fn five_questions_take_as_long_as_one_and_their_answers_stay_in_order() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let asked =
        ["[[tokens 200]] 1", "[[tokens 50]] 2", "[[tokens 120]] 3", "[[tokens 10]] 4", "[[tokens 199]] 5"];
    let (reply, took) = stage.ask("acme", &body(&asked, &json!({})))?;
    assert_eq!(reply.status(), 200);
    let reply: Value = serde_json::from_slice(&reply.body)?;
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let expected: Vec<String> =
        asked.iter().enumerate().map(|(at, asked)| format!("[{}] answer to {asked}", at + 1)).collect();
    assert_eq!(text, expected.join("\n\n"));
    assert_eq!(reply["usage"]["completion_tokens"], 579);
    assert_eq!(kinds(&reply), ["ok"; 5]);
    // 20 ms to the first token, 200 tokens of 2 ms; and a tick until the calls are made.
    assert!(took >= ms(420) && took <= ms(425), "{took:?}");
    assert_eq!(stage.counter("questions"), 5);
    assert_eq!(stage.counter("calls"), 5);
    stage.assert_idle();
    Ok(())
}

#[test]
fn the_provider_sees_the_tenants_names_and_nothing_of_the_client() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    for tenant in ["acme", "globex"] {
        stage.ask(tenant, &body(&["one", "two"], &json!({})))?;
    }
    let calls: Vec<_> = stage.simulation.calls().iter().map(|(_, call)| call.clone()).collect();
    assert_eq!(calls.len(), 4);
    let mut salts = Vec::new();
    for call in &calls {
        let sent: Value = serde_json::from_slice(&call.body)?;
        for name in ["user", "cache_salt"] {
            assert_eq!(sent[name].as_str().unwrap().len(), 43);
        }
        salts.push((sent["cache_salt"].clone(), sent["user"].clone()));
        let header =
            |name: &str| call.headers.first(name).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(header("authorization").as_deref(), Some("Bearer provider-key"));
        assert_eq!(header("x-request-id").as_deref(), Some("r-1"));
        assert_eq!(header("x-cache-namespace").unwrap().len(), 43);
        for name in ["cookie", "x-tenant-id", "content-length", "x-api-key"] {
            assert_eq!(header(name), None, "{name}");
        }
        let everything = format!("{:?}{}", call.headers, String::from_utf8_lossy(&call.body));
        for secret in ["acme", "globex", "client-token", "x_fanout"] {
            assert!(!everything.contains(secret), "{secret}");
        }
    }
    assert_eq!(salts[0], salts[1]);
    assert_eq!(salts[2], salts[3]);
    assert!(salts[0].0 != salts[2].0 && salts[0].1 != salts[2].1 && salts[0].0 != salts[0].1);
    Ok(())
}

#[test]
fn what_is_no_request_of_several_questions_goes_on_byte_for_byte() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let plain: [&[u8]; 5] = [
        br#" { "model" : "m", "messages":[ ], "user":"me" , "stream": true }  "#,
        b"not JSON \xff\x00\xfe",
        br#"{"messages":[{"role":"user","content":"what is x_fanout?"}]}"#,
        br#"{"messages":[{"role":"user","content":"x"}],"temperature":0.70000000000000001}"#,
        b"",
    ];
    for bytes in plain {
        for size in [1, 7, 4096] {
            assert_eq!(stage.pass("/v1/chat/completions", bytes, size, false), bytes);
        }
        assert_eq!(stage.pass("/v1/chat/completions", bytes, 3, true), bytes, "with trailers");
    }
    // Another path is not even held.
    let asked = body(&["a"], &json!({}));
    assert_eq!(
        stage.pass("/v1/embeddings", asked.to_string().as_bytes(), 5, false),
        asked.to_string().as_bytes()
    );
    assert!(stage.simulation.calls().is_empty());
    Ok(())
}

#[test]
fn a_plain_request_gets_its_tenants_names_where_the_configuration_says_so() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({"plain": "isolate"})), Speed::default())?;
    let plain = br#" { "model" : "m", "temperature": 0.70000000000000001 } "#;
    for (size, trailers) in [(4096, false), (5, false), (5, true)] {
        let passed = String::from_utf8(stage.pass("/v1/chat/completions", plain, size, trailers))?;
        let rest = passed.strip_prefix(r#" { "model" : "m", "temperature": 0.70000000000000001 ,"#);
        let members: Value = serde_json::from_str(&format!("{{{}", rest.expect("its bytes are kept")))?;
        assert_eq!(members.as_object().unwrap().len(), 2);
        assert_eq!(members["cache_salt"].as_str().unwrap().len(), 43);
        assert_eq!(stage.namespace.take().unwrap().len(), 43);
    }
    // Elsewhere bodies are not read.
    assert_eq!(stage.pass("/v1/embeddings", plain, 5, false), plain);
    for (tenant, body, code) in [
        ("acme", json!({"cache_salt": "globex's"}), "FANOUT_INVALID"),
        ("acme", json!("not an object"), "FANOUT_INVALID"),
        ("", json!({"model": "m"}), "FANOUT_TENANT_REQUIRED"),
    ] {
        let (reply, _) = stage.ask(tenant, &body)?;
        assert_eq!(serde_json::from_slice::<Value>(&reply.body)?["code"], code);
    }
    Ok(())
}

#[test]
fn every_failure_is_in_its_place_and_the_others_are_answered() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let asked = [
        "[[tokens 10]]",
        "[[status 500]]",
        "[[status 429]]",
        "[[status 401]]",
        "[[malformed]]",
        "[[large 2000000]]",
        "[[hang]]",
        "[[tokens 10]] last",
    ];
    let (reply, took) =
        stage.ask("acme", &body(&asked, &json!({"deadline": "5s", "call_deadline": "1s"})))?;
    assert_eq!(reply.status(), 200);
    assert!(!String::from_utf8_lossy(&reply.body).contains("sk-secret"));
    let reply: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!(
        kinds(&reply),
        [
            "ok",
            "unavailable",
            "rate_limited",
            "upstream_error",
            "malformed_answer",
            "answer_too_large",
            "timeout",
            "ok"
        ]
    );
    assert!(took >= ms(1000) && took <= ms(1020), "{took:?}");
    assert_eq!(stage.counter("partial"), 1);
    assert_eq!(stage.counter("failed.timeout"), 1);
    stage.assert_idle();
    Ok(())
}

#[test]
fn all_or_nothing_ends_with_the_first_failure() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let asked = body(&["[[tokens 1000]]", "[[status 500]]"], &json!({"on_error": "fail"}));
    let (reply, took) = stage.ask("acme", &asked)?;
    assert_eq!(reply.status(), 502);
    let reply: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!(reply["code"], "FANOUT_FAILED");
    assert_eq!(kinds(&reply), ["stopped", "unavailable"]);
    assert!(took < ms(10), "{took:?}");
    stage.run_for(Duration::from_secs(10));
    stage.assert_idle();
    Ok(())
}

#[test]
fn what_fails_once_is_asked_again() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let asked = ["[[first 503]] a", "[[first 429]] b", "[[status 503]] c", "d"];
    let (reply, took) = stage.ask("acme", &body(&asked, &json!({"on_error": "retry_once"})))?;
    let reply: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!(kinds(&reply), ["ok", "ok", "unavailable", "ok"]);
    // The provider said: in a second.
    assert!(took >= ms(1000) && took < ms(1200), "{took:?}");
    assert_eq!((stage.counter("calls"), stage.counter("retries")), (7, 3));
    stage.assert_idle();
    Ok(())
}

#[test]
fn the_whole_deadline_holds_and_late_answers_are_nobodys() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({"limits": {"parallel": 2}})), Speed::default())?;
    let asked =
        body(&["[[tokens 10]]", "[[hang]]", "[[hang]]", "never asked"], &json!({"deadline": "700ms"}));
    let (reply, took) = stage.ask("acme", &asked)?;
    assert_eq!(kinds(&serde_json::from_slice(&reply.body)?), ["ok", "timeout", "timeout", "not_started"]);
    assert!(took >= ms(700) && took <= ms(720), "{took:?}");
    let (reply, _) = stage.ask("acme", &body(&["[[hang]]"], &json!({"deadline": "300ms"})))?;
    assert_eq!(reply.status(), 504);
    assert_eq!(serde_json::from_slice::<Value>(&reply.body)?["code"], "FANOUT_TIMEOUT");
    stage.run_for(Duration::from_secs(60));
    stage.assert_idle();
    Ok(())
}

#[test]
fn a_client_that_goes_away_gets_no_more_calls_and_its_share_comes_back() -> Result<()> {
    let change = json!({"share": {"parallel": 2}, "limits": {"parallel": 2}});
    let mut stage = Stage::new(&configuration(&change), Speed::default())?;
    let stream = stage.begin("acme", &body(&["[[tokens 100]]"; 6], &json!({})));
    stage.run_for(ms(50));
    assert_eq!(stage.gauge("calls_in_flight"), 2);
    stage.worker.close(stream);
    assert_eq!(stage.gauge("requests_under_way"), 0);
    // What is under way is still the tenant's: whoever aborts has no more than who waits.
    let second = stage.begin("acme", &body(&["b"], &json!({})));
    stage.run_for(ms(50));
    assert_eq!((stage.gauge("calls_in_flight"), stage.counter("calls")), (2, 2));
    stage.run_for(Duration::from_secs(5));
    assert_eq!((stage.counter("calls"), stage.counter("abandoned")), (3, 1));
    stage.worker.close(second);
    stage.assert_idle();
    Ok(())
}

#[test]
fn a_tenant_has_its_share_in_all_workers_together_and_leaves_the_others_theirs() -> Result<()> {
    let change = json!({"share": {"parallel": 3}});
    let mut stage = Stage::with_workers(&configuration(&change), Speed::default(), 2)?;
    let asked = body(&["[[tokens 100]]"; 6], &json!({}));
    stage.begin("acme", &asked);
    stage.begin_in(1, "acme", &asked);
    stage.begin_in(1, "globex", &asked);
    let events = stage.run_until_idle();
    assert_eq!(events.len(), 3);
    let most = stage.most_by_user();
    assert_eq!(most.values().copied().collect::<Vec<_>>(), [3, 3]);
    assert!(stage.counter("share_waits") > 0);
    stage.assert_idle();
    Ok(())
}

#[test]
fn n_questions_cost_n_and_another_tenants_are_its_own() -> Result<()> {
    let change =
        json!({"limits": {"questions": 5}, "allowance": {"questions": 10, "per": "10s", "burst": 10}});
    let mut stage = Stage::with_workers(&configuration(&change), Speed::default(), 2)?;
    let ask = |stage: &mut Stage, tenant: &str, count: usize| -> Result<(u16, Option<String>)> {
        let (reply, _) = stage.ask(tenant, &body(&vec!["[[tokens 1]]"; count], &json!({})))?;
        let after =
            reply.headers.first("retry-after").map(|value| String::from_utf8_lossy(value).into_owned());
        Ok((reply.status(), after))
    };
    assert_eq!(ask(&mut stage, "acme", 5)?.0, 200);
    assert_eq!(ask(&mut stage, "acme", 5)?.0, 200);
    assert_eq!(ask(&mut stage, "acme", 3)?, (429, Some("3".into())));
    assert_eq!(ask(&mut stage, "globex", 5)?.0, 200);
    stage.run_for(Duration::from_secs(3));
    assert_eq!(ask(&mut stage, "acme", 3)?.0, 200);
    assert_eq!(stage.counter("refused.fanout_quota_exceeded"), 1);
    Ok(())
}

#[test]
fn a_request_without_a_proven_tenant_or_room_is_refused() -> Result<()> {
    let change = json!({"share": {"requests": 1}, "limits": {"requests": 2, "request_bytes": 2048}});
    let mut stage = Stage::new(&configuration(&change), Speed::default())?;
    let refused = |stage: &mut Stage, tenant: &str, asked: &Value| -> Result<(u16, Value)> {
        let (reply, _) = stage.ask(tenant, asked)?;
        Ok((reply.status(), serde_json::from_slice::<Value>(&reply.body)?["code"].clone()))
    };
    let asked = body(&["[[hang]]"], &json!({}));
    assert_eq!(refused(&mut stage, "", &asked)?, (403, json!("FANOUT_TENANT_REQUIRED")));
    let large = body(&["x".repeat(3000).as_str()], &json!({}));
    assert_eq!(refused(&mut stage, "acme", &large)?, (413, json!("FANOUT_TOO_LARGE")));
    let mine = json!({"user": "globex", "x_fanout": {"questions": ["a"]}});
    assert_eq!(refused(&mut stage, "acme", &mine)?, (400, json!("FANOUT_INVALID")));
    stage.begin("acme", &asked);
    assert_eq!(refused(&mut stage, "acme", &asked)?, (429, json!("FANOUT_TENANT_BUSY")));
    stage.begin("globex", &asked);
    assert_eq!(refused(&mut stage, "initech", &asked)?, (503, json!("FANOUT_BUSY")));
    stage.run_until_idle();
    stage.assert_idle();
    Ok(())
}

#[test]
fn few_short_answers_go_out_in_one_request_where_the_estimate_says_so() -> Result<()> {
    let change = json!({"pack": {"below_gain": 1.5}, "latency": {"preset": "claude-3.5-sonnet"}});
    let mut stage = Stage::new(&configuration(&change), Speed::default())?;
    let mut short = body(&["one", "two"], &json!({}));
    short["max_tokens"] = json!(10);
    let (reply, _) = stage.ask("acme", &short)?;
    let reply: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!((stage.counter("calls"), stage.counter("packed")), (1, 1));
    assert_eq!(reply["x_fanout"]["packed"], true);
    let long = body(&["one", "two"], &json!({}));
    stage.ask("acme", &long)?;
    assert_eq!((stage.counter("calls"), stage.counter("packed")), (3, 1));
    // Who wants a list, or says `split`, has one per question.
    for own in [json!({"format": "list"}), json!({"strategy": "split"})] {
        let mut asked = body(&["one", "two"], &own);
        asked["max_tokens"] = json!(10);
        stage.ask("acme", &asked)?;
    }
    assert_eq!((stage.counter("calls"), stage.counter("packed")), (7, 1));
    Ok(())
}

#[test]
fn a_host_that_refuses_calls_leaves_nobody_waiting() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    stage.process.remove_cluster("model");
    let (reply, took) = stage.ask("acme", &body(&["a", "b"], &json!({})))?;
    assert_eq!(reply.status(), 502);
    assert!(took < ms(20), "{took:?}");
    stage.assert_idle();
    Ok(())
}

#[test]
fn a_provider_that_resets_or_answers_without_a_body_fails_by_name() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({})), Speed::default())?;
    let mut number = 0;
    stage.simulation.script("model", move |_| {
        number += 1;
        match number {
            1 => Answer::reset(),
            2 => Answer::now(CallResponse::no_connection()),
            3 => Answer::now(CallResponse { headers: Headers::new(), ..CallResponse::default() }),
            _ => Answer::now(CallResponse::new(200, Vec::new())),
        }
    });
    let (reply, _) = stage.ask("acme", &body(&["a", "b", "c", "d"], &json!({})))?;
    assert_eq!(reply.status(), 502);
    let reply: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!(kinds(&reply), ["unavailable", "unavailable", "unavailable", "malformed_answer"]);
    stage.assert_idle();
    Ok(())
}

#[test]
fn credentials_come_from_the_document_or_the_environment_and_a_wrong_document_is_refused() -> Result<()> {
    let stage = |change: Value| Stage::new(&configuration(&change), Speed::default()).map(|_| ());
    let provider =
        |header: Value| json!({"provider": {"cluster": "model", "authority": "m", "headers": [header]}});
    stage(provider(json!({"name": "authorization", "env": "MODEL_KEY"})))?;
    for (change, place) in [
        (provider(json!({"name": "authorization", "env": "NO_SUCH"})), "provider.headers[0].env"),
        (provider(json!({"name": "authorization"})), "provider.headers[0]"),
        (provider(json!({"name": "x", "value": "a\r\nb: c"})), "provider.headers[0]"),
        (provider(json!({"name": "content-length", "value": "1"})), "provider.headers[0].name"),
        (json!({"isolation": {"key": {"value": "c2hvcnQ="}}}), "isolation.key"),
        (json!({"isolation": {"key": {"value": "?"}}}), "isolation.key"),
        (json!({"limits": {"questions": 0}}), "limits.questions"),
        (json!({"deadlines": {"call": "2m", "total": "1m"}}), "deadlines.call"),
        (json!({"pack": {}}), "pack"),
        (json!({"latency": {"preset": "x"}}), "latency.preset"),
        (json!({"allowance": {"questions": 1, "per": "1s", "burst": 2}}), "allowance.burst"),
        (json!({"paths": []}), "paths"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let error = format!("{:#}", stage(change.clone()).unwrap_err());
        assert!(error.contains(&format!("`{place}`")), "{change}: {error}");
    }
    Ok(())
}

#[test]
fn a_stream_gets_its_events_at_the_end_where_the_configuration_says_so() -> Result<()> {
    let mut stage = Stage::new(&configuration(&json!({"streaming": "at_end"})), Speed::default())?;
    let mut asked = body(&["a", "b"], &json!({}));
    asked["stream"] = json!(true);
    let (reply, _) = stage.ask("acme", &asked)?;
    assert_eq!(reply.headers.first("content-type"), Some(&b"text/event-stream"[..]));
    let text = String::from_utf8(reply.body)?;
    assert!(text.contains("[1] answer to a") && text.ends_with("data: [DONE]\n\n"), "{text}");
    Ok(())
}

/// The model's own words about time hold in the test's model too.
#[test]
fn the_model_is_slower_beyond_its_knee() {
    let speed = Speed { knee: 2, ..Speed::default() };
    let script = Script::read(questions(&["[[tokens 100]]"]).as_bytes(), &Default::default());
    assert_eq!(script.delay(speed, 0), Some(ms(20 + 200)));
    assert_eq!(script.delay(speed, 3), Some(ms(20 + 400)));
}
