//! JSON numbers compared exactly: no float, no overflow, no limit but the token's length.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// The value of a JSON number: `0.` and the digits, times ten to the exponent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: Vec<u8>,
    exponent: i64,
}

/// Exponents are held to this range: what is beyond is larger, or nearer to zero, than every number
/// that a configuration may name ([`Decimal::is_moderate`]), so no comparison comes out wrong.
const FAR: i64 = 1 << 40;
/// A configuration names no number beyond this exponent.
const MODERATE: i64 = 1000;

impl Decimal {
    /// The value of `text`, a number by the grammar of RFC 8259 section 6; `None` for other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if whole.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let point = i64::try_from(whole.len()).ok()?.saturating_sub(i64::try_from(leading).ok()?);
        let exponent = parse_exponent(exponent)?.saturating_add(point).clamp(-FAR, FAR);
        Some(Self { negative, digits, exponent })
    }

    /// Whether it is of a size that comparisons are exact for, and that people write.
    pub(crate) fn is_moderate(&self) -> bool {
        (-MODERATE..=MODERATE).contains(&self.exponent)
    }

    /// As many numbers of JSON as there are ways to write it, one order.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let sign = |own: &Self| match (own.digits.is_empty(), own.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = |one: &Self, two: &Self| {
            one.exponent.cmp(&two.exponent).then_with(|| one.digits.cmp(&two.digits))
        };
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            1 => size(self, other),
            -1 => size(other, self),
            _ => Ordering::Equal,
        })
    }
}

/// An exponent's digits with an optional sign; far ones all become the same far one.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // All digits: only a number beyond the range is refused.
    let size = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Some(if negative { size.saturating_neg() } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_value_however_they_are_written() {
        let ascending: [&[&str]; 14] = [
            &["-1e9999999999999999999"],
            &["-1e400"],
            &["-18446744073709551617"],
            &["-10", "-1e1", "-10.00", "-0.1e+2"],
            &["-9.999999999999999999999999"],
            &["-1e-400"],
            &["0", "-0", "0.0", "0e99", "-0e-99999999999999999999"],
            &["1e-400"],
            &["0.1", "1e-1", "10E-2", "0.10"],
            &["9007199254740992"],
            &["9007199254740993", "9007199254740993.0", "900719925474099300e-2"],
            &["9007199254740993.0000000000000000000000000001"],
            &["1e400"],
            &["1e9999999999999999999"],
        ];
        for (at, same) in ascending.iter().enumerate() {
            for (other, theirs) in ascending.iter().enumerate() {
                for (one, two) in same.iter().flat_map(|one| theirs.iter().map(move |two| (one, two))) {
                    let compared = Decimal::parse(one).unwrap().compare(&Decimal::parse(two).unwrap());
                    assert_eq!(compared, at.cmp(&other), "{one} {two}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_value() {
        for text in ["", "-", "a", "1e", "1e+", ".5", "1.a", "+1", "--1", "1 "] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
