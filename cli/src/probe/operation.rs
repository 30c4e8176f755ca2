//! A request with places in it that one tenant's values fill, or another's.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

/// What asks without changing anything (RFC 9110 section 9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// Text with named places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// One request that can be filled.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// How reports call it: `GET /orders/{order}`.
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) path: Template,
    /// Names of query parameters, and whether the request makes no sense without them.
    pub(super) query: Vec<(String, bool)>,
    /// The same for headers.
    pub(super) headers: Vec<(String, bool)>,
    /// Values for parameters that nobody gives one for.
    pub(super) defaults: BTreeMap<String, String>,
}

/// A request as it is sent, but for who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    /// The parameters' values in it, by name.
    pub(super) sent: BTreeMap<String, String>,
}

impl Template {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').context("a `{` without its `}`")?;
            ensure!(!name.is_empty() && !name.contains('{'), "`{{{name}}}` is no parameter");
            parts.extend([Part::Text(before.into()), Part::Name(name.into())]);
            rest = behind;
        }
        ensure!(!rest.contains('}'), "a `}}` without its `{{`");
        parts.push(Part::Text(rest.into()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every place filled, each value as `write` has it; the name that has no value
    /// otherwise.
    pub(super) fn fill(
        &self,
        value: impl Fn(&str) -> Option<String>,
        write: impl Fn(&str) -> String,
    ) -> Result<String, &str> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => out.push_str(&write(&value(name).ok_or(name.as_str())?)),
            }
        }
        Ok(out)
    }
}

impl Operation {
    /// Reads `/orders/{order}` or `HEAD /orders/{order}?page={page}`.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let (method, path) = match text.split_once(' ') {
            None => (Method::Get, text),
            Some(("GET", path)) => (Method::Get, path),
            Some(("HEAD", path)) => (Method::Head, path),
            Some((other, _)) => bail!("`{other}`: only GET and HEAD are sent, which change nothing"),
        };
        ensure!(path.starts_with('/'), "`{path}` is no path");
        Ok(Self {
            name: format!("{} {path}", method.as_str()),
            method,
            path: Template::parse(path)?,
            query: Vec::new(),
            headers: Vec::new(),
            defaults: BTreeMap::new(),
        })
    }

    /// The request with these values; the name of a parameter that has none otherwise.
    pub(super) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<Filled, String> {
        let value = |name: &str| value(name).or_else(|| self.defaults.get(name).cloned());
        let mut sent = BTreeMap::new();
        for name in self.path.names() {
            sent.extend(value(name).map(|value| (name.to_owned(), value)));
        }
        let mut target = self.path.fill(value, encoded)?;
        let mut separator = if target.contains('?') { '&' } else { '?' };
        for (name, required) in &self.query {
            match value(name) {
                Some(value) => {
                    target.push_str(&format!("{separator}{}={}", encoded(name), encoded(&value)));
                    separator = '&';
                    sent.insert(name.clone(), value);
                }
                None if *required => return Err(name.clone()),
                None => {}
            }
        }
        let mut headers = Vec::new();
        for (name, required) in &self.headers {
            match value(name) {
                Some(value) => {
                    sent.insert(name.clone(), value.clone());
                    headers.push((name.clone(), value));
                }
                None if *required => return Err(name.clone()),
                None => {}
            }
        }
        Ok(Filled { target, headers, sent })
    }
}

/// Percent-encoded, but for what RFC 3986 reserves for nothing (section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_where_it_was_put() {
        let operation = Operation::parse("/orders/{order}/x?tenant={tenant}").unwrap();
        let value = |name: &str| (name == "order").then(|| "../a b?c#d&é".to_owned());
        assert_eq!(operation.fill(value), Err("tenant".into()));
        let filled = operation.fill(|name| value(name).or(Some("acme".into()))).unwrap();
        assert_eq!(filled.target, "/orders/..%2Fa%20b%3Fc%23d%26%C3%A9/x?tenant=acme");
        assert_eq!(filled.sent["tenant"], "acme");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in ["", "orders", "DELETE /orders", "/a/{b", "/a/b}", "/a/{}", "GET orders"] {
            assert!(Operation::parse(text).is_err(), "{text}");
        }
    }
}
