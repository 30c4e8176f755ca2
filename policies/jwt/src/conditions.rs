//! Conditions on verified claims: paths, values, sets, patterns, and the request beside the token.
//!
//! A condition holds, fails, or cannot be known: its claim is absent, has another type than what it
//! is compared with, or there is nothing in the request to compare it with. Only one that holds
//! lets a request pass, and `none` needs conditions that are known to fail, so that a token cannot
//! satisfy a rule by leaving something out or by sending it as another type.

use alloc::{format, string::String, vec::Vec};

use portcullis_core::{
    Code, Denial, Request,
    json::{Object, Value},
};

use crate::{
    claims::ClaimPath,
    rules::{Reading, Rule},
};

mod counterpart;
mod decimal;
mod expected;
mod pattern;

pub(crate) use counterpart::{Counterpart, San};
pub(crate) use decimal::Decimal;
pub(crate) use expected::{Expected, one_of};
pub(crate) use pattern::Pattern;

/// What a token's claims must satisfy.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// A claim, and what it must be.
    Claim(ClaimPath, Demand),
    /// At least one holds.
    Any(Vec<Self>),
    /// Each one holds.
    All(Vec<Self>),
    /// Each one is known to fail.
    None(Vec<Self>),
}

/// What a claim must be. A single value is a list of one.
#[derive(Clone, Debug)]
pub(crate) enum Demand {
    /// The test, and how many elements must pass it.
    Elements(Elements, Test),
    /// Each of these is among the elements.
    Contains(Vec<Expected>),
    /// The claim is one text that is not empty.
    Text,
}

/// How many elements must pass a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// At least one.
    Any,
    /// Each one; an empty array proves nothing.
    All,
    /// None; an empty array has none.
    None,
}

/// What is asked of one value.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// It is one of these.
    OneOf(Vec<Expected>),
    Prefix(String),
    Suffix(String),
    /// The pattern matches it from its beginning to its end.
    Matches(Pattern),
    AtLeast(Decimal),
    AtMost(Decimal),
    MoreThan(Decimal),
    LessThan(Decimal),
    /// It is what the request has in this place.
    Request(Counterpart),
}

/// What a condition is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'f> {
    pub(crate) claims: &'f Object<'f>,
    pub(crate) request: &'f Request<'f>,
    pub(crate) reading: Option<&'f Reading<'f>>,
    pub(crate) rule: Option<&'f Rule>,
}

/// What is known of a condition.
#[derive(Clone, Copy)]
enum Truth<'c> {
    Holds,
    Fails(Why<'c>),
    Unknown(Why<'c>),
}

/// Where a condition does not hold, and why.
#[derive(Clone, Copy)]
struct Why<'c> {
    path: &'c ClaimPath,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Absent,
    Incomparable,
    NothingInRequest,
    Value,
    Excluded,
}

/// Holds each of `conditions` to `facts`; the first that does not hold is the answer.
///
/// `code` is what a condition refuses with, `absent` what one refuses with whose claim is absent.
/// Where the request can be read in two ways it is refused as ambiguous, whatever the claim says.
pub(crate) fn check(
    conditions: &[Condition],
    facts: Facts<'_>,
    code: Code,
    absent: Code,
) -> Result<(), Denial> {
    for condition in conditions {
        if let Truth::Fails(why) | Truth::Unknown(why) = condition.truth(facts)? {
            let code = if why.what == What::Absent { absent } else { code };
            return Err(Denial::new(code, why.detail()));
        }
    }
    Ok(())
}

impl Why<'_> {
    fn detail(self) -> String {
        let path = self.path.to_text();
        match self.what {
            What::Absent => format!("no `{path}`"),
            What::Incomparable => format!("`{path}` has another type than what it is compared with"),
            What::NothingInRequest => format!("the request has nothing that `{path}` could be compared with"),
            What::Value => format!("`{path}` has another value"),
            What::Excluded => format!("`{path}` has a value that is excluded"),
        }
    }
}

