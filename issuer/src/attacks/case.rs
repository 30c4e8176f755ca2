//! What a case is.

use std::fmt;

use portcullis_core::Code;

/// A family of attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The compact serialization, base64url and JSON.
    Container,
    /// Header parameters.
    Header,
    /// A key used with an algorithm, or by an issuer, that it is not for.
    Confusion,
    /// Signature values.
    Primitive,
    /// Keys of the issuer's key set.
    KeySet,
    /// Claims.
    Claims,
    /// The request around the token.
    Request,
}

impl Class {
    /// Every class.
    pub const ALL: &'static [Self] = &[
        Self::Container,
        Self::Header,
        Self::Confusion,
        Self::Primitive,
        Self::KeySet,
        Self::Claims,
        Self::Request,
    ];

    /// The name in reports and of the corpus's file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Header => "header",
            Self::Confusion => "confusion",
            Self::Primitive => "primitive",
            Self::KeySet => "keyset",
            Self::Claims => "claims",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the gateway must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Let the request through to the upstream: a gateway that refuses everything is not secure,
    /// it is broken.
    Allow,
    /// Refuse it with one of these codes. More than one stands where two checks are equally right
    /// and their order is not part of the contract.
    Deny(Vec<Code>),
}

/// A request. Header values are bytes: hostile ones need not be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, as on the wire.
    pub path: String,
    /// Names in lower case and values, in order, repeated ones kept.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// `GET /orders/7` without headers.
    #[must_use]
    pub fn get() -> Self {
        Self { method: "GET".into(), path: "/orders/7".into(), headers: Vec::new() }
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// With another path and query.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With `token` as the bearer token (RFC 6750 section 2.1).
    #[must_use]
    pub fn bearer(self, token: impl AsRef<[u8]>) -> Self {
        self.header("authorization", [b"Bearer ", token.as_ref()].concat())
    }
}

/// What the upstream must see of a header when the request gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamHeader {
    /// The name in lower case.
    pub name: String,
    /// Every value, in order; none where the header must be gone.
    pub values: Vec<String>,
}

/// One request and the answer that it must get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique in the corpus, and stable.
    pub id: String,
    /// What it is, for people.
    pub name: String,
    /// The family.
    pub class: Class,
    /// RFC section, CVE or test vector.
    pub origin: String,
    /// What to send.
    pub request: Request,
    /// What must come of it.
    pub expect: Expect,
    /// What the upstream must see, where the request is let through.
    pub upstream: Vec<UpstreamHeader>,
}
