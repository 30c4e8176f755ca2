//! Many requests at once: HTTP/2 connections with many lanes, each lane one request after the
//! other.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Fewer than what Envoy takes on one connection.
const LANES_PER_CONNECTION: usize = 100;

/// What became of one request.
pub struct Outcome {
    /// When it was sent.
    pub sent: Instant,
    /// Its status.
    pub status: u16,
    /// The header `retry-after`.
    pub retry_after: Option<String>,
}

/// Sends a request for each of `tokens` to `address`, in `lanes` that run in parallel.
pub fn crowd(address: SocketAddr, tokens: &[String], lanes: usize) -> Result<Vec<Outcome>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, send(address, tokens, lanes)).await.context("too slow")?
    })
}

async fn send(address: SocketAddr, tokens: &[String], lanes: usize) -> Result<Vec<Outcome>> {
    let mut connections = Vec::new();
    for _ in 0..lanes.div_ceil(LANES_PER_CONNECTION).max(2) {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        connections.push(sender);
    }
    let mut set = JoinSet::new();
    for lane in 0..lanes {
        let mine: Vec<String> = tokens.iter().skip(lane).step_by(lanes).cloned().collect();
        let sender = connections[lane % connections.len()].clone();
        set.spawn(run_lane(sender, mine));
    }
    let mut all = Vec::new();
    while let Some(lane) = set.join_next().await {
        all.extend(lane??);
    }
    Ok(all)
}

async fn run_lane(mut sender: http2::SendRequest<Empty<Bytes>>, tokens: Vec<String>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for token in tokens {
        let request = hyper::Request::get("http://gateway/")
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::new())?;
        let sent = Instant::now();
        let (parts, body) = sender.send_request(request).await?.into_parts();
        body.collect().await?;
        let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        outcomes.push(Outcome {
            sent,
            status: parts.status.as_u16(),
            retry_after: retry_after.map(Into::into),
        });
    }
    Ok(outcomes)
}
