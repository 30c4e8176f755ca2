//! HTTP calls that guests make to upstream clusters: what goes out and what comes back.

use crate::headers::Headers;
use std::time::Duration;

/// Names one call of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    pub(crate) vm: u64,
    pub(crate) token: u32,
}

/// A call that a guest wants to be made (`proxy_http_call`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingCall {
    /// For [`Worker::complete_call`](crate::Worker::complete_call).
    pub id: CallId,
    /// The upstream cluster; it exists.
    pub cluster: String,
    /// Request headers, with `:method`, `:path` and `:authority`.
    pub headers: Headers,
    /// Request body.
    pub body: Vec<u8>,
    /// Request trailers.
    pub trailers: Headers,
    /// How long to wait; zero is for ever. When it is over, Envoy answers with
    /// [`CallResponse::timeout`].
    pub timeout: Duration,
    /// The context that made it. The answer goes to its root context: as in Envoy the call lives on
    /// when the stream goes; an SDK drops an answer whose stream is gone.
    pub context: u32,
}

/// What an upstream answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallResponse {
    /// Response headers, with `:status`.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
    /// Response trailers.
    pub trailers: Headers,
}

impl CallResponse {
    /// A response of a status and a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut headers = Headers::new();
        headers.add(":status", status.to_string());
        Self { headers, body: body.into(), trailers: Headers::new() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// What Envoy makes up when an upstream did not answer in time: a 504.
    #[must_use]
    pub fn timeout() -> Self {
        Self::new(504, "upstream request timeout").header("content-type", "text/plain")
    }

    /// What Envoy makes up when no connection could be made: a 503.
    #[must_use]
    pub fn no_connection() -> Self {
        let text =
            "upstream connect error or disconnect/reset before headers. reset reason: connection failure";
        Self::new(503, text).header("content-type", "text/plain")
    }
}

/// The call was reset: the guest's callback sees no headers, no body and no trailers.
///
/// In Envoy timeouts and refused connections are not failures but made-up answers: see
/// [`CallResponse::timeout`] and [`CallResponse::no_connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFailure;
