//! What an answer's headers say about its life: RFC 9111 freshness, validators, and when to try
//! again. No clock is read: `Expires` counts from the answer's own `Date`.

use alloc::string::String;
use core::time::Duration;

/// A longer validator is not kept.
const MAX_VALIDATOR_BYTES: usize = 256;

/// The headers of an answer that matter for its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// The lifetime that the answer allows itself, less its `Age`; none where it says nothing.
    pub lifetime: Option<Duration>,
    /// The entity tag, to be sent back as it came.
    pub etag: Option<String>,
    /// When the document changed, to be sent back as it came.
    pub last_modified: Option<String>,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl ResponseHeaders {
    /// The headers that `pairs` hold, names in any case. Values that cannot be read are as good
    /// as absent, except that an unreadable `Expires` is in the past (RFC 9111 section 5.3).
    pub fn from_pairs<'p>(pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> Self {
        let mut headers = Self::default();
        let mut control = Control::default();
        let (mut age, mut date, mut expires) = (Duration::ZERO, None, None);
        for (name, value) in pairs {
            let value = core::str::from_utf8(value).unwrap_or_default().trim();
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            if is("cache-control") {
                control.read(value);
            } else if is("age") {
                age = age.max(seconds(value).unwrap_or_default());
            } else if is("date") {
                date = http_date(value);
            } else if is("expires") {
                expires = Some(http_date(value));
            } else if is("etag") {
                headers.etag = validator(value);
            } else if is("last-modified") {
                headers.last_modified = validator(value);
            } else if is("retry-after") {
                headers.retry_after = seconds(value);
            }
        }
        let from_expires = match (expires, date) {
            (None, _) => None,
            (Some(None), _) => Some(Duration::ZERO),
            (Some(Some(expires)), date) => date.map(|date| Duration::from_secs(expires.saturating_sub(date))),
        };
        headers.lifetime = control.lifetime().or(from_expires).map(|lifetime| lifetime.saturating_sub(age));
        headers
    }
}

/// `Cache-Control`, RFC 9111 section 5.2.2.
#[derive(Default)]
struct Control {
    uncacheable: bool,
    max_age: Option<Duration>,
    shared_max_age: Option<Duration>,
}

impl Control {
    /// A directive that is there twice counts with its smaller value (RFC 9111 section 4.2.1).
    fn read(&mut self, value: &str) {
        for directive in value.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let argument = argument.trim().trim_matches('"');
            let shorter = |own: Option<Duration>| {
                // An argument that is no number makes the answer stale.
                let new = seconds(argument).unwrap_or_default();
                Some(own.map_or(new, |own| own.min(new)))
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => self.uncacheable = true,
                "max-age" => self.max_age = shorter(self.max_age),
                "s-maxage" => self.shared_max_age = shorter(self.shared_max_age),
                _ => {}
            }
        }
    }

    fn lifetime(&self) -> Option<Duration> {
        if self.uncacheable { Some(Duration::ZERO) } else { self.shared_max_age.or(self.max_age) }
    }
}

/// RFC 9111 section 1.2.2 delta-seconds: digits only; more than fits counts as the most.
fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// A validator is sent back as it came, so only what cannot end a header line is kept.
fn validator(value: &str) -> Option<String> {
    let sound = !value.is_empty()
        && value.len() <= MAX_VALIDATOR_BYTES
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    sound.then(|| value.into())
}

/// Seconds since 1970 of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section
/// 5.6.7). The obsolete forms are not sent by anyone who sends `Expires` today.
fn http_date(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, zone) = (parts.next()?, parts.next()?);
    if zone != "GMT" || parts.next().is_some() {
        return None;
    }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = u64::try_from(months.iter().position(|name| *name == month)?).ok()?;
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(number(year, 4)?, month, number(day, 2)?)?;
    let minutes = days.checked_mul(24)?.checked_add(hour)?.checked_mul(60)?.checked_add(minute)?;
    minutes.checked_mul(60)?.checked_add(second)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let sound = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if sound { text.parse().ok() } else { None }
}

/// Days from 1970-01-01; `month` counts from 0. Only differences are used.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    if year < 1970 || !(1..=31).contains(&day) {
        return None;
    }
    let leaps = |year: u64| {
        let (fours, hundreds) = (year.checked_div(4)?, year.checked_div(100)?);
        fours.checked_sub(hundreds)?.checked_add(year.checked_div(400)?)
    };
    let leap_days = leaps(year.checked_sub(1)?)?.checked_sub(leaps(1969)?)?;
    let leap_year = leaps(year)? > leaps(year.checked_sub(1)?)?;
    let this_year =
        BEFORE.get(usize::try_from(month).ok()?)?.checked_add(u64::from(leap_year && month > 1))?;
    let years = year.checked_sub(1970)?.checked_mul(365)?;
    years.checked_add(leap_days)?.checked_add(this_year)?.checked_add(day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> ResponseHeaders {
        ResponseHeaders::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn lifetime(pairs: &[(&str, &str)]) -> Option<u64> {
        read(pairs).lifetime.map(|lifetime| lifetime.as_secs())
    }

    #[test]
    fn the_lifetime_is_what_the_headers_allow() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (pairs, want) in [
            (Vec::new(), None),
            (Vec::from([("Cache-Control", "public, max-age=600")]), Some(600)),
            (Vec::from([("cache-control", "max-age=600"), ("Age", "100")]), Some(500)),
            (Vec::from([("cache-control", "max-age=600"), ("age", "9999")]), Some(0)),
            (Vec::from([("cache-control", "max-age=600, s-maxage=\"60\"")]), Some(60)),
            (Vec::from([("cache-control", "max-age=600"), ("cache-control", "max-age=5")]), Some(5)),
            (Vec::from([("cache-control", "max-age=600, no-store")]), Some(0)),
            (Vec::from([("cache-control", "No-Cache")]), Some(0)),
            (Vec::from([("cache-control", "max-age=-1")]), Some(0)),
            (Vec::from([("cache-control", "max-age=99999999999999999999999")]), Some(u64::MAX)),
            (Vec::from([("expires", "Sun, 06 Nov 1994 08:59:37 GMT"), date]), Some(600)),
            (Vec::from([("expires", "Sun, 06 Nov 1994 08:39:37 GMT"), date]), Some(0)),
            (Vec::from([("expires", "Sun, 06 Nov 1994 08:59:37 GMT")]), None),
            (Vec::from([("expires", "0"), date]), Some(0)),
            (Vec::from([("expires", "0"), ("cache-control", "max-age=7")]), Some(7)),
            (Vec::from([("cache-control", "public")]), None),
        ] {
            assert_eq!(lifetime(&pairs), want, "{pairs:?}");
        }
    }

    #[test]
    fn dates_are_counted_through_leap_years() {
        for (text, want) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(http_date(text), want, "{text}");
        }
    }

    #[test]
    fn a_validator_that_could_end_a_header_line_is_not_kept() {
        assert_eq!(read(&[("etag", "W/\"a b\"")]).etag.as_deref(), Some("W/\"a b\""));
        for value in ["\"a\r\nx: y\"", "\"\u{7f}\"", "\"ü\"", "", &format!("\"{}\"", "x".repeat(300))] {
            assert_eq!(
                read(&[("etag", value), ("last-modified", value)]),
                ResponseHeaders::default(),
                "{value}"
            );
        }
    }
}
