//! [`Worker`]: one thread of a proxy, with a chain of filters and the streams that go through it.
//!
//! The order of things is Envoy's filter manager's. A request's pieces go through the filters first
//! to last, a response's last to first. What a callback asks for (continue, reply, close) happens
//! when it has returned. Work that this causes is queued and done before the embedder gets its
//! outcome, so nothing here calls itself.

mod drive;

use crate::call::{CallFailure, CallId, CallResponse, OutgoingCall};
use crate::chain::{Slot, Stream};
use crate::error::{HostError, Trap};
use crate::headers::Headers;
use crate::module::Module;
use crate::process::Process;
use crate::reply;
use crate::shared::{Mailbox, lock};
use crate::stream::{Direction, Event, Outcome, Piece, StreamId, StreamInfo};
use crate::vm::{Plugin, Vm};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A thread of a proxy. It is driven: every call does what can be done now and returns.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    mailbox: Arc<Mailbox>,
    vms: BTreeMap<u64, Vm>,
    chain: Vec<Filter>,
    streams: HashMap<u64, Stream>,
    next_stream: u64,
    work: VecDeque<Work>,
    touched: BTreeSet<u64>,
    events: Vec<Event>,
    calls: Vec<OutgoingCall>,
}

#[derive(Debug)]
struct Filter {
    vm: u64,
    module: Module,
    plugin: Plugin,
}

/// A piece on its way to the filter at a step of a direction; the step after the last is the way out.
#[derive(Debug)]
struct Work {
    stream: u64,
    direction: Direction,
    step: usize,
    piece: Piece,
    /// It belongs to a local reply; the upstream's own response is dropped once there is one.
    of_reply: bool,
}

