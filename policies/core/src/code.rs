//! The stable codes: one list for replies, metrics, audit events, the command and the docs.

use core::{fmt, str::FromStr};

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $message:literal $doc:literal)*) => {
        /// Why a request was refused. A code never changes its meaning; new ones may be added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $doc] $variant,)*
        }

        impl Code {
            /// Every code, roughly in the order in which the checks run.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that clients, metrics and suites see: upper snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of the reply.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The sentence for the client. It says nothing that the code does not say.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }

            /// The sentence for the docs: what brings this code about.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

codes! {
    RequestAmbiguous "REQUEST_AMBIGUOUS" 400 "The request can be read in more than one way."
        "The request can be read in more than one way (an encoded slash, a dot segment, a repeated pseudo header), so no rule can be trusted to cover it."
    NoRuleMatched "NO_RULE_MATCHED" 403 "No rule allows this request."
        "No rule of the configuration matches the request's host, method and path."
    MultipleTokens "MULTIPLE_TOKENS" 400 "More than one token was sent."
        "The request carries more than one token, or a header that must be single is repeated."
    MissingToken "MISSING_TOKEN" 401 "A token is required."
        "The request carries no token in any place where the rule's issuers look for one."
    TokenTooLarge "TOKEN_TOO_LARGE" 401 "The token is too large."
        "The token is longer than the configured limit; it was not decoded."
    MalformedToken "MALFORMED_TOKEN" 401 "The token is not well formed."
        "The token is not a compact JWS with a JSON object as header and payload (RFC 7515, RFC 7519), or a registered member has the wrong type."
    IssuerMismatch "ISSUER_MISMATCH" 401 "The token's issuer is not accepted here."
        "`iss` is missing or is not exactly the issuer of one of the rule's providers (RFC 8725 section 3.8)."
    CriticalHeaderUnknown "CRITICAL_HEADER_UNKNOWN" 401 "The token demands an extension that is not supported."
        "The header has `crit`, or `b64`, or `zip`, which nothing here understands (RFC 7515 section 4.1.11, RFC 7797 section 7)."
    AlgorithmNotAllowed "ALGORITHM_NOT_ALLOWED" 401 "The token's algorithm is not allowed."
        "`alg` is not one of the issuer's algorithms (RFC 8725 section 3.1)."
    TypeMismatch "TYPE_MISMATCH" 401 "The token is of another type."
        "`typ` is not one that the issuer's configuration accepts (RFC 8725 section 3.11), or `cty` says that the payload is not a claims set."
    KeysUnavailable "KEYS_UNAVAILABLE" 503 "The token cannot be verified right now."
        "The issuer's key set could not be had in time. The token may be good: the client should retry."
    KidNotFound "KID_NOT_FOUND" 401 "The token's key is not known."
        "The key set has no key with the token's `kid`, or none that could have made the signature."
    KeyUnusable "KEY_UNUSABLE" 401 "The token's key cannot be used."
        "A key with this `kid` exists but must not verify this token: wrong type, curve, size, `use`, `key_ops` or `alg`."
    SignatureInvalid "SIGNATURE_INVALID" 401 "The token's signature is not valid."
        "The signature does not verify with the key."
    AudienceMismatch "AUDIENCE_MISMATCH" 401 "The token is for another audience."
        "`aud` is missing or names none of the configured audiences (RFC 8725 section 3.9)."
    TokenExpired "TOKEN_EXPIRED" 401 "The token has expired."
        "The time is at or after `exp` plus the allowed clock skew."
    TokenNotYetValid "TOKEN_NOT_YET_VALID" 401 "The token is not valid yet."
        "The time is before `nbf`, or before `iat`, less the allowed clock skew."
    LifetimeTooLong "LIFETIME_TOO_LONG" 401 "The token lives too long."
        "`exp` is further from `iat` (or, without `iat`, from now) than the configured maximum."
    MissingClaim "MISSING_CLAIM" 401 "The token lacks a required claim."
        "A claim that the configuration requires is absent."
    ClaimMismatch "CLAIM_MISMATCH" 403 "A claim does not have the required value."
        "A claim is present but its value is not one that the rule accepts."
    InsufficientScope "INSUFFICIENT_SCOPE" 403 "The token does not grant the required scope."
        "The token lacks a scope that the rule requires (RFC 6750 section 3.1)."
    InsufficientClaims "INSUFFICIENT_CLAIMS" 403 "The token's claims do not allow this request."
        "A condition that the rule has for claims does not hold: the claim is absent, has another value or type, or is not what the request has in the place that it is compared with."
    AuthenticationRequired "AUTHENTICATION_REQUIRED" 401 "Authentication is required."
        "Nothing proves who the caller is, on a route that only proven callers may use."
    MisdirectedRequest "MISDIRECTED_REQUEST" 421 "This connection is not for the requested host."
        "The TLS connection was made for another host than the request names (RFC 9110 section 15.5.20), where a client certificate is a proof."
    TenantSelectionInvalid "TENANT_SELECTION_INVALID" 400 "The request does not name its tenant in one clear way."
        "A place that names the tenant is repeated, a list, empty, encoded, or holds what no tenant is called."
    TenantSelectionForbidden "TENANT_SELECTION_FORBIDDEN" 400 "The request names a tenant where it must not."
        "A place that must not name a tenant on this route does."
    TenantRequired "TENANT_REQUIRED" 400 "The request names no tenant."
        "A place that must name the tenant on this route does not, or nothing at all names one."
    TenantProofInvalid "TENANT_PROOF_INVALID" 403 "The proof of identity cannot be used for a tenant."
        "A verified token or certificate is there, but what it says about tenants is not of the configured shape, or says it twice."
    TenantNotFound "TENANT_NOT_FOUND" 404 "There is nothing here."
        "The tenant is unknown, deleted or not in use, or the caller is not proven to belong to it, or two places name different ones: one answer for all, so that nobody learns which."
    TenantForbidden "TENANT_FORBIDDEN" 403 "The request is not allowed."
        "As `TENANT_NOT_FOUND`, where the configuration wants 403."
    TenantSwitchRequired "TENANT_SWITCH_REQUIRED" 403 "The token is for another tenant of the caller."
        "The caller is proven to belong to the tenant that the request names, but the token is for another one and the configuration wants a token for this one."
    TenantSwitchRefused "TENANT_SWITCH_REFUSED" 403 "Switching tenants needs a POST from the same site."
        "A request to the switch route is not a POST, or does not show that it comes from the product's own pages."
    TenantSuspended "TENANT_SUSPENDED" 403 "The tenant is suspended."
        "The tenant is suspended, and the caller is proven to belong to it."
    TenantReadOnly "TENANT_READ_ONLY" 403 "The tenant's data cannot be changed now."
        "The tenant is read-only, the request would change something, and the caller is proven to belong to it."
    TenantQuotaExceeded "TENANT_QUOTA_EXCEEDED" 429 "The tenant has used up its quota for now."
        "The caller is proven to belong to the tenant, and the tenant has asked for more than its plan allows; `Retry-After` says when to come again."
    TenantConcurrencyExceeded "TENANT_CONCURRENCY_EXCEEDED" 429 "The tenant has too many requests under way."
        "The caller is proven to belong to the tenant, and the tenant has as many requests under way as it may have, or as its share is while the places of all tenants are short."
    TenantCapacityExhausted "TENANT_CAPACITY_EXHAUSTED" 503 "Too many requests are under way."
        "The tenant has less than its share of requests under way, and the places of all tenants are in use."
    TenantDirectoryUnavailable "TENANT_DIRECTORY_UNAVAILABLE" 503 "The tenant cannot be looked up right now."
        "There is no tenant directory, or it is older than the configuration allows on this route."
    InternalError "INTERNAL_ERROR" 503 "The request cannot be checked right now."
        "A host call failed or the filter has no valid configuration: nothing passes that was not proven."
    TenantResponseLeak "TENANT_RESPONSE_LEAK" 502 "The answer to this request cannot be given out."
        "The upstream's response to a tenant's request is another tenant's, or cannot be told to be the tenant's own: a field, an echo or a canary says so, or it is not in the form that the route's guard can look into."
    TenantResponseRefused "TENANT_RESPONSE_REFUSED" 502 "The answer to this request cannot be given out."
        "The upstream's response to a tenant's request points at another tenant (a redirect, a cookie, a permission to read it), and the configuration refuses such responses."
    FanoutInvalid "FANOUT_INVALID" 400 "The request is not well formed."
        "A request with `x_fanout` breaks its contract, asks for more than is allowed, or brings a member that only the gateway may set; `error.param` names the place."
    FanoutTooLarge "FANOUT_TOO_LARGE" 413 "The request is too large."
        "The body is larger than llm-fanout reads, or its shared part times its questions is more than may be sent."
    FanoutTenantRequired "FANOUT_TENANT_REQUIRED" 403 "Several questions in one request need a tenant."
        "A request with `x_fanout` came without a tenant that tenant-guard has proven."
    FanoutQuotaExceeded "FANOUT_QUOTA_EXCEEDED" 429 "The allowance of questions is used up."
        "The tenant's allowance does not hold this many questions now: n questions cost n."
    FanoutTenantBusy "FANOUT_TENANT_BUSY" 429 "Too many requests of this tenant are under way."
        "The tenant has as many requests of several questions under way as it may have."
    FanoutBusy "FANOUT_BUSY" 503 "Too many requests are under way."
        "The proxy has as many requests of several questions under way as it may hold."
    FanoutFailed "FANOUT_FAILED" 502 "The questions were not answered."
        "No question was answered, or one was not and the request wants all or nothing."
    FanoutTimeout "FANOUT_TIMEOUT" 504 "The questions were not answered in time."
        "As `FANOUT_FAILED`, where time is what was missing."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not one of [`Code::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a denial code")
    }
}

impl core::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).ok_or(UnknownCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_upper_snake_case_and_parses_back() {
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }

    #[test]
    fn every_status_is_an_error() {
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code}");
        }
    }
}
