//! llm-fanout in the real Envoy, behind jwt-auth and tenant-guard, with a model on loopback.
//!
//! Times are asserted with wide bounds; the example `fanout` has the figures.

#[path = "fanout/gateway.rs"]
mod gateway;
#[path = "fanout/stage.rs"]
mod stage;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use gateway::Gateway;
use portcullis_host_tests::{envoy, loopback::Connection, model::Speed};
use serde_json::{Value, json};
use stage::body;

/// Every status of `x_fanout.answers`.
fn kinds(reply: &Value) -> Vec<&str> {
    let answers = reply["x_fanout"]["answers"].as_array().unwrap();
    answers.iter().map(|answer| answer["status"].as_str().unwrap()).collect()
}

#[test]
fn five_questions_are_answered_at_the_same_time_and_in_order() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let gateway = Gateway::start(&binary, &json!({}), Speed::default(), 2)?;
    let asked =
        ["[[tokens 200]] 1", "[[tokens 200]] 2", "[[tokens 200]] 3", "[[tokens 200]] 4", "[[tokens 200]] 5"];
    let (reply, took) = gateway.ask("acme", &body(&asked, &json!({})))?;
    ensure!(reply.status == 200, "{reply:?}");
    let reply = reply.json()?;
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let expected: Vec<String> =
        asked.iter().enumerate().map(|(at, asked)| format!("[{}] answer to {asked}", at + 1)).collect();
    assert_eq!(text, expected.join("\n\n"));
    assert_eq!(gateway.model.most_active(), 5);
    let served = gateway.model.take();
    let slowest = served.iter().filter_map(|served| served.took).max().context("nothing was served")?;
    let (_, packed) = gateway.ask("acme", &body(&asked, &json!({"strategy": "pack"})))?;
    println!(
        "5 questions of 200 tokens: split {took:.0?}, the slowest single one {slowest:.0?} ({:.2} times), packed \
         {packed:.0?}",
        took.as_secs_f64() / slowest.as_secs_f64()
    );
    ensure!(took < slowest * 2, "split {took:?}, the slowest single one {slowest:?}");
    ensure!(packed > took * 2, "packed {packed:?}, split {took:?}");
    gateway.wait_until_idle()?;
    assert_eq!((gateway.stat("questions")?, gateway.stat("calls")?, gateway.stat("packed")?), (10, 6, 1));
    Ok(())
}

#[test]
fn two_tenants_under_load_stay_within_their_shares_and_have_other_salts() -> Result<()> {
    const ROUNDS: usize = 6;
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let change = json!({
        "share": {"parallel": 3, "requests": 8},
        "limits": {"questions": 6},
        "allowance": {"questions": 1, "per": "1h", "burst": 24},
    });
    let gateway = Gateway::start(&binary, &change, Speed::default(), 2)?;
    let asked = body(&["[[tokens 20]]"; 6], &json!({}));
    // 36 questions each, of which 24 are allowed.
    let answers = thread::scope(|scope| -> Result<Vec<(&str, u16)>> {
        let ask = |tenant: &'static str| {
            let (gateway, asked) = (&gateway, &asked);
            scope.spawn(move || -> Result<_> { Ok((tenant, gateway.ask(tenant, asked)?.0.status)) })
        };
        let all: Vec<_> = (0..ROUNDS).flat_map(|_| [ask("acme"), ask("globex")]).collect();
        all.into_iter().map(|thread| thread.join().expect("a client panicked")).collect()
    })?;
    for tenant in ["acme", "globex"] {
        let count = |status: u16| answers.iter().filter(|answer| **answer == (tenant, status)).count();
        assert_eq!((count(200), count(429)), (4, 2), "{tenant}");
    }
    let most = gateway.model.most_by_user();
    ensure!(most.len() == 2 && most.values().all(|most| (1..=3).contains(most)), "{most:?}");
    let served = gateway.model.take();
    assert_eq!(served.len(), 48);
    let mut salts = BTreeSet::new();
    for served in &served {
        let sent: Value = serde_json::from_slice(&served.seen.body)?;
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let [namespace] = served.seen.all("x-cache-namespace")[..] else {
            anyhow::bail!("namespaces: {:?}", served.seen.headers)
        };
        salts.insert((text(&sent["cache_salt"]), text(&sent["user"]), namespace.to_vec()));
        let everything = format!("{:?}{}", served.seen.headers, String::from_utf8_lossy(&served.seen.body));
        for secret in ["acme", "globex", "cookie", "eyJ"] {
            ensure!(!everything.contains(secret), "`{secret}` reached the provider: {everything}");
        }
        assert_eq!(served.seen.all("authorization"), [b"Bearer provider-key"]);
    }
    let mut salts = salts.into_iter();
    let (Some(one), Some(other), None) = (salts.next(), salts.next(), salts.next()) else {
        anyhow::bail!("not one set of names for each tenant")
    };
    ensure!(one.0.is_some() && one.0 != other.0 && one.1 != other.1 && one.2 != other.2);
    gateway.wait_until_idle()
}

