//! Where an issuer's keys are: OpenID Connect Discovery 1.0 section 4 and RFC 8414 section 3.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use super::address::{Address, AddressError, Allow, Locality};
use crate::{
    json::{self, JsonError, Value},
    jwks::Quoted,
};

/// Why a discovery document does not say where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The document is longer than a key set may be.
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// It is not a JSON object with unique names.
    Json(JsonError),
    /// Its `issuer` is not, character by character, the configured one: OpenID Connect Discovery
    /// section 4.3 and RFC 8414 section 3.3. Anybody can serve a document about somebody else.
    IssuerMismatch {
        /// What it says; empty where it is no string.
        found: String,
    },
    /// It has no `jwks_uri`, or one that is no string.
    JwksUriMissing,
    /// Its `jwks_uri` is not an address that keys may be fetched from.
    JwksUri(AddressError),
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => write!(f, "the discovery document has {bytes} bytes, too many"),
            Self::Json(error) => write!(f, "the discovery document is {error}"),
            Self::IssuerMismatch { found } => {
                write!(
                    f,
                    "the discovery document is for issuer `{}`, not exactly the configured one",
                    Quoted(found)
                )
            }
            Self::JwksUriMissing => f.write_str("the discovery document has no string `jwks_uri`"),
            Self::JwksUri(error) => write!(f, "the discovery document's `jwks_uri` is {error}"),
        }
    }
}

impl core::error::Error for DiscoveryError {}

/// The addresses of an issuer's discovery documents in the order to try them: OpenID Connect's,
/// then RFC 8414's, whose well-known part stands before the issuer's path.
///
/// # Errors
///
/// [`AddressError`] where the issuer is not an address (RFC 8414 section 2 wants one without
/// query).
pub fn discovery_addresses(issuer: &str, allow: Allow) -> Result<Vec<Address>, AddressError> {
    let base = Address::parse(issuer, allow)?;
    if issuer.contains('?') {
        return Err(AddressError::Malformed);
    }
    let path = base.path().trim_end_matches('/');
    let origin = format!("{}://{}", base.scheme(), base.authority());
    let forms = [
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ];
    forms.iter().map(|form| Address::parse(form, allow)).collect()
}

/// The `jwks_uri` of `document`, which was fetched from `from` and must be `issuer`'s.
pub(super) fn jwks_address(
    document: &[u8],
    issuer: &str,
    from: &Address,
    limit: usize,
) -> Result<Address, DiscoveryError> {
    if document.len() > limit {
        return Err(DiscoveryError::TooLarge { bytes: document.len() });
    }
    let object = json::parse_object(document).map_err(DiscoveryError::Json)?;
    let found = object.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if found != issuer {
        return Err(DiscoveryError::IssuerMismatch { found: found.chars().take(256).collect() });
    }
    let uri = object.get("jwks_uri").and_then(Value::as_str).ok_or(DiscoveryError::JwksUriMissing)?;
    // Only a document that came over plain http may lead to plain http, and only one that came
    // from loopback to loopback on the same host and port.
    let insecure_http = from.scheme() == "http";
    let public = Address::parse(uri, Allow { insecure_http, local: Locality::Public });
    let own = Address::parse(uri, Allow { insecure_http, local: Locality::Loopback });
    match (public, own) {
        (Err(AddressError::Loopback), Ok(own)) if own.authority() == from.authority() => Ok(own),
        (public, _) => public.map_err(DiscoveryError::JwksUri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, Allow { insecure_http: true, ..Allow::default() }).unwrap()
    }

    fn look(issuer: &str, jwks_uri: &str, from: &str) -> Result<String, DiscoveryError> {
        let document = format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{jwks_uri}\",\"x\":[1]}}");
        let from = address(from);
        jwks_address(document.as_bytes(), "https://idp/a", &from, 1000).map(|address| address.as_str().into())
    }

    #[test]
    fn both_well_known_forms_are_asked() {
        let forms = |issuer| {
            let addresses = discovery_addresses(issuer, Allow::default()).unwrap();
            addresses.iter().map(|address| address.as_str().into()).collect::<Vec<String>>()
        };
        assert_eq!(
            forms("https://idp/a/"),
            [
                "https://idp/a/.well-known/openid-configuration",
                "https://idp/.well-known/oauth-authorization-server/a",
            ]
        );
        assert_eq!(forms("https://idp")[1], "https://idp/.well-known/oauth-authorization-server");
        assert_eq!(discovery_addresses("https://idp/?a", Allow::default()), Err(AddressError::Malformed));
        assert_eq!(discovery_addresses("idp", Allow::default()), Err(AddressError::Malformed));
    }

    #[test]
    fn the_issuer_must_match_exactly() {
        assert_eq!(look("https://idp/a", "https://keys/j", "https://idp/w").unwrap(), "https://keys/j");
        for issuer in ["https://idp/a/", "https://IDP/a", "https://idp", "", "https://evil/a"] {
            let error = look(issuer, "https://keys/j", "https://idp/w").unwrap_err();
            assert_eq!(error, DiscoveryError::IssuerMismatch { found: issuer.into() });
        }
    }

    #[test]
    fn a_document_leads_neither_to_plain_http_nor_inside() {
        for (uri, error) in [
            ("http://keys/j", AddressError::Insecure),
            ("https://169.254.169.254/j", AddressError::LinkLocal),
            ("https://127.0.0.1/j", AddressError::Loopback),
            ("file:///etc/passwd", AddressError::Malformed),
        ] {
            assert_eq!(
                look("https://idp/a", uri, "https://idp/w"),
                Err(DiscoveryError::JwksUri(error)),
                "{uri}"
            );
        }
        let loopback = "http://127.0.0.1:9/j";
        assert_eq!(look("https://idp/a", loopback, "http://127.0.0.1:9/w").unwrap(), loopback);
        let other_port = look("https://idp/a", "http://127.0.0.1:22/j", "http://127.0.0.1:9/w");
        assert_eq!(other_port, Err(DiscoveryError::JwksUri(AddressError::Loopback)));
    }

    #[test]
    fn a_document_without_an_address_is_refused() {
        let from = address("https://idp/w");
        let found = |text: &str| jwks_address(text.as_bytes(), "i", &from, 64).unwrap_err();
        assert_eq!(found(r#"{"issuer":"i"}"#), DiscoveryError::JwksUriMissing);
        assert_eq!(found(r#"{"issuer":"i","jwks_uri":1}"#), DiscoveryError::JwksUriMissing);
        assert!(matches!(found("<html>"), DiscoveryError::Json(_)));
        assert_eq!(found(r#"{"issuer":"x","issuer":"i"}"#), DiscoveryError::Json(JsonError::DuplicateMember));
        assert_eq!(found(&" ".repeat(65)), DiscoveryError::TooLarge { bytes: 65 });
    }
}
