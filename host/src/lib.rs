//! A wasmtime host for plugins of the proxy-wasm ABI 0.2.1, with Envoy's semantics.
//!
//! It runs a plugin's `.wasm` file as Envoy would, without Envoy: in a test with virtual time,
//! scripted upstreams, refused host calls and a record of what the plugin did, or in a gateway of
//! yours with one [`Worker`] per thread.
//!
//! ```
//! use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, Worker};
//!
//! # fn main() -> Result<(), portcullis_host::HostError> {
//! # let wasm = wat::parse_str(r#"(module (memory (export "memory") 1)
//! #     (func (export "proxy_abi_version_0_2_1"))
//! #     (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#).unwrap();
//! let module = Module::compile(&Engine::new()?, &wasm)?;
//! let mut worker = Worker::new(&Process::new());
//! worker.add(&module, Plugin::new("my-plugin").configuration("{}"))?;
//!
//! let stream = worker.open(StreamInfo::new());
//! let outcome = worker.request_headers(stream, [(":method", "GET"), (":path", "/")], true);
//! assert!(outcome.is_forward());
//! worker.close(stream);
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! | type | is |
//! |---|---|
//! | [`Engine`], [`Module`] | the compiler, and a plugin that it compiled and checked |
//! | [`Process`] | what the workers of one Envoy share: data, queues, metrics, clock, randomness, log, limits; and, for tests, refusals and the record of host calls |
//! | [`Worker`] | one thread: a chain of plugins, each in a VM of its own, and the streams through it |
//! | [`Outcome`], [`Event`] | what became of a piece of a stream: it goes on, waits, or is answered |
//! | [`Simulation`] | upstreams by script, under a [`VirtualClock`] |
//!
//! # Where Envoy's semantics surprise
//!
//! - A header map can be read and changed while its filter holds it: in the headers callback, and
//!   after it as long as the filter pauses. Later one value is `BadArgument` and all pairs are none.
//! - One value of a repeated header is the first one.
//! - Pausing on headers holds the body back too, unless the plugin is configured otherwise.
//! - A local reply goes through the response side of every filter that saw the request, the one that
//!   sent it included. For a gRPC request it becomes a gRPC status.
//! - A shared queue tells only the root context that registered it last, in whatever worker that is.
//! - An HTTP call belongs to the root: its callback comes when the stream is long gone.
//! - Timeouts and refused connections of such calls are not failures but a 504 and a 503.
//! - `proxy_set_property` on a root is `NotFound`, and a property set by a path of several elements
//!   cannot be read back.
//! - A stream that ends gets `proxy_on_log` before `proxy_on_done`.
//!
//! # Where this host differs
//!
//! - Everything has a bound: memory, the time of a callback, bodies, headers, calls, shared data,
//!   metrics, the log. Envoy bounds few of them.
//! - Each plugin has a VM of its own, also when two say the same `vm_id`; data and queues are shared.
//! - When a VM is stopped, the streams it holds are answered with 503 at once.
//! - An encoded header map whose sizes lie is `BadArgument`; Envoy takes it for an empty one.
//! - There are no gRPC calls (`InternalFailure`), no network filters, and of the foreign functions
//!   there are `verify_signature` and `clear_route_cache`.
//! - `proxy_add_header_map_value` always adds a line; Envoy appends to some well-known headers.
//!
//! # What this crate does not do
//!
//! It opens no socket, knows no routes and makes no HTTP call: an embedder does, and drives it.
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
mod chain;
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
mod reply;
mod shared;
mod simulation;
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
pub use simulation::{Answer, Simulation};
pub use status::{LogLevel, Status};
pub use stream::{Direction, Event, LocalReply, Outcome, Piece, StreamId, StreamInfo};
pub use vm::Plugin;
pub use worker::Worker;