#[test]
fn every_failure_ends_in_its_place_by_its_deadline() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let gateway = Gateway::start(&binary, &json!({}), Speed::default(), 1)?;
    let asked = [
        "[[tokens 10]]",
        "[[status 500]]",
        "[[status 429]]",
        "[[malformed]]",
        "[[large 2000000]]",
        "[[hang]]",
        "[[tokens 100]] [[slow 50]]",
        "[[tokens 10]] last",
    ];
    let (reply, took) = gateway.ask("acme", &body(&asked, &json!({"call_deadline": "1s"})))?;
    ensure!(reply.status == 200, "{reply:?}");
    ensure!(!String::from_utf8_lossy(&reply.body).contains("sk-secret"), "the provider's words got out");
    let reply = reply.json()?;
    assert_eq!(
        kinds(&reply),
        [
            "ok",
            "unavailable",
            "rate_limited",
            "malformed_answer",
            "answer_too_large",
            "timeout",
            "timeout",
            "ok"
        ]
    );
    ensure!(took > Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
    gateway.wait_until_idle()?;
    // A call that is late is ended: the model has nothing under way.
    let until = Instant::now() + Duration::from_secs(10);
    while gateway.model.active() > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(gateway.model.active(), 0);

    // All or nothing ends with the first failure, the whole deadline with what there is.
    let asked = body(&["[[hang]]", "[[status 500]]"], &json!({"on_error": "fail"}));
    let (reply, _) = gateway.ask("acme", &asked)?;
    assert_eq!((reply.status, &reply.json()?["code"]), (502, &json!("FANOUT_FAILED")));
    let (reply, took) = gateway.ask("acme", &body(&["[[hang]]"], &json!({"deadline": "500ms"})))?;
    assert_eq!((reply.status, &reply.json()?["code"]), (504, &json!("FANOUT_TIMEOUT")));
    ensure!(took > Duration::from_millis(400) && took < Duration::from_secs(10), "{took:?}");
    let (reply, _) =
        gateway.ask("acme", &body(&["[[first 503]] a", "b"], &json!({"on_error": "retry_once"})))?;
    assert_eq!(kinds(&reply.json()?), ["ok", "ok"]);
    Ok(())
}

#[test]
fn a_client_that_goes_away_gets_no_more_calls() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let change = json!({"share": {"parallel": 2}});
    let gateway = Gateway::start(&binary, &change, Speed::default(), 1)?;
    let asked = body(&["[[hang]]"; 6], &json!({"call_deadline": "2s"}));
    let mut connection = Connection::open(gateway.envoy.address("gateway"))?;
    connection.send(&gateway.request("acme", asked.to_string())?.to_bytes())?;
    gateway.envoy.wait_for_stat(
        "wasmcustom.portcullis.fanout.calls_in_flight",
        Duration::from_secs(10),
        |value| value == 2,
    )?;
    drop(connection);
    gateway.envoy.wait_for_stat(
        "wasmcustom.portcullis.fanout.abandoned",
        Duration::from_secs(10),
        |value| value == 1,
    )?;
    gateway.wait_until_idle()?;
    assert_eq!(gateway.stat("calls")?, 2);
    // Its share is there again.
    let (reply, _) = gateway.ask("acme", &body(&["a", "b"], &json!({})))?;
    assert_eq!(reply.status, 200);
    Ok(())
}

