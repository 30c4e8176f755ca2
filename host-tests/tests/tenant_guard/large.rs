//! An answer of any length takes no more memory than a short one: through the module in the embedded
//! host, whose memory is bounded there, and in the real Envoy, whose resident memory is watched.
//!
//! `PORTCULLIS_ANSWER_MIB` says how long; the gigabyte is for whoever asks for it: 1024.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use portcullis_host::{Headers, Limits, Outcome, Piece, StreamId, Worker};
use portcullis_host_tests::envoy::{
    self, Envoy,
    config::{Bootstrap, Listener, wasm, wasm_holding},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

use crate::{
    hosted::{open, worker},
    leaks::{canary, message},
    tenant_guard,
};

/// What is sent at once; no record's length divides it, so it is cut everywhere.
const CHUNK: usize = 65_521;
/// What a long answer may take beyond a short one, in Envoy: its buffers, and V8's garbage.
const SLACK: u64 = 24 << 20;
/// The module's memory in the embedded host.
const MEMORY: usize = 6 << 20;

fn bytes() -> u64 {
    let mib = std::env::var("PORTCULLIS_ANSWER_MIB").ok().and_then(|text| text.parse().ok());
    mib.unwrap_or(24_u64) << 20
}

/// An endless kind of answer: what it begins with, its record, and its end.
#[derive(Clone)]
struct Kind {
    guard: &'static str,
    media: &'static str,
    begin: &'static [u8],
    record: Vec<u8>,
    end: &'static [u8],
    /// A record of another tenant.
    foreign: Vec<u8>,
}

fn kinds() -> Vec<Kind> {
    let record = |tenant: &str, text: &str| {
        json!({"id": 7, "tenant_id": tenant, "text": text, "lines": [{"n": 1, "price": 1.5}, {"n": 2}]})
            .to_string()
    };
    let text = "An order as orders are, with \"quotes\", an \u{e9} and a line\nor two. ".repeat(6);
    let own = record("acme", &text);
    let other = record("globex", "x");
    let rows = |before: &str, row: &str, after: &str| format!("{before}{row}{after}").into_bytes();
    let kind = |guard, media, begin, record, end, foreign| Kind { guard, media, begin, record, end, foreign };
    vec![
        kind("prefix", "application/json", b"[0", rows(",", &own, ""), b"]", rows(",", &other, "")),
        kind("prefix", "application/x-ndjson", b"", rows("", &own, "\n"), b"", rows("", &other, "\n")),
        kind(
            "prefix",
            "text/event-stream",
            b"",
            rows("data: ", &own, "\n\n"),
            b"",
            rows("data: ", &other, "\n\n"),
        ),
        kind("grpc", "application/grpc", b"", message("acme").repeat(40), b"", message("globex")),
        kind(
            "planted",
            "text/plain",
            b"",
            rows("canary_ ", &text, &canary("acme")),
            b"",
            canary("globex").into_bytes(),
        ),
    ]
}

fn guards() -> Value {
    json!({
        "prefix": {"fields": {"keys": ["tenant_id"]}, "release": "verified_prefix"},
        "grpc": {"fields": {"grpc": ["1"]}, "release": "verified_prefix"},
        "planted": {"canaries": {"prefix": "canary_", "secret": crate::SECRET}, "release": "sever"},
    })
}

impl Kind {
    /// How many records make `bytes`, and what they come to with what is around them.
    fn count(&self, bytes: u64) -> u64 {
        bytes / self.record.len() as u64 + 1
    }

    /// Gives every piece of the answer to `take`: `count` records, then perhaps another tenant's.
    fn pieces(&self, count: u64, leaks: bool, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut piece = self.begin.to_vec();
        for _ in 0..count {
            piece.extend_from_slice(&self.record);
            while piece.len() >= CHUNK {
                let rest = piece.split_off(CHUNK);
                take(&std::mem::replace(&mut piece, rest))?;
            }
        }
        if leaks {
            piece.extend_from_slice(&self.foreign);
            piece.extend_from_slice(&self.record);
        }
        piece.extend_from_slice(self.end);
        take(&piece)
    }
}

#[test]
fn the_module_reads_any_length_in_the_same_memory() -> Result<()> {
    for kind in kinds() {
        // A module that asks for more is told no, and traps.
        let limits = Limits { memory: MEMORY, ..Limits::default() };
        let (mut worker, process) = worker(&tenant_guard(&guards()), limits)?;
        let stream = open(&mut worker, "GET", &format!("/{}/a", kind.guard))?;
        let headers: Headers = [(":status", "200"), ("content-type", kind.media)].into_iter().collect();
        let mut left = 0_u64;
        let mut note = |outcome: Outcome| -> Result<()> {
            match outcome {
                Outcome::Pause => Ok(()),
                Outcome::Forward(pieces) => {
                    for piece in pieces {
                        if let Piece::Body { bytes, .. } = piece {
                            left += bytes.len() as u64;
                        }
                    }
                    Ok(())
                }
                other => bail!("{}: {other:?}", kind.media),
            }
        };
        note(worker.response_headers(stream, headers, false))?;
        let (mut sent, count) = (0_u64, kind.count(bytes()));
        kind.pieces(count, false, &mut |piece| {
            sent += piece.len() as u64;
            note(worker.response_body(stream, piece, false))
        })?;
        note(worker.response_body(stream, &b""[..], true))?;
        worker.close(stream);
        assert_eq!(left, sent, "{}: not all of it left", kind.media);
        assert!(sent >= bytes());
        assert_eq!(process.counter("portcullis.tenant.guard.scanned"), Some(1));
    }
    Ok(())
}

/// Streams that are open at once, in the middle of their answers.
const OPEN: usize = 2000;
/// What one of them takes in the module, at most, with all that the SDK keeps of it.
const STATE: usize = 1024;

#[test]
fn a_stream_under_way_takes_the_stated_memory() -> Result<()> {
    let taken = |path: &str, media: &str, begin: &[u8]| -> Result<usize> {
        let (mut worker, _) = worker(&tenant_guard(&guards()), Limits::default())?;
        // What is taken once is taken.
        let begun = |worker: &mut Worker| -> Result<StreamId> {
            let stream = open(worker, "GET", path)?;
            let headers: Headers = [(":status", "200"), ("content-type", media)].into_iter().collect();
            for outcome in
                [worker.response_headers(stream, headers, false), worker.response_body(stream, begin, false)]
            {
                ensure!(outcome.trap().is_none(), "{outcome:?}");
            }
            Ok(stream)
        };
        let first: Vec<StreamId> = (0..100).map(|_| begun(&mut worker)).collect::<Result<_>>()?;
        let before = worker.memory(0).context("no memory")?;
        let streams: Vec<StreamId> = (0..OPEN).map(|_| begun(&mut worker)).collect::<Result<_>>()?;
        let after = worker.memory(0).context("no memory")?;
        ensure!(worker.open_streams() == first.len() + streams.len(), "some have ended");
        Ok((after - before) / OPEN)
    };
    let plain = taken("/plain/a", "application/json", b"[")?;
    println!("{plain} bytes a stream that nobody looks at");
    let mut objections = Vec::new();
    for kind in kinds() {
        // Between two records: what waits for the end of one is bounded by the configuration.
        let begin = [kind.begin, &kind.record].concat();
        let all = taken(&format!("/{}/a", kind.guard), kind.media, &begin)?;
        println!("{}: {all} bytes a stream", kind.media);
        if all > STATE {
            objections.push(format!("{}: {all} bytes", kind.media));
        }
    }
    ensure!(objections.is_empty(), "more than {STATE} bytes a stream: {}", objections.join(", "));
    Ok(())
}

/// An upstream that answers `/<guard>/<kind>/<records>/<leaks>` without ever having all of it.
fn upstream() -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        for stream in socket.incoming().map_while(std::result::Result::ok) {
            // Envoy hangs up where it has seen enough.
            thread::spawn(move || drop(stream_answer(stream)));
        }
    });
    Ok(address)
}

