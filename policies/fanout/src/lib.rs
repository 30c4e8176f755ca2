//! One chat request of independent questions in, one request per question out, and their answers
//! merged in order.
//!
//! A model writes one token after the other, so a request that packs five questions takes the sum of
//! its answers and five requests take the longest. Nothing here guesses what a question is: a client
//! lists them in the member `x_fanout`, or marks content parts with it.
//!
//! | part | is |
//! |---|---|
//! | [`Policy`] | a configuration that cannot be wrong |
//! | [`Asked`], [`Plan`] | what a body asks for, and the bodies that are made of it |
//! | [`Run`] | which question is asked when, and what became of each |
//! | [`merge`] | the answers as one: a chat completion, a list, or an event stream |
//! | [`Isolation`] | what keeps tenants apart at a provider that shares caches |
//! | [`share`] | how many calls and questions a tenant may have |
//! | [`Latency`] | what splitting saves in time and costs in tokens |
//!
//! # What this crate does not do
//!
//! It makes no call, reads no clock and draws no randomness: times, ids and answers come in as
//! arguments. It does not know that Envoy exists.
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

mod answer;
mod config;
mod contract;
mod estimate;
mod isolation;
pub mod merge;
mod plan;
mod refusal;
mod run;
pub mod share;

pub use answer::{Answered, Failure, FailureKind, Incoming, Usage};
#[cfg(feature = "schema")]
pub use config::schema;
pub use config::{Deadlines, Header, Limits, Packing, Plain, Policy, Provider, Streaming, TenantRule};
pub use contract::{Asked, Format, OnError, Settings, Strategy};
pub use estimate::{Estimate, Latency, tokens_of};
pub use isolation::{Isolation, Names};
pub use plan::{Plan, Question};
pub use refusal::Refusal;
pub use run::{Limit, Run, Start};

/// The member that makes a request one of several questions. A body in which these bytes do not occur
/// is not looked at further.
pub const MEMBER: &str = "x_fanout";

/// How deep a body may nest: schemas of tools are deeper than tokens.
const DEPTH: usize = 64;
