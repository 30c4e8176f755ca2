//! How a worker does its work: pieces through filters, what callbacks asked for, replies, traps.

use super::{Work, Worker};
use crate::chain::{self, Ended, Lane};
use crate::error::Trap;
use crate::reply;
use crate::state::{Action, Reply, View};
use crate::stream::{Direction, Outcome, Piece, StreamId};
use crate::vm::Vm;
use std::sync::Arc;

impl Worker {
    /// Puts a piece in, does all work, and says what became of it.
    pub(super) fn drive(&mut self, id: StreamId, direction: Direction, piece: Piece) -> Outcome {
        if !self.streams.contains_key(&id.0) {
            return Outcome::Reset;
        }
        self.work.push_back(Work { stream: id.0, direction, step: 0, piece, of_reply: false });
        self.drain();
        self.collect(Some(id));
        let Some(stream) = self.streams.get_mut(&id.0) else { return Outcome::Reset };
        stream.outcome(direction, &mut self.events, id)
    }

    pub(super) fn drain(&mut self) {
        while let Some(work) = self.work.pop_front() {
            self.deliver(work);
        }
    }

    fn deliver(&mut self, work: Work) {
        let Work { stream: id, direction, step, piece, of_reply } = work;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_over(direction) || stream.reply.is_some() != of_reply {
            return;
        }
        let Some(index) = stream.slot_at(direction, step) else {
            if stream.emit(direction, piece) {
                self.touched.insert(id);
            }
            return;
        };
        let limit = self.process.0.limits.body;
        let Some(slot) = stream.slots.get_mut(index) else { return };
        if direction == Direction::Response && slot.context.is_none() {
            // A filter that never saw the request does not see the answer, as in Envoy.
            self.work.push_back(Work {
                stream: id,
                direction,
                step: step.saturating_add(1),
                piece,
                of_reply,
            });
            return;
        }
        if slot.lane(direction).waits() {
            if !slot.lane(direction).wait(piece, limit) {
                self.too_large(id, direction);
            }
            return;
        }
        self.filter(id, direction, step, index, piece);
    }

