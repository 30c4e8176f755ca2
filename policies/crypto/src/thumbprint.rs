//! RFC 7638: the SHA-256 of a key's required members as JSON, in lexicographic order and without
//! white space. It reads no JSON.

use alloc::{string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Curve, digest::sha256};

pub(crate) fn rsa(n: &[u8], e: &[u8]) -> [u8; 32] {
    of(&[("e", &encode(e)), ("kty", "RSA"), ("n", &encode(n))])
}

pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> [u8; 32] {
    of(&[("crv", curve.as_str()), ("kty", "EC"), ("x", &encode(x)), ("y", &encode(y))])
}

// RFC 8037 section 2 names the required members of an OKP key.
pub(crate) fn ed25519(x: &[u8]) -> [u8; 32] {
    of(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", &encode(x))])
}

pub(crate) fn hmac(secret: &[u8]) -> [u8; 32] {
    of(&[("k", &encode(secret)), ("kty", "oct")])
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

// No value here has a character that JSON would escape.
fn of(members: &[(&str, &str)]) -> [u8; 32] {
    let mut json = Vec::new();
    let mut before = "{\"";
    for (name, value) in members {
        for part in [before, name, "\":\"", value, "\""] {
            json.extend_from_slice(part.as_bytes());
        }
        before = ",\"";
    }
    json.push(b'}');
    sha256(&json)
}
