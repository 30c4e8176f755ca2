//! What the gateway itself says, in the shape that the plugins' denials have.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};

/// An answer that no plugin and no upstream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request has no host, or two.
    BadHost,
    /// A tunnel, which no plugin could look into.
    NoTunnels,
    /// The plugins could not be asked, or what they left is not HTTP: nothing passes.
    Unchecked,
    /// No connection to the upstream, or it was cut.
    UpstreamFailed,
    /// No answer from the upstream in time.
    UpstreamTimeout,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadHost => {
                (StatusCode::BAD_REQUEST, "BAD_HOST", "The request must be for exactly one host.")
            }
            Self::NoTunnels => {
                (StatusCode::NOT_IMPLEMENTED, "NO_TUNNELS", "Tunnels and upgrades are not offered.")
            }
            Self::Unchecked => (
                StatusCode::SERVICE_UNAVAILABLE,
                "INTERNAL_ERROR",
                "The request cannot be checked right now.",
            ),
            Self::UpstreamFailed => {
                (StatusCode::BAD_GATEWAY, "UPSTREAM_FAILED", "The upstream did not answer.")
            }
            Self::UpstreamTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "UPSTREAM_TIMEOUT", "The upstream did not answer in time.")
            }
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let (status, code, message) = self.parts();
        let body = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
