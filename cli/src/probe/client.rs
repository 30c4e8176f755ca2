//! Sends one request, and reads no more of its answer than it may.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::operation::Method;

/// Whom requests go to.
pub(super) struct Client {
    address: SocketAddr,
    authority: HeaderValue,
    /// What stands before every path.
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) limits: Limits,
}

/// What one answer may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) answer: Duration,
    pub(super) body: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// There is more of it than is read.
    TooLong,
    /// The connection ended before it.
    Broken,
    Late,
}

impl Answer {
    pub(super) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// The stable code of a refusal of ours.
    pub(super) fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }
}

impl Client {
    /// A client for the server at `url`. It is looked up once, and only here: what was found to be on
    /// loopback cannot become another machine.
    ///
    /// # Errors
    ///
    /// It is no address, cannot be found, or is not on loopback and may not be asked then.
    pub(super) async fn new(url: &str, limits: Limits, allow_remote: bool) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no address"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("`{url}`: an address begins with http:// or https://"),
        };
        let authority = uri.authority().context("the address names no host")?;
        ensure!(!authority.as_str().contains('@'), "credentials do not belong in the address");
        ensure!(uri.query().is_none(), "`{url}`: an address with a query; parameters are the plan's");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = resolved(&host, port, allow_remote).await?;
        // Before anything is asked, and said once.
        drop(TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?);
        let tls = if secure {
            let name = ServerName::try_from(host).context("TLS needs a host's name")?;
            Some((crate::tls::connector(None)?, name))
        } else {
            None
        };
        Ok(Self {
            address,
            authority: HeaderValue::from_str(authority.as_str())?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
            limits,
        })
    }

    /// The path that a request for `target` is sent to.
    pub(super) fn path(&self, target: &str) -> String {
        format!("{}{target}", self.prefix)
    }

    /// The host that a request is for where its own headers name none.
    pub(super) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Sends one request over a connection of its own; `deadline` is when the whole probe ends.
    ///
    /// # Errors
    ///
    /// There is no answer. No header's value is in the message.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(HeaderName, HeaderValue)],
        deadline: Instant,
    ) -> anyhow::Result<Answer> {
        let until = deadline.min(Instant::now() + self.limits.answer);
        let mut request = Request::builder().method(method.as_str()).uri(self.path(target));
        if let Some(map) = request.headers_mut() {
            map.extend(headers.iter().cloned());
            if !map.contains_key(HOST) {
                map.insert(HOST, self.authority.clone());
            }
        }
        let request = request.body(Empty::<Bytes>::new()).context("the request is not HTTP")?;
        let seconds = self.limits.answer.as_secs_f64();
        let sent = tokio::time::timeout_at(until, self.send(request)).await;
        let response = sent.with_context(|| format!("no answer within {seconds} s"))??;
        let (parts, body) = response.into_parts();
        let mut answer = Answer {
            status: parts.status.as_u16(),
            headers: pairs(&parts.headers),
            body: Vec::new(),
            end: End::Whole,
        };
        let read = tokio::time::timeout_at(until, self.read(body, &mut answer.body)).await;
        answer.end = read.unwrap_or(End::Late);
        Ok(answer)
    }

    async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
        let stream =
            TcpStream::connect(self.address).await.with_context(|| format!("connect to {}", self.address))?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await.context("TLS")?;
                exchange(stream, request).await
            }
        }
    }

    async fn read(&self, mut body: hyper::body::Incoming, out: &mut Vec<u8>) -> End {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return End::Broken };
            let Some(data) = frame.data_ref() else { continue };
            let room = self.limits.body.saturating_sub(out.len());
            out.extend(data.iter().take(room));
            if data.len() > room {
                return End::TooLong;
            }
        }
        End::Whole
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await.context("no answer")
}

fn pairs(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The address behind a name: every one of them on loopback, unless another machine may be asked.
pub(super) async fn resolved(host: &str, port: u16, allow_remote: bool) -> anyhow::Result<SocketAddr> {
    let found = tokio::net::lookup_host((host, port)).await.with_context(|| format!("look up `{host}`"))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = *found.first().with_context(|| format!("`{host}` has no address"))?;
    if !allow_remote && !found.iter().all(|address| is_loopback(address.ip())) {
        bail!("`{host}` is not on this machine: probe only what is yours, and say so with --allow-remote");
    }
    Ok(first)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
