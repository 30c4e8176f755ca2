//! Which pairs of numbers are an RSA public key that we use. It does no RSA.

use core::num::NonZeroU64;

use crate::{KeyError, Member};

/// The smallest RSA modulus in bits (RFC 7518 section 3.3).
pub const MIN_MODULUS_BITS: usize = 2048;

/// The largest RSA modulus in bits. The time of a verification grows with the square of the size,
/// and a key set chooses the size.
pub const MAX_MODULUS_BITS: usize = 8192;

/// The largest public exponent in bits. The time of a verification grows with it; in use are 3 and
/// 65537.
pub const MAX_EXPONENT_BITS: usize = 32;

/// Checks a modulus and a public exponent, both big-endian.
pub(crate) fn check(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    let (n_bits, e_bits) = (bits(n, Member::N)?, bits(e, Member::E)?);
    if !(MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&n_bits) {
        return Err(KeyError::ModulusBits { bits: n_bits });
    }
    if is_even(n) {
        return Err(KeyError::ModulusEven);
    }
    if e_bits > MAX_EXPONENT_BITS {
        return Err(KeyError::ExponentTooLarge);
    }
    if is_even(e) {
        return Err(KeyError::ExponentEven);
    }
    if e_bits == 1 {
        return Err(KeyError::ExponentOne);
    }
    if has_roca_fingerprint(n) {
        return Err(KeyError::ModulusRoca);
    }
    Ok(())
}

fn bits(number: &[u8], member: Member) -> Result<usize, KeyError> {
    match number.first() {
        None | Some(0) => Err(KeyError::NotMinimal { member }),
        Some(first) => {
            // A leading byte that is not zero has at most seven leading zeros.
            let unused = first.leading_zeros() as usize;
            Ok(number.len().saturating_mul(8).saturating_sub(unused))
        }
    }
}

fn is_even(number: &[u8]) -> bool {
    number.last().is_none_or(|last| last & 1 == 0)
}

// The odd primes that divide the M of every key size of the flawed generator: its primes are
// k * M + (65537^a mod M), so the modulus is a power of 65537 modulo each of them (Nemec, Sys,
// Svenda, Klinec, Matyas: The Return of Coppersmith's Attack, section 2). An honest modulus passes
// for such a one with a probability of 2^-27.8.
const ROCA_PRIMES: [u64; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

fn has_roca_fingerprint(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().filter_map(|prime| NonZeroU64::new(*prime)).all(|prime| {
        let residue = remainder(n, prime);
        powers_of_65537(prime).any(|power| power == residue)
    })
}

fn remainder(n: &[u8], prime: NonZeroU64) -> u64 {
    n.iter().fold(0_u64, |rest, byte| (rest.wrapping_shl(8) | u64::from(*byte)) % prime)
}

fn powers_of_65537(prime: NonZeroU64) -> impl Iterator<Item = u64> {
    let step = move |power: &u64| Some(power.wrapping_mul(65537) % prime).filter(|next| *next != 1);
    core::iter::successors(Some(1), step)
}
