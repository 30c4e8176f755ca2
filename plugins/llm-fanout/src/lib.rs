//! Independent questions of one chat request, asked in parallel: reads bodies, makes the calls that
//! `policies/fanout` wants, and answers with what it merges.
//!
//! `root` is the configuration and the timer, `filter` is one request, `worker` is what one VM has
//! under way, `job` one request of several questions, `shared` what all workers count together.
//! Nothing here decides.
//!
//! Calls are made from the root context's callbacks alone, and their answers come there: a call that is
//! made from a request is lost to the SDK with it, and with it the knowledge of when it ends.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod filter;
mod job;
mod metrics;
mod root;
mod shared;
mod worker;

/// The module's entry point, which the macro exports.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
