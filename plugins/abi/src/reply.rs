//! A denial as the proxy's own answer to the client.

use portcullis_core::{Code, Denial};

use crate::{Refused, pairs, sys};

/// Answers the request of the effective context with `denial`.
///
/// The code is also the response code detail, so that access logs show it.
///
/// # Errors
///
/// [`Refused`] where the host does not answer; the request must then stay paused.
pub fn deny(denial: &Denial) -> Result<(), Refused> {
    deny_with(denial, &[])
}

/// As [`deny`], with further headers.
///
/// # Errors
///
/// As [`deny`].
pub fn deny_with(denial: &Denial, further: &[(&str, &str)]) -> Result<(), Refused> {
    let body = denial.body();
    let challenge = denial.www_authenticate();
    let retry_after = denial.retry_after_secs().map(|seconds| seconds.to_string());
    let optional = [("www-authenticate", &challenge), ("retry-after", &retry_after)];
    let mut headers: Vec<(&[u8], &[u8])> =
        vec![(b"content-type", b"application/json"), (b"cache-control", b"no-store")];
    headers.extend(
        optional.iter().filter_map(|(name, value)| Some((name.as_bytes(), value.as_ref()?.as_bytes()))),
    );
    headers.extend(further.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let details = format!("portcullis_{}", denial.code().as_str().to_ascii_lowercase());
    sys::send_local_response(
        denial.status().into(),
        details.as_bytes(),
        &pairs::write(&headers),
        body.as_bytes(),
    )
}

/// Answers the request of the effective context with JSON. `details` is for access logs.
///
/// # Errors
///
/// As [`deny`].
pub fn json(status: u16, body: &str, details: &str) -> Result<(), Refused> {
    let headers: [(&[u8], &[u8]); 2] =
        [(b"content-type", b"application/json"), (b"cache-control", b"no-store")];
    sys::send_local_response(status.into(), details.as_bytes(), &pairs::write(&headers), body.as_bytes())
}

/// An answer that is neither a denial nor plain JSON.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'w> {
    /// The status.
    pub status: u16,
    /// The body's media type.
    pub media_type: &'w str,
    /// The body.
    pub body: &'w str,
    /// For access logs.
    pub details: &'w str,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// Answers the request of the effective context with `answer`, which no cache keeps.
///
/// # Errors
///
/// As [`deny`].
pub fn whole(answer: &Whole<'_>) -> Result<(), Refused> {
    let retry_after = answer.retry_after.map(|seconds| seconds.to_string());
    let mut headers: Vec<(&[u8], &[u8])> =
        vec![(b"content-type", answer.media_type.as_bytes()), (b"cache-control", b"no-store")];
    headers.extend(retry_after.iter().map(|seconds| (&b"retry-after"[..], seconds.as_bytes())));
    sys::send_local_response(
        answer.status.into(),
        answer.details.as_bytes(),
        &pairs::write(&headers),
        answer.body.as_bytes(),
    )
}

/// Answers the request of the effective context with `headers` and no body. `details` is for access
/// logs.
///
/// # Errors
///
/// As [`deny`].
pub fn answer(status: u16, details: &str, headers: &[(&[u8], &[u8])]) -> Result<(), Refused> {
    sys::send_local_response(status.into(), details.as_bytes(), &pairs::write(headers), &[])
}

/// Answers that nothing can be checked: for a host call that was refused.
///
/// # Errors
///
/// As [`deny`].
pub fn fail(refused: Refused) -> Result<(), Refused> {
    deny(&Denial::new(Code::InternalError, refused.to_string()))
}
