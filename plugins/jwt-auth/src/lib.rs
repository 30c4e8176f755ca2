//! The JWT filter: collects headers and time, asks `policies/jwt`, and does what it says.
//!
//! `root` holds the configuration and the key sets of one worker, `filter` is one request,
//! `keys` fetches key sets and wakes the requests that wait for them, `enforcer` is what the
//! three share. Nothing here decides.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod enforcer;
mod filter;
mod keys;
mod metrics;
mod root;
mod seed;
mod shared;

/// The module's entry point, which the macro exports.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
