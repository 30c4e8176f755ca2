//! The tenant in a cookie.

use alloc::string::String;

use portcullis_core::{Denial, header};

use super::{Reading, Reference, Source};

/// A cookie's name (RFC 6265 section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieName(pub(crate) String);

/// A second cookie of the name, as a sibling host can set one (RFC 6265 section 8.6), is refused.
pub(super) fn read<'r>(
    source: &Source,
    CookieName(name): &CookieName,
    reading: &'r Reading<'_>,
) -> Result<Option<Reference<'r>>, Denial> {
    let mut found = None;
    // HTTP/2 may split the header (RFC 9113 section 8.2.3).
    for pair in header::values(reading.request.headers(), "cookie").flat_map(|all| all.split(|b| *b == b';'))
    {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (own, value) = pair.split_at_checked(equals).unwrap_or((pair, &[]));
        let own = own.trim_ascii();
        if own == name.as_bytes() {
            let value = value.strip_prefix(b"=").unwrap_or_default().trim_ascii();
            if found.replace(value).is_some() {
                return Err(source.invalid("is repeated"));
            }
        } else if own.eq_ignore_ascii_case(name.as_bytes()) {
            return Err(source.invalid("is there in another case"));
        }
    }
    found.map(|value| source.reference(value)).transpose()
}
