//! In the embedded host, at every cut.

use anyhow::{Result, anyhow, bail, ensure};
use portcullis_host::{Limits, Outcome, Piece, Plugin, Process, StreamId, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::{loopback::Answer, subject::compiled};
use serde_json::{Value, json};

use crate::{
    guards,
    leaks::{Case, Expect, cases},
    tenant_guard,
};

/// A worker with tenant-guard, and what it shares with others: its counters and its log.
pub(crate) fn worker(configuration: &Value, limits: Limits) -> Result<(Worker, Process)> {
    let clock = VirtualClock::at_unix_seconds(1_767_225_600);
    let process = Process::builder().clock(clock).seed(1).limits(limits).build();
    let mut worker = Worker::new(&process);
    let plugin = Plugin::new("tenant-guard").configuration(configuration.to_string());
    worker
        .add(&compiled(portcullis_modules::TENANT_GUARD.wasm)?, plugin.allow_on_headers_stop_iteration())?;
    Ok((worker, process))
}

/// Status, body and whether the answer was whole.
pub(crate) type Left = (u16, Vec<u8>, bool);

/// Opens a stream of acme's and lets its request pass.
pub(crate) fn open(worker: &mut Worker, method: &str, path: &str) -> Result<StreamId> {
    let claims = br#"{"main":{"sub":"u","org_id":"acme"}}"#;
    let stream = worker.open(StreamInfo::new().property(["portcullis_jwt"], claims));
    let request = [
        (":method", method),
        (":path", path),
        (":authority", "app.test"),
        (":scheme", "http"),
        ("x-tenant-id", "acme"),
        ("x-request-id", "r-1"),
    ];
    ensure!(worker.request_headers(stream, request, true).is_forward(), "the request was refused");
    Ok(stream)
}

/// Drives the answer of `case` in pieces that end at `cuts`.
pub(crate) fn drive(worker: &mut Worker, case: &Case, cuts: &[usize]) -> Result<Left> {
    let stream = open(worker, case.method, case.path)?;
    let status = case.answer.status.to_string();
    let mut headers = vec![(":status".to_owned(), status)];
    headers.extend(case.answer.headers.clone());
    let body = &case.answer.body;
    let none = body.is_empty() || case.method == "HEAD";
    let headers: portcullis_host::Headers =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut left = (0, Vec::new(), false);
    let mut outcomes = vec![worker.response_headers(stream, headers, none)];
    let mut from = 0;
    for to in cuts.iter().copied().chain([body.len()]) {
        if none || outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Forward(_) | Outcome::Pause)) {
            break;
        }
        let piece = body.get(from..to).unwrap_or_default();
        let last = to == body.len() && case.answer.trailers.is_empty();
        outcomes.push(worker.response_body(stream, piece, last));
        from = to;
    }
    let over = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Forward(_) | Outcome::Pause));
    if !none && !over && !case.answer.trailers.is_empty() {
        let trailers: portcullis_host::Headers =
            case.answer.trailers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        outcomes.push(worker.response_trailers(stream, trailers));
    }
    for outcome in outcomes {
        match outcome {
            Outcome::Pause => {}
            Outcome::Reset => return Ok(left),
            Outcome::Reply(reply) => return Ok((reply.status(), reply.body, true)),
            Outcome::Trapped(trap, _) => bail!("the module trapped: {trap}"),
            Outcome::Forward(pieces) => {
                for piece in pieces {
                    left.2 = piece.ends();
                    match piece {
                        Piece::Headers { headers, .. } => {
                            left.0 =
                                headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
                        }
                        Piece::Body { bytes, .. } => left.1.extend(bytes),
                        Piece::Trailers(trailers) => {
                            ensure!(trailers.text("x-secret").is_none(), "a trailer left");
                        }
                    }
                }
            }
        }
    }
    worker.close(stream);
    Ok(left)
}

fn judge(case: &Case, (status, body, whole): Left) -> Result<()> {
    let text = String::from_utf8_lossy(&body).into_owned();
    match &case.expect {
        Expect::Whole | Expect::Reported(_) => {
            ensure!(status == case.answer.status && whole, "{status} {whole} {text}");
            ensure!(case.method == "HEAD" || body == case.answer.body, "{text}");
        }
        Expect::Refused(_) => {
            ensure!((status == 502 || status == 200) && !text.contains("globex"), "{status} {text}");
        }
        // Where the end came with the last bytes, there is nothing left to reset.
        Expect::Cut(left, _) => ensure!(status == 200 && text == *left, "{status} `{text}`, not `{left}`"),
    }
    Ok(())
}

#[test]
fn every_leak_is_stopped_or_reported_at_every_cut() -> Result<()> {
    let (mut worker, _) = worker(&tenant_guard(&guards()), Limits::default())?;
    for case in cases() {
        let size = case.answer.body.len();
        let single = (0..size.min(200)).map(|at| vec![at]);
        let all = [Vec::new(), (1..size.min(1000)).collect::<Vec<_>>(), vec![size]];
        for cuts in single.chain(all) {
            let left = drive(&mut worker, &case, &cuts)?;
            judge(&case, left).map_err(|error| anyhow!("{} cut at {cuts:?}: {error:#}", case.name))?;
        }
    }
    Ok(())
}

#[test]
fn a_route_on_which_the_field_is_never_seen_is_told_of_once() -> Result<()> {
    let fields = json!({"fields": {"keys": ["tenant_id"], "presence": "if_present"}});
    let guards = json!({"never": fields, "once": fields});
    let (mut worker, process) = worker(&tenant_guard(&guards), Limits::default())?;
    let case = |path, body: &str| Case {
        name: "",
        path,
        method: "GET",
        answer: Answer::status(200).body("application/json", body),
        expect: Expect::Whole,
    };
    let told = |route: usize| {
        let text = format!("`routes[{route}].guard`: none of the first 100 answers has a field");
        process.log().iter().filter(|line| line.text.contains(&text)).count()
    };
    for n in 1..=300 {
        drive(&mut worker, &case("/never/a", r#"{"org":"x"}"#), &[])?;
        let body = if n == 50 { r#"{"tenant_id":"acme"}"# } else { "{}" };
        drive(&mut worker, &case("/once/a", body), &[])?;
        assert_eq!(told(0), usize::from(n >= 100), "after {n} answers");
    }
    assert_eq!(told(1), 0, "the field was seen there");
    assert_eq!(process.counter("portcullis.tenant.guard.field_not_seen"), Some(599));
    Ok(())
}
