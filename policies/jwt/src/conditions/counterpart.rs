//! What a request has in the place that a claim is compared with, in one reading or none.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderName, json::Value};

use super::Facts;
use crate::locations;

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counterpart {
    /// The only value of a header.
    Header(HeaderName),
    /// The host, in lower case and without its port.
    Host,
    /// The one label that the host has before `.` and this name.
    LabelBelow(String),
    /// A variable of the rule's path template, decoded.
    PathVariable(String),
    /// The only value of a query parameter, decoded.
    Query(String),
    /// A name in the client's certificate.
    Peer(San),
}

/// A kind of subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum San {
    Uri,
    Dns,
}

impl Counterpart {
    /// Whether `value` is what the request has here; `None` where they cannot be compared or the
    /// request has nothing.
    pub(crate) fn equals(&self, value: &Value<'_>, here: &str) -> Option<bool> {
        match value {
            // Names of hosts are the same in any case (RFC 4343), and nothing else is.
            Value::String(text) if self.is_host() => Some(text.eq_ignore_ascii_case(here)),
            Value::String(text) => Some(text == here),
            // A request is text: an integer is its digits, and no other spelling of the number.
            Value::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
                Some(text == here)
            }
            _ => None,
        }
    }

    fn is_host(&self) -> bool {
        matches!(self, Self::Host | Self::LabelBelow(_) | Self::Peer(San::Dns))
    }

    /// The text in this place; `None` where there is none, or an empty one.
    ///
    /// # Errors
    ///
    /// [`Code::RequestAmbiguous`] where an upstream could read another text there.
    pub(crate) fn read<'f>(&'f self, facts: Facts<'f>) -> Result<Option<Cow<'f, str>>, Denial> {
        let found = match self {
            Self::Header(name) => header(name, facts)?.map(Cow::Borrowed),
            Self::Host => facts.reading.map(|reading| Cow::Borrowed(reading.host())),
            Self::LabelBelow(base) => facts.reading.and_then(|reading| label_below(reading.host(), base)),
            Self::PathVariable(name) => facts
                .rule
                .zip(facts.reading)
                .and_then(|(rule, reading)| reading.variable(rule, name).map(Cow::Borrowed)),
            Self::Query(name) => query(name, facts)?.map(Cow::Owned),
            Self::Peer(san) => {
                let peer = facts.request.peer();
                let name = match san {
                    San::Uri => peer.uri_san,
                    San::Dns => peer.dns_san,
                };
                name.and_then(|name| core::str::from_utf8(name).ok()).map(Cow::Borrowed)
            }
        };
        Ok(found.filter(|text| !text.is_empty()))
    }
}

fn label_below<'h>(host: &'h str, base: &str) -> Option<Cow<'h, str>> {
    let label = host.strip_suffix(base)?.strip_suffix('.')?;
    (!label.contains('.')).then_some(Cow::Borrowed(label))
}

/// In any spelling that an upstream could take for the header.
fn header<'f>(name: &HeaderName, facts: Facts<'f>) -> Result<Option<&'f str>, Denial> {
    let spelled = facts.request.headers().iter().filter(|(own, _)| name.is_spelled(own));
    let mut values = spelled.map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match core::str::from_utf8(value) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(ambiguous(format!("`{name}` is not UTF-8"))),
        },
        (Some(_), Some(_)) => Err(ambiguous(format!("`{name}` is repeated"))),
    }
}

/// Parameters are separated by `&` or, for some upstreams, `;`. A name has other spellings: encoded, in
/// another case (ASP.NET), with `.` or a space for `_`, behind spaces or before a NUL (PHP), and as
/// `name[]` (PHP, Rails). A value with `+` is a space for some and a plus sign for others.
fn query(name: &str, facts: Facts<'_>) -> Result<Option<String>, Denial> {
    let (_, query) = facts.request.path_and_query()?;
    let Some(query) = query else { return Ok(None) };
    let spelled = |pair: &&str| {
        let own = locations::decode(pair.split_once('=').map_or(*pair, |(own, _)| own));
        let spaces = own.iter().take_while(|byte| matches!(byte, b' ' | b'+')).count();
        let own = own.get(spaces..).unwrap_or_default();
        let head = own.get(..name.len()).unwrap_or_default();
        let rest = own.get(name.len()..).unwrap_or_default();
        head.len() == name.len()
            && head.iter().zip(name.bytes()).all(|(theirs, own)| fold(*theirs) == fold(own))
            && (rest.is_empty() || rest.starts_with(b"[") || rest.starts_with(b"\0"))
    };
    let mut pairs = query.split(['&', ';']).filter(spelled);
    let Some(pair) = pairs.next() else { return Ok(None) };
    // The same pair for those who take `;` for a part of the value.
    let undisputed = query.split('&').any(|other| other == pair);
    match pair.split_once('=') {
        Some((own, value)) if own == name && undisputed && pairs.next().is_none() => {
            decoded(value).map(Some).ok_or_else(|| ambiguous(format!("the value of `{name}` in the query")))
        }
        _ => Err(ambiguous(format!("`{name}` in the query is repeated or spelled in another way"))),
    }
}

const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' }
}

/// Percent-decoded once; `None` where that can be done in more than one way.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => locations::hex_pair(&[bytes.next()?, bytes.next()?])?,
            b'+' | b'#' => return None,
            byte => byte,
        });
    }
    let text = String::from_utf8(out).ok()?;
    // What is still encoded, or ends a text early in C, has a second reading.
    (!text.contains(['%', '\0'])).then_some(text)
}

fn ambiguous(detail: String) -> Denial {
    Denial::new(Code::RequestAmbiguous, detail)
}
