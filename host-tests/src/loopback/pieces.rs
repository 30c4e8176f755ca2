//! A body that is sent piece by piece, so that whoever reads it sees each of them by itself.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    HeaderMap,
    body::{Body, Bytes, Frame, SizeHint},
    header::{HeaderName, HeaderValue},
};

/// Long enough to be read apart on a loaded machine, mostly: a test must not need it.
const PAUSE: Duration = Duration::from_millis(2);

/// What is still to be sent.
pub(super) struct Pieces {
    frames: VecDeque<Frame<Bytes>>,
    whole: bool,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Pieces {
    pub(super) fn new(body: Vec<u8>, cuts: &[usize], trailers: &[(String, String)]) -> Self {
        let body = Bytes::from(body);
        let mut frames = VecDeque::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([body.len()]) {
            let piece = body.slice(from.min(body.len())..to.clamp(from.min(body.len()), body.len()));
            if !piece.is_empty() {
                frames.push_back(Frame::data(piece));
            }
            from = to;
        }
        let map: HeaderMap = trailers
            .iter()
            .filter_map(|(name, value)| {
                Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
            })
            .collect();
        let whole = map.is_empty() && cuts.is_empty();
        if !map.is_empty() {
            frames.push_back(Frame::trailers(map));
        }
        Self { frames, whole, pause: None }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            match pause.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.pause = None,
            }
        }
        let frame = self.frames.pop_front();
        if !self.whole && frame.is_some() {
            self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.whole {
            return SizeHint::default();
        }
        let sizes = self.frames.iter().filter_map(|frame| frame.data_ref().map(Bytes::len));
        SizeHint::with_exact(sizes.sum::<usize>() as u64)
    }
}
