//! A client that sends the bytes it is given: header values that are not UTF-8, repeated, missing
//! or huge headers, broken request lines. It parses replies strictly and waits for them boundedly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// How long one read or write may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest reply that is read; a longer one is an error.
const LARGEST_REPLY: usize = 16 * 1024 * 1024;

/// One request, header by header, in the order given.
#[derive(Clone, Debug)]
pub struct Request {
    method: Vec<u8>,
    target: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// A GET of `target` (path and query) with the header `host: gateway` and no other.
    #[must_use]
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target).header("host", "gateway")
    }

    /// A request with no headers at all, also no `host`.
    #[must_use]
    pub fn new(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.as_ref().to_vec(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header; repeating a name sends it twice.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer` with this token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body, and `content-length` with it.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.header("content-length", length)
    }

    /// The bytes of the HTTP/1.1 message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.method[..], b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names as sent (Envoy: lower case) and values as bytes, in order, repeated ones repeated.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, with any chunking undone.
    pub body: Vec<u8>,
}

impl Reply {
    /// Every value of the header `name`, whatever its case, as text with replaced bytes.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The only value of the header `name`; `None` when it is missing or repeated.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        if all.len() == 1 { all.pop() } else { None }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the body is no JSON: `{}`", String::from_utf8_lossy(&self.body)))
    }
}

/// A keep-alive HTTP/1.1 connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// When nothing accepts there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)
            .with_context(|| format!("cannot connect to `{address}`"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends one request and reads its reply.
    ///
    /// # Errors
    /// When the connection ends or the reply is not HTTP/1.1.
    pub fn call(&mut self, request: &Request) -> Result<Reply> {
        self.send(&request.to_bytes())?;
        self.reply(request.method == b"HEAD")
    }

    /// Sends one request and reads as much of the reply as there is, and whether it was whole.
    ///
    /// # Errors
    /// When not even the headers come.
    pub fn call_cut(&mut self, request: &Request) -> Result<(Reply, bool)> {
        self.send(&request.to_bytes())?;
        let mut reply = self.head()?;
        if matches!(reply.status, 204 | 304) {
            return Ok((reply, true));
        }
        if reply.one("content-length").is_some() {
            reply.body = self.body(&reply)?;
            return Ok((reply, true));
        }
        loop {
            match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((line, size))) => {
                    self.unread.drain(..line);
                    let size = usize::try_from(size)?;
                    let Ok(chunk) = self.take(size.saturating_add(2)) else { return Ok((reply, false)) };
                    reply.body.extend_from_slice(chunk.get(..size).unwrap_or_default());
                    if size == 0 {
                        return Ok((reply, true));
                    }
                }
                Ok(httparse::Status::Partial) if self.read_more().is_ok() => {}
                _ => return Ok((reply, false)),
            }
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("cannot send")
    }

    /// Reads one reply; `to_head` when it answers a HEAD request and so has no body. Interim
    /// replies (1xx) are passed over.
    ///
    /// # Errors
    /// When the connection ends or what comes is not HTTP/1.1.
    pub fn reply(&mut self, to_head: bool) -> Result<Reply> {
        loop {
            let mut reply = self.head()?;
            if (100..200).contains(&reply.status) {
                continue;
            }
            if !to_head && !matches!(reply.status, 204 | 304) {
                reply.body = self.body(&reply)?;
            }
            return Ok(reply);
        }
    }

    /// As [`Connection::reply`] to what is no HEAD request, if it has begun within `limit`; nothing if
    /// it has not: it can still be read then.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn reply_within(&mut self, limit: Duration) -> Result<Option<Reply>> {
        if self.unread.is_empty() {
            self.stream.set_read_timeout(Some(limit))?;
            // A child that ends interrupts the call with its signal: that is no answer.
            let begun = loop {
                match self.stream.peek(&mut [0]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    begun => break begun,
                }
            };
            self.stream.set_read_timeout(Some(TIMEOUT))?;
            match begun {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                begun => drop(begun?),
            }
        }
        self.reply(false).map(Some)
    }

    fn head(&mut self) -> Result<Reply> {
        loop {
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut parsed = httparse::Response::new(&mut slots);
            if let httparse::Status::Complete(length) =
                parsed.parse(&self.unread).context("the reply is not HTTP/1.1")?
            {
                let headers = parsed
                    .headers
                    .iter()
                    .map(|header| (header.name.to_owned(), header.value.to_vec()))
                    .collect();
                let status = parsed.code.context("the reply has no status")?;
                self.unread.drain(..length);
                return Ok(Reply { status, headers, body: Vec::new() });
            }
            self.read_more()?;
        }
    }

    fn body(&mut self, reply: &Reply) -> Result<Vec<u8>> {
        if reply.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        match reply.one("content-length") {
            Some(length) => {
                let length: usize = length.parse().context("`content-length` is no number")?;
                self.take(length)
            }
            None => self.rest(),
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((line, size))) => {
                    self.unread.drain(..line);
                    let size = usize::try_from(size)?;
                    let mut chunk = self.take(size.saturating_add(2))?;
                    ensure!(chunk.ends_with(b"\r\n"), "a chunk is longer than it says");
                    chunk.truncate(size);
                    body.append(&mut chunk);
                    ensure!(body.len() <= LARGEST_REPLY, "the reply is too large");
                    if size == 0 {
                        return Ok(body);
                    }
                }
                Ok(httparse::Status::Partial) => self.read_more()?,
                Err(_) => bail!("the chunking is broken"),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= LARGEST_REPLY, "the reply is too large");
        while self.unread.len() < length {
            self.read_more()?;
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    fn rest(&mut self) -> Result<Vec<u8>> {
        while self.read_some()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn read_more(&mut self) -> Result<()> {
        ensure!(self.read_some()? > 0, "the connection was closed before the reply was complete");
        Ok(())
    }

    fn read_some(&mut self) -> Result<usize> {
        ensure!(self.unread.len() <= LARGEST_REPLY, "the reply is too large");
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.unread.extend(buffer.iter().take(count));
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read the reply"),
            }
        }
    }
}

/// Sends one request over a fresh HTTP/2 connection without TLS (prior knowledge). The header
/// `host` becomes `:authority`.
///
/// # Errors
/// When the request cannot be said in HTTP/2, or the peer does not answer it.
pub fn http2(address: SocketAddr, request: &Request) -> Result<Reply> {
    http2_with(address, request, None)
}

/// As [`http2`], with as much of the reply as there is, and whether it was whole.
///
/// # Errors
/// When not even the headers come.
pub fn http2_cut(address: SocketAddr, request: &Request) -> Result<(Reply, bool)> {
    http2_exchange(address, request, None)
}

/// As [`http2`], as an extended CONNECT for a WebSocket (RFC 8441), whatever the request's method.
///
/// # Errors
/// As [`http2`].
pub fn http2_websocket(address: SocketAddr, request: &Request) -> Result<Reply> {
    http2_with(address, request, Some(hyper::ext::Protocol::from_static("websocket")))
}

fn http2_with(
    address: SocketAddr,
    request: &Request,
    protocol: Option<hyper::ext::Protocol>,
) -> Result<Reply> {
    let (reply, whole) = http2_exchange(address, request, protocol)?;
    ensure!(whole, "the stream was reset before the reply was complete");
    Ok(reply)
}

fn http2_exchange(
    address: SocketAddr,
    request: &Request,
    protocol: Option<hyper::ext::Protocol>,
) -> Result<(Reply, bool)> {
    let is_host = |name: &[u8]| name.eq_ignore_ascii_case(b"host");
    let host =
        request.headers.iter().find(|(name, _)| is_host(name)).map_or(&b"gateway"[..], |(_, value)| value);
    let uri = hyper::Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query(&request.target[..])
        .build()
        .context("not a target for HTTP/2")?;
    let mut message = hyper::Request::builder().method(&request.method[..]).uri(uri);
    for (name, value) in request.headers.iter().filter(|(name, _)| !is_host(name)) {
        message = message.header(&name[..], &value[..]);
    }
    let mut message = message.body(Full::new(Bytes::from(request.body.clone())))?;
    if let Some(protocol) = protocol {
        *message.method_mut() = hyper::Method::CONNECT;
        message.extensions_mut().insert(protocol);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(TIMEOUT, exchange(address, message)).await.context("no reply in time")?
    })
}

async fn exchange(address: SocketAddr, message: hyper::Request<Full<Bytes>>) -> Result<(Reply, bool)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(message).await?.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let mut reply = Reply { status: parts.status.as_u16(), headers, body: Vec::new() };
    let mut body = http_body_util::Limited::new(body, LARGEST_REPLY);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok((reply, false)) };
        if let Some(bytes) = frame.data_ref() {
            reply.body.extend_from_slice(bytes);
        }
    }
    Ok((reply, true))
}
