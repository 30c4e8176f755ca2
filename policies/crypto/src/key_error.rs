//! Why the numbers of a key do not make one. Messages name the JWK member and what would be right,
//! and never the value.

use core::fmt;

use crate::{Curve, MAX_EXPONENT_BITS, MAX_MODULUS_BITS, MIN_MODULUS_BITS, MIN_SECRET_BYTES};

/// A member of a JWK that carries key material (RFC 7518 section 6, RFC 8037 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The modulus of an RSA key.
    N,
    /// The public exponent of an RSA key.
    E,
    /// The first coordinate of an EC key, or the public key of Ed25519.
    X,
    /// The second coordinate of an EC key.
    Y,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::N => "n",
            Self::E => "e",
            Self::X => "x",
            Self::Y => "y",
        })
    }
}

/// Why a key was refused when it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// A number has no bytes, or begins with a zero byte: RFC 7518 section 2 (Base64urlUInt) wants
    /// the fewest bytes, so that a number has one spelling and a key one thumbprint.
    NotMinimal {
        /// `n` or `e`.
        member: Member,
    },
    /// The modulus is below 2048 bits (RFC 7518 section 3.3) or above 8192, where verification
    /// becomes a denial of service.
    ModulusBits {
        /// The size of the modulus.
        bits: usize,
    },
    /// The modulus is even: not a product of two large primes.
    ModulusEven,
    /// The modulus has the fingerprint of keys from a library whose primes can be found
    /// (ROCA, CVE-2017-15361).
    ModulusRoca,
    /// The exponent is even, and so no exponent of an RSA key.
    ExponentEven,
    /// The exponent is 1: every message would be its own signature.
    ExponentOne,
    /// The exponent is above 32 bits, where verification becomes a denial of service.
    ExponentTooLarge,
    /// A coordinate is not of the curve's full width (RFC 7518 sections 6.2.1.2 and 6.2.1.3).
    CoordinateLength {
        /// The curve.
        curve: Curve,
        /// `x` or `y`.
        member: Member,
        /// The length in bytes that was given.
        length: usize,
    },
    /// The coordinates are no point of the curve (RFC 8725 section 3.4), or are not reduced.
    NotOnCurve {
        /// The curve.
        curve: Curve,
    },
    /// An Ed25519 public key is not 32 bytes long.
    Ed25519Length {
        /// The length in bytes that was given.
        length: usize,
    },
    /// The 32 bytes are not the encoding of a point (RFC 8032 section 5.1.3), or not the only one.
    Ed25519NotAPoint,
    /// The point has a small order: signatures that hold for any message can be made for it.
    Ed25519SmallOrder,
    /// The secret is shorter than the shortest hash (RFC 7518 section 3.2).
    SecretLength {
        /// The length in bytes that was given.
        length: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMinimal { member } => {
                write!(
                    f,
                    "`{member}` is empty or begins with a zero byte; it must have the fewest bytes (RFC 7518)"
                )
            }
            Self::ModulusBits { bits } => {
                write!(f, "`n` has {bits} bits; it must have {MIN_MODULUS_BITS} to {MAX_MODULUS_BITS}")
            }
            Self::ModulusEven => f.write_str("`n` is even; it must be a product of two large primes"),
            Self::ModulusRoca => f.write_str("`n` is of a kind that can be factored (ROCA, CVE-2017-15361)"),
            Self::ExponentEven => f.write_str("`e` is even; it must be odd, and is usually 65537"),
            Self::ExponentOne => f.write_str("`e` is 1; it must be 3 or more, and is usually 65537"),
            Self::ExponentTooLarge => {
                write!(f, "`e` has more than {MAX_EXPONENT_BITS} bits; it is usually 65537")
            }
            Self::CoordinateLength { curve, member, length } => {
                let want = curve.field_len();
                write!(f, "`{member}` has {length} bytes; on {curve} it must have {want}")
            }
            Self::NotOnCurve { curve } => write!(f, "`x` and `y` are not a point on {curve}"),
            Self::Ed25519Length { length } => {
                write!(f, "`x` has {length} bytes; an Ed25519 key must have 32")
            }
            Self::Ed25519NotAPoint => f.write_str("`x` does not encode a point on Ed25519"),
            Self::Ed25519SmallOrder => f.write_str("`x` is a point of small order on Ed25519"),
            Self::SecretLength { length } => {
                write!(f, "`k` has {length} bytes; it must have at least {MIN_SECRET_BYTES}")
            }
        }
    }
}

impl core::error::Error for KeyError {}
