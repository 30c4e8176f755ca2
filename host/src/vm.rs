//! One VM: an instance of a module with one plugin, and every callback into it.
//!
//! A VM that trapped, or ran past its limit, is stopped for good: no callback runs in it again.

use crate::call::CallResponse;
use crate::error::{HostError, Trap};
use crate::log::LogLine;
use crate::module::{EPOCH, Module};
use crate::process::Process;
use crate::shared::Mailbox;
use crate::state::{Context, RootContext, State, StreamContext, View};
use crate::status::Status;
use crate::stream::{Direction, StreamId, StreamInfo};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use wasmtime::{Instance, Store, StoreLimitsBuilder, TypedFunc, WasmParams, WasmResults};

/// A plugin as a listener configures it.
#[derive(Debug, Clone, Default)]
pub struct Plugin {
    /// `plugin_name`: for logs.
    pub name: String,
    /// `plugin_root_id`.
    pub root_id: String,
    /// `plugin_vm_id`: plugins with the same one share data and queues.
    pub vm_id: String,
    /// What `proxy_on_vm_start` can read.
    pub vm_configuration: Vec<u8>,
    /// What `proxy_on_configure` can read.
    pub configuration: Vec<u8>,
    /// `allow_on_headers_stop_iteration`: pausing on headers then lets the body come, so that a
    /// filter can look at it before the headers go on. Without it everything waits.
    pub allow_on_headers_stop_iteration: bool,
}

impl Plugin {
    /// A plugin whose name is its root id and its VM id as well.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self { root_id: name.clone(), vm_id: name.clone(), name, ..Self::default() }
    }

    /// With this configuration.
    #[must_use]
    pub fn configuration(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.configuration = configuration.into();
        self
    }

    /// With this configuration of the VM.
    #[must_use]
    pub fn vm_configuration(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.vm_configuration = configuration.into();
        self
    }

    /// Lets the body come to a filter that pauses on headers.
    #[must_use]
    pub fn allow_on_headers_stop_iteration(mut self) -> Self {
        self.allow_on_headers_stop_iteration = true;
        self
    }
}

type Func<P, R> = Option<TypedFunc<P, R>>;

struct Exports {
    on_context_create: Func<(u32, u32), ()>,
    on_vm_start: Func<(u32, u32), u32>,
    on_configure: Func<(u32, u32), u32>,
    on_tick: Func<u32, ()>,
    on_queue_ready: Func<(u32, u32), ()>,
    on_http_call_response: Func<(u32, u32, u32, u32, u32), ()>,
    on_headers: [Func<(u32, u32, u32), u32>; 2],
    on_body: [Func<(u32, u32, u32), u32>; 2],
    on_trailers: [Func<(u32, u32), u32>; 2],
    on_log: Func<u32, ()>,
    on_done: Func<u32, u32>,
    on_delete: Func<u32, ()>,
}

/// An instance of a module.
pub(crate) struct Vm {
    store: Store<State>,
    exports: Exports,
    trap: Option<Trap>,
    /// The epochs that one callback may last.
    epochs: u64,
    next_context: u32,
    pub(crate) root: u32,
    /// Roots whose configuration was replaced, until their last stream has gone.
    pub(crate) retired: Vec<u32>,
}

/// A limit that is never reached, and that can be added to any epoch.
const MAX_EPOCHS: u64 = 1 << 40;

/// More instructions than any VM executes.
const FUEL: u64 = 1 << 62;

const REQUEST_RESPONSE: [(&str, &str, &str); 2] = [
    ("proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers"),
    ("proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"),
];

impl Vm {
    /// Instantiates, starts and configures.
    pub(crate) fn start(
        module: &Module,
        process: &Process,
        mailbox: &Arc<Mailbox>,
        plugin: Plugin,
    ) -> Result<Self, HostError> {
        let limits = process.0.limits;
        let epochs = limits.callback.as_millis().checked_div(EPOCH.as_millis()).unwrap_or(u128::MAX);
        let epochs = u64::try_from(epochs).unwrap_or(MAX_EPOCHS).min(MAX_EPOCHS).saturating_add(2);
        let mut store = Store::new(module.pre().module().engine(), new_state(process, mailbox, plugin));
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(epochs);
        if module.counts() {
            store.set_fuel(FUEL).map_err(HostError::Engine)?;
        }
        let instance = module.pre().instantiate(&mut store);
        let instance = instance.map_err(|error| start_failure(&mut store, "start", &error))?;
        let exports = exports(&mut store, &instance)?;
        let mut vm =
            Self { store, exports, trap: None, epochs, next_context: 0, root: 0, retired: Vec::new() };
        vm.initialize(&instance)?;
        let configuration = Arc::new(vm.state().plugin.configuration.clone());
        let root = vm.create_root(configuration)?;
        vm.vm_start(root)?;
        vm.configure(root)?;
        vm.root = root;
        Ok(vm)
    }

