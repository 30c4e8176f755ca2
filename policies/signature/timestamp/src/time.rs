//! A token's time: `GeneralizedTime` as RFC 3161 section 2.4.2 restricts it.

use jiff::Timestamp;

/// Digits after the dot that a time is read to; nobody is known to send more than six.
const DIGITS: usize = 9;

/// Reads `YYYYMMDDhhmmss[.s...]Z`: UTC, with seconds, the fraction after a dot and without zeros at
/// its end (X.690 section 11.7). What is finer than a nanosecond is refused and not rounded, because
/// certificates are valid to the fraction.
pub(crate) fn read(text: &[u8]) -> Option<Timestamp> {
    let (whole, fraction) = text.strip_suffix(b"Z")?.split_at_checked(14)?;
    if !whole.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |at: usize, length: usize| -> Option<u16> {
        std::str::from_utf8(whole.get(at..at.checked_add(length)?)?).ok()?.parse().ok()
    };
    let short = |at: usize| u8::try_from(number(at, 2)?).ok();
    let time =
        der::DateTime::new(number(0, 4)?, short(4)?, short(6)?, short(8)?, short(10)?, short(12)?).ok()?;
    let seconds = i64::try_from(time.unix_duration().as_secs()).ok()?;
    Timestamp::new(seconds, nanoseconds(fraction)?).ok()
}

fn nanoseconds(fraction: &[u8]) -> Option<i32> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits = fraction.strip_prefix(b".")?;
    if digits.last().is_none_or(|digit| *digit == b'0')
        || digits.len() > DIGITS
        || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(DIGITS);
    let mut nanoseconds: i32 = 0;
    for digit in padded {
        nanoseconds = nanoseconds.checked_mul(10)?.checked_add(i32::from(digit.checked_sub(b'0')?))?;
    }
    Some(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_nanosecond() {
        for (text, expected) in [
            ("20260101000000Z", "2026-01-01T00:00:00Z"),
            ("20260101000000.5Z", "2026-01-01T00:00:00.5Z"),
            ("20260101000000.123456Z", "2026-01-01T00:00:00.123456Z"),
            ("20260101000000.05Z", "2026-01-01T00:00:00.05Z"),
            ("20260101235959.999999999Z", "2026-01-01T23:59:59.999999999Z"),
            ("20260101000000.000000001Z", "2026-01-01T00:00:00.000000001Z"),
            ("20280229120000.25Z", "2028-02-29T12:00:00.25Z"),
            ("19700101000000Z", "1970-01-01T00:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(read(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_not_der_is_refused() {
        for text in [
            "",
            "Z",
            // Zeros at the end, nothing after the dot, another separator.
            "20260101000000.0Z",
            "20260101000000.50Z",
            "20260101000000.000Z",
            "20260101000000.Z",
            "20260101000000,5Z",
            "20260101000000 5Z",
            "20260101000000.5.5Z",
            "20260101000000.-5Z",
            "20260101000000.+5Z",
            "20260101000000.5e1Z",
            // Finer than is read.
            "20260101000000.0000000001Z",
            // No time zone, another one, a small letter, something after it.
            "20260101000000",
            "20260101000000.5",
            "20260101000000+0000",
            "20260101000000.5+0100",
            "20260101000000z",
            "20260101000000.5z",
            "20260101000000ZZ",
            "20260101000000Z ",
            // Minutes or seconds left out, a year of two digits.
            "2026010100Z",
            "202601010000Z",
            "202601010000.5Z",
            "260101000000Z",
            // No such day, hour, minute or second.
            "20260229000000Z",
            "20261301000000Z",
            "20260100000000Z",
            "20260101240000Z",
            "20260101006000Z",
            "20260101000060Z",
            "20260101000060.5Z",
            "19691231235959.5Z",
            // Signs and other digits.
            "+0260101000000Z",
            "2026010100000\u{0660}Z",
            "-0260101000000Z",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
