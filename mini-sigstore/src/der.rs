//! The pieces of DER that certificates and timestamps share, over yasna's writer.

use yasna::{DERWriter, DERWriterSeq, construct_der, models::ObjectIdentifier};

use crate::{KeyKind, base64};

/// `oid` is a dotted name of this crate: a mistake in it is a mistake in the crate.
pub(crate) fn oid(dotted: &str) -> ObjectIdentifier {
    dotted.parse().expect("an object identifier")
}

/// A document that is one sequence.
pub(crate) fn sequence(content: impl FnOnce(&mut DERWriterSeq<'_>)) -> Vec<u8> {
    construct_der(|writer| writer.write_sequence(content))
}

/// The AlgorithmIdentifier of a signature with this kind of key.
pub(crate) fn signature_algorithm(writer: DERWriter<'_>, kind: KeyKind) {
    let dotted = match kind {
        KeyKind::P256 => "1.2.840.10045.4.3.2",
        KeyKind::P384 => "1.2.840.10045.4.3.3",
        KeyKind::Ed25519 => "1.3.101.112",
    };
    writer.write_sequence(|writer| writer.next().write_oid(&oid(dotted)));
}

/// A distinguished name of an organisation and a common name, or of nothing.
pub(crate) fn name(writer: DERWriter<'_>, name: Option<(&str, &str)>) {
    writer.write_sequence(|writer| {
        let Some((organisation, common)) = name else { return };
        for (attribute, value) in [("2.5.4.10", organisation), ("2.5.4.3", common)] {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(attribute));
                    writer.next().write_printable_string(value);
                });
            });
        }
    });
}

/// A certificate's time: UTCTime until 2049, as RFC 5280 section 4.1.2.5 demands.
pub(crate) fn certificate_time(writer: DERWriter<'_>, seconds: i64) {
    let (year, rest) = calendar(seconds);
    if year < 2050 {
        writer.write_tagged_implicit(yasna::tags::TAG_UTCTIME, |writer| {
            writer.write_bytes(format!("{:02}{rest}Z", year % 100).as_bytes());
        });
    } else {
        generalized_time(writer, seconds, "");
    }
}

/// A GeneralizedTime; `fraction` is empty or a dot with digits.
pub(crate) fn generalized_time(writer: DERWriter<'_>, seconds: i64, fraction: &str) {
    let (year, rest) = calendar(seconds);
    writer.write_tagged_implicit(yasna::tags::TAG_GENERALIZEDTIME, |writer| {
        writer.write_bytes(format!("{year:04}{rest}{fraction}Z").as_bytes());
    });
}

/// The year, and month to second without separators (the civil calendar of Unix time).
fn calendar(seconds: i64) -> (i64, String) {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    (year, format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}"))
}

/// RFC 3339, in whole seconds.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time / 3_600, time / 60 % 60, time % 60)
}

/// Year, month and day of a count of days since 1970-01-01: years begin in March, so that the
/// leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// PEM with lines of 64 characters and a newline at the end, as OpenSSL and Go write it.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_time_becomes_the_civil_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