    pub(crate) fn id(&self) -> u64 {
        self.store.data().vm
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    pub(crate) fn trap(&self) -> Option<&Trap> {
        self.trap.as_ref()
    }

    /// Bytes of the guest's linear memory.
    pub(crate) fn memory(&self) -> Option<usize> {
        self.store.data().memory.map(|memory| memory.data_size(&self.store))
    }

    /// Instructions so far, where the engine counts them.
    pub(crate) fn instructions(&self) -> Option<u64> {
        self.store.get_fuel().ok().map(|left| FUEL.saturating_sub(left))
    }

    /// `_initialize` and then `main`, or `_start` alone, as Envoy does.
    fn initialize(&mut self, instance: &Instance) -> Result<(), HostError> {
        let initialize: Func<(), ()> = export(&mut self.store, instance, "_initialize")?;
        let start: Func<(), ()> = export(&mut self.store, instance, "_start")?;
        if initialize.is_some() {
            self.starting("_initialize", initialize, ())?;
            let main = instance.get_typed_func::<(u32, u32), u32>(&mut self.store, "main").ok();
            self.starting("main", main, (0, 0))?;
        } else {
            self.starting("_start", start, ())?;
        }
        Ok(())
    }

    fn create_root(&mut self, configuration: Arc<Vec<u8>>) -> Result<u32, HostError> {
        let root = self.next_context();
        let context = RootContext { configuration, configuring: true, finishing: false };
        self.state().contexts.insert(root, Context::Root(context));
        let create = self.exports.on_context_create.clone();
        self.state().current = root;
        self.starting("proxy_on_context_create", create, (root, 0))?;
        Ok(root)
    }

    fn vm_start(&mut self, root: u32) -> Result<(), HostError> {
        let size = size_of(&self.state().plugin.vm_configuration);
        let start = self.exports.on_vm_start.clone();
        let accepted = self.starting("proxy_on_vm_start", start, (root, size))?;
        self.accepted(accepted)
    }

    fn configure(&mut self, root: u32) -> Result<(), HostError> {
        let size = self.state().root_context(root).map_or(0, |root| size_of(&root.configuration));
        let configure = self.exports.on_configure.clone();
        self.state().current = root;
        let accepted = self.starting("proxy_on_configure", configure, (root, size))?;
        if let Some(context) = self.state().root_context(root) {
            context.configuring = false;
        }
        self.accepted(accepted)
    }

    /// A new root context with another configuration, as Envoy makes one when a listener's
    /// configuration changes but its VM does not. If it refuses, it goes and the old one stays.
    pub(crate) fn reconfigure(&mut self, configuration: Vec<u8>) -> Result<u32, HostError> {
        if let Some(trap) = self.trap.clone() {
            return Err(HostError::Trapped { trap, log: Vec::new() });
        }
        self.state().lines = Some(Vec::new());
        let root = self.create_root(Arc::new(configuration.clone()))?;
        if let Err(error) = self.configure(root) {
            let _ = self.delete_context(root);
            return Err(error);
        }
        self.state().plugin.configuration = configuration;
        self.state().lines = None;
        Ok(core::mem::replace(&mut self.root, root))
    }

    fn accepted(&mut self, answer: Option<u32>) -> Result<(), HostError> {
        match answer {
            Some(0) => Err(HostError::Refused { log: self.take_lines() }),
            _ => Ok(()),
        }
    }

    fn starting<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        func: Func<P, R>,
        parameters: P,
    ) -> Result<Option<R>, HostError> {
        let context = self.state().current;
        self.call(name, func, context, parameters)
            .map_err(|trap| HostError::Trapped { trap, log: self.take_lines() })
    }

    fn take_lines(&mut self) -> Vec<LogLine> {
        self.state().lines.take().unwrap_or_default()
    }

    fn next_context(&mut self) -> u32 {
        // INVARIANT: contexts are bounded by memory, so a free number is found.
        loop {
            self.next_context = self.next_context.wrapping_add(1);
            if self.next_context != 0 && !self.store.data().contexts.contains_key(&self.next_context) {
                return self.next_context;
            }
        }
    }

