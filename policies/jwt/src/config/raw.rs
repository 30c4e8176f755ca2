//! The shape of the configuration document, as serde reads it; nothing here is checked for sense.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::duration::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config<'a> {
    #[serde(borrow)]
    pub(crate) issuers: Vec<Issuer<'a>>,
    #[serde(borrow)]
    pub(crate) rules: Vec<Rule<'a>>,
    #[serde(default)]
    pub(crate) limits: Limits,
    pub(crate) realm: Option<String>,
    #[serde(default)]
    pub(crate) bypass_cors_preflight: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) token_bytes: usize,
    pub(crate) verified_tokens_bytes: usize,
    pub(crate) waiting_requests: u32,
    pub(crate) wait: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twice what nginx and Apache take for a whole header line, and far above the 1 to
            // 4 KiB of tokens in the field.
            token_bytes: 16 * 1024,
            // Some 10,000 tokens of an ordinary size; 4,000 of those that come again and again.
            verified_tokens_bytes: 8 * 1024 * 1024,
            // Per worker; each one is a paused stream that Envoy holds in memory.
            waiting_requests: 4096,
            wait: Span(core::time::Duration::from_secs(5)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer<'a> {
    pub(crate) name: String,
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    #[serde(default)]
    pub(crate) accept_any_audience: bool,
    pub(crate) profile: Option<Profile>,
    #[serde(default)]
    pub(crate) departs_from_profile: Vec<String>,
    pub(crate) algorithms: Option<Vec<String>>,
    #[serde(borrow)]
    pub(crate) jwks: Jwks<'a>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) require_type: Option<bool>,
    pub(crate) clock_skew: Option<Span>,
    pub(crate) require_expiry: Option<bool>,
    pub(crate) max_lifetime: Option<Span>,
    #[serde(default)]
    pub(crate) required_claims: Vec<Path>,
    #[serde(default, borrow)]
    pub(crate) claims: Vec<Condition<'a>>,
    pub(crate) from: Option<From>,
    #[serde(default)]
    pub(crate) forward: Forward,
}

/// A set of demands with a name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    OauthAccessToken,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Jwks<'a> {
    #[serde(borrow)]
    Inline(&'a RawValue),
    #[serde(borrow)]
    Remote(Box<Remote<'a>>),
    #[serde(borrow)]
    Discovery(Box<Discovery<'a>>),
}

/// A key set at a known address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote<'a> {
    pub(crate) uri: String,
    pub(crate) cluster: String,
    pub(crate) timeout: Option<Span>,
    #[serde(default)]
    pub(crate) allow_insecure_http: bool,
    /// Further addresses, tried in this order when the first gives no keys.
    #[serde(default)]
    pub(crate) failover: Vec<Place>,
    /// Keys for the time in which no address gives any.
    #[serde(borrow)]
    pub(crate) last_resort: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) life: Life,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) uri: String,
    pub(crate) cluster: String,
}

/// A key set whose address the issuer's discovery document names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discovery<'a> {
    /// The document's address, where it is not the one that follows from the issuer.
    pub(crate) uri: Option<String>,
    pub(crate) cluster: String,
    pub(crate) timeout: Option<Span>,
    #[serde(default)]
    pub(crate) allow_insecure_http: bool,
    #[serde(borrow)]
    pub(crate) last_resort: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) life: Life,
}

/// Departures from the defaults of [`crate::life::LifeConfig`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Life {
    pub(crate) default_fresh: Option<Span>,
    pub(crate) min_fresh: Option<Span>,
    pub(crate) max_fresh: Option<Span>,
    pub(crate) refresh_ahead: Option<Span>,
    pub(crate) stale_if_error: Option<Span>,
    pub(crate) fetches_per_minute: Option<u32>,
    pub(crate) backoff_first: Option<Span>,
    pub(crate) backoff_max: Option<Span>,
    pub(crate) max_keys: Option<usize>,
    pub(crate) max_document_bytes: Option<usize>,
}

/// A claim by its name, or by the names on the way to it, and one comparison; or a group of
/// conditions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition<'a> {
    #[serde(borrow)]
    pub(crate) any: Option<Vec<Condition<'a>>>,
    #[serde(borrow)]
    pub(crate) all: Option<Vec<Condition<'a>>>,
    #[serde(borrow)]
    pub(crate) none: Option<Vec<Condition<'a>>>,
    pub(crate) claim: Option<String>,
    pub(crate) path: Option<Vec<String>>,
    pub(crate) elements: Option<Elements>,
    // Values stay text until they are compared: a number is what was written, not a float.
    #[serde(borrow)]
    pub(crate) equals: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) one_of: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub(crate) contains: Option<Vec<&'a RawValue>>,
    pub(crate) prefix: Option<String>,
    pub(crate) suffix: Option<String>,
    pub(crate) matches: Option<String>,
    #[serde(borrow)]
    pub(crate) at_least: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) at_most: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) more_than: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) less_than: Option<&'a RawValue>,
    pub(crate) equals_request: Option<Counterpart>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Elements {
    Any,
    All,
    None,
}

/// A place in the request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Counterpart {
    Header(String),
    Host,
    LabelBelow(String),
    PathVariable(String),
    Query(String),
    PeerSan(San),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum San {
    Uri,
    Dns,
}

/// A required claim: `"name"` or `["outer", "inner"]`.
#[derive(Debug)]
pub(crate) struct Path(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathVisitor;
        impl<'de> serde::de::Visitor<'de> for PathVisitor {
            type Value = Path;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a claim's name, or an array of the names on the way to it")
            }

            fn visit_str<E>(self, name: &str) -> Result<Path, E> {
                Ok(Path(alloc::vec![name.into()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Path, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Path(names))
            }
        }
        deserializer.deserialize_any(PathVisitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    pub(crate) authorization: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<HeaderSource>,
    #[serde(default)]
    pub(crate) cookies: Vec<String>,
    #[serde(default)]
    pub(crate) query: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderSource {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) prefix: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    #[serde(default)]
    pub(crate) headers: Vec<ClaimHeader>,
    pub(crate) payload_header: Option<String>,
    #[serde(default)]
    pub(crate) token: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimHeader {
    pub(crate) claim: Option<String>,
    pub(crate) path: Option<Vec<String>>,
    pub(crate) header: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule<'a> {
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    pub(crate) path: PathMatch,
    pub(crate) require: Require,
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    #[serde(default)]
    pub(crate) any_scopes: Vec<String>,
    #[serde(default, borrow)]
    pub(crate) claims: Vec<Condition<'a>>,
    pub(crate) report_only: Option<ReportOnly>,
}

/// What a rule that only reports tells, and to whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportOnly {
    pub(crate) header: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum PathMatch {
    Exact(String),
    Prefix(String),
    Template(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Require {
    Any(Vec<String>),
    All(Vec<String>),
    Optional(Vec<String>),
    None,
}
