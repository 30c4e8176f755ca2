//! Requests against the files of `deploy/envoy`, and the answer that each must get.

mod header;
mod ordinary;
mod organizations;
mod path;
mod subdomain;

use std::fmt;

use portcullis_core::Code;
use serde_json::Value;

use crate::loopback;

/// A family of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What honest clients send.
    Ordinary,
    /// Places that name different tenants, or the same one twice.
    Disagreement,
    /// Names that are no names.
    Name,
    /// The host.
    Host,
    /// The path.
    Path,
    /// Headers that only the gateway may set.
    Spoofing,
    /// Who is calling, and to whom the caller belongs.
    Identity,
    /// Tenants that are not in use.
    Life,
    /// Upgrades, gRPC, preflights, other methods.
    Protocol,
    /// The switch of tenants.
    Switch,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// What must become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It reaches the upstream, where each of these headers has exactly these values.
    Forward(Vec<(&'static str, Vec<&'static str>)>),
    /// It is refused with one of these codes.
    Refuse(Vec<Code>),
    /// The gateway answers itself with this status and this cookie.
    Answer(u16, &'static str),
}

/// One request against one file.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// The family.
    pub class: Class,
    /// The file of `deploy/envoy`.
    pub file: &'static str,
    /// The method.
    pub method: &'static str,
    /// Host and port, as bytes: hostile ones need not be text.
    pub authority: Vec<u8>,
    /// Path and query, as on the wire.
    pub target: Vec<u8>,
    /// More headers, in order.
    pub more: Vec<(String, Vec<u8>)>,
    /// The claims of the caller's token; none where there is no token.
    pub claims: Option<Value>,
    /// The token, once it is minted.
    pub token: Option<String>,
    /// Whether a reply to it has a body in which its code stands.
    pub has_body: bool,
    /// What must become of it.
    pub expect: Expect,
    /// What must become of it in Envoy where the connection manager makes another request of it.
    pub in_envoy: Option<Expect>,
}

impl Case {
    fn new(file: &'static str, class: Class, authority: &str, target: &str) -> Self {
        Self {
            name: String::new(),
            class,
            file,
            method: "GET",
            authority: authority.into(),
            target: target.into(),
            more: Vec::new(),
            claims: None,
            token: None,
            has_body: true,
            expect: Expect::Refuse(Vec::new()),
            in_envoy: None,
        }
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.more.push((name.into(), value.into()));
        self
    }

    fn claims(mut self, claims: Value) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Reaches the upstream with these headers.
    fn forward(mut self, headers: &[(&'static str, &[&'static str])]) -> Self {
        self.expect =
            Expect::Forward(headers.iter().map(|(name, values)| (*name, values.to_vec())).collect());
        self.named()
    }

    fn refuse(mut self, codes: &[Code]) -> Self {
        self.expect = Expect::Refuse(codes.to_vec());
        self.named()
    }

    fn answer(mut self, status: u16, cookie: &'static str) -> Self {
        self.expect = Expect::Answer(status, cookie);
        self.named()
    }

    fn in_envoy(mut self, expect: Expect) -> Self {
        self.in_envoy = Some(expect);
        self
    }

    /// The request itself is the best name of a case.
    fn named(mut self) -> Self {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let headers: Vec<_> = self
            .more
            .iter()
            .map(|(name, value)| {
                let value = text(value);
                let end = value.char_indices().nth(60).map_or(value.len(), |(at, _)| at);
                format!(" | {name}: {} ({})", &value[..end], value.len())
            })
            .collect();
        let claims = self.claims.as_ref().map_or_else(|| "no token".to_owned(), ToString::to_string);
        self.name = format!(
            "{} {}{}{} | {claims}",
            self.method,
            text(&self.authority),
            text(&self.target),
            headers.concat()
        );
        self
    }

    /// A reply to HEAD has no body, so nothing can be read from it.
    fn without_code(mut self) -> Self {
        self.has_body = false;
        self
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    /// The headers with the pseudo headers that a proxy makes of the request.
    #[must_use]
    pub fn headers(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b":method".to_vec(), self.method.into()),
            (b":scheme".to_vec(), b"https".to_vec()),
            (b":authority".to_vec(), self.authority.clone()),
            (b":path".to_vec(), self.target.clone()),
        ];
        headers
            .extend(self.more.iter().map(|(name, value)| (name.to_lowercase().into_bytes(), value.clone())));
        headers.extend(self.bearer().map(|bearer| (b"authorization".to_vec(), bearer.into_bytes())));
        headers
    }

    /// The request as a client sends it.
    #[must_use]
    pub fn message(&self) -> loopback::Request {
        let mut message = loopback::Request::new(self.method, &self.target).header("host", &self.authority);
        for (name, value) in &self.more {
            message = message.header(name, value);
        }
        match self.bearer() {
            Some(bearer) => message.header("authorization", bearer),
            None => message,
        }
    }
}

/// Every case.
#[must_use]
pub fn cases() -> Vec<Case> {
    [ordinary::cases(), subdomain::cases(), path::cases(), header::cases(), organizations::cases()].concat()
}
