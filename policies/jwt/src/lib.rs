//! The JWT policy: a token and a policy in, a permit, a denial or a need out.
//!
//! [`Policy::from_json`] parses a configuration; [`Policy::decide`] judges one request,
//! [`Policy::examine`] tells what every check finds. Keys, time
//! and signature arithmetic are arguments, so a decision is a function of what it is given.
//!
//! # What this crate does not do
//!
//! It reads no clock, fetches nothing, logs nothing and does not know that Envoy exists.
//! [`life`] says when a key set should be fetched; somebody else fetches it.
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
#[cfg(test)]
extern crate std;

mod base64url;
mod check;
mod claims;
mod conditions;
pub mod config;
mod date;
mod examination;
mod forward;
mod judge;
pub mod jwks;
pub mod life;
mod locations;
mod permit;
mod policy;
pub mod rotation;
mod rules;
mod token;
pub mod verified;

pub use check::Check;
#[cfg(feature = "schema")]
pub use config::schema;
pub use config::{ConfigError, resolve::Warning};
pub use examination::{Examination, Finding, Outcome, VerifiedKey};
pub use permit::{Identity, Permit};
pub use policy::{Decision, KeySource, Limits, Missing, Need, Policy, RemoteKeys};
pub use portcullis_core::request;
pub use portcullis_core::{HeaderPair, Request, json};
pub use token::{MAX_TRIES, verify_jws};
