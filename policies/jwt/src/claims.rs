//! The checks on verified claims: audience, times, lifetime, required claims and their values.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::{Code, Denial, UnixTime};

use crate::{
    date::numeric_date,
    json::{Object, Value},
};

/// What one issuer's claims must satisfy.
#[derive(Clone, Debug)]
pub(crate) struct ClaimChecks {
    /// Empty where the configuration accepts any audience.
    pub(crate) audiences: Vec<String>,
    pub(crate) require_expiry: bool,
    pub(crate) clock_skew: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) required: Vec<ClaimPath>,
    pub(crate) values: Vec<ClaimValue>,
}

/// The way to a claim: member names from the outside in, array elements by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimPath(pub(crate) Vec<String>);

impl ClaimPath {
    pub(crate) fn find<'v, 'a>(&self, claims: &'v Object<'a>) -> Option<&'v Value<'a>> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| match value {
            Value::Object(object) => object.get(name),
            Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        self.0.join(" > ")
    }
}

/// A claim and the values of which it must have one; an array must hold one of them.
#[derive(Clone, Debug)]
pub(crate) struct ClaimValue {
    pub(crate) path: ClaimPath,
    pub(crate) one_of: Vec<Expected>,
}

/// A scalar from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    Bool(bool),
    /// Compared as a number where both sides are integers of 64 bits; `1` is not `"1"`.
    Integer(i64),
    Text(String),
}

impl Expected {
    fn equals(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Bool(own), Value::Bool(theirs)) => own == theirs,
            (Self::Integer(own), Value::Number(theirs)) => theirs.parse::<i64>().is_ok_and(|n| n == *own),
            (Self::Text(own), Value::String(theirs)) => own == theirs,
            _ => false,
        }
    }
}

/// The registered claims that have a type (RFC 7519 section 4.1), read once.
pub(crate) struct Registered {
    exp: Option<UnixTime>,
    nbf: Option<UnixTime>,
    iat: Option<UnixTime>,
}

impl Registered {
    /// Reads the times and checks the types of the registered claims.
    pub(crate) fn parse(claims: &Object<'_>) -> Result<Self, Denial> {
        for name in ["iss", "sub", "jti"] {
            if claims.get(name).is_some_and(|value| value.as_str().is_none()) {
                return Err(wrong_type(name, "a string"));
            }
        }
        if let Some(audience) = claims.get("aud")
            && !is_string_or_strings(audience)
        {
            return Err(wrong_type("aud", "a string or an array of strings"));
        }
        Ok(Self { exp: time(claims, "exp")?, nbf: time(claims, "nbf")?, iat: time(claims, "iat")? })
    }
}

fn is_string_or_strings(value: &Value<'_>) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(elements) => elements.iter().all(|element| element.as_str().is_some()),
        _ => false,
    }
}

fn time(claims: &Object<'_>, name: &str) -> Result<Option<UnixTime>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(text)) => numeric_date(text).map(Some).ok_or_else(|| wrong_type(name, "a number")),
        Some(_) => Err(wrong_type(name, "a number")),
    }
}

fn wrong_type(name: &str, expected: &str) -> Denial {
    Denial::new(Code::MalformedToken, format!("`{name}` is not {expected}"))
}

impl ClaimChecks {
    /// Every check in the documented order; the first that fails is the answer.
    pub(crate) fn check(
        &self,
        claims: &Object<'_>,
        registered: &Registered,
        now: UnixTime,
    ) -> Result<(), Denial> {
        self.check_audience(claims)?;
        self.check_times(registered, now)?;
        for path in &self.required {
            require(path, claims)?;
        }
        for rule in &self.values {
            rule.check(require(&rule.path, claims)?)?;
        }
        Ok(())
    }

    fn check_audience(&self, claims: &Object<'_>) -> Result<(), Denial> {
        let named = |own: &String| match claims.get("aud") {
            Some(Value::String(text)) => text == own,
            Some(Value::Array(elements)) => elements.iter().any(|element| element.as_str() == Some(own)),
            _ => false,
        };
        if self.audiences.is_empty() || self.audiences.iter().any(named) {
            return Ok(());
        }
        let detail = if claims.get("aud").is_some() { "`aud` names another audience" } else { "no `aud`" };
        Err(Denial::new(Code::AudienceMismatch, detail))
    }

    fn check_times(&self, times: &Registered, now: UnixTime) -> Result<(), Denial> {
        let skew = self.clock_skew;
        match times.exp {
            None if self.require_expiry => return Err(missing("exp")),
            // RFC 7519 section 4.1.4: on or after `exp` the token must not be accepted.
            Some(exp) if now >= exp.saturating_add(skew) => {
                return Err(Denial::new(Code::TokenExpired, format!("`exp` is {exp}, now is {now}")));
            }
            _ => {}
        }
        for (name, start) in [("nbf", times.nbf), ("iat", times.iat)] {
            if let Some(start) = start.filter(|start| now.saturating_add(skew) < *start) {
                let detail = format!("`{name}` is {start}, now is {now}");
                return Err(Denial::new(Code::TokenNotYetValid, detail));
            }
        }
        let Some(maximum) = self.max_lifetime else { return Ok(()) };
        let Some(exp) = times.exp else { return Err(missing("exp")) };
        // Without `iat` the rest of the life is what can be known.
        let lifetime = exp.saturating_since(times.iat.unwrap_or(now.saturating_add(skew)));
        if lifetime > maximum {
            let detail =
                format!("lives {} s, at most {} s are allowed", lifetime.as_secs(), maximum.as_secs());
            return Err(Denial::new(Code::LifetimeTooLong, detail));
        }
        Ok(())
    }
}

/// The claim at `path`; `null` is absence, so that it satisfies nothing.
fn require<'v, 'a>(path: &ClaimPath, claims: &'v Object<'a>) -> Result<&'v Value<'a>, Denial> {
    path.find(claims).filter(|value| **value != Value::Null).ok_or_else(|| missing(&path.to_text()))
}

fn missing(name: &str) -> Denial {
    Denial::new(Code::MissingClaim, format!("no `{name}`"))
}

impl ClaimValue {
    fn check(&self, value: &Value<'_>) -> Result<(), Denial> {
        let accepted = |value: &Value<'_>| self.one_of.iter().any(|expected| expected.equals(value));
        let holds = match value {
            Value::Array(elements) => elements.iter().any(accepted),
            single => accepted(single),
        };
        if holds {
            return Ok(());
        }
        Err(Denial::new(Code::ClaimMismatch, format!("`{}` has another value", self.path.to_text())))
    }
}

/// The scopes that a token grants: `scope` (RFC 8693 section 4.2, RFC 9068 section 2.2.3: one
/// string separated by spaces) and `scp` (Okta, Entra ID: an array, or such a string).
pub(crate) fn grants_scope(claims: &Object<'_>, wanted: &str) -> bool {
    ["scope", "scp"].iter().filter_map(|name| claims.get(name)).any(|value| match value {
        Value::String(text) => text.split(' ').any(|scope| scope == wanted),
        Value::Array(elements) => elements.iter().any(|element| element.as_str() == Some(wanted)),
        _ => false,
    })
}
