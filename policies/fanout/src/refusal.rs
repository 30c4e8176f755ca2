//! Why a request is refused, in words that its author can act on.

use alloc::{borrow::Cow, string::String};
use core::{fmt, time::Duration};

use portcullis_core::{Code, json};

/// A request that is not sent on. It quotes nothing that the client sent but names of members that
/// the contract has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    param: Option<Cow<'static, str>>,
    reason: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A request that breaks the contract at `param`, such as `x_fanout.questions[2]`.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Code::FanoutInvalid, reason) }
    }

    /// A refusal for another reason; `reason` is for the client.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, param: None, reason: reason.into(), retry_after: None }
    }

    /// The same with the time after which a retry makes sense.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The place in the body, where there is one.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// `Retry-After` in whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1))
    }

    /// The reply's body. Beside `code` and `message`, which every refusal here has, it has the
    /// `error` that clients of this API read.
    #[must_use]
    pub fn body(&self) -> String {
        let mut out = String::new();
        write_head(self.code, &self.reason, self.param.as_deref(), &mut out);
        out.push('}');
        out
    }
}

/// `{"code":…,"message":…,"error":{…}`, without the last bracket.
pub(crate) fn write_head(code: Code, reason: &str, param: Option<&str>, out: &mut String) {
    let kind = match code.status() {
        429 => "rate_limit_error",
        status if status >= 500 => "api_error",
        _ => "invalid_request_error",
    };
    out.push_str("{\"code\":");
    json::write_string(code.as_str(), out);
    out.push_str(",\"message\":");
    json::write_string(reason, out);
    out.push_str(",\"error\":{\"message\":");
    json::write_string(reason, out);
    out.push_str(",\"type\":");
    json::write_string(kind, out);
    out.push_str(",\"param\":");
    match param {
        Some(param) => json::write_string(param, out),
        None => out.push_str("null"),
    }
    out.push_str(",\"code\":");
    json::write_string(code.as_str(), out);
    out.push('}');
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(param) => write!(f, "{}: `{param}`: {}", self.code, self.reason),
            None => write!(f, "{}: {}", self.code, self.reason),
        }
    }
}

impl core::error::Error for Refusal {}
