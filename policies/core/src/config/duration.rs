//! Durations as people write them: `"30s"`, `"10m"`, `"1h30m"`, `"500ms"`.

use alloc::string::String;
use core::{fmt, time::Duration};

use serde::de::{Deserialize, Deserializer, Error as _};

/// A duration from a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSpan;

impl fmt::Display for InvalidSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a duration; write a number and a unit, such as `500ms`, `30s`, `10m`, `1h30m`, `7d`")
    }
}

impl core::error::Error for InvalidSpan {}

impl core::str::FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or(InvalidSpan)?;
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at_checked(letters).ok_or(InvalidSpan)?;
            let millis: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(InvalidSpan),
            };
            let number: u64 = number.parse().map_err(|_| InvalidSpan)?;
            let part = Duration::from_millis(number.checked_mul(millis).ok_or(InvalidSpan)?);
            total = total.checked_add(part).ok_or(InvalidSpan)?;
            rest = tail;
        }
        if text.is_empty() { Err(InvalidSpan) } else { Ok(Self(total)) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Numbers with units, the longest first: `500ms`, `30s`, `10m`, `1h30m`, `7d`.",
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in
            ["", "30", "s", "-1s", "1.5s", "1 s", "1x", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(text.parse::<Span>(), Err(InvalidSpan), "{text}");
        }
    }
}
