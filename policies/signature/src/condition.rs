//! Conditions on a verified statement.

use portcullis_core::UnixTime;
use serde_json::Value;

use crate::{
    Pattern, Reason, ReasonCode,
    policy::{Condition, Test},
    time,
};

/// The longest value that a reason shows.
const SHOWN: usize = 120;
/// Most values that one condition looks at: `*` over an array within an array multiplies.
const MOST_VALUES: usize = 10_000;

/// Checks one condition.
pub(crate) fn check(condition: &Condition, statement: &Value, now: UnixTime) -> Result<(), Reason> {
    let not_met =
        |message: String| Reason::new(ReasonCode::ConditionNotMet, format!("`{}` {message}", condition.path));
    let mut places = vec![Some(statement)];
    for part in condition.path.split('/').skip(1) {
        places = step(&places, part);
        if places.len() > MOST_VALUES {
            return Err(Reason::new(
                ReasonCode::LimitExceeded,
                format!("`{}` stands for more than {MOST_VALUES} values", condition.path),
            ));
        }
    }
    places.into_iter().try_for_each(|value| test(&condition.is, value, now).map_err(not_met))
}

/// One part of the path further. `None` stands for what is not there.
fn step<'a>(places: &[Option<&'a Value>], part: &str) -> Vec<Option<&'a Value>> {
    let name = part.replace("~1", "/").replace("~0", "~");
    let mut next = Vec::new();
    for place in places {
        match (place, part) {
            (Some(Value::Array(items)), "*") => next.extend(items.iter().map(Some)),
            (Some(Value::Array(items)), index) => {
                next.push(index.parse().ok().and_then(|at: usize| items.get(at)));
            }
            (Some(Value::Object(members)), _) => next.push(members.get(&name)),
            (Some(_) | None, _) => next.push(None),
        }
    }
    next
}

fn test(test: &Test, value: Option<&Value>, now: UnixTime) -> Result<(), String> {
    let value = match (test, value) {
        (Test::Absent, None) => return Ok(()),
        (Test::Absent, Some(value)) => return Err(format!("is {}, and must not be there", shown(value))),
        (_, None) => return Err("is not there".to_owned()),
        (_, Some(value)) => value,
    };
    let refused = |expected: String| Err(format!("is {}, and {expected} is asked for", shown(value)));
    match test {
        Test::Present | Test::Absent => Ok(()),
        Test::Equals(expected) if value == expected => Ok(()),
        Test::Equals(expected) => refused(shown(expected)),
        Test::OneOf(expected) if expected.contains(value) => Ok(()),
        Test::OneOf(expected) => refused(format!("one of {}", shown(&Value::Array(expected.clone())))),
        Test::NoneOf(refused_values) if !refused_values.contains(value) => Ok(()),
        Test::NoneOf(values) => refused(format!("none of {}", shown(&Value::Array(values.clone())))),
        Test::Matches(text) => {
            let matches = |value: &str| Pattern::parse(text).is_ok_and(|pattern| pattern.matches(value));
            if value.as_str().is_some_and(matches) { Ok(()) } else { refused(format!("`{text}`")) }
        }
        Test::AtMost(most) if number(value).is_some_and(|number| number <= exact(*most)) => Ok(()),
        Test::AtMost(most) => refused(format!("a number up to {most}")),
        Test::AtLeast(least) if number(value).is_some_and(|number| number >= exact(*least)) => Ok(()),
        Test::AtLeast(least) => refused(format!("a number from {least}")),
        Test::YoungerThan(text) => {
            let age = time::duration(text)?;
            let at = value.as_str().and_then(|text| time::parse(text).ok());
            match at {
                Some(at) if at > now => Err(format!("is {}, which is in the future", shown(value))),
                Some(at) if now.saturating_since(at) <= age => Ok(()),
                Some(at) => {
                    let old = time::words(now.saturating_since(at));
                    Err(format!("is {old} old, and at most {} is asked for", time::words(age)))
                }
                None => refused("a time as RFC 3339".to_owned()),
            }
        }
    }
}

/// Severity scores are fractions; a double holds every number that matters here exactly enough.
fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a bound beyond 2^53 is not one that anybody writes")]
const fn exact(bound: i64) -> f64 {
    bound as f64
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("`{}…`", text.get(..at).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}
