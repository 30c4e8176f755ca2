//! Header maps, the paused request, and calls to other services.

use std::time::Duration;

use proxy_wasm::types::Status;

pub use crate::pairs::Headers;
use crate::{Refused, sys};

/// `proxy_header_map_type_t`, as far as filters here use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Map {
    /// The request's headers, pseudo headers among them.
    RequestHeaders = 0,
    /// The request's trailers.
    RequestTrailers = 1,
    /// The response's headers.
    ResponseHeaders = 2,
    /// The response's trailers.
    ResponseTrailers = 3,
    /// The headers of the answer to an HTTP call.
    CallResponseHeaders = 6,
}

/// Every header of `map`: bytes, in order, repeated names kept.
///
/// # Errors
///
/// [`Refused`] where the map is not there.
pub fn headers(map: Map) -> Result<Headers, Refused> {
    sys::header_map_pairs(map as u32).map(Headers)
}

/// Sets `name` to `value` alone, whatever had the name before.
///
/// # Errors
///
/// [`Refused`] where the host does not do it.
pub fn set_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    sys::replace_header(map as u32, name, value)
}

/// Adds a line with `name` and `value` to whatever has the name.
///
/// # Errors
///
/// [`Refused`] where the host does not do it.
pub fn add_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    sys::add_header(map as u32, name, value)
}

/// Removes every header called `name`.
///
/// # Errors
///
/// [`Refused`] where the host does not do it.
pub fn remove_header(map: Map, name: &[u8]) -> Result<(), Refused> {
    sys::remove_header(map as u32, name)
}

/// Lets the paused request of the effective context go on.
///
/// # Errors
///
/// [`Refused`] where there is no paused request.
pub fn resume_request() -> Result<(), Refused> {
    sys::continue_request()
}

/// Lets the paused response of the effective context go on.
///
/// # Errors
///
/// [`Refused`] where there is no paused response.
pub fn resume_response() -> Result<(), Refused> {
    sys::continue_response()
}

/// A request to another service.
#[derive(Clone, Copy, Debug)]
pub struct Call<'c> {
    /// The proxy's name for the service.
    pub cluster: &'c str,
    /// Headers with the pseudo headers.
    pub headers: &'c [(&'c str, &'c str)],
    /// How long it may take.
    pub timeout: Duration,
}

/// Sends `call`; the answer comes to the context's `on_http_call_response` with the token given.
///
/// # Errors
///
/// [`Refused`] where the cluster does not exist or the call cannot be made.
pub fn dispatch(call: Call<'_>) -> Result<u32, Refused> {
    send(call, None)
}

/// As [`dispatch`], with a body.
///
/// # Errors
///
/// As [`dispatch`].
pub fn dispatch_with(call: Call<'_>, body: &[u8]) -> Result<u32, Refused> {
    send(call, Some(body))
}

fn send(call: Call<'_>, body: Option<&[u8]>) -> Result<u32, Refused> {
    // Through the SDK, which has to know the token to dispatch the answer.
    proxy_wasm::hostcalls::dispatch_http_call(
        call.cluster,
        call.headers.to_vec(),
        body,
        Vec::new(),
        call.timeout,
    )
    .map_err(|status: Status| Refused(status as u32))
}

/// At most `max` bytes of the body of the answer to an HTTP call.
///
/// # Errors
///
/// [`Refused`] where there is none.
pub fn call_response_body(max: usize) -> Result<Vec<u8>, Refused> {
    if max == 0 {
        return Ok(Vec::new());
    }
    sys::buffer(sys::HTTP_CALL_RESPONSE_BODY, max)
}

/// At most `max` bytes of the request's body, as far as it is buffered.
///
/// # Errors
///
/// [`Refused`] where there is none.
pub fn request_body(max: usize) -> Result<Vec<u8>, Refused> {
    if max == 0 {
        return Ok(Vec::new());
    }
    sys::buffer(sys::HTTP_REQUEST_BODY, max)
}

/// Puts `body` in the place of the request's first `replaced` bytes that are buffered. Whoever changes
/// the length takes `content-length` out of the headers.
///
/// # Errors
///
/// [`Refused`] where the host does not do it.
pub fn set_request_body(replaced: usize, body: &[u8]) -> Result<(), Refused> {
    sys::set_buffer(sys::HTTP_REQUEST_BODY, replaced, body)
}

/// At most `max` bytes of the response's body from `start` on, as far as it is here: what is held
/// back, and the piece that has just come.
///
/// # Errors
///
/// [`Refused`] where there is none.
pub fn response_body(start: usize, max: usize) -> Result<Vec<u8>, Refused> {
    if max == 0 {
        return Ok(Vec::new());
    }
    sys::buffer_from(sys::HTTP_RESPONSE_BODY, start, max)
}

/// Puts `bytes` in the place of what is here of the response's body.
///
/// # Errors
///
/// [`Refused`] where the host does not do it.
pub fn replace_response_body(bytes: &[u8]) -> Result<(), Refused> {
    // A size beyond the end is the whole.
    let whole = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
    sys::set_buffer(sys::HTTP_RESPONSE_BODY, whole, bytes)
}