    /// Runs one callback; the only way into the guest.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        func: Func<P, R>,
        context: u32,
        parameters: P,
    ) -> Result<Option<R>, Trap> {
        if let Some(trap) = &self.trap {
            return Err(trap.clone());
        }
        let state = self.store.data_mut();
        (state.current, state.effective, state.stop) = (context, 0, false);
        let Some(func) = func else { return Ok(None) };
        self.store.set_epoch_deadline(self.epochs);
        let result = func.call(&mut self.store, parameters);
        self.store.data_mut().effective = 0;
        result.map(Some).map_err(|error| {
            let trap = trap_of(name, &error);
            // What the guest asked for before it was stopped is not carried out.
            self.store.data_mut().actions.clear();
            self.trap = Some(trap.clone());
            trap
        })
    }

    /// `proxy_on_context_create` for a stream.
    pub(crate) fn create_stream(
        &mut self,
        root: u32,
        stream: StreamId,
        info: Arc<Mutex<StreamInfo>>,
    ) -> Result<u32, Trap> {
        let id = self.next_context();
        let context =
            StreamContext { root, stream, info, request: View::default(), response: View::default() };
        self.state().contexts.insert(id, Context::Stream(Box::new(context)));
        let create = self.exports.on_context_create.clone();
        self.call("proxy_on_context_create", create, id, (id, root))?;
        Ok(id)
    }

    pub(crate) fn on_headers(
        &mut self,
        context: u32,
        direction: Direction,
        count: u32,
        end: bool,
    ) -> Result<u32, Trap> {
        let [request, response] = &self.exports.on_headers;
        let (func, names) = of(direction, request, response);
        self.filter(names.0, func, context, (context, count, u32::from(end)))
    }

    pub(crate) fn on_body(
        &mut self,
        context: u32,
        direction: Direction,
        size: u32,
        end: bool,
    ) -> Result<u32, Trap> {
        let [request, response] = &self.exports.on_body;
        let (func, names) = of(direction, request, response);
        self.filter(names.1, func, context, (context, size, u32::from(end)))
    }

    pub(crate) fn on_trailers(
        &mut self,
        context: u32,
        direction: Direction,
        count: u32,
    ) -> Result<u32, Trap> {
        let [request, response] = &self.exports.on_trailers;
        let (func, names) = of(direction, request, response);
        self.filter(names.2, func, context, (context, count))
    }

    /// The callback's action; a callback that is not there continues. `None` of the action numbers
    /// counts after a local reply: the iteration stops.
    fn filter<P: WasmParams>(
        &mut self,
        name: &'static str,
        func: Func<P, u32>,
        context: u32,
        parameters: P,
    ) -> Result<u32, Trap> {
        let action = self.call(name, func, context, parameters)?.unwrap_or(0);
        Ok(if self.state().stop { STOPPED } else { action })
    }

    pub(crate) fn on_tick(&mut self, root: u32) -> Result<(), Trap> {
        let func = self.exports.on_tick.clone();
        self.call("proxy_on_tick", func, root, root).map(|_| ())
    }

    pub(crate) fn on_queue_ready(&mut self, root: u32, queue: u32) -> Result<(), Trap> {
        let func = self.exports.on_queue_ready.clone();
        self.call("proxy_on_queue_ready", func, root, (root, queue)).map(|_| ())
    }

    /// `None` is a failed call: no headers, no body, no trailers, and the status says why.
    pub(crate) fn on_http_call_response(
        &mut self,
        root: u32,
        token: u32,
        answer: Option<CallResponse>,
    ) -> Result<(), Trap> {
        let sizes = answer.as_ref().map_or((0, 0, 0), |answer| {
            (answer.headers.count(), size_of(&answer.body), answer.trailers.count())
        });
        let state = self.state();
        if answer.is_none() {
            state.status = (Status::BrokenConnection.code(), "reset");
        }
        state.answer = answer;
        let func = self.exports.on_http_call_response.clone();
        let result =
            self.call("proxy_on_http_call_response", func, root, (root, token, sizes.0, sizes.1, sizes.2));
        let state = self.state();
        state.answer = None;
        state.status.1 = "";
        result.map(|_| ())
    }

    /// `proxy_on_log`, `proxy_on_done` and `proxy_on_delete`, in Envoy's order. A stream is not
    /// waited for, whatever it answers.
    pub(crate) fn end_stream(&mut self, context: u32) -> Result<(), Trap> {
        let log = self.exports.on_log.clone();
        let logged = self.call("proxy_on_log", log, context, context).map(|_| ());
        if let Some(stream) = self.state().stream_context(context) {
            (stream.request, stream.response) = Default::default();
        }
        let done = self.exports.on_done.clone();
        let ended = logged.and_then(|()| self.call("proxy_on_done", done, context, context)).map(|_| ());
        ended.and(self.delete_context(context))
    }

    /// Asks a root whether it is done and deletes it, or lets it stay until it calls `proxy_done`.
    pub(crate) fn end_root(&mut self, root: u32) -> Result<(), Trap> {
        let done = self.exports.on_done.clone();
        self.state().ticks.remove(&root);
        if self.call("proxy_on_done", done, root, root)? == Some(0) {
            if let Some(context) = self.state().root_context(root) {
                context.finishing = true;
            }
            return Ok(());
        }
        self.delete_context(root)
    }

    pub(crate) fn delete_context(&mut self, context: u32) -> Result<(), Trap> {
        let delete = self.exports.on_delete.clone();
        let result = self.call("proxy_on_delete", delete, context, context);
        let state = self.state();
        state.contexts.remove(&context);
        state.ticks.remove(&context);
        result.map(|_| ())
    }
}

