//! One request through the plugins to the upstream, and the response back.
//!
//! Two lanes run side by side, each with its own pace, so a body can be sent while the answer to
//! it arrives. They live as long as the response's body: a client that goes away ends both, closes
//! the stream in the worker and the connection to the upstream.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body_util::{
    Either, Full,
    channel::{Channel, Sender},
};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
};
use portcullis_host::{Direction, LocalReply, Piece, StreamInfo};
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    Shared, headers,
    lane::Lane,
    refusal::Refusal,
    upstream::{Answered, Cut, Streamed},
    worker::{Finale, Opened},
};

/// Pieces between a lane and a socket.
const QUEUE: usize = 2;

/// A plugin wants the stream to end without an answer: hyper closes the connection, or resets the
/// stream in HTTP/2.
#[derive(Debug)]
pub(super) struct ResetByPlugin;

impl fmt::Display for ResetByPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plugin reset the stream")
    }
}

impl std::error::Error for ResetByPlugin {}

/// A response's body, and the tasks that make it.
pub(super) struct Guarded {
    body: Streamed,
    /// The body was cut, and hyper does not know yet.
    cut: Option<Box<dyn std::error::Error + Send + Sync>>,
    _lanes: JoinSet<()>,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Err(cut)) => {
                // hyper writes out what it has while it waits, and drops it at an error: so the client
                // gets the head of every answer that is cut, and what was let through of its body.
                self.cut = Some(cut);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn guarded(response: Response<Streamed>, lanes: JoinSet<()>) -> Response<Guarded> {
    response.map(|body| Guarded { body, cut: None, _lanes: lanes })
}

fn refused(refusal: Refusal) -> Response<Guarded> {
    guarded(refusal.response().map(Either::Right), JoinSet::new())
}

/// Answers one request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Guarded>, ResetByPlugin> {
    let (head, body) = request.into_parts();
    let seen = match headers::from_request(&head) {
        Ok(seen) => seen,
        Err(headers::Refused::Host) => return Ok(refused(Refusal::BadHost)),
        Err(headers::Refused::Tunnel) => return Ok(refused(Refusal::NoTunnels)),
    };
    let info = StreamInfo::new()
        .property(["source", "address"], peer.to_string())
        .property(["request", "protocol"], format!("{:?}", head.version));
    let Some(Opened { stream, request: up, response: down, mut finale }) =
        shared.worker().and_then(|worker| worker.open(info))
    else {
        return Ok(refused(Refusal::Unchecked));
    };
    let stream = Arc::new(stream);
    let limits = shared.limits;
    let mut up = Lane::new(Arc::clone(&stream), Direction::Request, up, limits);
    let down = Lane::new(stream, Direction::Response, down, limits);
    up.begin(seen, body.is_end_stream());
    let (head, mut answered) = oneshot::channel();
    let mut lanes = JoinSet::new();
    lanes.spawn(carry(shared, up, body, down, head));
    // A plugin's own answer comes first: when it is there, the lanes end too.
    tokio::select! {
        biased;
        Ok(finale) = &mut finale => match finale {
            Finale::Reply(reply) => Ok(local_reply(reply)),
            // The head is here where only the rest of the answer is stopped.
            Finale::Reset => match answered.try_recv() {
                Ok(response) => Ok(guarded(response, lanes)),
                Err(_) => Err(ResetByPlugin),
            },
        },
        answered = &mut answered => match answered {
            Ok(response) => Ok(guarded(response, lanes)),
            Err(_) => match finale.try_recv() {
                Ok(Finale::Reply(reply)) => Ok(local_reply(reply)),
                Ok(Finale::Reset) => Err(ResetByPlugin),
                Err(_) => Ok(refused(Refusal::Unchecked)),
            },
        },
    }
}

fn local_reply(reply: LocalReply) -> Response<Guarded> {
    let body = Either::Right(Full::new(Bytes::from(reply.body)));
    headers::to_response(&reply.headers, body)
        .map_or_else(|| refused(Refusal::Unchecked), |response| guarded(response, JoinSet::new()))
}

/// Both lanes. Ending without a response head makes the answer a 503.
async fn carry(
    shared: Arc<Shared>,
    mut up: Lane,
    mut body: Incoming,
    down: Lane,
    head: oneshot::Sender<Response<Streamed>>,
) {
    let Ok(pieces) = up.next(&mut body).await else { return };
    let mut pieces = pieces.into_iter();
    let Some(Piece::Headers { headers, end_of_stream }) = pieces.next() else { return };
    let (sink, streamed) = outgoing(end_of_stream);
    let Some(request) = shared.upstream.request(&headers, streamed) else {
        eprintln!("[error] the plugins left a request that is not HTTP");
        return;
    };
    let send = async {
        if let Some(sink) = sink {
            pump(up, body, pieces.collect(), sink).await;
        }
    };
    let receive = async {
        let response = shared.upstream.send(request).await;
        respond(down, response, head).await;
    };
    tokio::join!(send, receive);
}

/// The response, from the upstream through the plugins to the client.
async fn respond(mut down: Lane, response: Response<Answered>, head: oneshot::Sender<Response<Streamed>>) {
    let (parts, mut body) = response.into_parts();
    down.begin(headers::from_response(&parts), body.is_end_stream());
    let Ok(pieces) = down.next(&mut body).await else { return };
    let mut pieces = pieces.into_iter();
    let Some(Piece::Headers { headers, end_of_stream }) = pieces.next() else { return };
    let (sink, streamed) = outgoing(end_of_stream);
    let Some(response) = headers::to_response(&headers, streamed) else {
        eprintln!("[error] the plugins left a response that is not HTTP");
        return;
    };
    // The client may have gone.
    if head.send(response).is_ok()
        && let Some(sink) = sink
    {
        pump(down, body, pieces.collect(), sink).await;
    }
}

/// A body and the end that feeds it; none where there is no body.
fn outgoing(end_of_stream: bool) -> (Option<Sender<Bytes, Cut>>, Streamed) {
    if end_of_stream {
        return (None, Either::Right(Full::default()));
    }
    let (sink, body) = Channel::new(QUEUE);
    (Some(sink), Either::Left(body))
}

/// Pieces into a body until the last one; cut short, the body ends with an error, never as if it
/// were whole.
async fn pump<B>(mut lane: Lane, mut source: B, first: Vec<Piece>, mut sink: Sender<Bytes, Cut>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut pieces = first;
    loop {
        for piece in pieces {
            let last = piece.ends();
            let sent = match piece {
                Piece::Headers { .. } => Ok(()),
                Piece::Body { bytes, .. } if bytes.is_empty() => Ok(()),
                Piece::Body { bytes, .. } => sink.send_data(bytes.into()).await,
                Piece::Trailers(trailers) => match headers::to_map(&trailers) {
                    Some(map) => sink.send_trailers(map).await,
                    None => return sink.abort(Cut),
                },
            };
            if last || sent.is_err() {
                return;
            }
        }
        match lane.next(&mut source).await {
            Ok(next) => pieces = next,
            Err(_) => return sink.abort(Cut),
        }
    }
}
