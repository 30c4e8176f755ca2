//! The numbers of the proxy-wasm ABI that host and guest exchange: statuses, log levels and map,
//! buffer and stream kinds.
//!
//! Spec: proxy-wasm ABI 0.2.1, types `proxy_status_t`, `proxy_log_level_t`, `proxy_map_type_t`,
//! `proxy_buffer_type_t`, `proxy_stream_type_t` and `proxy_metric_type_t`.

use core::fmt;

/// What a host call answers (`proxy_status_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    /// The call did what it says.
    Ok = 0,
    /// There is no such property, key, queue, metric or function.
    NotFound = 1,
    /// An argument is out of its range, or the thing asked for does not exist in this phase.
    BadArgument = 2,
    /// A value could not be serialized.
    SerializationFailure = 3,
    /// A value could not be parsed.
    ParseFailure = 4,
    /// An address is outside of the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// Another writer was first.
    CasMismatch = 8,
    /// The host failed.
    InternalFailure = 10,
    /// The connection of a call was cut; what `proxy_get_status` tells after a failed call.
    BrokenConnection = 11,
    /// The host does not have this call.
    Unimplemented = 12,
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }
}

/// How important a line of a guest's log is (`proxy_log_level_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum LogLevel {
    /// Everything.
    Trace = 0,
    /// For who debugs the plugin.
    Debug = 1,
    /// Something noteworthy and good.
    Info = 2,
    /// Something that an operator should look at.
    Warn = 3,
    /// Something failed.
    Error = 4,
    /// Something that cannot go on.
    Critical = 5,
}

impl LogLevel {
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// A header map as a guest names it (`proxy_map_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    CallResponseHeaders,
    CallResponseTrailers,
}

impl MapKind {
    pub(crate) fn from_code(code: u32) -> Result<Self, Failure> {
        Ok(match code {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::CallResponseHeaders,
            7 => Self::CallResponseTrailers,
            _ => return Err(Status::BadArgument.into()),
        })
    }
}

/// Why a host call did not do what was asked: a status for the guest, or the end of the guest.
///
/// `link::answer` is the one place that turns it into what the guest sees.
#[derive(Debug)]
pub(crate) enum Failure {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}
