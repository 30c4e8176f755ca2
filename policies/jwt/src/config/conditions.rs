//! Conditions on claims: from the document's shape to what a token is held to.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::json::{self, Value};
use serde_json::value::RawValue;

use super::{
    ConfigError, raw,
    resolve::{Resolved, claim_or_path, header_name, indexed, is_host},
};
use crate::conditions::{Condition, Counterpart, Decimal, Demand, Elements, Expected, Pattern, San, Test};

/// Groups inside groups.
const MAX_DEPTH: usize = 4;
/// Conditions of one list, those in groups included: each one costs every request.
const MAX_CONDITIONS: usize = 64;
/// Values that one condition compares with.
const MAX_VALUES: usize = 256;

/// The conditions of one list. `variables` are those of the rule's path, where there is a rule.
pub(super) fn conditions(
    path: &str,
    raw: Vec<raw::Condition<'_>>,
    variables: &[String],
) -> Resolved<Vec<Condition>> {
    let mut reader = Reader { variables, left: MAX_CONDITIONS };
    indexed(path, raw, |path, raw| reader.condition(path, raw, MAX_DEPTH))
}

struct Reader<'v> {
    variables: &'v [String],
    left: usize,
}

impl Reader<'_> {
    fn condition(&mut self, path: &str, raw: raw::Condition<'_>, depth: usize) -> Resolved<Condition> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            ConfigError::new(path, format!("more than {MAX_CONDITIONS} conditions in one list"))
        })?;
        let raw::Condition {
            any,
            all,
            none,
            claim,
            path: names,
            elements,
            equals,
            one_of,
            contains,
            prefix,
            suffix,
            matches,
            at_least,
            at_most,
            more_than,
            less_than,
            equals_request,
        } = raw;
        let tests = Tests {
            equals,
            one_of,
            contains,
            prefix,
            suffix,
            matches,
            at_least,
            at_most,
            more_than,
            less_than,
            equals_request,
        };
        let mut groups = [("any", any), ("all", all), ("none", none)]
            .into_iter()
            .filter_map(|(name, parts)| Some((name, parts?)));
        let Some((name, parts)) = groups.next() else {
            let claim = claim_or_path(path, claim, names)?;
            return Ok(Condition::Claim(claim, self.demand(path, elements, tests)?));
        };
        let more = claim.is_some() || names.is_some() || elements.is_some() || !tests.names().is_empty();
        if more || groups.next().is_some() {
            let reason = format!("`{name}` groups conditions and stands alone; give the rest one of its own");
            return Err(ConfigError::new(path, reason));
        }
        let path = format!("{path}.{name}");
        if parts.is_empty() {
            return Err(ConfigError::new(path, "empty; name at least one condition"));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(ConfigError::new(path, format!("more than {MAX_DEPTH} groups inside each other")));
        };
        let parts = indexed(&path, parts, |path, part| self.condition(path, part, depth))?;
        Ok(match name {
            "any" => Condition::Any(parts),
            "all" => Condition::All(parts),
            _ => Condition::None(parts),
        })
    }

    fn demand(&self, path: &str, elements: Option<raw::Elements>, tests: Tests<'_>) -> Resolved<Demand> {
        let name = match tests.names().as_slice() {
            [one] => *one,
            [] => {
                let all = Tests::NAMES.join("`, `");
                return Err(ConfigError::new(path, format!("no comparison; say one of `{all}`")));
            }
            more => {
                let reason = format!("`{}`: one comparison for each condition", more.join("` and `"));
                return Err(ConfigError::new(path, reason));
            }
        };
        let at = format!("{path}.{name}");
        if let Some(values) = tests.contains {
            if elements.is_some() {
                return Err(ConfigError::new(format!("{path}.elements"), "has no meaning with `contains`"));
            }
            return Ok(Demand::Contains(list(&at, values)?));
        }
        let elements = match elements {
            None | Some(raw::Elements::Any) => Elements::Any,
            Some(raw::Elements::All) => Elements::All,
            Some(raw::Elements::None) => Elements::None,
        };
        Ok(Demand::Elements(elements, tests.resolve(&at, self.variables)?))
    }
}

/// The comparisons of one condition, of which there is one.
struct Tests<'a> {
    equals: Option<&'a RawValue>,
    one_of: Option<Vec<&'a RawValue>>,
    contains: Option<Vec<&'a RawValue>>,
    prefix: Option<String>,
    suffix: Option<String>,
    matches: Option<String>,
    at_least: Option<&'a RawValue>,
    at_most: Option<&'a RawValue>,
    more_than: Option<&'a RawValue>,
    less_than: Option<&'a RawValue>,
    equals_request: Option<raw::Counterpart>,
}

