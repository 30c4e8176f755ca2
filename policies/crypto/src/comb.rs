//! `x·P + y·Q` for points that stay: a key, and its curve's generator.
//!
//! A comb (Lim and Lee, "More Flexible Exponentiation with Precomputation", CRYPTO '94) of eight teeth:
//! the sums of eight points are kept, each 2^32 times the one before, so that 32 doublings and at most
//! 64 additions do what otherwise takes 256 doublings and about 90 additions. It takes the time that
//! it takes: everything here is public.

use alloc::vec::Vec;
use core::ops::Add;

/// Bits of a scalar that meet in one sum.
const TEETH: usize = 8;
/// Bits between two of them.
const COLUMNS: usize = 32;

/// A point, as the crate of its curve computes with it.
pub(crate) trait Point: Copy {
    fn identity() -> Self;
    fn double(&self) -> Self;
    fn plus(&self, other: &Self) -> Self;
}

impl Point for curve25519_dalek::EdwardsPoint {
    fn identity() -> Self {
        curve25519_dalek::traits::Identity::identity()
    }

    fn double(&self) -> Self {
        Add::add(self, self)
    }

    fn plus(&self, other: &Self) -> Self {
        Add::add(self, other)
    }
}

impl Point for p256::ProjectivePoint {
    fn identity() -> Self {
        Self::IDENTITY
    }

    fn double(&self) -> Self {
        p256::elliptic_curve::Group::double(self)
    }

    fn plus(&self, other: &Self) -> Self {
        Add::add(self, other)
    }
}

/// A point with its sums: the one at `i` is of the teeth that are set in `i`.
pub(crate) struct Comb<P>(Vec<P>);

impl<P: Point> Comb<P> {
    pub(crate) fn new(point: P) -> Self {
        let mut sums = Vec::with_capacity(1 << TEETH);
        sums.push(P::identity());
        let mut tooth = point;
        for number in 0..TEETH {
            if number > 0 {
                for _ in 0..COLUMNS {
                    tooth = tooth.double();
                }
            }
            let with: Vec<P> = sums.iter().map(|sum| sum.plus(&tooth)).collect();
            sums.extend(with);
        }
        Self(sums)
    }

    fn add(&self, column: u8, to: P) -> P {
        match (column, self.0.get(usize::from(column))) {
            (1.., Some(sum)) => to.plus(sum),
            _ => to,
        }
    }
}

/// `x·P + y·Q` for the points of two combs and scalars of 256 bits, little-endian.
pub(crate) fn multiply<P: Point>((p, x): (&Comb<P>, &[u8; 32]), (q, y): (&Comb<P>, &[u8; 32])) -> P {
    let columns = columns(x).into_iter().zip(columns(y)).rev();
    columns.fold(P::identity(), |sum, (x, y)| q.add(y, p.add(x, sum.double())))
}

/// For each column, from the lowest, its bits of the scalar: tooth by tooth.
fn columns(scalar: &[u8; 32]) -> [u8; COLUMNS] {
    let mut columns = [0; COLUMNS];
    for (word, tooth) in scalar.as_chunks::<4>().0.iter().zip([1, 2, 4, 8, 16, 32, 64, 128]) {
        let mut word = u32::from_le_bytes(*word);
        for column in &mut columns {
            if word & 1 == 1 {
                *column |= tooth;
            }
            word >>= 1;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use curve25519_dalek::{EdwardsPoint, Scalar, constants::ED25519_BASEPOINT_POINT};
    use p256::{ProjectivePoint, elliptic_curve::PrimeField as _};

    use super::*;

    /// Every bit alone, none, all, and a few without an order.
    fn scalars() -> Vec<[u8; 32]> {
        let mut all = vec![[0; 32], [0xff; 32], [0x55; 32], [0xaa; 32]];
        for bit in 0..256 {
            let mut scalar = [0; 32];
            scalar[bit / 8] = 1 << (bit % 8);
            all.push(scalar);
        }
        let mut state: u32 = 7;
        for _ in 0..20 {
            all.push(core::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            }));
        }
        all
    }

    #[test]
    fn edwards_agrees_with_the_crate() {
        let q = ED25519_BASEPOINT_POINT * Scalar::from(77_u8);
        let (base, other) = (Comb::new(ED25519_BASEPOINT_POINT), Comb::new(q));
        for (x, y) in scalars().iter().zip(scalars().iter().rev()) {
            let (x, y) = (Scalar::from_bytes_mod_order(*x), Scalar::from_bytes_mod_order(*y));
            let sum = multiply((&base, x.as_bytes()), (&other, y.as_bytes()));
            assert_eq!(sum, ED25519_BASEPOINT_POINT * x + q * y);
        }
        assert_eq!(multiply((&base, &[0; 32]), (&other, &[0; 32])), <EdwardsPoint as Point>::identity());
    }

    #[test]
    fn p256_agrees_with_the_crate() {
        let q = ProjectivePoint::GENERATOR * p256::Scalar::from(77_u64);
        let (base, other) = (Comb::new(ProjectivePoint::GENERATOR), Comb::new(q));
        // Big-endian, where it is below the group's order.
        let scalar = |little: &[u8; 32]| {
            let mut big = *little;
            big.reverse();
            Option::<p256::Scalar>::from(p256::Scalar::from_repr(big.into()))
        };
        let mut count = 0;
        for (x, y) in scalars().iter().zip(scalars().iter().rev()) {
            let (Some(a), Some(b)) = (scalar(x), scalar(y)) else { continue };
            let sum = multiply((&base, x), (&other, y));
            assert_eq!(sum, ProjectivePoint::GENERATOR * a + q * b);
            count += 1;
        }
        assert!(count > 270);
    }

    #[test]
    fn a_point_and_its_negative_cancel() {
        let (base, minus) = (Comb::new(ED25519_BASEPOINT_POINT), Comb::new(-ED25519_BASEPOINT_POINT));
        let x = [0x77; 32];
        assert_eq!(multiply((&base, &x), (&minus, &x)), <EdwardsPoint as Point>::identity());
        let generator = ProjectivePoint::GENERATOR;
        let (base, minus) = (Comb::new(generator), Comb::new(-generator));
        assert_eq!(multiply((&base, &x), (&minus, &x)), ProjectivePoint::IDENTITY);
    }
}
