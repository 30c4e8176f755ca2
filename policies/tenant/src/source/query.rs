//! The tenant in a query parameter.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use portcullis_core::Denial;

use super::{Reading, Reference, Source};

/// Every parameter that some upstream could take for `name` counts, and only the plain spelling
/// is accepted: no encoding, no brackets (lists in PHP, Rails and Express), no other case.
pub(super) fn read<'r>(
    source: &Source,
    name: &str,
    reading: &'r Reading<'_>,
) -> Result<Option<Reference<'r>>, Denial> {
    let mut found = None;
    for pair in reading.query.unwrap_or_default().split('&') {
        // `;` separates parameters for some upstreams and belongs to the value for others.
        if pair.contains(';') {
            if pair.split(';').any(|part| is_spelled(name, part)) {
                return Err(source.invalid("stands beside a `;`"));
            }
            continue;
        }
        if !is_spelled(name, pair) {
            continue;
        }
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        if own != name {
            return Err(source.invalid("is spelled in another way"));
        }
        if found.replace(value).is_some() {
            return Err(source.invalid("is repeated"));
        }
    }
    found.map(|value| source.reference(value.as_bytes())).transpose()
}

/// `path` with the query but for every form of `name`, and with `value` as its only value.
pub(crate) fn with_parameter(path: &str, query: Option<&str>, name: &str, value: &str) -> String {
    let own = |pair: &&str| pair.is_empty() || pair.split(';').any(|part| is_spelled(name, part));
    let kept: Vec<_> = query.unwrap_or_default().split('&').filter(|pair| !own(pair)).collect();
    let separator = if kept.is_empty() { "" } else { "&" };
    format!("{path}?{}{separator}{name}={value}", kept.join("&"))
}

/// Whether some upstream takes `pair` for a parameter called `name`: decoded, in any case, with
/// whatever PHP folds into `_`, and without what follows a bracket.
fn is_spelled(name: &str, pair: &str) -> bool {
    let own = decode(pair.split_once('=').map_or(pair, |(own, _)| own));
    let own = own.trim_ascii_start();
    let end = own.iter().position(|byte| matches!(byte, b'[' | b'\0')).unwrap_or(own.len());
    let own = own.get(..end).unwrap_or_default().trim_ascii_end();
    own.len() == name.len() && own.iter().zip(name.bytes()).all(|(own, name)| fold(*own) == fold(name))
}

const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() || byte >= 0x80 { byte.to_ascii_lowercase() } else { b'_' }
}

/// Percent-decoding that never fails, twice: what is not an escape stands for itself, and an
/// upstream that decodes twice sees no other name than this.
fn decode(text: &str) -> Vec<u8> {
    decode_once(&decode_once(text.as_bytes())).into_owned()
}

fn decode_once(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(hex_pair);
        out.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(out)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    // `from_str_radix` takes a sign as well.
    pair.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_recognised_in_every_form_an_upstream_takes_for_it() {
        for pair in [
            "tenant_id=a",
            "tenant_id",
            "Tenant_Id=a",
            "%74enant_id=a",
            "%2574enant_id=a",
            "tenant%5fid=a",
            "tenant.id=a",
            "tenant+id=a",
            "tenant_id[]=a",
            "tenant_id[0]=a",
            "tenant_id%5b%5d=a",
            "+tenant_id=a",
            "tenant_id%00x=a",
        ] {
            assert!(is_spelled("tenant_id", pair), "{pair}");
        }
        for pair in ["tenant_ids=a", "xtenant_id=a", "tenant=a", "x=tenant_id", "", "=", "%"] {
            assert!(!is_spelled("tenant_id", pair), "{pair}");
        }
    }

    #[test]
    fn a_parameter_is_set_in_place_of_all_its_forms() {
        for (query, expected) in [
            (None, "/a?tenant=acme"),
            (Some(""), "/a?tenant=acme"),
            (Some("x=1"), "/a?x=1&tenant=acme"),
            (Some("tenant=globex&x=1&TENANT[]=initech&y=2;tenant=z"), "/a?x=1&tenant=acme"),
        ] {
            assert_eq!(with_parameter("/a", query, "tenant", "acme"), expected);
        }
    }
}
