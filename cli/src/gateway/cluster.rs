//! Calls that plugins make: to a cluster by its name, over HTTP/1.1, plain or in TLS.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Response,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use portcullis_host::{CallFailure, CallResponse, OutgoingCall};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::{
    config::{Address, Cluster, Tls},
    headers,
};

/// Bytes of an answer: a key set with certificate chains has some hundred kilobytes.
const MAX_ANSWER: usize = 4 << 20;
/// For a call that names no limit of its own.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Makes calls; clones share everything.
#[derive(Clone)]
pub(super) struct Caller {
    clusters: Arc<BTreeMap<String, Target>>,
}

struct Target {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Caller {
    /// # Errors
    ///
    /// A cluster's certificates cannot be read or its name is not a host's.
    pub(super) fn new(clusters: BTreeMap<String, Cluster>) -> anyhow::Result<Self> {
        let targets = clusters.into_iter().map(|(name, Cluster { address, tls })| {
            let tls = tls.map(|tls| connector(&tls, &address)).transpose();
            let tls = tls.with_context(|| format!("`clusters.{name}.tls`"))?;
            Ok((name, Target { address, tls }))
        });
        Ok(Self { clusters: Arc::new(targets.collect::<anyhow::Result<_>>()?) })
    }

    /// Makes a call. Failures are told as Envoy tells them: 504 for a timeout, 503 for no
    /// connection, and nothing for an answer that was cut or is too large.
    pub(super) async fn call(&self, call: OutgoingCall) -> Result<CallResponse, CallFailure> {
        let limit = if call.timeout.is_zero() { MAX_TIME } else { call.timeout };
        match tokio::time::timeout(limit, self.attempt(&call)).await {
            Ok(answer) => answer,
            Err(_) => Ok(CallResponse::timeout()),
        }
    }

    async fn attempt(&self, call: &OutgoingCall) -> Result<CallResponse, CallFailure> {
        let Some(target) = self.clusters.get(&call.cluster) else { return Ok(CallResponse::no_connection()) };
        if call.headers.text(":scheme") == Some("https") && target.tls.is_none() {
            // Keys that are fetched in the clear can be replaced on the way.
            eprintln!("[error] cluster `{}`: an https address, but the cluster has no `tls`", call.cluster);
            return Ok(CallResponse::no_connection());
        }
        match target.send(call).await {
            Ok(response) => read(response).await,
            Err(error) => {
                eprintln!("[warn] cluster `{}`: {error:#}", call.cluster);
                Ok(CallResponse::no_connection())
            }
        }
    }
}

impl Target {
    async fn send(&self, call: &OutgoingCall) -> anyhow::Result<Response<Incoming>> {
        let Address { host, port } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.context("connect")?;
        let body = Full::new(Bytes::from(call.body.clone()));
        let mut request = headers::to_request(&call.headers, &self.address.authority(), body)
            .context("the call is not an HTTP request")?;
        // On the wire a request to its origin has only the path (RFC 9112 section 3.2.1).
        let path = request.uri().path_and_query().cloned().context("no path")?;
        *request.uri_mut() = path.into();
        match &self.tls {
            None => exchange(TokioIo::new(stream), request).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.context("TLS")?;
                exchange(TokioIo::new(stream), request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Ends with the response; its errors reach the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender.send_request(request).await?)
}

async fn read(response: Response<Incoming>) -> Result<CallResponse, CallFailure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| CallFailure)?;
    let mut answer = CallResponse::new(head.status.as_u16(), body.to_bytes().to_vec());
    for (name, value) in &head.headers {
        answer = answer.header(name.as_str(), value.as_bytes());
    }
    Ok(answer)
}

fn connector(tls: &Tls, address: &Address) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let shown = file.display();
            let read = || format!("`ca_file`: read certificates from `{shown}`");
            for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
            anyhow::ensure!(!roots.is_empty(), "`ca_file`: no certificate in `{shown}`");
        }
    }
    let name = tls.server_name.clone().unwrap_or_else(|| address.host.clone());
    let server = ServerName::try_from(name.clone()).with_context(|| format!("`server_name`: `{name}`"))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), server))
}
