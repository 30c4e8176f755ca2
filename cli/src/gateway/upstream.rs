//! The upstream: plain HTTP/1.1, with a pool of connections.

use std::time::Duration;

use http_body_util::{Either, Full, channel::Channel};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use portcullis_host::Headers;

use super::{config::UpstreamConfig, headers, refusal::Refusal};

/// The request's body was cut: the upstream must not take what it has for the whole.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body was cut")
    }
}

impl std::error::Error for Cut {}

/// A body on its way, or one that came from the gateway itself.
pub(super) type Streamed = Either<Channel<Bytes, Cut>, Full<Bytes>>;

/// A response's body.
pub(super) type Answered = Either<Incoming, Full<Bytes>>;

pub(super) struct Upstream {
    client: Client<HttpConnector, Streamed>,
    address: String,
    timeout: Duration,
}

impl Upstream {
    pub(super) fn new(config: &UpstreamConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(config.timeout.0));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { client, address: config.address.authority(), timeout: config.timeout.0 }
    }

    /// The request that the plugins let through. `None` where it is not HTTP.
    pub(super) fn request(&self, headers: &Headers, body: Streamed) -> Option<Request<Streamed>> {
        headers::to_request(headers, &self.address, body)
    }

    /// The upstream's response, or what stands for it: plugins see either.
    pub(super) async fn send(&self, request: Request<Streamed>) -> Response<Answered> {
        let refusal = match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(response)) => return response.map(Either::Left),
            Ok(Err(error)) => {
                eprintln!("[warn] upstream {}: {error}{}", self.address, cause(&error));
                Refusal::UpstreamFailed
            }
            Err(_) => Refusal::UpstreamTimeout,
        };
        refusal.response().map(Either::Right)
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source()).map(|error| format!(": {error}")).collect()
}