#[test]
fn a_body_without_the_contract_is_the_same_at_the_upstream() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let change = json!({"limits": {"request_bytes": 1_000_000}});
    let gateway = Gateway::start(&binary, &change, Speed::default(), 1)?;
    let large = [&b"{\"messages\": \""[..], &vec![b'x'; 300_000], b"\"}"].concat();
    let plain: [&[u8]; 5] = [
        br#" { "model" : "m", "user":"me" , "stream": true, "temperature": 0.70000000000000001 }  "#,
        b"not JSON \xff\x00\xfe",
        br#"{"messages":[{"role":"user","content":"what is x_fanout?"}]}"#,
        &large,
        b"",
    ];
    for bytes in plain {
        let mut connection = gateway.envoy.connect("gateway")?;
        let reply = connection.call(&gateway.request("acme", bytes)?)?;
        ensure!(reply.status == 200, "{reply:?}");
        let seen = gateway.upstream.take_seen();
        ensure!(seen.len() == 1 && seen[0].body == bytes, "the body of {} bytes has changed", bytes.len());
    }
    // In chunks, with trailers behind.
    let head = gateway.request("acme", "")?.to_bytes();
    let head = String::from_utf8(head)?.replace("content-length: 0", "transfer-encoding: chunked");
    let mut connection = gateway.envoy.connect("gateway")?;
    for piece in [head.as_str(), "3\r\n{\"a\r\n", "5\r\n\": 1}\r\n", "0\r\n\r\n"] {
        connection.send(piece.as_bytes())?;
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(connection.reply(false)?.status == 200);
    let seen = gateway.upstream.take_seen();
    assert_eq!(seen[0].body, b"{\"a\": 1}");
    let too_large = gateway.ask("acme", &json!({"messages": "x".repeat(1_010_000)}))?.0;
    assert_eq!(too_large.status, 413);
    ensure!(gateway.upstream.seen().is_empty() && gateway.model.take().is_empty());
    Ok(())
}

#[test]
fn a_plain_request_gets_its_tenants_names_where_the_configuration_says_so() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let gateway = Gateway::start(&binary, &json!({"plain": "isolate"}), Speed::default(), 1)?;
    let plain =
        json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(100_000)}]}).to_string();
    let mut seen = Vec::new();
    for tenant in ["acme", "globex", "acme"] {
        let reply = gateway.envoy.connect("gateway")?.call(&gateway.request(tenant, &plain)?)?;
        ensure!(reply.status == 200, "{reply:?}");
        let reached = gateway.upstream.take_seen().pop().context("nothing reached the upstream")?;
        let sent: Value = serde_json::from_slice(&reached.body)?;
        ensure!(reached.body.starts_with(&plain.as_bytes()[..plain.len() - 1]), "its bytes are not kept");
        let [namespace] = reached.all("x-cache-namespace")[..] else {
            anyhow::bail!("{:?}", reached.headers)
        };
        seen.push((sent["cache_salt"].clone(), sent["user"].clone(), namespace.to_vec()));
    }
    ensure!(seen[0] == seen[2] && seen[0].0 != seen[1].0 && seen[0].2 != seen[1].2, "{seen:?}");
    let (reply, _) = gateway.ask("acme", &json!({"cache_salt": "globex's"}))?;
    assert_eq!((reply.status, &reply.json()?["error"]["param"]), (400, &json!("cache_salt")));
    Ok(())
}