fn stream_answer(mut stream: TcpStream) -> Result<()> {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(stream.read(&mut byte)? == 1, "the connection is closed");
            head.extend(byte);
        }
        let head = String::from_utf8(head)?;
        let target = head.split(' ').nth(1).context("no target")?;
        let parts: Vec<&str> = target.split('/').collect();
        let [_, _, kind, count, leaks] = parts[..] else { bail!("asked for {target}") };
        let kind = kinds().into_iter().nth(kind.parse()?).context("no such kind")?;
        let media = kind.media;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n")?;
        kind.pieces(count.parse()?, leaks == "leaks", &mut |piece| {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
            Ok(())
        })?;
        stream.write_all(b"0\r\n\r\n")?;
    }
}

/// Status, bytes of the body, and whether it was whole; the body itself is kept nowhere.
fn ask(address: SocketAddr, path: &str, token: &str) -> Result<(u16, u64, bool)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header("host", "app.test")
            .header("x-tenant-id", "acme")
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let (mut body, mut bytes) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok((status, bytes, false)) };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok((status, bytes, true))
    })
}

fn start(binary: &Path, folder: &Path, upstream: SocketAddr) -> Result<(Envoy, String)> {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let jwt_auth = setup.jwt_auth_everywhere();
    let (first, second) =
        (portcullis_modules::JWT_AUTH.write_to(folder)?, portcullis_modules::TENANT_GUARD.write_to(folder)?);
    let listener = Listener::new("gateway").filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm_holding(
        "tenant-guard",
        &second,
        &tenant_guard(&guards()),
    ));
    let listener = listener.to_cluster("upstream").without_timeout();
    let bootstrap = Bootstrap::new().cluster("upstream", upstream).listener(listener);
    let token = setup.token().claim("sub", json!("u")).claim("org_id", json!("acme"));
    Ok((Envoy::start(binary, &bootstrap.into_value())?, token.compact(&setup.keys.ec)?))
}

