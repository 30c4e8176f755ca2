//! The checks on verified claims: audience, times, lifetime, required claims and their values.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::{Code, Denial, UnixTime};

use crate::{
    conditions::Condition,
    date::numeric_date,
    json::{self, Object, Value},
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
    pub(crate) conditions: Vec<Condition>,
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

/// The claims of a token, with the times among them read once.
#[derive(Clone, Debug)]
pub(crate) struct Claims<'a> {
    all: Object<'a>,
    exp: Option<UnixTime>,
    nbf: Option<UnixTime>,
    iat: Option<UnixTime>,
}

impl<'a> Claims<'a> {
    /// Reads a payload and checks the types of the registered claims (RFC 7519 section 4.1).
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, Denial> {
        let all = json::parse_object(payload)
            .map_err(|error| Denial::new(Code::MalformedToken, format!("the payload is {error}")))?;
        for name in ["iss", "sub", "jti"] {
            if all.get(name).is_some_and(|value| value.as_str().is_none()) {
                return Err(wrong_type(name, "a string"));
            }
        }
        if let Some(audience) = all.get("aud")
            && !is_string_or_strings(audience)
        {
            return Err(wrong_type("aud", "a string or an array of strings"));
        }
        let (exp, nbf, iat) = (time(&all, "exp")?, time(&all, "nbf")?, time(&all, "iat")?);
        Ok(Self { all, exp, nbf, iat })
    }

    /// The same claims without the room that the parser left.
    pub(crate) fn shrunk(mut self) -> Self {
        self.all.shrink_to_fit();
        self
    }

    /// Every claim.
    pub(crate) const fn all(&self) -> &Object<'a> {
        &self.all
    }

    /// `iss`.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.all.get("iss").and_then(Value::as_str)
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
    pub(crate) fn audience(&self, claims: &Claims<'_>) -> Result<(), Denial> {
        let audience = claims.all.get("aud");
        let named = |own: &String| match audience {
            Some(Value::String(text)) => text == own,
            Some(Value::Array(elements)) => elements.iter().any(|element| element.as_str() == Some(own)),
            _ => false,
        };
        if self.audiences.is_empty() || self.audiences.iter().any(named) {
            return Ok(());
        }
        let detail = if audience.is_some() { "`aud` names another audience" } else { "no `aud`" };
        Err(Denial::new(Code::AudienceMismatch, detail))
    }

    pub(crate) fn expiry(&self, claims: &Claims<'_>, now: UnixTime) -> Result<(), Denial> {
        match claims.exp {
            None if self.require_expiry => Err(missing("exp")),
            // RFC 7519 section 4.1.4: on or after `exp` the token must not be accepted.
            Some(exp) if now >= exp.saturating_add(self.clock_skew) => {
                Err(Denial::new(Code::TokenExpired, format!("`exp` is {exp}, now is {now}")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn start(&self, claims: &Claims<'_>, now: UnixTime) -> Result<(), Denial> {
        for (name, start) in [("nbf", claims.nbf), ("iat", claims.iat)] {
            if let Some(start) = start.filter(|start| now.saturating_add(self.clock_skew) < *start) {
                let detail = format!("`{name}` is {start}, now is {now}");
                return Err(Denial::new(Code::TokenNotYetValid, detail));
            }
        }
        Ok(())
    }

    pub(crate) fn lifetime(&self, claims: &Claims<'_>, now: UnixTime) -> Result<(), Denial> {
        let Some(maximum) = self.max_lifetime else { return Ok(()) };
        let Some(exp) = claims.exp else { return Err(missing("exp")) };
        // Without `iat` the rest of the life is what can be known.
        let lifetime = exp.saturating_since(claims.iat.unwrap_or(now.saturating_add(self.clock_skew)));
        if lifetime > maximum {
            let detail =
                format!("lives {} s, at most {} s are allowed", lifetime.as_secs(), maximum.as_secs());
            return Err(Denial::new(Code::LifetimeTooLong, detail));
        }
        Ok(())
    }

    pub(crate) fn required(&self, claims: &Claims<'_>) -> Result<(), Denial> {
        self.required.iter().try_for_each(|path| require(path, &claims.all).map(|_| ()))
    }
}

/// The claim at `path`; `null` is absence, so that it satisfies nothing.
fn require<'v, 'a>(path: &ClaimPath, claims: &'v Object<'a>) -> Result<&'v Value<'a>, Denial> {
    path.find(claims).filter(|value| **value != Value::Null).ok_or_else(|| missing(&path.to_text()))
}

fn missing(name: &str) -> Denial {
    Denial::new(Code::MissingClaim, format!("no `{name}`"))
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
