//! One question, several who answer it: the native policy, the module in the wasmtime host with
//! and without the host's arithmetic, and the module in the real Envoy.
//!
//! A [`Subject`] is loaded with a configuration and judges requests; who disagrees has a bug.

mod hosted;
mod native;
mod real;

use anyhow::Result;
pub use hosted::compiled;
pub use hosted::{ArithmeticIn, Hosted, judgement};
pub use native::Native;
use portcullis_issuer::attacks::Request;
pub use real::Real;

/// Somebody who enforces a jwt-auth configuration.
pub trait Subject {
    /// The name for reports.
    fn name(&self) -> &str;

    /// Judges one request.
    ///
    /// # Errors
    ///
    /// When there is no judgement: the subject broke, or could not be asked.
    fn judge(&mut self, request: &Request) -> Result<Judgement>;
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It reached the upstream with these headers, in order, without pseudo headers.
    Forwarded(Vec<(String, Vec<u8>)>),
    /// It was refused.
    Refused(Refusal),
}

/// A refusal as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable code in the body; `None` where the proxy itself refused the request.
    pub code: Option<String>,
    /// The header `www-authenticate`.
    pub challenge: Option<String>,
}

impl Judgement {
    /// Every value that the upstream saw of the header `name`; `None` where nothing got there.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<Vec<String>> {
        let Self::Forwarded(headers) = self else { return None };
        let values = headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        Some(values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect())
    }
}

/// The request's headers with the pseudo headers that a proxy makes of its first line.
fn with_pseudo_headers(request: &Request) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pseudo = [(":method", &request.method), (":path", &request.path)];
    let fixed = [(":authority", "gateway"), (":scheme", "https")];
    pseudo
        .into_iter()
        .map(|(name, value)| (name.into(), value.clone().into_bytes()))
        .chain(fixed.into_iter().map(|(name, value)| (name.into(), value.into())))
        .chain(request.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())))
        .collect()
}

/// The refusal that a reply tells of.
fn refusal(status: u16, body: &[u8], challenge: Option<String>) -> Refusal {
    let code = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
    Refusal { status, code, challenge }
}