#[test]
fn envoy_reads_any_length_in_the_same_memory_and_still_finds_the_last_record() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (envoy, token) = start(&binary, folder.path(), upstream()?)?;
    let address = envoy.address("gateway");
    let path =
        |n: usize, kind: &Kind, count: u64, leaks: &str| format!("/{}/{n}/{count}/{leaks}", kind.guard);
    let all = kinds();
    // V8 compiles, and every buffer is as large as it gets.
    for (n, kind) in all.iter().enumerate() {
        ask(address, &path(n, kind, kind.count(4 << 20), "own"), &token)?;
    }
    for (n, kind) in all.iter().enumerate() {
        let (before, count) = (envoy.peak_memory()?, kind.count(bytes()));
        let records = count * kind.record.len() as u64 + kind.begin.len() as u64;
        let (status, came, whole) = ask(address, &path(n, kind, count, "own"), &token)?;
        let expected = records + kind.end.len() as u64;
        ensure!(
            (status, came, whole) == (200, expected, true),
            "{}: {status} {came} of {expected} {whole}",
            kind.media
        );
        let (status, came, whole) = ask(address, &path(n, kind, count, "leaks"), &token)?;
        let after = envoy.peak_memory()?;
        println!("{}: {came} bytes, {} KiB more at the peak", kind.media, (after - before) / 1024);
        ensure!(after - before < SLACK, "{}: {} bytes more at the peak", kind.media, after - before);
        ensure!(status == 200 && !whole, "{}: the leak was not cut", kind.media);
        // Of a canary, what came before it may have left.
        let right = if kind.guard == "planted" {
            came <= records + kind.foreign.len() as u64
        } else {
            came == records
        };
        ensure!(right, "{}: {came} bytes left, not {records}", kind.media);
    }
    Ok(())
}
