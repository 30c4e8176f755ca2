//! The shape of the configuration document, as serde reads it; nothing here is checked for sense.

use alloc::{boxed::Box, string::String, vec::Vec};

use portcullis_core::config::ClaimNames;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::duration::Span;

/// The configuration of jwt-auth: who may sign tokens, and what each request must bring.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config<'a> {
    /// Who may sign tokens.
    #[serde(borrow)]
    pub(crate) issuers: Vec<Issuer<'a>>,
    /// What a request must bring. The first rule that matches decides; a request that none
    /// matches is refused.
    #[serde(borrow)]
    pub(crate) rules: Vec<Rule<'a>>,
    /// What requests may cost.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// The realm in `WWW-Authenticate`, such as `api`. Default: none.
    pub(crate) realm: Option<String>,
    /// A real CORS preflight (`OPTIONS`, one `Origin`, one `Access-Control-Request-Method`)
    /// passes without a token where a rule matches the request that it asks for. Default:
    /// `false`.
    #[serde(default)]
    pub(crate) bypass_cors_preflight: bool,
    /// Later filters, tenant-guard among them, and access logs find the verified claims as the
    /// property `portcullis_jwt`. Default: `true`.
    #[serde(default = "yes")]
    pub(crate) publish_claims: bool,
}

const fn yes() -> bool {
    true
}

/// What requests may cost. Each member has a default.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Bytes of a token; a longer one is refused before it is decoded. Default: `16384`.
    pub(crate) token_bytes: usize,
    /// How much each worker remembers of signatures that it has verified, in bytes; `0` remembers
    /// nothing. Time, rules, claims and keys are checked every time. Default: `8388608`.
    pub(crate) verified_tokens_bytes: usize,
    /// Requests of one worker and issuer that may wait for keys at a time. Default: `4096`.
    pub(crate) waiting_requests: u32,
    /// How long a request waits for keys before it gets 503, at most a minute. Default: `5s`.
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

/// Somebody who may sign tokens.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer<'a> {
    /// How rules, metrics and later filters call it, such as `main`.
    pub(crate) name: String,
    /// `iss` to the letter, such as `https://login.example.com/`: some issuers end in a slash.
    /// Each issuer once.
    pub(crate) issuer: String,
    /// `aud` must have one of these, to the letter. Either this or `accept_any_audience`.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// Instead of `audiences`, for an issuer that sends none: a token for any of its clients is
    /// then good here. Default: `false`.
    #[serde(default)]
    pub(crate) accept_any_audience: bool,
    /// Demands with a name, so that one line is safe. Default: none.
    pub(crate) profile: Option<Profile>,
    /// What of the profile this issuer does without, such as `jti` or `require_expiry`.
    #[serde(default)]
    pub(crate) departs_from_profile: Vec<String>,
    /// The signatures that are accepted: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`,
    /// `ES256`, `ES384`, `ES512`, `EdDSA` (also as `Ed25519`), and `HS256`, `HS384`, `HS512` with
    /// inline keys only. Needed without a profile. Default: those of the profile.
    pub(crate) algorithms: Option<Vec<String>>,
    /// Where its keys are.
    #[serde(borrow)]
    pub(crate) jwks: Jwks<'a>,
    /// Values of `typ` that are accepted, with or without `application/`, in any case. Default:
    /// `["JWT", "at+jwt"]`.
    pub(crate) types: Option<Vec<String>>,
    /// Refuse a token without `typ`. Default: `false`.
    pub(crate) require_type: Option<bool>,
    /// By how much clocks may differ, at most `10m`. Default: `60s`.
    pub(crate) clock_skew: Option<Span>,
    /// Refuse a token without `exp`. Default: `true`.
    pub(crate) require_expiry: Option<bool>,
    /// The most that `exp` may be after `iat` (without `iat`: after now), such as `1h`. Default:
    /// none.
    pub(crate) max_lifetime: Option<Span>,
    /// Claims that must be there; `null` is absent.
    #[serde(default)]
    pub(crate) required_claims: Vec<ClaimNames>,
    /// Conditions on claims, all of which must hold. An absent claim is refused with 401, another
    /// value with 403.
    #[serde(default, borrow)]
    pub(crate) claims: Vec<Condition<'a>>,
    /// Where its tokens are in a request. By default `Authorization: Bearer`.
    pub(crate) from: Option<From>,
    /// What the upstream is told of a verified token.
    #[serde(default)]
    pub(crate) forward: Forward,
}

/// A set of demands with a name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// What RFC 9068 asks of an OAuth access token: `typ` is `at+jwt`; `aud` and `exp` are
    /// checked; `sub`, `client_id`, `iat` and `jti` are there; no shared secrets, no token in the
    /// query.
    OauthAccessToken,
}

