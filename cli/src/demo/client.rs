//! The smallest HTTP client that sends a repeated header as it is.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_BODY: usize = 1 << 20;

/// `GET path` with these headers: the status and the body.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, String)],
) -> anyhow::Result<(u16, Bytes)> {
    let request = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let builder = Request::get(path).header("host", address.to_string());
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let response = sender.send_request(builder.body(Empty::<Bytes>::new())?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("read the answer: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(TIMEOUT, request).await.context("no answer in time")?
}
