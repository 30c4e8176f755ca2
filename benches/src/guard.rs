//! What it costs to look at an answer: one Envoy with one worker, jwt-auth and tenant-guard, and a
//! route for each guard beside one without.
//!
//! The difference between a guarded route and the other, for the same answers in the same round, is
//! the guard's: its scanner in V8, and what Envoy does to hand it every body.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use portcullis_host_tests::envoy::{Envoy, config};
use portcullis_host_tests::loopback::Request;
use serde_json::{Value, json};

use crate::{load, report::Spread, tokens};

/// Answers of an API, of a chat, and of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Lines,
    Events,
    Grpc,
    Canaries,
}

/// The guard's name, what its answers are, and what it looks for.
const GUARDS: [(&str, Format, &str); 8] = [
    ("JSON, verified_prefix", Format::Json, r#"{"fields": {"keys": ["tenant_id"]}}"#),
    (
        "JSON, hold",
        Format::Json,
        r#"{"fields": {"keys": ["tenant_id"]}, "release": "hold", "max_bytes": 4194304}"#,
    ),
    ("JSON, sever", Format::Json, r#"{"fields": {"keys": ["tenant_id"]}, "release": "sever"}"#),
    (
        "JSON and canaries, sever",
        Format::Json,
        r#"{"fields": {"keys": ["tenant_id"]}, "canaries": {"prefix": "canary_", "secret": "AAECAwQFBgcICQoLDA0ODw=="}, "release": "sever"}"#,
    ),
    ("NDJSON, verified_prefix", Format::Lines, r#"{"fields": {"keys": ["tenant_id"]}}"#),
    ("events, verified_prefix", Format::Events, r#"{"fields": {"keys": ["tenant_id"]}}"#),
    ("gRPC, verified_prefix", Format::Grpc, r#"{"fields": {"grpc": ["1"]}}"#),
    (
        "canaries, sever",
        Format::Canaries,
        r#"{"canaries": {"prefix": "canary_", "secret": "AAECAwQFBgcICQoLDA0ODw=="}, "release": "sever"}"#,
    ),
];

/// Bytes of an answer, and how many answers stand for one round.
const SIZES: [(usize, usize); 3] = [(1 << 10, 16), (64 << 10, 4), (1 << 20, 1)];

/// A record of 270 bytes, as APIs have them: short names, short values, numbers.
const RECORD: &str = r#"{"id":1234,"tenant_id":"acme","status":"shipped","created_at":"2026-01-01T00:00:00Z","customer":{"name":"Alice Example","email":"alice@example.com"},"lines":[{"sku":"A-1","qty":2,"price":19.99},{"sku":"B-2","qty":1,"price":5.5}],"total":45.48,"paid":true,"note":null}"#;

impl Format {
    const fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Grpc => "application/grpc",
            Self::Canaries => "text/plain",
        }
    }

    /// An answer of about `size` bytes, all of it acme's.
    fn body(self, size: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let message = message();
        while body.is_empty() || body.len() + RECORD.len() < size {
            match self {
                Self::Json => body.extend([if body.is_empty() { "[" } else { "," }, RECORD].concat().bytes()),
                Self::Lines | Self::Canaries => body.extend([RECORD, "\n"].concat().bytes()),
                Self::Events => body.extend(["data: ", RECORD, "\n\n"].concat().bytes()),
                Self::Grpc => body.extend(&message),
            }
        }
        if self == Self::Json {
            body.push(b']');
        }
        body
    }
}

/// A gRPC message with the tenant in field 1 and the record in field 2.
fn message() -> Vec<u8> {
    let mut fields = b"\x0a\x04acme\x12".to_vec();
    let size = RECORD.len();
    fields.extend([(size & 0x7f) as u8 | 0x80, (size >> 7) as u8]);
    fields.extend(RECORD.bytes());
    let length = u32::try_from(fields.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &fields].concat()
}

/// An upstream that answers `/<anything>/<guard>/<size>` as often as it is asked.
fn upstream() -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let answer = |format: Format, size: usize| {
        let (media, body) = (format.media(), format.body(size));
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    };
    let answers: Vec<Vec<Vec<u8>>> =
        GUARDS.iter().map(|(_, format, _)| SIZES.map(|(size, _)| answer(*format, size)).to_vec()).collect();
    let answers = Arc::new(answers);
    thread::spawn(move || {
        for stream in socket.incoming().map_while(std::result::Result::ok) {
            let answers = Arc::clone(&answers);
            // Envoy hangs up at the end.
            thread::spawn(move || drop(serve(stream, &answers)));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, answers: &[Vec<Vec<u8>>]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(unread.drain(..end + 4).collect())?;
            let mut parts = head.split(' ').nth(1).unwrap_or_default().split('/').skip(2);
            let mut number = || parts.next().and_then(|text| text.parse::<usize>().ok());
            let answer = number().zip(number()).and_then(|(guard, size)| answers.get(guard)?.get(size));
            stream.write_all(answer.context("asked for nothing")?)?;
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        unread.extend(buffer.iter().take(read));
    }
}

fn tenant_guard() -> Result<Value> {
    let mut guards = serde_json::Map::new();
    let mut routes = vec![json!({"path": {"prefix": "/plain"}, "class": "tenant"})];
    for (n, (_, _, guard)) in GUARDS.iter().enumerate() {
        guards.insert(format!("g{n}"), serde_json::from_str(guard)?);
        routes
            .push(json!({"path": {"prefix": format!("/g{n}")}, "class": "tenant", "guard": format!("g{n}")}));
    }
    Ok(json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": routes, "guards": guards,
        "forward": {"headers": {"id": "x-tenant-id"}},
    }))
}

/// Measures every guard beside no guard, and prints a table.
///
/// # Errors
/// Envoy does not start, or an answer is not whole and 200.
pub fn measure(binary: &Path, folder: &Path, rounds: usize) -> Result<Value> {
    let key = tokens::key("ES256")?;
    let token = tokens::mint(&key, 1, 0)?.pop().context("no token was minted")?;
    let (jwt_auth, guard) = (folder.join("jwt-auth.wasm"), folder.join("tenant-guard.wasm"));
    fs::write(&jwt_auth, portcullis_modules::JWT_AUTH.wasm)?;
    fs::write(&guard, portcullis_modules::TENANT_GUARD.wasm)?;
    let listener = config::Listener::new("gateway")
        .filter(config::wasm("jwt-auth", &jwt_auth, &tokens::jwt_auth(&key, 1)))
        .filter(config::wasm_holding("tenant-guard", &guard, &tenant_guard()?))
        .to_cluster("upstream");
    let bootstrap = config::Bootstrap::new().cluster("upstream", upstream()?).listener(listener);
    let envoy = Envoy::start(binary, &bootstrap.into_value())?;
    let requests = |route: &str, guard: usize, size: usize, count: usize| {
        let request =
            Request::get(format!("/{route}/{guard}/{size}")).header("x-tenant-id", "acme").bearer(&token);
        vec![request.to_bytes(); count]
    };
    let mut results = Vec::new();
    println!(
        "| CPU added over no guard | 1 KiB, µs | 64 KiB, µs | 1 MiB, µs | MB/s |\n|---|--:|--:|--:|--:|"
    );
    for (n, (name, format, _)) in GUARDS.iter().enumerate() {
        let mut cells = Vec::new();
        let mut throughput = 0.0;
        for (size, (bytes, count)) in SIZES.into_iter().enumerate() {
            let count = count * 32;
            let (plain, guarded) =
                (requests("plain", n, size, count), requests(&format!("g{n}"), n, size, count));
            let mut added = Vec::new();
            for round in 0..=rounds {
                let cost =
                    |requests: &[Vec<u8>]| load::measure(&envoy, "gateway", requests).map(|cost| cost.cpu);
                // Either first, so that neither always follows the other.
                let (plain, guarded) = if round % 2 == 0 {
                    let plain = cost(&plain)?;
                    (plain, cost(&guarded)?)
                } else {
                    let guarded = cost(&guarded)?;
                    (cost(&plain)?, guarded)
                };
                // The first round warms up.
                if round > 0 {
                    added.push(guarded - plain);
                }
            }
            let spread = Spread::of(&added);
            throughput = format.body(bytes).len() as f64 / spread.median;
            results.push(json!({"guard": name, "bytes": bytes, "added_us": added}));
            cells.push(spread.to_string());
        }
        println!("| {name} | {} | {throughput:.0} |", cells.join(" | "));
    }
    Ok(json!({"title": "response guard", "series": results}))
}
