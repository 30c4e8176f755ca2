//! What an embedder says and hears about one HTTP stream.

use crate::error::Trap;
use crate::headers::Headers;
use crate::status::Status;
use std::collections::BTreeMap;

/// Names a stream of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

/// From the client to the upstream, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// A part of a message, as the filters left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The message's headers.
    Headers {
        /// With pseudo headers.
        headers: Headers,
        /// Neither body nor trailers follow.
        end_of_stream: bool,
    },
    /// Some of its body.
    Body {
        /// The bytes.
        bytes: Vec<u8>,
        /// Nothing follows.
        end_of_stream: bool,
    },
    /// Its trailers; nothing follows.
    Trailers(Headers),
}

impl Piece {
    /// Is this the message's last piece?
    #[must_use]
    pub fn ends(&self) -> bool {
        match self {
            Self::Headers { end_of_stream, .. } | Self::Body { end_of_stream, .. } => *end_of_stream,
            Self::Trailers(_) => true,
        }
    }
}

/// An answer that a filter gave in the upstream's place, as it goes to the client: the response
/// side of every filter of the chain that saw the request has seen it, as in Envoy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// With `:status`, and `content-length` and `content-type` where there is a body.
    pub headers: Headers,
    /// The body; empty for a gRPC request, whose message is in `grpc-message`.
    pub body: Vec<u8>,
    /// For the access log (`response_code_details`).
    pub details: String,
    /// What the filter gave as gRPC status, if it did.
    pub grpc_status: Option<u32>,
}

impl LocalReply {
    /// The HTTP status; 0 if a filter has taken `:status` away.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// What became of a piece that an embedder put into a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// These pieces go on, in order: upstream for a request, to the client for a response. They can
    /// be more than the one put in (held ones were released) and differ from it.
    Forward(Vec<Piece>),
    /// A filter holds what was put in. An [`Event`] follows when it lets go.
    Pause,
    /// A filter answered: send this to the client, nothing more upstream.
    Reply(LocalReply),
    /// A filter's VM was stopped: fail closed with this 503, as Envoy does.
    Trapped(Trap, LocalReply),
    /// The stream is over without an answer: close it, and the connection if need be.
    Reset,
}

impl Outcome {
    /// The headers among the forwarded pieces.
    #[must_use]
    pub fn headers(&self) -> Option<&Headers> {
        match self {
            Self::Forward(pieces) => pieces.iter().find_map(|piece| match piece {
                Piece::Headers { headers, .. } => Some(headers),
                _ => None,
            }),
            _ => None,
        }
    }

    /// The body bytes of the forwarded pieces, in one.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let Self::Forward(pieces) = self else { return Vec::new() };
        let bytes = pieces.iter().filter_map(|piece| match piece {
            Piece::Body { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        });
        bytes.collect::<Vec<_>>().concat()
    }

    /// What the client gets in the upstream's place, for [`Outcome::Reply`] and [`Outcome::Trapped`].
    #[must_use]
    pub fn reply(&self) -> Option<&LocalReply> {
        match self {
            Self::Reply(reply) | Self::Trapped(_, reply) => Some(reply),
            _ => None,
        }
    }

    /// Why a VM was stopped, for [`Outcome::Trapped`].
    #[must_use]
    pub fn trap(&self) -> Option<&Trap> {
        match self {
            Self::Trapped(trap, _) => Some(trap),
            _ => None,
        }
    }

    /// Do pieces go on?
    #[must_use]
    pub fn is_forward(&self) -> bool {
        matches!(self, Self::Forward(_))
    }
}

/// Something happened to a stream that the embedder did not just drive: a paused one went on, or
/// was answered, or was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The stream.
    pub stream: StreamId,
    /// The direction that [`Outcome::Forward`] is about.
    pub direction: Direction,
    /// What happened; never [`Outcome::Pause`].
    pub outcome: Outcome,
}

/// What is known of a stream beside its messages: the properties that filters can read, and those
/// that filters set for the ones after them.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    fixed: BTreeMap<Vec<u8>, Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The request's headers as they left the chain.
    pub(crate) request: Headers,
    /// The response's.
    pub(crate) response: Headers,
}

/// Properties that filters may set on one stream, and the bytes of one.
const MAX_STATE: usize = 1000;
const MAX_STATE_BYTES: usize = 1 << 20;

impl StreamInfo {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a property, such as `["source", "address"]` and `"10.0.0.7:51234"`. Numbers are 8
    /// bytes little-endian, booleans one byte. What is set here comes before what the host derives
    /// from the headers.
    ///
    /// ```
    /// use portcullis_host::StreamInfo;
    /// let info = StreamInfo::new()
    ///     .property(["source", "address"], "10.0.0.7:51234")
    ///     .property(["connection", "mtls"], [1]);
    /// ```
    #[must_use]
    pub fn property<const N: usize>(mut self, path: [&str; N], value: impl Into<Vec<u8>>) -> Self {
        self.fixed.insert(path.join("\0").into_bytes(), value.into());
        self
    }

    /// What a filter set under this name, if one did.
    #[must_use]
    pub fn state_of(&self, name: &str) -> Option<&[u8]> {
        self.state.get(name.as_bytes()).map(Vec::as_slice)
    }

    pub(crate) fn fixed(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.fixed.get(path).cloned()
    }

    pub(crate) fn state(&self, path: &[u8]) -> Option<Vec<u8>> {
        if path.contains(&0) { None } else { self.state.get(path).cloned() }
    }

    pub(crate) fn set_state(&mut self, path: Vec<u8>, value: Vec<u8>) -> Result<(), Status> {
        if path.len().saturating_add(value.len()) > MAX_STATE_BYTES
            || (self.state.len() >= MAX_STATE && !self.state.contains_key(&path))
        {
            return Err(Status::BadArgument);
        }
        self.state.insert(path, value);
        Ok(())
    }
}
