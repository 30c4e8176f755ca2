//! The few DER structures (X.690) that a host's crypto wants: SubjectPublicKeyInfo (RFC 5280 section
//! 4.1.2.7) of RSA and EC keys, and ECDSA-Sig-Value (RFC 3279 section 2.2.3). It only writes.

use alloc::vec::Vec;

use crate::Curve;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

// AlgorithmIdentifier: rsaEncryption, NULL (RFC 3279 section 2.3.1).
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

// AlgorithmIdentifier: id-ecPublicKey and the curve's object identifier (RFC 5480 section 2.1.1).
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22,
];
const EC_P521: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x23,
];

/// SubjectPublicKeyInfo of an RSA key; both numbers are big-endian.
pub(crate) fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    put_integer(&mut numbers, n);
    put_integer(&mut numbers, e);
    let mut key = Vec::new();
    put(&mut key, SEQUENCE, &[&numbers]);
    spki(RSA, &key)
}

/// SubjectPublicKeyInfo of a point on a named curve, in SEC 1's uncompressed form.
pub(crate) fn ec_spki(curve: Curve, point: &[u8]) -> Vec<u8> {
    let algorithm = match curve {
        Curve::P256 => EC_P256,
        Curve::P384 => EC_P384,
        Curve::P521 => EC_P521,
    };
    spki(algorithm, point)
}

/// ECDSA-Sig-Value of two big-endian numbers, appended to `out`.
pub(crate) fn put_ecdsa_signature(out: &mut Vec<u8>, r: &[u8], s: &[u8]) {
    let mut numbers = Vec::with_capacity(r.len().saturating_add(s.len()).saturating_add(8));
    put_integer(&mut numbers, r);
    put_integer(&mut numbers, s);
    put(out, SEQUENCE, &[&numbers]);
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    // The leading zero is the number of unused bits.
    put(&mut bits, BIT_STRING, &[&[0], key]);
    let mut out = Vec::new();
    put(&mut out, SEQUENCE, &[algorithm, &bits]);
    out
}

// A non-negative INTEGER in its shortest form: without leading zeros, but with one where the first
// bit would otherwise be taken for a sign (X.690 section 8.3.2).
fn put_integer(out: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    put(out, INTEGER, &[sign, digits]);
}

fn put(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    out.push(tag);
    put_length(out, length);
    for part in parts {
        out.extend_from_slice(part);
    }
}

// X.690 sections 8.1.3.4, 8.1.3.5 and 10.1: one byte below 128, else the number of bytes and then
// the fewest bytes.
fn put_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let digits = bytes.get(zeros..).unwrap_or_default();
            // At most the eight bytes of a `usize`.
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn integer(number: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_integer(&mut out, number);
        out
    }

    #[test]
    fn an_integer_has_the_fewest_bytes_and_no_sign() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0xff, 0]), [2, 3, 0, 0xff, 0]);
    }

    #[test]
    fn a_length_has_the_fewest_bytes() {
        for (length, want) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x81, 128]),
            (255, vec![0x81, 255]),
            (256, vec![0x82, 1, 0]),
            (65535, vec![0x82, 255, 255]),
            (65536, vec![0x83, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(out, want, "{length}");
        }
    }
}
