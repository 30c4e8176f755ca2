//! What a request costs in WebAssembly instructions: a count that does not depend on the machine or
//! on what else it does, so that a change which makes requests dearer is noticed where it is made.
//!
//! `cargo test --test instructions -- --nocapture` prints the numbers.

use anyhow::{Context as _, Result};
use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::counted::{Counted, NOW, median};
use portcullis_issuer::{Kind, Seed, SigningKey, jwk_set};
use serde_json::json;

const ISSUER: &str = "https://issuer";
const PATH: &str = "/orders/7";
/// How far a count may be from the stated one. More is dearer; less is to be stated, so that the
/// next change is measured against it.
const MARGIN: f64 = 0.05;

/// A worker with jwt-auth for tokens of `key`, which has done what is done once.
fn subject(module: &Module, key: &SigningKey) -> Result<Counted> {
    let configuration = json!({
        "issuers": [{
            "name": "main",
            "issuer": ISSUER,
            "audiences": ["api"],
            "algorithms": [key.natural_alg().as_str()],
            "jwks": {"inline": jwk_set([key.jwk()])},
            "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]},
        }],
        "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}],
    });
    let mut subject = Counted::new(module, &configuration)?;
    for _ in 0..8 {
        let token = subject.token(ISSUER, key)?;
        subject.serve(PATH, &token)?;
    }
    Ok(subject)
}

#[test]
fn a_request_costs_the_stated_number_of_instructions() -> Result<()> {
    let module = Module::compile(&Engine::counting()?, portcullis_modules::JWT_AUTH.wasm)?;
    let mut objections = Vec::new();
    // The second time a token is verified once more, and read once more, for the copy that is kept.
    for (name, kind, stated) in [
        ("RS256", Kind::Rsa(2048), [43_289_u64, 57_895, 20_059]),
        ("ES256", Kind::P256, [40_611, 56_441, 19_431]),
        ("EdDSA", Kind::Ed25519, [887_319, 903_467, 19_714]),
    ] {
        let key = SigningKey::generate(&Seed::new([7; 32]), "main".to_owned(), kind)?;
        let mut subject = subject(&module, &key)?;
        let tokens = (0..31).map(|_| subject.token(ISSUER, &key)).collect::<Result<Vec<_>>>()?;
        for (how, stated) in ["first", "second", "third"].into_iter().zip(stated) {
            let counts = tokens.iter().map(|token| subject.serve(PATH, token)).collect::<Result<Vec<_>>>()?;
            let found = median(counts);
            println!("{name}, {how} time: {found} instructions");
            let change = found as f64 / stated as f64 - 1.0;
            if change.abs() > MARGIN {
                objections.push(format!(
                    "{name}, {how} time: {found} instructions, {:+.1} % of the stated {stated}",
                    change * 100.0
                ));
            }
        }
    }
    assert!(
        objections.is_empty(),
        "{}\nIf that is meant, state the new numbers in this test.",
        objections.join("\n")
    );
    Ok(())
}

/// A record of 270 bytes, as APIs have them: short names, short values, numbers.
const RECORD: &str = r#"{"id":1234,"tenant_id":"acme","status":"shipped","created_at":"2026-01-01T00:00:00Z","customer":{"name":"Alice Example","email":"alice@example.com"},"lines":[{"sku":"A-1","qty":2,"price":19.99},{"sku":"B-2","qty":1,"price":5.5}],"total":45.48,"paid":true,"note":null}"#;

/// An answer of about 256 KiB, its media type, and what looks at it.
fn answer(kind: &str) -> (&'static str, Vec<u8>) {
    let count = (256 << 10) / RECORD.len();
    let text = "The quick brown fox jumps over the lazy dog, again and again. ".repeat(40);
    let (media, record) = match kind {
        "JSON" => ("application/json", format!("{RECORD},")),
        "JSON of long texts" => {
            ("application/json", format!("{{\"tenant_id\":\"acme\",\"text\":\"{text}\"}},"))
        }
        "NDJSON" => ("application/x-ndjson", format!("{RECORD}\n")),
        "events" => ("text/event-stream", format!("data: {RECORD}\n\n")),
        _ => ("text/plain", format!("{RECORD}\n")),
    };
    let mut body = record.repeat(count * RECORD.len() / record.len()).into_bytes();
    if media == "application/json" {
        body.pop();
        body.insert(0, b'[');
        body.push(b']');
    }
    (media, body)
}

#[test]
fn looking_at_an_answer_costs_the_stated_number_of_instructions() -> Result<()> {
    let module = Module::compile(&Engine::counting()?, portcullis_modules::TENANT_GUARD.wasm)?;
    let process = Process::builder().clock(VirtualClock::at_unix_seconds(NOW)).seed(1).build();
    let mut worker = Worker::new(&process);
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let configuration = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [
            {"path": {"prefix": "/fields"}, "class": "tenant", "guard": "fields"},
            {"path": {"prefix": "/canaries"}, "class": "tenant", "guard": "canaries"},
        ],
        "guards": {
            "fields": {"fields": {"keys": ["tenant_id"]}},
            "canaries": {"canaries": {"prefix": "canary_", "secret": secret}, "release": "sever"},
        },
        "forward": {"headers": {"id": "x-tenant-id"}},
    });
    let plugin = Plugin::new("tenant-guard").configuration(configuration.to_string());
    worker.add(&module, plugin.allow_on_headers_stop_iteration())?;
    let mut objections = Vec::new();
    // Instructions for each byte of an answer that comes in pieces of 16 KiB.
    for (kind, stated) in [
        ("JSON", 48.1_f64),
        ("JSON of long texts", 4.26),
        ("NDJSON", 50.0),
        ("events", 52.5),
        ("canaries", 1.58),
    ] {
        let (media, body) = answer(kind);
        let path = if kind == "canaries" { "/canaries/a" } else { "/fields/a" };
        let claims = br#"{"main":{"sub":"u","org_id":"acme"}}"#;
        let stream = worker.open(StreamInfo::new().property(["portcullis_jwt"], claims));
        let request = [
            (":method", "GET"),
            (":path", path),
            (":authority", "app.test"),
            (":scheme", "http"),
            ("x-tenant-id", "acme"),
        ];
        anyhow::ensure!(worker.request_headers(stream, request, true).is_forward(), "refused");
        let headers = worker.response_headers(stream, [(":status", "200"), ("content-type", media)], false);
        anyhow::ensure!(headers.trap().is_none(), "{headers:?}");
        let before = worker.instructions(0).context("this engine does not count")?;
        for piece in body.chunks(16 << 10) {
            let outcome = worker.response_body(stream, piece, false);
            anyhow::ensure!(outcome.trap().is_none(), "{kind}: {outcome:?}");
        }
        let found = (worker.instructions(0).context("this engine does not count")? - before) as f64;
        anyhow::ensure!(worker.response_body(stream, &b""[..], true).is_forward(), "{kind}: stopped");
        worker.close(stream);
        let found = found / body.len() as f64;
        println!("{kind}: {found:.2} instructions a byte");
        if (found / stated - 1.0).abs() > MARGIN {
            objections.push(format!("{kind}: {found:.2} instructions a byte, not the stated {stated}"));
        }
    }
    assert!(
        objections.is_empty(),
        "{}\nIf that is meant, state the new numbers in this test.",
        objections.join("\n")
    );
    Ok(())
}
