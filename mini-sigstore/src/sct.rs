//! Signed certificate timestamps (RFC 6962 section 3.2), as a precertificate's log gives them.

use crate::{Key, sha256};

/// A certificate log: the ID that it goes by, and the key that signs. In a forgery the two do
/// not belong together.
pub(crate) struct Log<'a> {
    pub(crate) id: [u8; 32],
    pub(crate) key: &'a Key,
}

/// The list of one timestamp for the certificate `body` that `issuer` is about to sign.
pub(crate) fn list(log: &Log<'_>, at: i64, issuer: &Key, body: &[u8]) -> Vec<u8> {
    let time = u64::try_from(at).unwrap_or_default().saturating_mul(1000).to_be_bytes();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    // Version 1, certificate timestamp, then the entry of type precert and no extensions.
    let signed =
        [&[0, 0][..], &time, &[0, 1], &sha256(issuer.public_der()), &length[1..], body, &[0, 0]].concat();
    let signature = log.key.sign(&signed);
    // SHA-256 with ECDSA, as TLS 1.2 numbers them.
    let timestamp = [&[0][..], &log.id, &time, &[0, 0], &[4, 3], &short(&signature), &signature].concat();
    let entry = [&short(&timestamp)[..], &timestamp].concat();
    [&short(&entry)[..], &entry].concat()
}

fn short(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
