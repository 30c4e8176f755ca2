//! Numbers and encodings that signatures are forged from.

use sha2::{Digest as _, Sha256};

/// The order of P-256, big endian (SEC 2 section 2.4.2).
pub(crate) const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of edwards25519's base point, little endian (RFC 8032 section 5.1).
pub(crate) const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, //
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The neutral element of edwards25519: as a public key it accepts forged signatures for every
/// message.
pub(crate) const ED25519_IDENTITY: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

/// `a + b`, big endian; one byte longer where it overflows.
pub(crate) fn add_be(a: &[u8], b: &[u8]) -> Vec<u8> {
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    let mut sum = add_le(&reversed(a), &reversed(b));
    sum.reverse();
    sum
}

/// `a + b`, little endian; one byte longer where it overflows.
pub(crate) fn add_le(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0u16;
    let mut sum = Vec::with_capacity(a.len().max(b.len()));
    for at in 0..a.len().max(b.len()) {
        let digit = |bytes: &[u8]| u16::from(bytes.get(at).copied().unwrap_or_default());
        let total = digit(a) + digit(b) + carry;
        let [high, low] = total.to_be_bytes();
        sum.push(low);
        carry = u16::from(high);
    }
    if carry > 0 {
        sum.push(1);
    }
    sum
}

/// `n - s` for a scalar of P-256: the other `s` that verifies.
pub(crate) fn p256_negate(s: &[u8]) -> Vec<u8> {
    let complement: Vec<u8> = s.iter().map(|byte| !byte).collect();
    let mut one = vec![0; s.len()];
    if let Some(last) = one.last_mut() {
        *last = 1;
    }
    // n - s is n + !s + 1 in two's complement, without the carry.
    let sum = add_be(&add_be(&P256_ORDER, &complement), &one);
    sum.get(sum.len().saturating_sub(s.len())..).unwrap_or_default().to_vec()
}

/// `r || s` as the DER sequence of two integers (RFC 3279 section 2.2.3).
pub(crate) fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [der_integer(r), der_integer(s)].concat();
    [vec![0x30, short_length(&body)], body].concat()
}

fn der_integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut digits = bytes.get(zeros..).unwrap_or_default().to_vec();
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        digits.insert(0, 0);
    }
    [vec![0x02, short_length(&digits)], digits].concat()
}

/// DER's one-byte length; ECDSA values on P-256 need no other.
fn short_length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(0x7f)
}

/// The PKCS #1 v1.5 block of a SHA-256 digest (RFC 8017 section 9.2): under the exponent 1 it is
/// its own signature.
pub(crate) fn pkcs1_block(message: &[u8], length: usize) -> Vec<u8> {
    const SHA256_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0x04, 0x20,
    ];
    let digest = Sha256::digest(message);
    let padding = length.saturating_sub(3 + SHA256_INFO.len() + digest.len());
    [&[0, 1][..], &vec![0xff; padding], &[0], &SHA256_INFO, &digest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_carries() {
        assert_eq!(add_be(&[0xff, 0xff], &[0x01]), [0x01, 0x00, 0x00]);
        assert_eq!(add_le(&[0xff, 0x01], &[0x01, 0x00]), [0x00, 0x02]);
    }

    #[test]
    fn a_scalar_and_its_negative_make_the_order() {
        let s = [0x5a; 32];
        assert_eq!(add_be(&p256_negate(&s), &s), P256_ORDER);
    }

    #[test]
    fn der_integers_are_positive_and_minimal() {
        let der = ecdsa_der(&[0x00, 0x80, 0x00, 0x01]);
        assert_eq!(der, [0x30, 7, 0x02, 2, 0x00, 0x80, 0x02, 1, 0x01]);
    }

    #[test]
    fn a_pkcs1_block_fills_the_modulus() {
        let block = pkcs1_block(b"x", 256);
        assert_eq!((block.len(), &block[..3], block[204]), (256, &[0, 1, 0xff][..], 0));
    }
}
