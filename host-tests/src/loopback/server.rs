//! The servers: [`Upstream`] echoes what reached it, [`Endpoint`] answers what it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};

use super::{pieces::Pieces, running::Running};

/// How many requests a server remembers; the oldest go first.
const REMEMBERED: usize = 4096;

/// The largest request body that is read; a longer one is refused with 413.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// Every header, repeated ones repeated, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// Every value of the header `name` (lower case).
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect()
    }

    /// What [`Upstream`] answers with: `{"method", "target", "headers": [[name, value], …],
    /// "body"}`, where values and body are Latin-1, one character a byte, so that nothing is lost.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| json!([name, latin1(value)])).collect();
        json!({
            "method": self.method,
            "target": self.target,
            "headers": headers,
            "body": latin1(&self.body),
        })
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// What a server replies.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers beside those that HTTP itself adds.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers, after the body.
    pub trailers: Vec<(String, String)>,
    /// Where the body is cut: each piece is sent by itself, a moment after the one before.
    pub cuts: Vec<usize>,
    /// How long to wait before replying.
    pub delay: Duration,
}

impl Answer {
    /// 200 with this JSON.
    #[must_use]
    pub fn json(document: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { headers, body: document.to_string().into_bytes(), ..Self::status(200) }
    }

    /// This status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            cuts: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its media type.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.header("content-type", kind)
    }

    /// Sends the body in pieces that end here.
    #[must_use]
    pub fn cut(mut self, at: impl IntoIterator<Item = usize>) -> Self {
        self.cuts = at.into_iter().collect();
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits this long before replying.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn into_response(self) -> hyper::Response<Pieces> {
        let mut response = hyper::Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Pieces::new(self.body, &self.cuts, &self.trailers)).unwrap_or_else(|error| {
            let text = format!("bad script: {error}").into_bytes();
            let mut broken = hyper::Response::new(Pieces::new(text, &[], &[]));
            *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            broken
        })
    }
}

/// An upstream that answers every request with 200 and [`Seen::to_json`], and remembers it.
#[derive(Debug)]
pub struct Upstream(Server);

impl Upstream {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> Result<Self> {
        Server::start(|seen| Answer::json(&seen.to_json())).map(Self)
    }

    /// Where it accepts, in HTTP/1.1 and in HTTP/2 with prior knowledge.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.running.address()
    }

    /// The requests that reached it, the oldest first; at most the last 4,096.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.0.record).seen.iter().cloned().collect()
    }

    /// [`Upstream::seen`], forgetting them: for a test that makes more requests than are
    /// remembered, or asks what one request did.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut locked(&self.0.record).seen).into()
    }
}

/// A scripted server, such as an issuer's JWK Set address: it gives every request the answer that
/// was set last, and counts.
#[derive(Debug)]
pub struct Endpoint {
    server: Server,
    answer: Arc<Mutex<Answer>>,
}

impl Endpoint {
    /// Starts on a free loopback port with its first answer.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(first: Answer) -> Result<Self> {
        let answer = Arc::new(Mutex::new(first));
        let script = Arc::clone(&answer);
        Ok(Self { server: Server::start(move |_| locked(&script).clone())?, answer })
    }

    /// Where it accepts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.running.address()
    }

    /// What every request from now on gets.
    pub fn set(&self, answer: Answer) {
        *locked(&self.answer) = answer;
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        locked(&self.server.record).count
    }

    /// The requests that arrived, the oldest first; at most the last 4,096.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.server.record).seen.iter().cloned().collect()
    }
}

/// A server of files by path, with entity tags, that counts what it sent. A file can be replaced at
/// any time.
#[derive(Debug)]
pub struct Site {
    server: Server,
    files: Arc<Mutex<BTreeMap<String, (String, Bytes)>>>,
}

impl Site {
    /// Starts on a free loopback port, without files.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> Result<Self> {
        let files = Arc::new(Mutex::new(BTreeMap::<String, (String, Bytes)>::new()));
        let shelf = Arc::clone(&files);
        let server = Server::start(move |seen| {
            let Some((etag, bytes)) = locked(&shelf).get(&seen.target).cloned() else {
                return Answer::status(404);
            };
            if seen.all("if-none-match").contains(&etag.as_bytes()) {
                return Answer::status(304).header("etag", &etag);
            }
            Answer { body: bytes.to_vec(), ..Answer::status(200).header("etag", &etag) }
        })?;
        Ok(Self { server, files })
    }

    /// Where it accepts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.running.address()
    }

    /// Puts `bytes` at `path`; `etag` is without quotes.
    pub fn put(&self, path: &str, etag: &str, bytes: Vec<u8>) {
        locked(&self.files).insert(path.to_owned(), (format!("\"{etag}\""), Bytes::from(bytes)));
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        locked(&self.server.record).count
    }
}

/// A server that answers each request as a function of it says, and remembers it.
#[derive(Debug)]
pub struct Service(Server);

impl Service {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Server::start(answer).map(Self)
    }

    /// Where it accepts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.running.address()
    }

    /// The requests that arrived, the oldest first; at most the last 4,096.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.0.record).seen.iter().cloned().collect()
    }
}

#[derive(Debug, Default)]
struct Record {
    count: u64,
    seen: VecDeque<Seen>,
}

/// A server on a thread of its own; it ends, connections and all, when dropped.
#[derive(Debug)]
struct Server {
    running: Running,
    record: Arc<Mutex<Record>>,
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

impl Server {
    fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let record = Arc::new(Mutex::new(Record::default()));
        let running =
            Running::start("loopback", |listener| serve(listener, Arc::new(script), Arc::clone(&record)))?;
        Ok(Self { running, record })
    }
}

async fn serve(listener: tokio::net::TcpListener, script: Arc<Script>, record: Arc<Mutex<Record>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (script, record) = (Arc::clone(&script), Arc::clone(&record));
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, Arc::clone(&script), Arc::clone(&record)));
            // The peer's way of ending a connection is its own affair.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    script: Arc<Script>,
    record: Arc<Mutex<Record>>,
) -> Result<hyper::Response<Pieces>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(Answer::status(413).into_response());
    };
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
    let seen = Seen { method: parts.method.to_string(), target, headers, body: body.to_bytes().to_vec() };
    let answer = script(&seen);
    {
        let mut record = locked(&record);
        record.count = record.count.saturating_add(1);
        record.seen.push_back(seen);
        if record.seen.len() > REMEMBERED {
            record.seen.pop_front();
        }
    }
    tokio::time::sleep(answer.delay).await;
    Ok(answer.into_response())
}

/// A poisoned lock means that a test failed while holding it; what it guards is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
