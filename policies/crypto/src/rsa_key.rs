//! RSASSA-PKCS1-v1_5 for public exponents, which are short: squared and multiplied bit by bit. The
//! crate raises to any exponent in windows of four bits and in constant time, which for 65537 is more
//! than twice the work.

use alloc::vec;

use crypto_bigint::modular::BoxedMontyForm;
use rsa::{BoxedUint, PublicKey, traits::PublicKeyParts as _};

use crate::{Hash, rsa_rules::MAX_EXPONENT_BITS};

pub(crate) struct Rsa {
    pub(crate) public: PublicKey,
    exponent: u32,
    /// That of the modulus, in bytes.
    pub(crate) length: usize,
}

impl Rsa {
    /// A key whose numbers are checked: `e` has at most 32 bits, `n` no zeros before it.
    pub(crate) fn new(public: PublicKey, n: &[u8], e: &[u8]) -> Self {
        const { assert!(MAX_EXPONENT_BITS == 32) };
        let exponent = e.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        Self { public, exponent, length: n.len() }
    }

    /// Verifies by RFC 8017 section 8.2.2: the signature has the modulus's length and is below it, and
    /// what it encodes is compared as a whole with what it must encode.
    pub(crate) fn holds(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
        if signature.len() != self.length {
            return false;
        }
        let (modulus, params) = (self.public.n(), self.public.n_params());
        let Ok(number) = BoxedUint::from_be_slice(signature, params.bits_precision()) else { return false };
        if number >= *modulus.as_ref() {
            return false;
        }
        let base = BoxedMontyForm::new(number, params);
        let mut power = base.clone();
        // From the bit below the highest: that one is the base itself.
        for bit in (0..self.exponent.ilog2()).rev() {
            power = power.square();
            if self.exponent.wrapping_shr(bit) & 1 == 1 {
                power = power.mul(&base);
            }
        }
        let encoded = power.retrieve().to_be_bytes();
        // The number is as wide as its words; before the modulus's length there are zeros.
        let Some((zeros, encoded)) =
            encoded.len().checked_sub(self.length).and_then(|at| encoded.split_at_checked(at))
        else {
            return false;
        };
        zeros.iter().all(|byte| *byte == 0) && encoded_message(hash, digest, encoded)
    }
}

/// Whether `encoded` is EMSA-PKCS1-v1_5 of `digest` (RFC 8017 section 9.2): 0, 1, at least eight 0xff,
/// 0, and the DigestInfo with its null.
fn encoded_message(hash: Hash, digest: &[u8], encoded: &[u8]) -> bool {
    let info: &[u8] = match hash {
        Hash::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        Hash::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        Hash::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    };
    let tail = [&[0], info, digest].concat();
    let Some(padding) = encoded.len().checked_sub(tail.len()).and_then(|length| length.checked_sub(2)) else {
        return false;
    };
    padding >= 8 && [&[0, 1], vec![0xff; padding].as_slice(), &tail].concat() == encoded
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests {
    use alloc::vec::Vec;

    use crypto_bigint::U4096;
    use rsa::{Pkcs1v15Sign, traits::SignatureScheme as _};
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn trimmed(number: &U4096) -> Vec<u8> {
        number.to_be_bytes().as_ref().iter().copied().skip_while(|byte| *byte == 0).collect()
    }

    /// A key of `3 * root + 1` bits or one fewer with the exponent 3, and its one signature that is
    /// known without a private key: the modulus is what the signature's cube is above the encoding.
    fn key_and_signature(root: u32, digest: &[u8]) -> (Rsa, Vec<u8>) {
        let number = U4096::ONE.shl_vartime(root).wrapping_add(&U4096::from(0x1_0000_0002_u64));
        let cube = number.wrapping_mul(&number).wrapping_mul(&number);
        let length = trimmed(&cube).len();
        let info = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
        let mut encoded = [&[0, 1], vec![0xff; length - 2].as_slice()].concat();
        let at = length - info.len() - digest.len();
        encoded[at - 1] = 0;
        encoded[at..at + info.len()].copy_from_slice(info);
        encoded[at + info.len()..].copy_from_slice(digest);
        let mut wide = [0; 512];
        wide[512 - length..].copy_from_slice(&encoded);
        let n = trimmed(&cube.wrapping_sub(&U4096::from_be_slice(&wide)));
        assert_eq!(n.len(), length);
        let public =
            PublicKey::new(BoxedUint::from_be_slice_vartime(&n), BoxedUint::from_be_slice_vartime(&[3]))
                .unwrap();
        let mut signature = vec![0; length];
        let number = trimmed(&number);
        signature[length - number.len()..].copy_from_slice(&number);
        (Rsa::new(public, &n, &[3]), signature)
    }

    #[test]
    fn a_modulus_of_any_length_is_verified_with() {
        // An odd digest, so that the modulus is odd.
        let digest = (0_u8..).map(|byte| Sha256::digest([byte])).find(|digest| digest[31] & 1 == 1).unwrap();
        // Where the cube is hardly longer than the encoding, what is left has another length.
        for root in (683..750).filter(|root| root % 8 != 0) {
            let (key, mut signature) = key_and_signature(root, &digest);
            let by_crate = |signature: &[u8]| {
                Pkcs1v15Sign::new::<Sha256>().verify(&key.public, &digest, signature).is_ok()
            };
            assert!(key.holds(Hash::Sha256, &digest, &signature), "{root}");
            assert!(by_crate(&signature), "{root}");
            assert!(!key.holds(Hash::Sha384, &digest, &signature));
            assert!(!key.holds(Hash::Sha256, &[0; 32], &signature));
            assert!(!key.holds(Hash::Sha256, &digest, &signature[1..]));
            let last = signature.len() - 1;
            signature[last] ^= 1;
            assert!(!key.holds(Hash::Sha256, &digest, &signature));
            assert!(!by_crate(&signature));
        }
    }
}
