//! Header names and values as bytes: what a client sends need not be UTF-8.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// A header name in canonical form: lower case, RFC 9110 token characters, no pseudo header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

/// Not a name that a header can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeaderName;

impl fmt::Display for InvalidHeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a header name: letters, digits and !#$%&'*+-.^_`|~ only")
    }
}

impl core::error::Error for InvalidHeaderName {}

impl HeaderName {
    /// The canonical form of `name`.
    ///
    /// # Errors
    ///
    /// [`InvalidHeaderName`] where `name` is empty or has a byte that RFC 9110 section 5.6.2 does
    /// not allow in a token. Pseudo headers (`:path`) are not header names.
    pub fn new(name: &str) -> Result<Self, InvalidHeaderName> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(InvalidHeaderName);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` is this header in any form that an upstream could take for it: upper case, or
    /// another sign for `-`, as CGI servers fold everything that is no letter or digit into `_`.
    #[must_use]
    pub fn is_spelled(&self, name: &[u8]) -> bool {
        name.len() == self.0.len() && self.0.bytes().zip(name).all(|(own, theirs)| fold(own) == fold(*theirs))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The values of every header called `name` (any case), in their order.
pub fn values<'h, 'n>(
    headers: &'h [(&'h [u8], &'h [u8])],
    name: &'n str,
) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
    headers.iter().filter(move |(own, _)| is_called(own, name.as_bytes())).map(|(_, value)| *value)
}

/// Whether both are one name. Proxies send lower case, so that most bytes are the same as they are.
fn is_called(own: &[u8], name: &[u8]) -> bool {
    let same = |(own, theirs): (&u8, &u8)| own == theirs || own.eq_ignore_ascii_case(theirs);
    own.len() == name.len() && own.iter().zip(name).all(same)
}

/// A value that is safe as a header's: visible ASCII and inner spaces as they are, every other
/// byte and `%` percent-encoded (RFC 3986 section 2.1), so that no claim can end a header line
/// (CWE-113) and the original can be recovered.
#[must_use]
pub fn encode_value(text: &str) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let inner_space = byte == b' ' && at != 0 && at != last;
        if inner_space || is_plain(byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 0x0f));
        }
    }
    out
}

const fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.wrapping_add(nibble),
        _ => b'A'.wrapping_add(nibble.wrapping_sub(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_recognised_in_every_spelling_an_upstream_folds() {
        let name = HeaderName::new("X-Tenant-Id").unwrap();
        for spelling in ["x-tenant-id", "X-TENANT-ID", "x_tenant_id", "X-Tenant_Id", "x.tenant~id"] {
            assert!(name.is_spelled(spelling.as_bytes()), "{spelling}");
        }
        assert!(!name.is_spelled(b"x-tenant-idx"));
        assert!(!name.is_spelled(b"xxtenant-id"));
    }

    #[test]
    fn pseudo_headers_spaces_and_empty_names_are_refused() {
        for name in ["", ":path", "a b", "ü", "a:b"] {
            assert_eq!(HeaderName::new(name), Err(InvalidHeaderName), "{name}");
        }
    }

    #[test]
    fn control_bytes_and_percent_signs_are_encoded() {
        assert_eq!(encode_value("a b\r\nx: 1%\u{7f}é "), b"a b%0D%0Ax: 1%25%7F%C3%A9%20");
    }

    #[test]
    fn all_values_of_a_repeated_header_are_seen() {
        let headers: [(&[u8], &[u8]); 3] = [(b"A", b"1"), (b"b", b"2"), (b"a", b"3")];
        let seen: Vec<&[u8]> = values(&headers, "a").collect();
        assert_eq!(seen, [b"1", b"3"]);
    }
}
