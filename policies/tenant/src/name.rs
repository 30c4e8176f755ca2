//! The names of tenants, each with one spelling: what has a second one is no name.

use alloc::string::String;
use core::{borrow::Borrow, fmt};

use serde::de::{Deserialize, Deserializer, Error as _};

/// Labels that no tenant may have as a slug: they are hosts of the product itself, or of the
/// machine.
pub const RESERVED: &[&str] = &[
    "admin",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "cdn",
    "dashboard",
    "dev",
    "docs",
    "ftp",
    "health",
    "help",
    "imap",
    "internal",
    "local",
    "localhost",
    "login",
    "mail",
    "metrics",
    "mx",
    "ns1",
    "ns2",
    "null",
    "pop",
    "postmaster",
    "proxy",
    "public",
    "root",
    "smtp",
    "sso",
    "staging",
    "static",
    "status",
    "support",
    "system",
    "test",
    "undefined",
    "webmail",
    "www",
];

/// Not a name of its kind; says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName(&'static str);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for InvalidName {}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $check:path, $grammar:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name that `text` is, byte for byte.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] where it is none: nothing is folded, decoded or cut to make it one.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                if Self::is_valid(text.as_bytes()) { Ok(Self(text)) } else { Err(InvalidName($grammar)) }
            }

            /// Whether `text` is such a name.
            #[must_use]
            pub fn is_valid(text: &[u8]) -> bool {
                $check(text)
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(D::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> alloc::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let (_, right) = $grammar.split_once(": ").unwrap_or(("", $grammar));
                schemars::json_schema!({ "description": right, "type": "string" })
            }
        }
    )*};
}

names! {
    /// What a tenant is called by machines, for ever: it never changes and is never used again.
    ///
    /// Identity providers make such ids with both cases, so case counts; a directory refuses two
    /// ids that differ in nothing else. A dot stands only between a namespace and the id inside
    /// it.
    TenantId: is_id,
        "not a tenant id: 1 to 64 ASCII letters, digits, `-` and `_`, the first one a letter or \
         digit; before it, if it is namespaced, the same and a dot";
    /// What people call a tenant, as in `acme.example.com` or `/t/acme/`: one lower-case DNS
    /// label (RFC 1123 section 2.1) that is no punycode.
    Slug: is_slug,
        "not a slug: 1 to 63 lower-case ASCII letters, digits and inner hyphens, and no `--` as \
         third and fourth (an internationalized label)";
    /// A whole host name that belongs to one tenant, in lower case, without port and trailing
    /// dot, internationalized labels in their ASCII form (RFC 5890).
    Domain: is_domain,
        "not a domain: two or more lower-case DNS labels of letters, digits and inner hyphens, \
         without port and trailing dot, at most 253 bytes, and not an IP address";
}

/// Bytes of the id inside its namespace, and of the namespace.
const MAX_ID: usize = 64;

fn is_id(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'.');
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    first.is_some_and(is_plain_id) && second.is_none_or(is_plain_id) && third.is_none()
}

pub(crate) fn is_plain_id(text: &[u8]) -> bool {
    text.len() <= MAX_ID
        && text.first().is_some_and(u8::is_ascii_alphanumeric)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_slug(text: &[u8]) -> bool {
    is_label(text) && text.get(2..4) != Some(b"--")
}

fn is_label(text: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=63).contains(&text.len())
        && text.iter().all(inner)
        && text.first() != Some(&b'-')
        && text.last() != Some(&b'-')
}

fn is_domain(text: &[u8]) -> bool {
    let labels = || text.split(|byte| *byte == b'.');
    text.len() <= 253
        && labels().all(is_label)
        && labels().nth(1).is_some()
        // RFC 1123 section 2.1: the last label of a host name is alphabetic, that of an address
        // is not.
        && labels().next_back().is_some_and(|last| last.iter().any(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_of_identity_providers_are_ids() {
        for id in [
            "acme",
            "org_9ybsU1dN2dKfDkBi",
            "org_01HXYZ",
            "7",
            "284753928475392",
            "A-b_C",
            "3fa85f64-5717-4562-b3fc-2c963f66afa6",
            "partner.acme",
        ] {
            assert!(TenantId::new(id).is_ok(), "{id}");
        }
        assert!(TenantId::new("a".repeat(64)).is_ok());
    }

    #[test]
    fn what_has_a_second_reading_is_no_id() {
        for id in [
            "", ".", "..", "a.", ".a", "a.b.c", "-a", "_a", "a/b", "a\\b", "a%00", "%61cme", "*", "a b",
            " a", "a ", "a,b", "a|b", "a;b", "a:b", "аcme", "acmé", "a\0", "a\n", "a'", "a+b", "a~b", "a@b",
        ] {
            assert!(TenantId::new(id).is_err(), "{id:?}");
        }
        assert!(TenantId::new("a".repeat(65)).is_err());
        assert!(!TenantId::is_valid(b"\xff"));
    }

    #[test]
    fn a_slug_is_one_lower_case_label_and_no_punycode() {
        for slug in ["a", "acme", "acme-2", "7", "a--b-c", "abc--d"] {
            assert!(Slug::new(slug).is_ok(), "{slug}");
        }
        for slug in ["", "Acme", "-a", "a-", "a.b", "a_b", "xn--bcher-kva", "ab--c", "аcme", "a%2e", "acme℀"]
        {
            assert!(Slug::new(slug).is_err(), "{slug}");
        }
        assert!(Slug::new("a".repeat(63)).is_ok() && Slug::new("a".repeat(64)).is_err());
    }

    #[test]
    fn a_domain_has_one_spelling() {
        for domain in ["acme.example", "shop.acme.co.uk", "xn--bcher-kva.example", "a.b2"] {
            assert!(Domain::new(domain).is_ok(), "{domain}");
        }
        for domain in [
            "",
            "acme",
            "acme.example.",
            ".acme.example",
            "acme..example",
            "ACME.example",
            "acme.example:443",
            "bücher.example",
            "10.0.0.1",
            "[::1]",
            "a_b.example",
            "acme.example/x",
            "-a.example",
        ] {
            assert!(Domain::new(domain).is_err(), "{domain}");
        }
        let long = ["a".repeat(63).as_str(); 4].join(".");
        assert!(Domain::new(long).is_err());
    }

    #[test]
    fn every_reserved_label_could_be_a_slug() {
        for label in RESERVED {
            assert_eq!(Slug::new(*label).unwrap().to_string(), *label);
        }
    }
}
