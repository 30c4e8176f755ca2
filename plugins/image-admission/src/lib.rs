//! Kubernetes' admission webhook in Envoy: reads a review, reads what `policies/signature` asks a
//! registry for, and answers with its verdicts.
//!
//! `config` is the configuration, `filter` is one request, `worker` is what one VM has under way,
//! `case` is one review and `cache` what was verified before. Nothing here decides.
//!
//! No callback holds the worker longer than it takes to verify one signature: what else there is to
//! verify waits for the next tick, and requests that come in between are served.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod cache;
mod case;
mod config;
mod filter;
mod metrics;
mod root;
mod worker;

/// The module's entry point, which the macro exports.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
