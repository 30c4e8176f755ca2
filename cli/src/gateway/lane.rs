//! One direction of a stream: pieces from a body into the worker, and what the plugins let through
//! out again, at the pace of whoever takes them.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};
use portcullis_host::{Direction, Headers, Piece};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    config::Limits,
    headers,
    worker::{Passed, Stream},
};

/// Bytes of a body that are put in at once, as in Envoy. A piece must fit into what may be held, or
/// a large read from a socket would be refused for its size.
const CHUNK: usize = 16 * 1024;

/// Why a lane ends early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The worker has closed the port: a plugin has answered or reset the stream.
    Over,
    /// Whoever sends the body has stopped.
    Source,
    /// Nothing has moved for too long.
    Idle,
}

pub(super) struct Lane {
    stream: Arc<Stream>,
    direction: Direction,
    passed: UnboundedReceiver<Passed>,
    limits: Limits,
    /// What was read and not put in yet.
    rest: Bytes,
    /// A piece was put in and not answered yet: one at a time, so nothing piles up.
    unanswered: bool,
    /// A plugin holds the headers. As in Envoy the body then stays where it is: in the socket.
    held: bool,
    /// The last piece was put in.
    complete: bool,
}

impl Lane {
    pub(super) const fn new(
        stream: Arc<Stream>,
        direction: Direction,
        passed: UnboundedReceiver<Passed>,
        limits: Limits,
    ) -> Self {
        let rest = Bytes::new();
        Self { stream, direction, passed, limits, rest, unanswered: false, held: false, complete: false }
    }

    /// Puts the headers in; `complete` where no body follows.
    pub(super) fn begin(&mut self, headers: Headers, complete: bool) {
        self.held = true;
        self.put(Piece::Headers { headers, end_of_stream: complete });
    }

    /// What goes on next. Never empty; ends with the message's last piece some day.
    pub(super) async fn next<B>(&mut self, source: &mut B) -> Result<Vec<Piece>, Broken>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let mut may_read = !self.unanswered && !self.held && !self.complete;
            if may_read && !self.rest.is_empty() {
                self.put_chunk(source.is_end_stream());
                may_read = false;
            }
            tokio::select! {
                biased;
                passed = self.passed.recv() => {
                    let Passed { pieces, answer } = passed.ok_or(Broken::Over)?;
                    self.unanswered &= !answer;
                    if !pieces.is_empty() {
                        self.held = false;
                        return Ok(pieces);
                    }
                }
                frame = source.frame(), if may_read => match frame {
                    Some(Ok(frame)) => self.put_frame(frame, source.is_end_stream()),
                    Some(Err(_)) => return Err(Broken::Source),
                    None => self.put(Piece::Body { bytes: Vec::new(), end_of_stream: true }),
                },
                () = tokio::time::sleep(self.limits.idle.0) => return Err(Broken::Idle),
            }
        }
    }

    fn put_frame(&mut self, frame: hyper::body::Frame<Bytes>, end_of_stream: bool) {
        match frame.into_data() {
            Ok(bytes) => {
                self.rest = bytes;
                self.put_chunk(end_of_stream);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.put(Piece::Trailers(headers::to_host(&trailers)));
                }
            }
        }
    }

    /// `end_of_stream`: nothing follows on what was read.
    fn put_chunk(&mut self, end_of_stream: bool) {
        let length = self.rest.len().min(CHUNK).min(self.limits.body_bytes.get());
        let bytes = self.rest.split_to(length).to_vec();
        let end_of_stream = end_of_stream && self.rest.is_empty();
        self.put(Piece::Body { bytes, end_of_stream });
    }

    fn put(&mut self, piece: Piece) {
        self.complete = piece.ends();
        self.unanswered = true;
        self.stream.put(self.direction, piece);
    }
}
