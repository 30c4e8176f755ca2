//! One stream's way through the filters: what each of them holds, what waits, what came out.

use crate::error::Trap;
use crate::headers::Headers;
use crate::shared::lock;
use crate::state::Reply;
use crate::stream::{Direction, Event, LocalReply, Outcome, Piece, StreamId, StreamInfo};
use crate::vm::{Plugin, Vm};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A filter's part in a stream.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) vm: u64,
    pub(crate) root: Option<u32>,
    pub(crate) context: Option<u32>,
    body_passes_held_headers: bool,
    request: Lane,
    response: Lane,
}

/// One direction at one filter.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// The filter holds headers; whether they end the stream.
    headers: Option<bool>,
    /// The filter holds body bytes; whether they end the stream.
    body: Option<bool>,
    trailers: bool,
    /// Nothing more is shown to the filter until it continues.
    stopped: bool,
    waiting: VecDeque<Piece>,
    waiting_bytes: usize,
}

impl Lane {
    pub(crate) fn waits(&self) -> bool {
        self.stopped
    }

    fn holds(&self) -> bool {
        self.stopped || self.headers.is_some() || self.body.is_some() || self.trailers
    }

    /// `false` when more would wait than may.
    pub(crate) fn wait(&mut self, piece: Piece, limit: usize) -> bool {
        if let Piece::Body { bytes, .. } = &piece {
            self.waiting_bytes = self.waiting_bytes.saturating_add(bytes.len());
        }
        // An endless number of empty pieces must not be free either.
        let fits = self.waiting_bytes <= limit && self.waiting.len() <= limit;
        if fits {
            self.waiting.push_back(piece);
        }
        fits
    }
}

impl Slot {
    pub(crate) fn new(vm: u64, plugin: &Plugin) -> Self {
        Self {
            vm,
            root: None,
            context: None,
            body_passes_held_headers: plugin.allow_on_headers_stop_iteration,
            request: Lane::default(),
            response: Lane::default(),
        }
    }

    pub(crate) fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.request.holds() || self.response.holds()
    }
}

/// What a filter said to a piece.
pub(crate) enum Verdict {
    Continue,
    Hold,
    TooLarge,
}

/// A filter's context is made when the first piece reaches it.
pub(crate) fn ensure_context(
    slot: &mut Slot,
    vm: &mut Vm,
    stream: StreamId,
    info: Arc<Mutex<StreamInfo>>,
) -> Result<(), Trap> {
    if slot.context.is_none() {
        slot.root = Some(vm.root);
        slot.context = Some(vm.create_stream(vm.root, stream, info)?);
    }
    Ok(())
}

/// Shows a piece to a filter.
pub(crate) fn call(
    slot: &mut Slot,
    vm: &mut Vm,
    direction: Direction,
    piece: Piece,
    limit: usize,
) -> Result<Verdict, Trap> {
    let Some(context) = slot.context else { return Ok(Verdict::Continue) };
    let passes = slot.body_passes_held_headers;
    let lane = slot.lane(direction);
    let Some(seen) = vm.state().stream_context(context) else { return Ok(Verdict::Continue) };
    let view = seen.view(direction);
    match piece {
        Piece::Headers { headers, end_of_stream } => {
            let count = headers.count();
            view.headers = Some(headers);
            lane.headers = Some(end_of_stream);
            let action = vm.on_headers(context, direction, count, end_of_stream)?;
            // 1 is StopIteration, which stops everything unless the plugin is allowed to see the
            // body first; every other number but 0 stops everything.
            lane.stopped = action != 0 && !(action == 1 && passes);
            Ok(if action == 0 { Verdict::Continue } else { Verdict::Hold })
        }
        Piece::Body { bytes, end_of_stream } => {
            let body = view.body.get_or_insert_default();
            if body.len().saturating_add(bytes.len()) > limit {
                return Ok(Verdict::TooLarge);
            }
            body.extend_from_slice(&bytes);
            let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
            lane.body = Some(end_of_stream);
            match vm.on_body(context, direction, size, end_of_stream)? {
                0 => Ok(Verdict::Continue),
                1 | 2 => Ok(Verdict::Hold),
                // StopIterationNoBuffer, and what Envoy makes of every other number.
                _ => {
                    if let Some(seen) = vm.state().stream_context(context) {
                        seen.view(direction).body = None;
                    }
                    Ok(Verdict::Hold)
                }
            }
        }
        Piece::Trailers(trailers) => {
            let count = trailers.count();
            view.trailers = Some(trailers);
            lane.trailers = true;
            let action = vm.on_trailers(context, direction, count)?;
            lane.stopped = action != 0;
            Ok(if action == 0 { Verdict::Continue } else { Verdict::Hold })
        }
    }
}

/// Takes what a filter holds, in order, and what waited behind it.
pub(crate) fn release(slot: &mut Slot, vm: &mut Vm, direction: Direction) -> (Vec<Piece>, VecDeque<Piece>) {
    let context = slot.context;
    let lane = core::mem::take(slot.lane(direction));
    let view = context
        .and_then(|context| vm.state().stream_context(context))
        .map(|seen| core::mem::take(seen.view(direction)));
    let view = view.unwrap_or_default();
    let headers = lane
        .headers
        .zip(view.headers)
        .map(|(end_of_stream, headers)| Piece::Headers { headers, end_of_stream });
    let body =
        lane.body.map(|end_of_stream| Piece::Body { bytes: view.body.unwrap_or_default(), end_of_stream });
    let trailers = view.trailers.map(Piece::Trailers);
    (headers.into_iter().chain(body).chain(trailers).collect(), lane.waiting)
}

