//! HTTP/1.1 connections to registries, kept for the next request to the same place.

use std::{collections::HashMap, sync::Mutex};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use portcullis_signature::ReasonCode;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::Failure;

/// A request of ours, whole.
pub(super) type Sent = Request<Full<Bytes>>;

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

pub(super) struct Connections {
    connector: TlsConnector,
    /// By scheme and authority.
    idle: Mutex<HashMap<String, Vec<SendRequest<Full<Bytes>>>>>,
}

impl Connections {
    pub(super) fn new(connector: TlsConnector) -> Self {
        Self { connector, idle: Mutex::default() }
    }

    /// Sends `request` to the server of `uri` and reads at most `max_bytes` of the answer.
    pub(super) async fn send(&self, uri: &Uri, request: Sent, max_bytes: usize) -> Result<Received, Failure> {
        let place =
            format!("{}://{}", uri.scheme_str().unwrap_or(""), uri.authority().map_or("", |a| a.as_str()));
        // A kept connection may have been closed meanwhile: then one that is made for it answers.
        let kept = self.idle(&place).pop();
        let (mut sender, response) = match kept {
            Some(mut sender) => match sender.send_request(request.clone()).await {
                Ok(response) => (sender, response),
                Err(_) => self.fresh(uri, request).await?,
            },
            None => self.fresh(uri, request).await?,
        };
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, max_bytes).collect().await.map_err(|error| too_much(&*error, max_bytes))?;
        if sender.ready().await.is_ok() {
            self.idle(&place).push(sender);
        }
        Ok(Received { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
    }

    /// Runs `change` on the idle connections to `place`.
    fn idle(&self, place: &str) -> IdlePlace<'_> {
        let guard = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        IdlePlace { guard, place: place.to_owned() }
    }

    async fn fresh(
        &self,
        uri: &Uri,
        request: Sent,
    ) -> Result<(SendRequest<Full<Bytes>>, hyper::Response<Incoming>), Failure> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Failure::unavailable(format!("{what}: {error}"));
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream =
            TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed("connect", &error))?;
        let mut sender = if secure {
            let name = ServerName::try_from(host).map_err(|error| failed("TLS", &error))?;
            let stream = self.connector.connect(name, stream).await.map_err(|error| failed("TLS", &error))?;
            handshake(stream).await
        } else {
            handshake(stream).await
        }
        .map_err(|error| failed("HTTP", &error))?;
        let response = sender.send_request(request).await.map_err(|error| failed("HTTP", &error))?;
        Ok((sender, response))
    }
}

struct IdlePlace<'a> {
    guard: std::sync::MutexGuard<'a, HashMap<String, Vec<SendRequest<Full<Bytes>>>>>,
    place: String,
}

impl IdlePlace<'_> {
    fn pop(mut self) -> Option<SendRequest<Full<Bytes>>> {
        self.guard.get_mut(&self.place)?.pop()
    }

    fn push(mut self, sender: SendRequest<Full<Bytes>>) {
        let place = std::mem::take(&mut self.place);
        self.guard.entry(place).or_default().push(sender);
    }
}

async fn handshake<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with its sender; its errors reach the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn too_much(error: &(dyn std::error::Error + Send + Sync + 'static), max_bytes: usize) -> Failure {
    if error.is::<http_body_util::LengthLimitError>() {
        let detail = format!("its answer is larger than {max_bytes} bytes");
        return Failure::new(ReasonCode::RegistryOversized, detail);
    }
    Failure::unavailable(format!("its answer broke off: {error}"))
}
