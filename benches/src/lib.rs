//! What the measurements share: tokens minted ahead, requests sent over a few connections, the
//! numbers made of it, and the modules to compare with.
//!
//! The measurements themselves are `envoy.rs` (CPU time in the real Envoy, beside its own filters)
//! and `wasm.rs` (in the embedded host).

pub mod arena;
pub mod arithmetic;
pub mod chart;
pub mod guard;
pub mod load;
pub mod modules;
pub mod prices;
pub mod report;
pub mod tenants;
pub mod tokens;
