//! Where a key set comes from: a file, standard input, or an address. What a set is worth is
//! judged elsewhere.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use portcullis_jwt::{
    jwks::{KeySet, Limits, Origin},
    life::{Address, Allow, Locality},
};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{document, output, tls};

/// For one address, from its name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Above what a key set may have, so that an error can say how much it was.
const MAX_BODY: usize = 1 << 20;

/// A key set with the name that people gave it.
pub(super) struct Snapshot {
    pub(super) shown: String,
    pub(super) set: KeySet,
}

impl Snapshot {
    /// Reads the set as a verifier reads an issuer's: with its limits, and without secrets.
    ///
    /// # Errors
    ///
    /// With the path and the reason, where it cannot be read or has no key that can be used.
    pub(super) fn read(path: &Path, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let bytes = match path.to_str().filter(|text| is_address(text)) {
            Some(address) => fetch(address, ca_file).with_context(|| shown.clone())?,
            None => document::read(path)?,
        };
        let set = KeySet::parse(&bytes, Origin::Remote, &Limits::default()).with_context(|| shown.clone())?;
        Ok(Self { shown, set })
    }
}

fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// The answer of an address, which is 200 and not longer than a key set can be.
///
/// # Errors
///
/// With the reason; there are no second tries.
pub(crate) fn fetch(text: &str, ca_file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let allow = Allow { insecure_http: true, local: Locality::Loopback };
    let address = Address::parse(text, allow)?;
    if address.scheme() == "http" {
        let warning = output::styled(output::NAME, "warning:");
        anstream::eprintln!("{warning} {address}: over plain http anybody on the way can change the answer");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let answer = tokio::time::timeout(TIMEOUT, get(&address, ca_file)).await;
        answer.with_context(|| format!("no answer within {}", humantime::format_duration(TIMEOUT)))?
    });
    // A name that is still being looked up would hold the end of the process.
    runtime.shutdown_background();
    answer
}

async fn get(address: &Address, ca_file: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let uri: Uri = address.as_str().parse()?;
    let host = uri.host().context("no host")?.trim_matches(['[', ']']).to_owned();
    let secure = address.scheme() == "https";
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let path = uri.path_and_query().cloned().context("no path")?;
    let request = Request::get(Uri::from(path))
        .header("host", address.authority())
        .header("accept", "application/jwk-set+json, application/json")
        .header("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())?;
    let stream = TcpStream::connect((host.as_str(), port)).await.context("connect")?;
    let response = if secure {
        let name = ServerName::try_from(host)?;
        let stream = tls::connector(ca_file)?.connect(name, stream).await.context("TLS")?;
        exchange(TokioIo::new(stream), request).await?
    } else {
        exchange(TokioIo::new(stream), request).await?
    };
    let status = response.status().as_u16();
    ensure!(status == 200, "answered {status}; it must be 200, and redirects are not followed");
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the answer, at most {MAX_BODY} bytes: {error}"))?;
    Ok(body.to_bytes().to_vec())
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> anyhow::Result<Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Ends with the response; its errors reach the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender.send_request(request).await?)
}