/// Where keys are.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Jwks<'a> {
    /// A JWK Set in the configuration. A key that cannot be used is left out and named in the
    /// log; a set without a usable key is refused.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::KeySet"))]
    Inline(&'a RawValue),
    /// A key set at a known address.
    #[serde(borrow)]
    Remote(Box<Remote<'a>>),
    /// A key set whose address the issuer's discovery document names.
    #[serde(borrow)]
    Discovery(Box<Discovery<'a>>),
}

/// A key set at a known address.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote<'a> {
    /// The address, such as `https://login.example.com/.well-known/jwks.json`: `jwks_uri` in the
    /// issuer's discovery document. Link-local and metadata addresses are refused.
    pub(crate) uri: String,
    /// The Envoy cluster that reaches it. TLS and its checks are the cluster's.
    pub(crate) cluster: String,
    /// Of one fetch, at most a minute. Default: `5s`.
    pub(crate) timeout: Option<Span>,
    /// Take an address without TLS: anybody on the way could choose the keys. Default: `false`.
    #[serde(default)]
    pub(crate) allow_insecure_http: bool,
    /// Further addresses, tried in this order when the first gives no keys.
    #[serde(default)]
    pub(crate) failover: Vec<Place>,
    /// Keys for the time in which no address gives any.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::KeySet>"))]
    pub(crate) last_resort: Option<&'a RawValue>,
    /// Departures from the usual life of a key set.
    #[serde(default)]
    pub(crate) life: Life,
}

/// A further address.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The address.
    pub(crate) uri: String,
    /// The Envoy cluster that reaches it.
    pub(crate) cluster: String,
}

/// A key set whose address the issuer's discovery document names.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Discovery<'a> {
    /// The document's address. By default `/.well-known/openid-configuration` of the issuer, then
    /// the form of RFC 8414.
    pub(crate) uri: Option<String>,
    /// The Envoy cluster that reaches the document and the keys.
    pub(crate) cluster: String,
    /// Of one fetch, at most a minute. Default: `5s`.
    pub(crate) timeout: Option<Span>,
    /// Take addresses without TLS: anybody on the way could choose the keys. Default: `false`.
    #[serde(default)]
    pub(crate) allow_insecure_http: bool,
    /// Keys for the time in which no address gives any; shared secrets in it are not used.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::KeySet>"))]
    pub(crate) last_resort: Option<&'a RawValue>,
    /// Departures from the usual life of a key set.
    #[serde(default)]
    pub(crate) life: Life,
}

/// How a key set lives, where it differs from the defaults.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Life {
    /// How long a set is fresh where its answer does not say. Default: `5m`.
    pub(crate) default_fresh: Option<Span>,
    /// The least that an answer can make of it, also with `no-store`. Default: `1m`.
    pub(crate) min_fresh: Option<Span>,
    /// The most that an answer can make of it. Default: `15m`.
    pub(crate) max_fresh: Option<Span>,
    /// How long before a set stops being fresh it is fetched again, at the latest. Default:
    /// `30s`.
    pub(crate) refresh_ahead: Option<Span>,
    /// How long a set is used after that because no address answers. Default: `1h`.
    pub(crate) stale_if_error: Option<Span>,
    /// The most fetches in any minute, whatever the traffic: 2 to 60. Default: `4`.
    pub(crate) fetches_per_minute: Option<u32>,
    /// The first pause after a failure; each further one doubles it. Default: `1s`.
    pub(crate) backoff_first: Option<Span>,
    /// The longest pause. Default: `1m`.
    pub(crate) backoff_max: Option<Span>,
    /// Keys of a document. Default: `128`.
    pub(crate) max_keys: Option<usize>,
    /// Bytes of a document. Default: `262144`.
    pub(crate) max_document_bytes: Option<usize>,
}

