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

use super::{
    Plane,
    board::Place,
    published::Published,
    wire::{self, Kind},
};

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
        let mut stream = Stream {
            number,
            plane,
            sender,
            node: String::new(),
            asked: BTreeMap::new(),
            flights: BTreeMap::new(),
            listening: None,
            nonces: 0,
        };
        stream.run(request.into_body()).await;
        stream.plane.board.gone(number);
    });
    Ok(response.map(|_| Either::Left(channel)))
}

/// What was sent last and is not answered yet: of one kind, one thing at a time, so that an answer
/// says what it is about.
struct Flight {
    nonce: String,
    place: Place,
    offers: Arc<Published>,
}

struct Stream {
    number: u64,
    plane: Arc<Plane>,
    sender: Sender<Bytes>,
    node: String,
    /// What the Envoy has asked for, and the version that was sent last: it is not sent again, whether
    /// it was taken or refused. Of clusters and listeners an Envoy takes all, under no name.
    asked: BTreeMap<(Kind, String), String>,
    flights: BTreeMap<Kind, Flight>,
    /// What was served when the Envoy took its listeners.
    listening: Option<Arc<Published>>,
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
        let Some(kind) = Kind::of(&request.type_url) else { return };
        if !request.node.is_empty() {
            self.node = request.node;
        }
        if let Some(flight) = self.flights.remove(&kind) {
            if flight.nonce == request.nonce {
                self.plane.board.answered(&flight.place, request.refusal.as_deref());
                if kind == Kind::Listener && request.refusal.is_none() {
                    self.listening = Some(flight.offers);
                }
            } else {
                self.flights.insert(kind, flight);
            }
        }
        let names = if kind == Kind::Filter { request.names } else { vec![String::new()] };
        self.asked.retain(|(own, name), _| *own != kind || names.contains(name));
        for name in names {
            self.asked.entry((kind, name)).or_default();
        }
    }

    /// Sends what the Envoy does not have yet, each filter in a message of its own: one that is refused
    /// then holds up no other.
    async fn send(&mut self, offers: &Arc<Published>) -> Result<(), ()> {
        let due = self.asked.iter().filter_map(|((kind, name), sent)| {
            let wanted = self.wanted(*kind, name, offers)?;
            (wanted.version != *sent).then(|| (*kind, name.clone(), wanted))
        });
        for (kind, name, wanted) in due.collect::<Vec<_>>() {
            // A listener is sent to an Envoy that has answered to its clusters.
            let waits = kind == Kind::Listener && self.flights.contains_key(&Kind::Cluster);
            if waits || self.flights.contains_key(&kind) {
                continue;
            }
            self.nonces += 1;
            let nonce = self.nonces.to_string();
            let Wanted { version, names, from } = wanted;
            let resources = from
                .all(kind)
                .filter(|(own, _)| kind != Kind::Filter || **own == name)
                .map(|(_, offer)| &offer.message);
            let message = wire::response(kind, &version, &nonce, resources).into_bytes();
            let length = u32::try_from(message.len()).map_err(drop)?;
            // gRPC: not compressed, then the length.
            let framed = [&[0][..], &length.to_be_bytes(), &message].concat();
            let place = Place { stream: self.number, kind, name: name.clone() };
            self.plane.board.offered(&place, &self.node, &version, &names);
            self.flights.insert(kind, Flight { nonce, place, offers: Arc::clone(offers) });
            self.asked.insert((kind, name), version);
            self.sender.send(Frame::data(framed.into())).await.map_err(drop)?;
        }
        Ok(())
    }

    /// What the Envoy should have under a name; nothing where nothing is served.
    fn wanted(&self, kind: Kind, name: &str, offers: &Arc<Published>) -> Option<Wanted> {
        if kind == Kind::Filter {
            let version = offers.get(kind, name)?.version.clone();
            return Some(Wanted { version, names: name.to_owned(), from: Arc::clone(offers) });
        }
        // Until it has taken the listeners that go with them, it needs the clusters of those it has.
        let before = self.listening.as_ref().filter(|before| {
            kind == Kind::Cluster && before.set(Kind::Listener) != offers.set(Kind::Listener)
        });
        let from = match before {
            Some(before) => Arc::new(offers.with_clusters_of(before)),
            None => Arc::clone(offers),
        };
        let (version, names) = from.set(kind);
        Some(Wanted { version, names, from })
    }
}

/// One answer's content.
struct Wanted {
    version: String,
    names: String,
    from: Arc<Published>,
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
