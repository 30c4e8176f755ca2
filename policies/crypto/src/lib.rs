//! Verify-only signatures over typed keys: the one place that knows the crypto crates.
//!
//! A [`Key`] is checked once, when it is built, and cannot be wrong afterwards. A [`Verifier`] says
//! whether a signature over a message was made with a key's private half: [`Software`] answers with
//! the crates, a host's implementation with its own arithmetic. Both begin with [`check_shape`], so
//! that they refuse the same things.
//!
//! ```
//! use portcullis_crypto::{Algorithm, Key, Software, Verifier, VerifyError};
//!
//! let key = Key::hmac(b"0123456789abcdef0123456789abcdef").unwrap();
//! let refused = Software.verify(&key, Algorithm::Hs256, b"message", &[0; 32]);
//! assert_eq!(refused, Err(VerifyError::Mismatch));
//! ```
//!
//! # What this crate does not do
//!
//! It does not sign, holds no private key and uses no randomness. It does not read a JWK, a PEM or a
//! token: it takes numbers and bytes. Which keys and algorithms are acceptable for an issuer is
//! decided by the policy that calls it.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

extern crate alloc;

mod algorithm;
mod comb;
mod der;
mod digest;
mod key;
mod key_error;
mod prepared;
mod rsa_key;
mod rsa_rules;
mod thumbprint;
mod verify;

pub use algorithm::{Algorithm, Curve, Hash, KeyType};
pub use digest::{constant_time_eq, hmac_sha256, sha256};
pub use key::{Key, MIN_SECRET_BYTES};
pub use key_error::{KeyError, Member};
pub use rsa_rules::{MAX_EXPONENT_BITS, MAX_MODULUS_BITS, MIN_MODULUS_BITS};
pub use verify::{Software, Verifier, VerifyError, check_shape, ecdsa_der};
