//! A wasmtime host for plugins of the proxy-wasm ABI 0.2.1, with Envoy's semantics.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod abi;
mod call;
mod clock;
mod error;
mod foreign;
mod headers;
mod log;
mod metrics;
mod module;
mod process;
mod property;
mod record;
mod shared;
mod state;
mod status;
mod stream;
mod vm;
mod worker;

pub use call::{CallFailure, CallId, CallResponse, OutgoingCall};
pub use clock::{Clock, SystemClock, VirtualClock};
pub use error::{HostError, Trap};
pub use headers::Headers;
pub use log::LogLine;
pub use module::{Engine, Module};
pub use process::{Limits, Process, ProcessBuilder};
pub use record::{Effect, When};
pub use status::{LogLevel, Status};
pub use stream::{Direction, Event, LocalReply, Outcome, Piece, StreamId, StreamInfo};
pub use vm::Plugin;
pub use worker::Worker;
