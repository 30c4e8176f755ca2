//! What a case is, and the list that the class files add to.

use std::fmt;

use portcullis_core::Code;

use super::Setup;

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
    /// Claims.
    Claims,
    /// The request around the token.
    Request,
}

impl Class {
    /// Every class.
    pub const ALL: &'static [Self] =
        &[Self::Container, Self::Header, Self::Confusion, Self::Primitive, Self::Claims, Self::Request];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Header => "header",
            Self::Confusion => "confusion",
            Self::Primitive => "primitive",
            Self::Claims => "claims",
            Self::Request => "request",
        })
    }
}

/// What the gateway must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Let the request through to the upstream.
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
    /// Unique in the catalogue.
    pub name: &'static str,
    /// The family.
    pub class: Class,
    /// RFC section, CVE or test vector.
    pub origin: &'static str,
    /// What to send.
    pub request: Request,
    /// What must come of it.
    pub expect: Expect,
    /// What the upstream must see, where the request is let through.
    pub upstream: Vec<UpstreamHeader>,
}

#[derive(Default)]
pub(super) struct Cases {
    cases: Vec<Case>,
}

impl Cases {
    /// A bearer token that must be refused.
    pub(super) fn deny(
        &mut self,
        class: Class,
        name: &'static str,
        origin: &'static str,
        codes: &[Code],
        token: impl AsRef<[u8]>,
    ) {
        self.deny_request(class, name, origin, codes, Request::get().bearer(token));
    }

    /// A request that must be refused.
    pub(super) fn deny_request(
        &mut self,
        class: Class,
        name: &'static str,
        origin: &'static str,
        codes: &[Code],
        request: Request,
    ) {
        let expect = Expect::Deny(codes.to_vec());
        self.cases.push(Case { name, class, origin, request, expect, upstream: Vec::new() });
    }

    /// A bearer token that must be accepted: a gateway that refuses everything is not secure, it
    /// is broken.
    pub(super) fn allow(
        &mut self,
        class: Class,
        name: &'static str,
        origin: &'static str,
        token: impl AsRef<[u8]>,
    ) {
        self.allow_request(class, name, origin, Request::get().bearer(token), Vec::new());
    }

    /// A request that must reach the upstream, and what must arrive there.
    pub(super) fn allow_request(
        &mut self,
        class: Class,
        name: &'static str,
        origin: &'static str,
        request: Request,
        upstream: Vec<UpstreamHeader>,
    ) {
        self.cases.push(Case { name, class, origin, request, expect: Expect::Allow, upstream });
    }

    pub(super) fn into_vec(self) -> Vec<Case> {
        self.cases
    }
}

impl Setup {
    /// The upstream must see the verified subject, once, and nothing that the client said of it.
    pub(super) fn upstream_subject(&self) -> Vec<UpstreamHeader> {
        let name = self.subject_header.clone();
        vec![UpstreamHeader { name, values: vec![self.subject.clone()] }]
    }
}
