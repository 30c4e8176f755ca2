//! The words that every policy shares: [`UnixTime`], [`Code`], [`Denial`], requests and header
//! bytes, strict JSON, buckets that fill over time, and how configurations are read.
//!
//! # What this crate does not do
//!
//! It decides nothing, reads no clock, does no I/O and knows nothing of Envoy.
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

pub mod bytes;
mod code;
pub mod config;
mod denial;
pub mod fetch;
pub mod gcra;
pub mod header;
pub mod json;
pub mod pattern;
pub mod request;
mod time;

pub use code::{Code, UnknownCode};
pub use config::ConfigError;
pub use denial::{Challenge, Denial};
pub use header::{HeaderName, InvalidHeaderName};
pub use request::{HeaderPair, Request};
pub use time::UnixTime;