/// How a stream ended before its messages did.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Reply,
    Reset,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) info: Arc<Mutex<StreamInfo>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) is_grpc: bool,
    /// The local reply on its way out, and the trap behind it.
    pub(crate) reply: Option<(LocalReply, Option<Trap>)>,
    request: Vec<Piece>,
    response: Vec<Piece>,
    answered: bool,
    ended: Option<Ended>,
    announced: bool,
}

impl Stream {
    pub(crate) fn new(info: Arc<Mutex<StreamInfo>>, slots: Vec<Slot>) -> Self {
        let (request, response) = (Vec::new(), Vec::new());
        Self {
            info,
            slots,
            is_grpc: false,
            reply: None,
            request,
            response,
            answered: false,
            ended: None,
            announced: false,
        }
    }

    /// The filter at a step of a direction: responses go backwards.
    pub(crate) fn slot_at(&self, direction: Direction, step: usize) -> Option<usize> {
        match direction {
            Direction::Request => (step < self.slots.len()).then_some(step),
            Direction::Response => self.slots.len().checked_sub(step.checked_add(1)?),
        }
    }

    /// The step at which a context holds something.
    pub(crate) fn held_step(&self, vm: u64, context: u32, direction: Direction) -> Option<usize> {
        let index = self.slots.iter().position(|slot| slot.vm == vm && slot.context == Some(context))?;
        let slot = self.slots.get(index)?;
        let lane = match direction {
            Direction::Request => &slot.request,
            Direction::Response => &slot.response,
        };
        lane.holds().then(|| match direction {
            Direction::Request => index,
            Direction::Response => self.slots.len().saturating_sub(index).saturating_sub(1),
        })
    }

    pub(crate) fn is_held(&self, direction: Direction) -> bool {
        self.slots.iter().any(|slot| match direction {
            Direction::Request => slot.request.holds(),
            Direction::Response => slot.response.holds(),
        })
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Has the client got response headers?
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Does nothing of this direction go on any more?
    pub(crate) fn is_over(&self, direction: Direction) -> bool {
        self.is_ended() || (direction == Direction::Request && self.reply.is_some())
    }

    pub(crate) fn end(&mut self, how: Ended) {
        if self.ended.is_none() {
            self.ended = Some(how);
            self.request.clear();
            self.response.clear();
        }
    }

    pub(crate) fn begin_reply(&mut self, reply: &Reply, trap: Option<Trap>) {
        let (details, grpc_status) = (reply.details.clone(), reply.grpc_status);
        self.reply =
            Some((LocalReply { headers: Headers::new(), body: Vec::new(), details, grpc_status }, trap));
        self.request.clear();
    }

    /// A piece leaves the chain. Returns whether the embedder should hear of it now.
    pub(crate) fn emit(&mut self, direction: Direction, piece: Piece) -> bool {
        if let Piece::Headers { headers, .. } = &piece {
            let mut info = lock(&self.info);
            match direction {
                Direction::Request => info.request = headers.clone(),
                Direction::Response => info.response = headers.clone(),
            }
        }
        if direction == Direction::Request {
            self.request.push(piece);
            return true;
        }
        let Some((reply, _)) = &mut self.reply else {
            self.answered = true;
            self.response.push(piece);
            return true;
        };
        let ends = piece.ends();
        match piece {
            Piece::Headers { headers, .. } => reply.headers = headers,
            Piece::Body { bytes, .. } => reply.body.extend_from_slice(&bytes),
            Piece::Trailers(_) => {}
        }
        if ends {
            self.end(Ended::Reply);
        }
        ends
    }

    /// What the driven direction has come to; the other direction's share becomes an event.
    pub(crate) fn outcome(&mut self, direction: Direction, events: &mut Vec<Event>, id: StreamId) -> Outcome {
        if let Some(outcome) = self.ending() {
            return outcome;
        }
        let (own, other, opposite) = match direction {
            Direction::Request => (&mut self.request, &mut self.response, Direction::Response),
            Direction::Response => (&mut self.response, &mut self.request, Direction::Request),
        };
        if !other.is_empty() {
            let outcome = Outcome::Forward(core::mem::take(other));
            events.push(Event { stream: id, direction: opposite, outcome });
        }
        if own.is_empty() { Outcome::Pause } else { Outcome::Forward(core::mem::take(own)) }
    }

    /// What has happened, as events.
    pub(crate) fn events(&mut self, events: &mut Vec<Event>, id: StreamId) {
        if self.ended.is_some() {
            if !self.announced
                && let Some(outcome) = self.ending()
            {
                events.push(Event { stream: id, direction: Direction::Response, outcome });
            }
            return;
        }
        for (direction, pieces) in
            [(Direction::Request, &mut self.request), (Direction::Response, &mut self.response)]
        {
            if !pieces.is_empty() {
                events.push(Event {
                    stream: id,
                    direction,
                    outcome: Outcome::Forward(core::mem::take(pieces)),
                });
            }
        }
    }

    /// How the stream ended; told once as it was, after that the stream is gone.
    fn ending(&mut self) -> Option<Outcome> {
        let ended = self.ended.as_ref()?;
        if core::mem::replace(&mut self.announced, true) {
            return Some(Outcome::Reset);
        }
        Some(match (ended, self.reply.take()) {
            (Ended::Reply, Some((reply, Some(trap)))) => Outcome::Trapped(trap, reply),
            (Ended::Reply, Some((reply, None))) => Outcome::Reply(reply),
            _ => Outcome::Reset,
        })
    }
}
