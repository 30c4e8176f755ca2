//! Fulcio writes who vouched for an identity twice: as it did at first, and as DER (`oid-info.md`,
//! 1.3.6.1.4.1.57264.1.1 and .8). `sigstore-verify` reads the second where it is there. Who reads the
//! first must come to the same: a certificate in which they differ is believed by nobody.

use crate::provider::element;

/// The contents of the extensions' object identifiers.
const RAW: &[u8] = b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x01";
const WRITTEN: &[u8] = b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x08";

/// Whether every issuer that the certificate names is `issuer`. A certificate that cannot be read
/// names none.
pub(super) fn is_the_only_one(issuer: &str, certificate: &[u8]) -> bool {
    let Some(mut extensions) = extensions(certificate) else { return false };
    while !extensions.is_empty() {
        let Some((extension, rest)) = element(0x30, extensions) else { return false };
        extensions = rest;
        let Some((name, value)) = named(extension) else { return false };
        let same = match name {
            RAW => value == issuer.as_bytes() || utf8(value) == Some(issuer.as_bytes()),
            WRITTEN => utf8(value) == Some(issuer.as_bytes()),
            _ => true,
        };
        if !same {
            return false;
        }
    }
    true
}

/// The extensions of a certificate (RFC 5280 section 4.1), one after the other.
fn extensions(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(0x30, certificate)?;
    let (mut body, _) = element(0x30, certificate)?;
    // Everything before them has a tag of its own.
    while let Some(tag) = body.first().copied() {
        let (contents, rest) = element(tag, body)?;
        if tag == 0xa3 {
            return element(0x30, contents).map(|(extensions, _)| extensions);
        }
        body = rest;
    }
    None
}

/// The identifier and the value of an extension; whether it is critical is between them.
fn named(extension: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = element(0x06, extension)?;
    let rest = element(0x01, rest).map_or(rest, |(_, rest)| rest);
    let (value, _) = element(0x04, rest)?;
    Some((name, value))
}

fn utf8(value: &[u8]) -> Option<&[u8]> {
    element(0x0c, value).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| text)
}