impl core::fmt::Debug for Vm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vm").field("id", &self.id()).field("trap", &self.trap).finish_non_exhaustive()
    }
}

/// No action of the ABI: what a callback's result becomes when it sent a local reply.
pub(crate) const STOPPED: u32 = u32::MAX;

fn of<P>(
    direction: Direction,
    request: &Func<P, u32>,
    response: &Func<P, u32>,
) -> (Func<P, u32>, (&'static str, &'static str, &'static str)) {
    let [of_request, of_response] = REQUEST_RESPONSE;
    match direction {
        Direction::Request => (request.clone(), of_request),
        Direction::Response => (response.clone(), of_response),
    }
}

fn size_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn new_state(process: &Process, mailbox: &Arc<Mailbox>, plugin: Plugin) -> State {
    State {
        process: process.clone(),
        vm: process.next_vm(),
        plugin,
        mailbox: Arc::clone(mailbox),
        limits: StoreLimitsBuilder::new()
            .memory_size(process.0.limits.memory)
            .memories(1)
            .tables(16)
            .table_elements(1 << 20)
            .instances(1)
            .build(),
        memory: None,
        allocate: None,
        contexts: HashMap::new(),
        current: 0,
        effective: 0,
        stop: false,
        actions: Vec::new(),
        calls: Vec::new(),
        waiting: HashMap::new(),
        next_token: 0,
        answer: None,
        status: (0, ""),
        ticks: BTreeMap::new(),
        lines: Some(Vec::new()),
        subject: String::new(),
    }
}

fn exports(store: &mut Store<State>, instance: &Instance) -> Result<Exports, HostError> {
    let memory = instance.get_memory(&mut *store, "memory").ok_or(HostError::MissingExport("memory"))?;
    let malloc = export(store, instance, "malloc")?;
    let allocate = match malloc {
        Some(malloc) => Some(malloc),
        None => export(store, instance, "proxy_on_memory_allocate")?,
    };
    let state = store.data_mut();
    state.memory = Some(memory);
    state.allocate = allocate;
    let [request, response] = REQUEST_RESPONSE;
    Ok(Exports {
        on_context_create: export(store, instance, "proxy_on_context_create")?,
        on_vm_start: export(store, instance, "proxy_on_vm_start")?,
        on_configure: export(store, instance, "proxy_on_configure")?,
        on_tick: export(store, instance, "proxy_on_tick")?,
        on_queue_ready: export(store, instance, "proxy_on_queue_ready")?,
        on_http_call_response: export(store, instance, "proxy_on_http_call_response")?,
        on_headers: [export(store, instance, request.0)?, export(store, instance, response.0)?],
        on_body: [export(store, instance, request.1)?, export(store, instance, response.1)?],
        on_trailers: [export(store, instance, request.2)?, export(store, instance, response.2)?],
        on_log: export(store, instance, "proxy_on_log")?,
        on_done: export(store, instance, "proxy_on_done")?,
        on_delete: export(store, instance, "proxy_on_delete")?,
    })
}

/// A callback may be missing, but if it is there it has the ABI's signature.
fn export<P: WasmParams, R: WasmResults>(
    store: &mut Store<State>,
    instance: &Instance,
    name: &str,
) -> Result<Func<P, R>, HostError> {
    let Some(func) = instance.get_func(&mut *store, name) else { return Ok(None) };
    func.typed::<P, R>(&*store).map(Some).map_err(|error| {
        HostError::WrongSignature(
            error.context(format!("the export `{name}` does not have the ABI's signature")),
        )
    })
}

fn start_failure(store: &mut Store<State>, callback: &'static str, error: &wasmtime::Error) -> HostError {
    HostError::Trapped {
        trap: trap_of(callback, error),
        log: store.data_mut().lines.take().unwrap_or_default(),
    }
}

fn trap_of(callback: &'static str, error: &wasmtime::Error) -> Trap {
    let reason = match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => "it ran longer than a callback may".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    Trap { callback, reason }
}