impl Worker {
    /// A worker without filters: everything goes through.
    #[must_use]
    pub fn new(process: &Process) -> Self {
        Self {
            process: process.clone(),
            mailbox: Arc::default(),
            vms: BTreeMap::new(),
            chain: Vec::new(),
            streams: HashMap::new(),
            next_stream: 0,
            work: VecDeque::new(),
            touched: BTreeSet::new(),
            events: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The process that this worker belongs to.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts a plugin in a VM of its own and puts it at the end of the chain. Returns its place.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] or [`HostError::Trapped`], with what the guest logged.
    pub fn add(&mut self, module: &Module, plugin: Plugin) -> Result<usize, HostError> {
        let vm = self.start(module, &plugin)?;
        self.chain.push(Filter { vm, module: module.clone(), plugin });
        Ok(self.chain.len().saturating_sub(1))
    }

    /// Gives a filter another configuration, in the same VM: a new root context is made for it and
    /// new streams get that one. When it refuses, the old configuration goes on to work.
    ///
    /// # Errors
    ///
    /// As [`Worker::add`], and [`HostError::NoSuchFilter`].
    pub fn reconfigure(&mut self, filter: usize, configuration: impl Into<Vec<u8>>) -> Result<(), HostError> {
        let configuration = configuration.into();
        let entry = self.chain.get_mut(filter).ok_or(HostError::NoSuchFilter(filter))?;
        let (id, vm) = (entry.vm, self.vms.get_mut(&entry.vm).ok_or(HostError::NoSuchFilter(filter))?);
        let result = vm.reconfigure(configuration.clone());
        if result.is_ok() {
            entry.plugin.configuration = configuration;
        }
        self.after_call(id);
        self.drain();
        let old = result?;
        self.retire_root(id, old);
        Ok(())
    }

    /// Puts a new VM in a filter's place. Streams that are under way finish in the old one.
    ///
    /// # Errors
    ///
    /// As [`Worker::add`], and [`HostError::NoSuchFilter`]; the old VM then goes on to work.
    pub fn replace(&mut self, filter: usize, module: &Module, plugin: Plugin) -> Result<(), HostError> {
        if filter >= self.chain.len() {
            return Err(HostError::NoSuchFilter(filter));
        }
        let vm = self.start(module, &plugin)?;
        if let Some(entry) = self.chain.get_mut(filter) {
            *entry = Filter { vm, module: module.clone(), plugin };
        }
        self.drop_unused_vms();
        Ok(())
    }

    /// A new VM of the same module and plugin, after a trap.
    ///
    /// # Errors
    ///
    /// As [`Worker::replace`].
    pub fn restart(&mut self, filter: usize) -> Result<(), HostError> {
        let entry = self.chain.get(filter).ok_or(HostError::NoSuchFilter(filter))?;
        let (module, plugin) = (entry.module.clone(), entry.plugin.clone());
        self.replace(filter, &module, plugin)
    }

    /// WebAssembly instructions that the VM of `filter` has executed, from its start on; `None`
    /// where its module is not of [`Engine::counting`](crate::Engine::counting). The same module
    /// with the same inputs executes the same number on every machine.
    #[must_use]
    pub fn instructions(&self, filter: usize) -> Option<u64> {
        self.chain.get(filter).and_then(|entry| self.vms.get(&entry.vm)).and_then(Vm::instructions)
    }

    /// Bytes of linear memory that the VM of `filter` has; they never become fewer. `None` where there
    /// is no such filter.
    #[must_use]
    pub fn memory(&self, filter: usize) -> Option<usize> {
        self.chain.get(filter).and_then(|entry| self.vms.get(&entry.vm)).and_then(Vm::memory)
    }

    /// What stopped a filter's VM, if something has.
    #[must_use]
    pub fn trap(&self, filter: usize) -> Option<&Trap> {
        self.chain.get(filter).and_then(|entry| self.vms.get(&entry.vm)).and_then(Vm::trap)
    }

    /// Begins a stream through the chain as it is now.
    pub fn open(&mut self, info: StreamInfo) -> StreamId {
        self.next_stream = self.next_stream.wrapping_add(1);
        let id = StreamId(self.next_stream);
        let slots = self.chain.iter().map(|filter| Slot::new(filter.vm, &filter.plugin));
        let stream = Stream::new(Arc::new(Mutex::new(info)), slots.collect());
        self.streams.insert(id.0, stream);
        id
    }

    /// The stream's properties as they are now.
    #[must_use]
    pub fn info(&self, stream: StreamId) -> Option<StreamInfo> {
        self.streams.get(&stream.0).map(|stream| lock(&stream.info).clone())
    }

    /// The request's headers, with `:method`, `:path`, `:authority` and `:scheme`.
    pub fn request_headers(
        &mut self,
        stream: StreamId,
        headers: impl Into<Headers>,
        end_of_stream: bool,
    ) -> Outcome {
        let headers = headers.into();
        if let Some(stream) = self.streams.get_mut(&stream.0) {
            stream.is_grpc = reply::is_grpc(&headers);
        }
        self.drive(stream, Direction::Request, Piece::Headers { headers, end_of_stream })
    }

    /// Some of the request's body.
    pub fn request_body(
        &mut self,
        stream: StreamId,
        bytes: impl Into<Vec<u8>>,
        end_of_stream: bool,
    ) -> Outcome {
        self.drive(stream, Direction::Request, Piece::Body { bytes: bytes.into(), end_of_stream })
    }

    /// The request's trailers; they end it.
    pub fn request_trailers(&mut self, stream: StreamId, trailers: impl Into<Headers>) -> Outcome {
        self.drive(stream, Direction::Request, Piece::Trailers(trailers.into()))
    }

    /// The upstream's response headers, with `:status`.
    pub fn response_headers(
        &mut self,
        stream: StreamId,
        headers: impl Into<Headers>,
        end_of_stream: bool,
    ) -> Outcome {
        self.drive(stream, Direction::Response, Piece::Headers { headers: headers.into(), end_of_stream })
    }

    /// Some of the response's body.
    pub fn response_body(
        &mut self,
        stream: StreamId,
        bytes: impl Into<Vec<u8>>,
        end_of_stream: bool,
    ) -> Outcome {
        self.drive(stream, Direction::Response, Piece::Body { bytes: bytes.into(), end_of_stream })
    }

    /// The response's trailers; they end it.
    pub fn response_trailers(&mut self, stream: StreamId, trailers: impl Into<Headers>) -> Outcome {
        self.drive(stream, Direction::Response, Piece::Trailers(trailers.into()))
    }

    /// Ends a stream, at whatever point it is: each filter that saw it gets `proxy_on_log`,
    /// `proxy_on_done` and `proxy_on_delete`. Call it once for every stream.
    pub fn close(&mut self, stream: StreamId) {
        let Some(mut ended) = self.streams.remove(&stream.0) else { return };
        let (request, response) = {
            let info = lock(&ended.info);
            (info.request.clone(), info.response.clone())
        };
        for slot in &mut ended.slots {
            let Some(context) = slot.context else { continue };
            let Some(vm) = self.vms.get_mut(&slot.vm) else { continue };
            if let Some(seen) = vm.state().stream_context(context) {
                // In the log phase both header maps can be read again.
                seen.request.headers.get_or_insert_with(|| request.clone());
                seen.response.headers.get_or_insert_with(|| response.clone());
            }
            // A trap has stopped the VM: its other streams hear of it in `after_call`.
            let _ = vm.end_stream(context);
            self.after_call(slot.vm);
        }
        self.drain();
        self.collect(None);
        self.drop_unused_vms();
    }

    /// How many streams are open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Is a piece of this direction held by a filter?
    #[must_use]
    pub fn is_paused(&self, stream: StreamId, direction: Direction) -> bool {
        self.streams.get(&stream.0).is_some_and(|stream| stream.is_held(direction))
    }

    /// The HTTP calls that guests want to be made, each once.
    #[must_use]
    pub fn take_calls(&mut self) -> Vec<OutgoingCall> {
        core::mem::take(&mut self.calls)
    }

    /// Answers a call. An answer that nobody waits for any more is dropped.
    pub fn complete_call(&mut self, call: CallId, answer: Result<CallResponse, CallFailure>) -> Vec<Event> {
        if let Some(vm) = self.vms.get_mut(&call.vm)
            && let Some(root) = vm.state().waiting.remove(&call.token)
            && vm.state().contexts.contains_key(&root)
        {
            let _ = vm.on_http_call_response(root, call.token, answer.ok());
            self.after_call(call.vm);
            self.drain();
            self.collect(None);
        }
        self.take_events()
    }

    /// When the next tick is due, on the process's monotonic clock.
    #[must_use]
    pub fn next_tick(&mut self) -> Option<Duration> {
        let live = self.vms.values_mut().filter(|vm| vm.trap().is_none());
        live.filter_map(|vm| vm.state().ticks.values().map(|tick| tick.due).min()).min()
    }

    /// Is there something for [`Worker::poll`] to do now?
    #[must_use]
    pub fn has_work(&mut self) -> bool {
        let now = self.process.clock().monotonic();
        !self.mailbox.is_empty() || self.next_tick().is_some_and(|due| due <= now)
    }

    /// Runs the ticks that are due, each once, and tells roots of the queues that have something.
    pub fn poll(&mut self) -> Vec<Event> {
        let now = self.process.clock().monotonic();
        let due: Vec<(u64, u32)> = self
            .vms
            .iter_mut()
            .flat_map(|(id, vm)| {
                let ticks = vm.state().ticks.iter_mut().filter(|(_, tick)| tick.due <= now);
                ticks
                    .map(|(root, tick)| {
                        tick.due = now.saturating_add(tick.period);
                        (*id, *root)
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        for (id, root) in due {
            if let Some(vm) = self.vms.get_mut(&id) {
                let _ = vm.on_tick(root);
                self.after_call(id);
                self.drain();
            }
        }
        while let Some(notice) = self.mailbox.take() {
            if let Some(vm) = self.vms.get_mut(&notice.vm)
                && vm.state().contexts.contains_key(&notice.root)
            {
                let _ = vm.on_queue_ready(notice.root, notice.queue);
                self.after_call(notice.vm);
                self.drain();
            }
        }
        self.collect(None);
        self.take_events()
    }

    /// What happened to streams other than those that the embedder drove.
    #[must_use]
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// Is called, on another worker's thread, when [`Worker::poll`] has a queue's notice to give.
    pub fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.mailbox.set_waker(Box::new(wake));
    }

    fn start(&mut self, module: &Module, plugin: &Plugin) -> Result<u64, HostError> {
        let mut vm = Vm::start(module, &self.process, &self.mailbox, plugin.clone())?;
        vm.state().lines = None;
        let id = vm.id();
        self.vms.insert(id, vm);
        self.after_call(id);
        self.drain();
        Ok(id)
    }

    /// Roots that were replaced go when their last stream has gone; VMs likewise.
    fn retire_root(&mut self, vm: u64, root: u32) {
        if let Some(vm) = self.vms.get_mut(&vm) {
            vm.retired.push(root);
        }
        self.drop_unused_vms();
    }

    fn drop_unused_vms(&mut self) {
        // The common case, and the reason why closing a stream does not look at all others.
        if self.vms.len() == self.chain.len() && self.vms.values().all(|vm| vm.retired.is_empty()) {
            return;
        }
        let wanted = |vm: u64, root: Option<u32>| {
            self.streams.values().flat_map(|stream| &stream.slots).any(|slot| {
                slot.vm == vm && slot.context.is_some() && root.is_none_or(|root| slot.root == Some(root))
            })
        };
        let mut ended = Vec::new();
        for (id, vm) in &self.vms {
            let idle = vm.retired.iter().copied().filter(|root| !wanted(*id, Some(*root)));
            ended.extend(idle.map(|root| (*id, root)));
        }
        let in_chain = |vm: u64| self.chain.iter().any(|filter| filter.vm == vm);
        let unused: Vec<u64> =
            self.vms.keys().copied().filter(|id| !in_chain(*id) && !wanted(*id, None)).collect();
        for (id, root) in ended {
            if let Some(vm) = self.vms.get_mut(&id) {
                vm.retired.retain(|old| *old != root);
                let _ = vm.end_root(root);
                self.after_call(id);
            }
        }
        for id in unused {
            if let Some(mut vm) = self.vms.remove(&id) {
                let _ = vm.end_root(vm.root);
            }
        }
    }
}
