//! Keys that many signatures are verified with: what depends on the key alone is computed at its
//! first signature and kept with it, 40 KB for Ed25519 and 24 KB for P-256.

use alloc::boxed::Box;
use core::ops::{Mul as _, Neg as _};

use curve25519_dalek::{EdwardsPoint, Scalar, constants::ED25519_BASEPOINT_POINT};
use once_cell::race::OnceBox;
use p256::{
    FieldBytes, ProjectivePoint,
    elliptic_curve::{Group as _, PrimeField as _, ops::Reduce as _, point::AffineCoordinates as _},
};
use sha2::{Digest as _, Sha512};

use crate::comb::{Comb, multiply};

static EDWARDS_BASE: OnceBox<Comb<EdwardsPoint>> = OnceBox::new();
static P256_GENERATOR: OnceBox<Comb<ProjectivePoint>> = OnceBox::new();

pub(crate) struct Ed25519 {
    public: ed25519_dalek::VerifyingKey,
    negative: OnceBox<Comb<EdwardsPoint>>,
}

impl Ed25519 {
    /// A key whose point is not of small order.
    pub(crate) const fn new(public: ed25519_dalek::VerifyingKey) -> Self {
        Self { public, negative: OnceBox::new() }
    }

    /// Verifies by RFC 8032 section 5.1.7, without the cofactor, and refuses an R of small order,
    /// which it leaves open: what `VerifyingKey::verify_strict` does. That one also decodes R, which
    /// costs a square root and tells nothing that the comparison of its bytes does not.
    pub(crate) fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some((r, s)) = signature.split_first_chunk::<32>() else { return false };
        let Ok(s) = <[u8; 32]>::try_from(s) else { return false };
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
        let hash = Sha512::new().chain_update(r).chain_update(self.public.as_bytes()).chain_update(message);
        let k = Scalar::from_hash(hash);
        let base = EDWARDS_BASE.get_or_init(|| Box::new(Comb::new(ED25519_BASEPOINT_POINT)));
        let negative = self.negative.get_or_init(|| Box::new(Comb::new(self.public.to_edwards().neg())));
        let point = multiply((base, s.as_bytes()), (negative, k.as_bytes()));
        point.compress().as_bytes() == r && !point.is_small_order()
    }
}

pub(crate) struct P256 {
    public: ProjectivePoint,
    comb: OnceBox<Comb<ProjectivePoint>>,
}

impl P256 {
    pub(crate) fn new(public: &p256::ecdsa::VerifyingKey) -> Self {
        Self { public: (*public.as_affine()).into(), comb: OnceBox::new() }
    }

    /// Verifies by FIPS 186-5 section 6.4.2. `signature` has scalars that are not zero.
    pub(crate) fn holds(&self, digest: [u8; 32], signature: &p256::ecdsa::Signature) -> bool {
        let (r, s) = signature.split_scalars();
        let Some(inverse) = Option::<p256::Scalar>::from(s.invert_vartime()) else { return false };
        let e = p256::Scalar::reduce(&FieldBytes::from(digest));
        let generator = P256_GENERATOR.get_or_init(|| Box::new(Comb::new(ProjectivePoint::GENERATOR)));
        let comb = self.comb.get_or_init(|| Box::new(Comb::new(self.public)));
        let point =
            multiply((generator, &little_endian(inverse.mul(e))), (comb, &little_endian(inverse.mul(*r))));
        !bool::from(point.is_identity()) && p256::Scalar::reduce(&point.to_affine().x()) == *r
    }
}

fn little_endian(scalar: p256::Scalar) -> [u8; 32] {
    let mut bytes: [u8; 32] = scalar.to_repr().into();
    bytes.reverse();
    bytes
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::*;

    /// The signature by `secret` with this R, for which the equation holds but for `R` itself.
    fn signed(secret: Scalar, r: EdwardsPoint, nonce: Scalar, message: &[u8]) -> [u8; 64] {
        let (r, public) = (r.compress(), (ED25519_BASEPOINT_POINT * secret).compress());
        let hash =
            Sha512::new().chain_update(r.as_bytes()).chain_update(public.as_bytes()).chain_update(message);
        let s = nonce + Scalar::from_hash(hash) * secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    }

    #[test]
    fn a_point_of_small_order_in_a_signature_is_judged_as_by_the_crate() {
        let secret = Scalar::from(0x5eed_u64);
        let public = (ED25519_BASEPOINT_POINT * secret).compress();
        let public = ed25519_dalek::VerifyingKey::from_bytes(public.as_bytes()).unwrap();
        let key = Ed25519::new(public);
        let mut accepted = 0;
        for nonce in [Scalar::ZERO, Scalar::from(77_u8)] {
            for torsion in EIGHT_TORSION {
                for message in [&b""[..], b"a message", &[7; 300]] {
                    let r = ED25519_BASEPOINT_POINT * nonce + torsion;
                    let signature = signed(secret, r, nonce, message);
                    let parsed = ed25519_dalek::Signature::from_bytes(&signature);
                    let expected = public.verify_strict(message, &parsed).is_ok();
                    assert_eq!(key.holds(message, &signature), expected);
                    accepted += usize::from(expected);
                }
            }
        }
        // An R with nothing of small order in it, and not the neutral element alone.
        assert_eq!(accepted, 3);
    }

    #[test]
    fn a_scalar_has_one_spelling() {
        let (secret, nonce) = (Scalar::from(0x5eed_u64), Scalar::from(77_u8));
        let public = (ED25519_BASEPOINT_POINT * secret).compress();
        let key = Ed25519::new(ed25519_dalek::VerifyingKey::from_bytes(public.as_bytes()).unwrap());
        let mut signature = signed(secret, ED25519_BASEPOINT_POINT * nonce, nonce, b"");
        assert!(key.holds(b"", &signature));
        // The group's order added (RFC 8032 section 5.1): 2^252 + 27742317777372353535851937790883648493.
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + order;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert!(!key.holds(b"", &signature));
        for length in [0, 31, 32, 33, 63] {
            assert!(!key.holds(b"", &signature[..length]));
        }
    }
}
