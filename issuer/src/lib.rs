//! A test issuer: [`keys`], honest and malformed tokens ([`mint`]), and a catalogue of hostile
//! requests with the code that each must be refused with ([`attacks`]).
//!
//! The demo, the tests and the benches stand on it. **Keys made here are for tests**: those from a
//! fixed [`Seed`] are known to everybody who reads the source.
//!
//! # What this crate does not do
//!
//! It verifies nothing, serves nothing and reads no clock: the time is part of a
//! [`Setup`].

pub mod attacks;
pub mod forge;
pub mod keys;
pub mod mint;
pub mod opinion;

pub use attacks::{Case, Class, Expect, Setup, catalogue};
pub use forge::{ForgeError, Mint, Scene};
pub use keys::{Alg, KeyError, Kind, SampleToken, Seed, SigningKey, jwk_set};
pub use mint::{Raw, Token};
