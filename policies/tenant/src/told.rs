//! What a tenant is told of its limits.

use alloc::string::String;

/// One limit or several, as `RateLimit-Policy` and `RateLimit` have them
/// (draft-ietf-httpapi-ratelimit-headers-10): lists of structured fields (RFC 9651).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    policy: String,
    limit: String,
}

impl Told {
    pub(crate) const fn new(policy: String, limit: String) -> Self {
        Self { policy, limit }
    }

    /// This, and `other` after it.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            policy: [&self.policy, ", ", &other.policy].concat(),
            limit: [&self.limit, ", ", &other.limit].concat(),
        }
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, &str); 2] {
        [("ratelimit-policy", &self.policy), ("ratelimit", &self.limit)]
    }
}
