//! Times and durations as texts.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_core::UnixTime;

/// Reads RFC 3339.
pub(crate) fn parse(text: &str) -> Result<UnixTime, &'static str> {
    text.parse::<Timestamp>().map(unix).map_err(|_| "a time as RFC 3339 is expected: `2026-01-01T00:00:00Z`")
}

pub(crate) fn unix(time: Timestamp) -> UnixTime {
    UnixTime::from_nanos(time.as_nanosecond())
}

/// Writes RFC 3339, or the seconds where the time is beyond what that can say.
pub(crate) fn text(time: UnixTime) -> String {
    Timestamp::from_nanosecond(time.as_nanos()).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Reads `90d`, `12h`, `30m` or `45s`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a duration is expected: `90d`, `12h`, `30m` or `45s`";
    let unit = text.chars().next_back().ok_or(EXPECTED)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(EXPECTED),
    };
    let number = text.strip_suffix(unit).ok_or(EXPECTED)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    let number: u64 = number.parse().map_err(|_| EXPECTED)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or(EXPECTED)
}

/// `3 days`, `2 hours`: for people, one unit, rounded down.
pub(crate) fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        172_800.. => (seconds.div_euclid(86_400), "days"),
        7_200.. => (seconds.div_euclid(3_600), "hours"),
        120.. => (seconds.div_euclid(60), "minutes"),
        _ => (seconds, "seconds"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("45s"), Ok(Duration::from_secs(45)));
        for text in ["", "d", "90", "-1d", "1.5h", "1 d", "+1d", "99999999999999999999d", "300000000000000d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_rfc_3339() {
        assert_eq!(parse("2026-01-01T00:00:00Z"), Ok(UnixTime::from_secs(1_767_225_600)));
        assert_eq!(parse("2026-01-01T01:00:00+01:00"), Ok(UnixTime::from_secs(1_767_225_600)));
        assert!(parse("2026-01-01").is_err());
        assert_eq!(text(UnixTime::from_secs(1_767_225_600)), "2026-01-01T00:00:00Z");
    }
}
