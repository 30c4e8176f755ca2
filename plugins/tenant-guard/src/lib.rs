//! The tenant filter: collects headers and what is proven about the caller, asks
//! `policies/tenant`, and does what it says.
//!
//! `root` holds the configuration of one worker, `filter` is one request, `enforcer` the way from
//! a verdict to its effects, `evidence` what the proxy knows of the caller, `directory` the tenants
//! that are fetched, `response` what happens to an answer's headers, `answer` to its body, `quota` what
//! tenants have left, `concurrency` what they have under way. Nothing here decides.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod answer;
mod concurrency;
mod directory;
mod enforcer;
mod evidence;
mod filter;
mod metrics;
mod quota;
mod response;
mod root;
mod secret;

/// The module's entry point, which the macro exports.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
