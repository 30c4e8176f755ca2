//! One Envoy's stream: what it asks for is sent, and sent again when it changes.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http_body_util::{
    BodyExt as _, Either, Empty,
    channel::{Channel, Sender},
};
use hyper::{
    Request as HttpRequest, Response,
    body::{Bytes, Frame, Incoming},
};

use super::{Plane, wire};

const METHODS: [&str; 2] = [
    "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
];
/// An Envoy's message: its node says much about it, but not megabytes.
const MAX_MESSAGE: usize = 4 << 20;
/// Of gRPC's status codes: the method is not offered.
const UNIMPLEMENTED: &str = "12";

type Body = Either<Channel<Bytes>, Empty<Bytes>>;

/// Answers one call.
pub(super) async fn answer(
    plane: Arc<Plane>,
    request: HttpRequest<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Either::Right(Empty::new()));
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
    if !METHODS.contains(&request.uri().path()) {
        headers.insert("grpc-status", hyper::header::HeaderValue::from_static(UNIMPLEMENTED));
        return Ok(response);
    }
    let (sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut stream =
            Stream { number, plane, sender, node: String::new(), asked: BTreeMap::new(), nonces: 0 };
        stream.run(request.into_body()).await;
        stream.plane.board.gone(number);
    });
    Ok(response.map(|_| Either::Left(channel)))
}

/// What an Envoy has asked for under one name.
#[derive(Default)]
struct Asked {
    /// The version that was sent last; never again, whether it was taken or refused.
    sent: String,
    nonce: String,
}

struct Stream {
    number: u64,
    plane: Arc<Plane>,
    sender: Sender<Bytes>,
    node: String,
    asked: BTreeMap<String, Asked>,
    nonces: u64,
}

impl Stream {
    /// Until the Envoy goes, or says what is no message.
    async fn run(&mut self, mut body: Incoming) {
        let mut published = self.plane.published.clone();
        let mut buffer = Vec::new();
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let Some(Ok(frame)) = frame else { return };
                    let Ok(bytes) = frame.into_data() else { continue };
                    buffer.extend_from_slice(&bytes);
                    loop {
                        match message(&mut buffer) {
                            Ok(Some(message)) => {
                                let Ok(request) = wire::Request::read(&message) else { return };
                                self.hear(request);
                            }
                            Ok(None) => break,
                            Err(TooLong) => return,
                        }
                    }
                }
                changed = published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let offers = Arc::clone(&published.borrow_and_update());
            if self.send(&offers).await.is_err() {
                return;
            }
        }
    }

    fn hear(&mut self, request: wire::Request) {
        // In an aggregated stream an Envoy may ask for other things; they are somebody else's.
        if request.type_url != wire::FILTER {
            return;
        }
        if !request.node.is_empty() {
            self.node = request.node;
        }
        for (name, asked) in &mut self.asked {
            if !asked.nonce.is_empty() && asked.nonce == request.nonce {
                asked.nonce.clear();
                self.plane.board.answered(&(self.number, name.clone()), request.refusal.as_deref());
            }
        }
        self.asked.retain(|name, _| request.names.contains(name));
        for name in request.names {
            self.asked.entry(name).or_default();
        }
    }

    /// Sends what the Envoy does not have yet, each filter in a message of its own: one that is refused
    /// then holds up no other.
    async fn send(&mut self, offers: &super::Published) -> Result<(), ()> {
        for (name, asked) in &mut self.asked {
            let Some(offer) = offers.get(name).filter(|offer| offer.version != asked.sent) else { continue };
            self.nonces += 1;
            asked.nonce = self.nonces.to_string();
            asked.sent.clone_from(&offer.version);
            let message = wire::response(&offer.version, &asked.nonce, std::iter::once(&offer.bytes[..]));
            let length = u32::try_from(message.len()).map_err(drop)?;
            // gRPC: not compressed, then the length.
            let framed = [&[0][..], &length.to_be_bytes(), &message].concat();
            self.plane.board.offered(&(self.number, name.clone()), &self.node, &offer.version);
            self.sender.send(Frame::data(framed.into())).await.map_err(drop)?;
        }
        Ok(())
    }
}

struct TooLong;

/// Takes the first whole message out of `buffer`.
fn message(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, TooLong> {
    let Some((head, rest)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
    let [compressed, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    // Nobody was told that compression is understood.
    if length > MAX_MESSAGE || compressed != 0 {
        return Err(TooLong);
    }
    if rest.len() < length {
        return Ok(None);
    }
    let message = rest[..length].to_vec();
    buffer.drain(..5 + length);
    Ok(Some(message))
}
