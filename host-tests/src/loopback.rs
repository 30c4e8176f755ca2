//! The peers of a gateway under test, all on loopback: an upstream that reports what reached it,
//! a scripted JWK Set endpoint, a client for requests that no ordinary client would send, and TLS
//! before and behind them.
//!
//! They have blocking interfaces, so that a test reads from top to bottom; the servers run on
//! threads of their own.

mod client;
mod pieces;
mod running;
mod server;
mod tls;

pub(crate) use running::Running;

pub use client::{Connection, Reply, Request, http2, http2_cut, http2_websocket};
pub use server::{Answer, Endpoint, Seen, Service, Site, Upstream};
pub use tls::Relay;
