//! A refusal: what the client is told, and what only the operator is told.

use alloc::{borrow::Cow, format, string::String};
use core::{fmt, time::Duration};

use crate::Code;

/// What `WWW-Authenticate` says beside the error: RFC 6750 section 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The protection space; configuration, never the client's own words.
    pub realm: Option<String>,
    /// Scopes that would be enough, separated by spaces.
    pub scope: Option<String>,
}

/// Why a request does not pass.
///
/// `Display` is for the log and may hold configuration and claim names, never a token or a key;
/// [`Denial::body`] is for the client and holds only the code and its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    code: Code,
    detail: Cow<'static, str>,
    challenge: Challenge,
    retry_after: Option<Duration>,
}

impl Denial {
    /// A denial with its reason for the log: a lower-case fragment, input in backticks.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), challenge: Challenge::default(), retry_after: None }
    }

    /// The same denial with what the challenge should say.
    #[must_use]
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = challenge;
        self
    }

    /// The same denial with the time after which a retry makes sense (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The reason in words, for the log only.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The reply's status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }

    /// The reply's body: `{"code": …, "message": …}`, safe for the client.
    #[must_use]
    pub fn body(&self) -> String {
        // Codes and messages are our own ASCII without quotes or backslashes (tested below).
        format!("{{\"code\": \"{}\", \"message\": \"{}\"}}", self.code, self.code.message())
    }

    /// The value of `Retry-After` in whole seconds, at least one, where the denial has one.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs().max(1))
    }

    /// Whether a token with the challenge's scopes could do better: a client that is told so asks for
    /// one, and would do it in vain for a claim that no scope changes.
    const fn scopes_would_do(&self) -> bool {
        !matches!(self.code, Code::ClaimMismatch | Code::InsufficientClaims)
    }

    /// The value of `WWW-Authenticate` (RFC 6750 section 3), for 400, 401 and 403 of a bearer
    /// token.
    ///
    /// A request without a token gets the bare challenge: section 3.1 says that no error code
    /// should be given where the client sent no authentication.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<String> {
        let error = match (self.status(), self.code) {
            (_, Code::MissingToken | Code::AuthenticationRequired) => None,
            (_, Code::NoRuleMatched | Code::RequestAmbiguous) => return None,
            // What is wrong with the tenant, another token of the same kind does not mend.
            (400 | 403, code) if code.as_str().starts_with("TENANT_") => return None,
            (_, code) if code.as_str().starts_with("FANOUT_") => return None,
            (400, _) => Some("invalid_request"),
            (401, _) => Some("invalid_token"),
            (403, _) => Some("insufficient_scope"),
            _ => return None,
        };
        let description = error.map(|_| self.code.message());
        let parameters = [
            ("realm", self.challenge.realm.as_deref()),
            ("error", error),
            ("error_description", description),
            ("scope", self.challenge.scope.as_deref().filter(|_| self.scopes_would_do())),
        ];
        let mut value = String::from("Bearer");
        let mut separator = " ";
        for (name, text) in parameters {
            let Some(text) = text else { continue };
            value.push_str(&format!("{separator}{name}=\"{}\"", quotable(text)));
            separator = ", ";
        }
        Some(value)
    }
}

/// Only characters that RFC 6750 section 3 allows inside its quoted values.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl core::error::Error for Denial {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_need_no_escaping() {
        for code in Code::ALL {
            assert_eq!(quotable(code.message()), code.message());
        }
    }

    #[test]
    fn a_missing_token_gets_the_bare_challenge() {
        let denial = Denial::new(Code::MissingToken, "no token")
            .with_challenge(Challenge { realm: Some("api".into()), scope: None });
        assert_eq!(denial.www_authenticate().as_deref(), Some("Bearer realm=\"api\""));
    }

    #[test]
    fn a_missing_scope_is_named() {
        let denial = Denial::new(Code::InsufficientScope, "lacks `read`")
            .with_challenge(Challenge { realm: None, scope: Some("read \"write".into()) });
        assert_eq!(
            denial.www_authenticate().as_deref(),
            Some(
                "Bearer error=\"insufficient_scope\", \
                 error_description=\"The token does not grant the required scope.\", \
                 scope=\"read write\""
            )
        );
    }

    #[test]
    fn unavailable_keys_are_no_challenge_but_a_time_to_retry() {
        let denial = Denial::new(Code::KeysUnavailable, "fetch failed").with_retry_after(Duration::ZERO);
        assert_eq!(
            (denial.status(), denial.www_authenticate(), denial.retry_after_secs()),
            (503, None, Some(1))
        );
    }
}
