//! Scalars from the configuration, and when a claim equals one.

use alloc::string::String;

use portcullis_core::json::Value;

use super::Decimal;

/// A scalar from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    Bool(bool),
    /// Compared by value: `1` is `1.0` and `10e-1`, and none of them is `"1"`.
    Number(Decimal),
    Text(String),
}

impl Expected {
    /// Whether `value` is this one; `None` where it has another type.
    fn equals(&self, value: &Value<'_>) -> Option<bool> {
        match (self, value) {
            (Self::Bool(own), Value::Bool(theirs)) => Some(own == theirs),
            (Self::Number(own), Value::Number(theirs)) => Some(Decimal::parse(theirs)? == *own),
            (Self::Text(own), Value::String(theirs)) => Some(own == theirs),
            _ => None,
        }
    }
}

/// Whether `value` is one of `expected`; `None` where none of them has its type.
pub(crate) fn one_of(expected: &[Expected], value: &Value<'_>) -> Option<bool> {
    let mut known = None;
    for own in expected {
        match own.equals(value) {
            Some(true) => return Some(true),
            Some(false) => known = Some(false),
            None => {}
        }
    }
    known
}
