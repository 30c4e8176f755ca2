//! NumericDate (RFC 7519 section 2), exactly: fractions and exponents, no float, no overflow.

use portcullis_core::UnixTime;

const NANO_DIGITS: i64 = 9;
/// Digits beyond which a date is farther than any clock: 10^27 nanoseconds are 31 billion years.
const FAR_DIGITS: i64 = 28;

/// The time that the JSON number `text` names, in nanoseconds, rounded up.
///
/// Rounding up keeps both comparisons exact for a clock that counts whole nanoseconds: `now < exp`
/// and `now >= nbf` give the same answer for the written and for the rounded date. Dates beyond
/// the range of a clock become [`UnixTime::MAX`] or [`UnixTime::MIN`].
///
/// `text` must be a number by the grammar of RFC 8259 section 6, as [`crate::json`] yields it;
/// `None` otherwise.
pub(crate) fn numeric_date(text: &str) -> Option<UnixTime> {
    // What issuers write: whole seconds. A sign `+` is not in the grammar.
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(UnixTime::from_secs(seconds));
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    let significant = i64::try_from(digits().count()).unwrap_or(i64::MAX);
    if significant == 0 {
        return Some(UnixTime::from_nanos(0));
    }
    // How many significant digits stand before the point once the unit is a nanosecond.
    let fraction_len = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let before_point =
        significant.saturating_sub(fraction_len).saturating_add(exponent).saturating_add(NANO_DIGITS);
    if before_point > FAR_DIGITS {
        return Some(if negative { UnixTime::MIN } else { UnixTime::MAX });
    }
    let mut nanos: i128 = 0;
    let mut rest_is_zero = true;
    let mut place = 0i64;
    for digit in digits() {
        if place < before_point {
            nanos = nanos.saturating_mul(10).saturating_add(i128::from(digit.wrapping_sub(b'0')));
        } else if digit != b'0' {
            rest_is_zero = false;
        }
        place = place.saturating_add(1);
    }
    for _ in place..before_point {
        nanos = nanos.saturating_mul(10);
    }
    Some(UnixTime::from_nanos(match (negative, rest_is_zero) {
        (true, _) => nanos.saturating_neg(),
        (false, true) => nanos,
        (false, false) => nanos.saturating_add(1),
    }))
}

/// The exponent, clamped: beyond a million the sign alone decides.
fn exponent_of(text: &str) -> i64 {
    const CLAMP: i64 = 1_000_000;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1i64, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = digits.bytes().fold(0i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))).min(CLAMP)
    });
    magnitude.saturating_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> i128 {
        numeric_date(text).unwrap().as_nanos()
    }

    #[test]
    fn dates_are_exact_to_the_nanosecond_and_rounded_up_below() {
        for (text, expected) in [
            ("0", 0),
            ("-0.0e9", 0),
            ("1767225600", 1_767_225_600_000_000_000),
            ("1767225600.5", 1_767_225_600_500_000_000),
            ("1767225600.000000001", 1_767_225_600_000_000_001),
            ("1767225600.0000000001", 1_767_225_600_000_000_001),
            ("1767225600.0000000000", 1_767_225_600_000_000_000),
            ("1.7672256e9", 1_767_225_600_000_000_000),
            ("17672256E+2", 1_767_225_600_000_000_000),
            ("17672256000e-1", 1_767_225_600_000_000_000),
            ("1e-9", 1),
            ("1e-10", 1),
            ("1e-999999999999999999999", 1),
            ("-1.5", -1_500_000_000),
            ("-1e-10", 0),
            ("0.000000000000000000000000000000000000001e39", 1_000_000_000),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn far_dates_saturate() {
        for text in ["1e999", "9223372036854775808000000000", "1e99999999999999999999"] {
            assert_eq!(numeric_date(text), Some(UnixTime::MAX), "{text}");
        }
        assert_eq!(numeric_date("-1e300"), Some(UnixTime::MIN));
    }

    #[test]
    fn what_is_not_a_number_is_none() {
        for text in ["", "-", "a", "0x10", "1,5"] {
            assert_eq!(numeric_date(text), None, "{text}");
        }
    }
}