    /// Runs one filter's callback for a piece and lets on what it does not hold.
    fn filter(&mut self, id: u64, direction: Direction, step: usize, index: usize, piece: Piece) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let info = Arc::clone(&stream.info);
        let replying = stream.reply.is_some();
        let Some(slot) = stream.slots.get_mut(index) else { return };
        let (vm_id, Some(vm)) = (slot.vm, self.vms.get_mut(&slot.vm)) else { return };
        if let Some(trap) = vm.trap().cloned() {
            if replying && direction == Direction::Response {
                let step = step.saturating_add(1);
                self.work.push_back(Work { stream: id, direction, step, piece, of_reply: replying });
            } else {
                self.fail_stream(id, trap);
            }
            return;
        }
        if let Err(trap) = chain::ensure_context(slot, vm, StreamId(id), info) {
            self.trapped(vm_id, Some(id), &trap);
            return;
        }
        match chain::call(slot, vm, direction, piece, self.process.0.limits.body) {
            Ok(chain::Verdict::Continue) => self.release(id, direction, step),
            Ok(chain::Verdict::Hold) => {}
            Ok(chain::Verdict::TooLarge) => self.too_large(id, direction),
            Err(trap) => self.trapped(vm_id, Some(id), &trap),
        }
        self.after_call(vm_id);
    }

    /// Sends on what the filter at a step holds, and then what waited for it.
    fn release(&mut self, id: u64, direction: Direction, step: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let of_reply = stream.reply.is_some();
        let Some(index) = stream.slot_at(direction, step) else { return };
        let Some(slot) = stream.slots.get_mut(index) else { return };
        let Some(vm) = self.vms.get_mut(&slot.vm) else { return };
        let (held, waiting) = chain::release(slot, vm, direction);
        let next = step.saturating_add(1);
        self.work.extend(held.into_iter().map(|piece| Work {
            stream: id,
            direction,
            step: next,
            piece,
            of_reply,
        }));
        self.work.extend(waiting.into_iter().map(|piece| Work {
            stream: id,
            direction,
            step,
            piece,
            of_reply,
        }));
    }

    /// Carries out what the callbacks of a VM asked for. Called after every call into it.
    pub(super) fn after_call(&mut self, vm_id: u64) {
        let Some(vm) = self.vms.get_mut(&vm_id) else { return };
        let state = vm.state();
        self.calls.append(&mut state.calls);
        let actions = core::mem::take(&mut state.actions);
        for action in actions {
            self.act(vm_id, action);
        }
        if let Some(trap) = self.vms.get(&vm_id).and_then(Vm::trap).cloned() {
            self.trapped(vm_id, None, &trap);
        }
    }

    fn act(&mut self, vm_id: u64, action: Action) {
        let Some(vm) = self.vms.get_mut(&vm_id) else { return };
        let mut stream_of = |context| vm.state().stream_context(context).map(|stream| stream.stream.0);
        match action {
            Action::Continue { context, direction } => {
                let Some(id) = stream_of(context) else { return };
                if let Some(step) =
                    self.streams.get(&id).and_then(|stream| stream.held_step(vm_id, context, direction))
                {
                    self.release(id, direction, step);
                }
            }
            Action::Reply { context, reply } => {
                let Some(id) = stream_of(context) else { return };
                // A filter that answers the answer has stopped it: let it go on, or nobody would
                // get any.
                let response = Direction::Response;
                match self.streams.get(&id).filter(|stream| stream.reply.is_some()) {
                    Some(stream) => {
                        if let Some(step) = stream.held_step(vm_id, context, response) {
                            self.release(id, response, step);
                        }
                    }
                    None => self.reply(id, &reply, None),
                }
            }
            Action::Close { context } => {
                if let Some(stream) =
                    stream_of(context).and_then(|id| self.streams.get_mut(&id).map(|stream| (id, stream)))
                {
                    stream.1.end(Ended::Reset);
                    self.touched.insert(stream.0);
                }
            }
            Action::Done { root } => {
                let _ = vm.delete_context(root);
            }
        }
    }

    /// Answers a stream in the upstream's place; the first answer counts. When the client already
    /// has response headers, nothing but a reset is left.
    fn reply(&mut self, id: u64, reply: &Reply, trap: Option<Trap>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_ended() || stream.reply.is_some() {
            return;
        }
        self.touched.insert(id);
        if stream.has_answered() {
            stream.end(Ended::Reset);
            return;
        }
        let pieces = reply::pieces(reply, stream.is_grpc);
        stream.begin_reply(reply, trap);
        for slot in &mut stream.slots {
            *slot.lane(Direction::Response) = Lane::default();
            if let (Some(context), Some(vm)) = (slot.context, self.vms.get_mut(&slot.vm))
                && let Some(seen) = vm.state().stream_context(context)
            {
                seen.response = View::default();
            }
        }
        let direction = Direction::Response;
        self.work.extend(pieces.into_iter().map(|piece| Work {
            stream: id,
            direction,
            step: 0,
            piece,
            of_reply: true,
        }));
    }

    fn too_large(&mut self, id: u64, direction: Direction) {
        let (status, details) = match direction {
            Direction::Request => (413, "request_payload_too_large"),
            Direction::Response => (500, "response_payload_too_large"),
        };
        let reply = Reply { status, details: details.to_owned(), ..Reply::default() };
        self.reply(id, &reply, None);
    }

    fn fail_stream(&mut self, id: u64, trap: Trap) {
        let reply = Reply { status: 503, details: "wasm_fail_stream".to_owned(), ..Reply::default() };
        self.reply(id, &reply, Some(trap));
    }

    /// A VM was stopped: the stream it ran for and every one that it holds fail closed. (Envoy lets
    /// held streams wait for their timeout; the answer is the same.)
    fn trapped(&mut self, vm: u64, current: Option<u64>, trap: &Trap) {
        let held = self.streams.iter().filter(|(id, stream)| {
            current == Some(**id) || stream.slots.iter().any(|slot| slot.vm == vm && slot.is_holding())
        });
        let mut held: Vec<u64> = held.map(|(id, _)| *id).collect();
        held.sort_unstable();
        for id in held {
            self.fail_stream(id, trap.clone());
        }
    }

    /// Makes events of what happened to streams, but for the one that is being driven.
    pub(super) fn collect(&mut self, driven: Option<StreamId>) {
        for id in core::mem::take(&mut self.touched) {
            if driven != Some(StreamId(id))
                && let Some(stream) = self.streams.get_mut(&id)
            {
                stream.events(&mut self.events, StreamId(id));
            }
        }
    }
}