impl Condition {
    /// What is known of it. Every part is looked at, so that an ambiguous request is refused
    /// whatever the other parts say.
    fn truth<'c>(&'c self, facts: Facts<'_>) -> Result<Truth<'c>, Denial> {
        match self {
            Self::Claim(path, demand) => demand.truth(path, facts),
            Self::All(parts) => {
                let mut all = Truth::Holds;
                for part in parts {
                    all = match (all, part.truth(facts)?) {
                        (Truth::Holds, next) => next,
                        (Truth::Unknown(_), Truth::Fails(why)) => Truth::Fails(why),
                        (before, _) => before,
                    };
                }
                Ok(all)
            }
            Self::Any(parts) => {
                let mut any = None;
                for part in parts {
                    any = Some(match (any, part.truth(facts)?) {
                        (None, next)
                        | (Some(Truth::Fails(_)), next @ (Truth::Holds | Truth::Unknown(_)))
                        | (Some(Truth::Unknown(_)), next @ Truth::Holds) => next,
                        (Some(before), _) => before,
                    });
                }
                // The configuration has no empty group; one would have no first condition.
                Ok(any.unwrap_or(Truth::Holds))
            }
            Self::None(parts) => {
                let mut none = Truth::Holds;
                for part in parts {
                    let excluded = |part: &'c Self| {
                        part.path().map(|path| Truth::Fails(Why { path, what: What::Excluded }))
                    };
                    none = match (none, part.truth(facts)?) {
                        (Truth::Holds | Truth::Unknown(_), Truth::Holds) => {
                            excluded(part).unwrap_or(Truth::Holds)
                        }
                        (Truth::Holds, Truth::Unknown(why)) => Truth::Unknown(why),
                        (before, _) => before,
                    };
                }
                Ok(none)
            }
        }
    }

    /// The first claim that it looks at.
    fn path(&self) -> Option<&ClaimPath> {
        match self {
            Self::Claim(path, _) => Some(path),
            Self::Any(parts) | Self::All(parts) | Self::None(parts) => parts.first().and_then(Self::path),
        }
    }

    /// Every place of a request that it compares a claim with.
    pub(crate) fn counterparts<'c>(&'c self, found: &mut Vec<&'c Counterpart>) {
        match self {
            Self::Claim(_, Demand::Elements(_, Test::Request(counterpart))) => found.push(counterpart),
            Self::Claim(..) => {}
            Self::Any(parts) | Self::All(parts) | Self::None(parts) => {
                parts.iter().for_each(|part| part.counterparts(found));
            }
        }
    }
}

impl Demand {
    fn truth<'c>(&self, path: &'c ClaimPath, facts: Facts<'_>) -> Result<Truth<'c>, Denial> {
        let unknown = |what| Truth::Unknown(Why { path, what });
        // Read also where the claim is absent: an ambiguous request is refused in any case.
        let here = match self {
            Self::Elements(_, Test::Request(counterpart)) => Some(counterpart.read(facts)?),
            _ => None,
        };
        let here = match &here {
            None => "",
            Some(Some(text)) => text,
            Some(None) => return Ok(unknown(What::NothingInRequest)),
        };
        let Some(value) = path.find(facts.claims).filter(|value| **value != Value::Null) else {
            return Ok(unknown(What::Absent));
        };
        let elements = match value {
            Value::Array(elements) => elements.as_slice(),
            single => core::slice::from_ref(single),
        };
        let known = match self {
            Self::Elements(how_many, test) => how_many.pass(elements, |value| test.passes(value, here)),
            Self::Contains(all) => {
                let among = |own: &Expected| {
                    Elements::Any.pass(elements, |value| one_of(core::slice::from_ref(own), value))
                };
                Elements::All.pass(all, among)
            }
            Self::Text => value.as_str().map(|text| !text.is_empty()),
        };
        Ok(match known {
            Some(true) => Truth::Holds,
            Some(false) => Truth::Fails(Why { path, what: What::Value }),
            None => unknown(What::Incomparable),
        })
    }
}

impl Elements {
    /// Whether as many of `items` pass `test` as must; `None` where that cannot be known.
    fn pass<T>(self, items: &[T], test: impl Fn(&T) -> Option<bool>) -> Option<bool> {
        let decisive = match self {
            Self::Any | Self::None => true,
            Self::All => false,
        };
        let mut unknown = false;
        for item in items {
            match test(item) {
                Some(known) if known == decisive => return Some(self == Self::Any),
                Some(_) => {}
                None => unknown = true,
            }
        }
        if unknown {
            return None;
        }
        Some(match self {
            Self::Any => false,
            Self::All => !items.is_empty(),
            Self::None => true,
        })
    }
}

impl Test {
    /// Whether `value` passes; `None` where it has a type that the test is not for. `here` is what
    /// the request has in the place of [`Test::Request`].
    fn passes(&self, value: &Value<'_>, here: &str) -> Option<bool> {
        let ordering = |own: &Decimal| match value {
            Value::Number(text) => Decimal::parse(text).map(|theirs| theirs.compare(own)),
            _ => None,
        };
        match self {
            Self::OneOf(expected) => one_of(expected, value),
            Self::Prefix(own) => value.as_str().map(|text| text.starts_with(own.as_str())),
            Self::Suffix(own) => value.as_str().map(|text| text.ends_with(own.as_str())),
            Self::Matches(pattern) => value.as_str().and_then(|text| pattern.matches(text)),
            Self::AtLeast(own) => ordering(own).map(core::cmp::Ordering::is_ge),
            Self::AtMost(own) => ordering(own).map(core::cmp::Ordering::is_le),
            Self::MoreThan(own) => ordering(own).map(core::cmp::Ordering::is_gt),
            Self::LessThan(own) => ordering(own).map(core::cmp::Ordering::is_lt),
            Self::Request(counterpart) => counterpart.equals(value, here),
        }
    }
}