/// A claim by its name, or by the names on the way to it, and one comparison; or a group of
/// conditions. A condition that cannot be judged does not hold.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition<'a> {
    /// At least one of these holds. A group stands alone; four deep, 64 conditions in all.
    #[serde(borrow)]
    pub(crate) any: Option<Vec<Condition<'a>>>,
    /// All of these hold.
    #[serde(borrow)]
    pub(crate) all: Option<Vec<Condition<'a>>>,
    /// Each of these is known to fail.
    #[serde(borrow)]
    pub(crate) none: Option<Vec<Condition<'a>>>,
    /// The claim's name, such as `plan`.
    pub(crate) claim: Option<String>,
    /// Instead of `claim`: the names on the way to a nested one, array elements by their index.
    pub(crate) path: Option<Vec<String>>,
    /// Of an array, which elements must pass. Default: `any`.
    pub(crate) elements: Option<Elements>,
    /// A string, boolean or number that is this one; numbers by value, never `1` for `"1"`.
    // Values stay text until they are compared: a number is what was written, not a float.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Scalar>"))]
    pub(crate) equals: Option<&'a RawValue>,
    /// One of these strings, booleans or numbers.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<super::schema::Scalar>>"))]
    pub(crate) one_of: Option<Vec<&'a RawValue>>,
    /// An array in which each of these is.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<super::schema::Scalar>>"))]
    pub(crate) contains: Option<Vec<&'a RawValue>>,
    /// A string that begins so, byte for byte.
    pub(crate) prefix: Option<String>,
    /// A string that ends so, byte for byte.
    pub(crate) suffix: Option<String>,
    /// A string that this regular expression matches from end to end. No backtracking; a text of
    /// more than 1 KiB does not match.
    pub(crate) matches: Option<String>,
    /// A number, this or more, compared exactly.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub(crate) at_least: Option<&'a RawValue>,
    /// A number, this or less.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub(crate) at_most: Option<&'a RawValue>,
    /// A number above this.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub(crate) more_than: Option<&'a RawValue>,
    /// A number below this.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub(crate) less_than: Option<&'a RawValue>,
    /// What the request has in one place.
    pub(crate) equals_request: Option<Counterpart>,
}

/// Which elements of an array must pass.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Elements {
    /// One of them.
    Any,
    /// All of them.
    All,
    /// None of them, each known to fail.
    None,
}

/// A place in the request.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Counterpart {
    /// A header by its name.
    Header(String),
    /// The host without port, in any case.
    Host,
    /// The one label before this base, such as `app.example`.
    LabelBelow(String),
    /// A variable of the rule's path template.
    PathVariable(String),
    /// A query parameter by its name.
    Query(String),
    /// The first such name in the client's certificate, as the listener verified it.
    PeerSan(San),
}

/// A kind of name in a certificate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum San {
    /// A URI.
    Uri,
    /// A DNS name.
    Dns,
}

/// Where tokens are. A request carries one; a second one is refused.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    /// The scheme in `Authorization`, in any case, such as `Bearer`.
    pub(crate) authorization: Option<String>,
    /// Headers of their own.
    #[serde(default)]
    pub(crate) headers: Vec<HeaderSource>,
    /// Names of cookies.
    #[serde(default)]
    pub(crate) cookies: Vec<String>,
    /// Names of query parameters; RFC 6750 advises against it.
    #[serde(default)]
    pub(crate) query: Vec<String>,
}

/// A header with a token.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderSource {
    /// The header's name.
    pub(crate) name: String,
    /// What stands before the token. Default: `""`.
    #[serde(default)]
    pub(crate) prefix: String,
}

/// What the upstream is told. Each header is removed from every request first, in every spelling.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    /// Claims as headers.
    #[serde(default)]
    pub(crate) headers: Vec<ClaimHeader>,
    /// The header that gets the whole payload as base64url. Default: none.
    pub(crate) payload_header: Option<String>,
    /// Leave the token in the request. Default: `false`.
    #[serde(default)]
    pub(crate) token: bool,
}

/// One claim as a header.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimHeader {
    /// The claim's name, such as `sub`.
    pub(crate) claim: Option<String>,
    /// Instead of `claim`: the names on the way to a nested one.
    pub(crate) path: Option<Vec<String>>,
    /// The header's name, such as `x-sub`.
    pub(crate) header: String,
}

/// What some requests must bring.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule<'a> {
    /// Hosts in lower case without port, `*.example` for one label before. Default: all.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Methods in upper case. Default: all.
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    /// The paths.
    pub(crate) path: PathMatch,
    /// Whose tokens.
    pub(crate) require: Require,
    /// All of these must be granted in `scope` or `scp`; otherwise 403.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// One of these must be granted; otherwise 403.
    #[serde(default)]
    pub(crate) any_scopes: Vec<String>,
    /// Conditions on claims, all of which must hold; otherwise 403 `INSUFFICIENT_CLAIMS`.
    #[serde(default, borrow)]
    pub(crate) claims: Vec<Condition<'a>>,
    /// The rule refuses nothing and tells what it would. Default: none.
    pub(crate) report_only: Option<ReportOnly>,
}

/// What a rule that only reports tells, and to whom.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportOnly {
    /// The header that tells the upstream the code, or `allow`. Default: none.
    pub(crate) header: Option<String>,
}

/// A path, decoded and without query.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and every one below: `/a` is `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// Segments, `{names}` for one segment each, and `**` at the end for any number:
    /// `/t/{tenant}/**`.
    Template(String),
}

/// Whose tokens a request must bring.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Require {
    /// One token of one of these issuers, by their names.
    Any(Vec<String>),
    /// One token of each, each in a place of its own.
    All(Vec<String>),
    /// None, or a good one of these.
    Optional(Vec<String>),
    /// Nothing is asked for.
    None,
}
