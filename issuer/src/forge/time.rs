//! Times that are relative to the scene's clock: `now`, `now + 5m`, `now - skew - 1s`.

use std::{fmt, str::FromStr as _};

use super::ForgeError;

/// Text that begins like a time and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no time: write `now`, `now + 5m` or `now - 1h30m`", self.0)
    }
}

impl std::error::Error for TimeError {}

/// Whether `text` is meant as a time: `now` alone or with a sign behind it.
pub(super) fn is_expression(text: &str) -> bool {
    text.strip_prefix("now").is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with(['+', '-'])
    })
}

/// Seconds since 1970.
pub(super) fn expression(text: &str, now: i64, skew: i64) -> Result<i64, TimeError> {
    let wrong = || TimeError(text.into());
    let mut rest = text.trim().strip_prefix("now").ok_or_else(wrong)?.trim_start();
    let mut time = now;
    while !rest.is_empty() {
        let (sign, after) = match rest.split_at_checked(1) {
            Some(("+", after)) => (1, after),
            Some(("-", after)) => (-1, after),
            _ => return Err(wrong()),
        };
        let end = after.find(['+', '-']).unwrap_or(after.len());
        let (term, next) = after.split_at_checked(end).ok_or_else(wrong)?;
        let seconds = match term.trim() {
            "skew" => skew,
            "" => return Err(wrong()),
            span => humantime::Duration::from_str(span)
                .ok()
                .and_then(|span| i64::try_from(span.as_secs()).ok())
                .ok_or_else(wrong)?,
        };
        time = time.saturating_add(seconds.saturating_mul(sign));
        rest = next;
    }
    Ok(time)
}

impl super::Scene {
    /// Seconds since 1970 of a time such as `now + 5m`.
    ///
    /// # Errors
    ///
    /// [`ForgeError::Wrong`] for anything else.
    pub fn time(&self, text: &str) -> Result<i64, ForgeError> {
        Ok(expression(text, self.now, self.skew)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        for (text, expected) in [
            ("now", 1000),
            ("now + 5m", 1300),
            ("now+5m", 1300),
            ("now - 1m 30s", 910),
            ("now - skew - 1s", 939),
            ("now + skew", 1060),
        ] {
            assert!(is_expression(text), "{text}");
            assert_eq!(expression(text, 1000, 60), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_would_be_one() {
        for text in ["now + ", "now + 5 parsecs", "now 5m", "now ++ 5m", "then"] {
            let error = expression(text, 0, 0).unwrap_err().to_string();
            assert!(error.contains("write `now`"), "{error}");
        }
        assert!(!is_expression("nowhere") && !is_expression("know") && !is_expression("now then"));
    }
}