impl Tests<'_> {
    const NAMES: [&'static str; 11] = [
        "equals",
        "one_of",
        "contains",
        "prefix",
        "suffix",
        "matches",
        "at_least",
        "at_most",
        "more_than",
        "less_than",
        "equals_request",
    ];

    /// Those that are there.
    fn names(&self) -> Vec<&'static str> {
        let there = [
            self.equals.is_some(),
            self.one_of.is_some(),
            self.contains.is_some(),
            self.prefix.is_some(),
            self.suffix.is_some(),
            self.matches.is_some(),
            self.at_least.is_some(),
            self.at_most.is_some(),
            self.more_than.is_some(),
            self.less_than.is_some(),
            self.equals_request.is_some(),
        ];
        Self::NAMES.into_iter().zip(there).filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    fn resolve(self, at: &str, variables: &[String]) -> Resolved<Test> {
        if let Some(value) = self.equals {
            return Ok(Test::OneOf(Vec::from([scalar(at, value)?])));
        }
        if let Some(values) = self.one_of {
            return Ok(Test::OneOf(list(at, values)?));
        }
        for (text, test) in [(self.prefix, Test::Prefix as fn(String) -> Test), (self.suffix, Test::Suffix)] {
            if let Some(text) = text {
                let empty = || ConfigError::new(at, "empty: every text would pass");
                return if text.is_empty() { Err(empty()) } else { Ok(test(text)) };
            }
        }
        if let Some(pattern) = self.matches {
            let pattern = Pattern::new(&pattern);
            return pattern.map(Test::Matches).map_err(|reason| ConfigError::new(at, reason));
        }
        for (limit, test) in [
            (self.at_least, Test::AtLeast as fn(Decimal) -> Test),
            (self.at_most, Test::AtMost),
            (self.more_than, Test::MoreThan),
            (self.less_than, Test::LessThan),
        ] {
            if let Some(limit) = limit {
                return match scalar(at, limit)? {
                    Expected::Number(number) => Ok(test(number)),
                    _ => Err(ConfigError::new(at, "not a number")),
                };
            }
        }
        match self.equals_request {
            Some(place) => counterpart(at, place, variables).map(Test::Request),
            None => Err(ConfigError::new(at, "not a comparison of single values")),
        }
    }
}

fn list(path: &str, values: Vec<&RawValue>) -> Resolved<Vec<Expected>> {
    if values.is_empty() {
        return Err(ConfigError::new(path, "empty: no value could pass"));
    }
    if values.len() > MAX_VALUES {
        return Err(ConfigError::new(path, format!("more than {MAX_VALUES} values")));
    }
    indexed(path, values, scalar)
}

fn scalar(path: &str, raw: &RawValue) -> Resolved<Expected> {
    match json::parse(raw.get()).map_err(|error| ConfigError::new(path, error.to_string()))? {
        Value::String(text) => Ok(Expected::Text(text.into_owned())),
        Value::Bool(own) => Ok(Expected::Bool(own)),
        Value::Number(text) => Decimal::parse(&text)
            .filter(Decimal::is_moderate)
            .map(Expected::Number)
            .ok_or_else(|| ConfigError::new(path, "a number of more than a thousand digits")),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ConfigError::new(path, "not a string, a boolean or a number"))
        }
    }
}

fn counterpart(path: &str, raw: raw::Counterpart, variables: &[String]) -> Resolved<Counterpart> {
    Ok(match raw {
        raw::Counterpart::Header(name) => {
            let path = format!("{path}.header");
            let name = header_name(&path, &name)?;
            if name.as_str() == "host" {
                return Err(ConfigError::new(path, "say `\"host\"` instead of the header: HTTP/2 has none"));
            }
            Counterpart::Header(name)
        }
        raw::Counterpart::Host => Counterpart::Host,
        raw::Counterpart::LabelBelow(base) if is_host(&base) => Counterpart::LabelBelow(base),
        raw::Counterpart::LabelBelow(base) => {
            let reason = format!("`{base}` is not a host in lower case without port");
            return Err(ConfigError::new(format!("{path}.label_below"), reason));
        }
        raw::Counterpart::PathVariable(name) if variables.contains(&name) => Counterpart::PathVariable(name),
        raw::Counterpart::PathVariable(name) => {
            let known = if variables.is_empty() { "none".into() } else { variables.join(", ") };
            let reason = format!("`{name}` is not a variable of this rule's path; there are: {known}");
            return Err(ConfigError::new(format!("{path}.path_variable"), reason));
        }
        raw::Counterpart::Query(name) => {
            let sound = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
            if !sound {
                let reason = "only letters, digits, `_`, `-`, `.`";
                return Err(ConfigError::new(format!("{path}.query"), reason));
            }
            Counterpart::Query(name)
        }
        raw::Counterpart::PeerSan(raw::San::Uri) => Counterpart::Peer(San::Uri),
        raw::Counterpart::PeerSan(raw::San::Dns) => Counterpart::Peer(San::Dns),
    })
}
