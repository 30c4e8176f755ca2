//! [`Process`]: what all workers of one proxy share.

use crate::abi::HostCall;
use crate::clock::{Clock, Randomness, SystemClock};
use crate::log::{Log, LogLine, Sink};
use crate::metrics::Metrics;
use crate::record::{Effect, Recorder, When};
use crate::shared::{SharedData, SharedQueues, lock};
use crate::status::{LogLevel, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What one VM may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one VM in bytes; a guest that asks for more is told no. Default 256 MiB.
    pub memory: usize,
    /// How long one callback may run before the VM is stopped, to about 10 ms. Default 5 s: Envoy
    /// has no limit, and a loaded test machine must not stop an honest guest.
    pub callback: Duration,
    /// Bytes of a body that are held for a paused stream, per direction and filter, before the
    /// request ends with a 413 and the response with a 500. Default 16 MiB.
    pub body: usize,
    /// HTTP calls that one VM may have under way. Default 4096; a further one is answered with
    /// `InternalFailure`.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 256 << 20, callback: Duration::from_secs(5), body: 16 << 20, calls: 4096 }
    }
}

/// One proxy: the data, queues, metrics, clock and log that its workers share. A clone is the
/// same process.
#[derive(Debug, Clone)]
pub struct Process(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) data: SharedData,
    pub(crate) queues: SharedQueues,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Mutex<Randomness>,
    pub(crate) limits: Limits,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) node: BTreeMap<String, String>,
    clusters: Mutex<BTreeSet<String>>,
    foreign_functions: Mutex<BTreeSet<&'static str>>,
    next_vm: AtomicU64,
}

impl Process {
    /// A process with the system's clock and randomness, no clusters, every foreign function.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Sets one up in another way.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }

    /// The clocks that the guests see.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.0.clock.as_ref()
    }

    /// Makes an upstream cluster known: calls to others are answered with `BadArgument`, as in Envoy.
    pub fn add_cluster(&self, name: impl Into<String>) {
        lock(&self.0.clusters).insert(name.into());
    }

    /// Takes a cluster away.
    pub fn remove_cluster(&self, name: &str) {
        lock(&self.0.clusters).remove(name);
    }

    pub(crate) fn has_cluster(&self, name: &[u8]) -> bool {
        core::str::from_utf8(name).is_ok_and(|name| lock(&self.0.clusters).contains(name))
    }

    pub(crate) fn foreign_function(&self, name: &[u8]) -> Option<&'static str> {
        lock(&self.0.foreign_functions).iter().copied().find(|known| known.as_bytes() == name)
    }

    /// A shared value and its `cas`, as a guest with this `vm_id` sees it.
    #[must_use]
    pub fn shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>) -> Option<(Vec<u8>, u32)> {
        self.0.data.value(vm_id, key.as_ref())
    }

    /// Writes a shared value, as a guest with this `vm_id` would with a `cas` of 0.
    ///
    /// # Errors
    ///
    /// `InternalFailure` when the store is full.
    pub fn set_shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>, value: &[u8]) -> Result<(), Status> {
        self.0.data.set(vm_id, key.as_ref(), value, 0)
    }

    /// A counter's value; `None` when no guest has defined it.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.0.metrics.counter(name)
    }

    /// A gauge's value.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Option<u64> {
        self.0.metrics.gauge(name)
    }

    /// The sum and the number of a histogram's samples.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Option<(u64, u64)> {
        self.0.metrics.histogram(name)
    }

    /// Every metric by name; a histogram's value is the sum of its samples.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.0.metrics.all()
    }

    /// The last lines that guests logged, oldest first (at most 10,000).
    #[must_use]
    pub fn log(&self) -> Vec<LogLine> {
        self.0.log.lines()
    }

    /// Tells a host call to fail: `call` as the ABI names it, such as `proxy_http_call` or
    /// `random_get`. The call does nothing and the guest gets `status` (for WASI: the errno `EIO`).
    ///
    /// # Panics
    ///
    /// When there is no host call of that name: a test that refuses nothing proves nothing.
    #[expect(
        clippy::panic,
        reason = "a misspelt name in a test must not pass for a fault that did not matter"
    )]
    pub fn refuse(&self, call: &str, status: Status, when: When) {
        if !self.0.recorder.refuse(call, status, when) {
            panic!("refuse `{call}`: no such host call; see `Process::host_call_names`");
        }
    }

    /// Takes every refusal back.
    pub fn refuse_nothing(&self) {
        self.0.recorder.refuse_nothing();
    }

    /// The names of all host calls, for tests that go through them.
    pub fn host_call_names() -> impl Iterator<Item = &'static str> {
        HostCall::ALL.iter().map(|call| call.name())
    }

    /// How often each host call was made since the process began.
    #[must_use]
    pub fn host_calls(&self) -> BTreeMap<&'static str, u64> {
        self.0.recorder.counts()
    }

    /// How many host calls were made since the process began.
    #[must_use]
    pub fn host_call_total(&self) -> u64 {
        self.0.recorder.total()
    }

    /// Keeps the order of host calls from now on; costs an allocation per call.
    pub fn start_recording(&self) {
        self.0.recorder.start_keeping();
    }

    /// The host calls kept since the last take, in order (at most 100,000).
    #[must_use]
    pub fn take_record(&self) -> Vec<Effect> {
        self.0.recorder.take_record()
    }

    pub(crate) fn next_vm(&self) -> u64 {
        self.0.next_vm.fetch_add(1, Ordering::Relaxed)
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .field("clusters", &self.clusters)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Process`].
#[must_use]
pub struct ProcessBuilder {
    clock: Arc<dyn Clock>,
    random: Randomness,
    clusters: BTreeSet<String>,
    foreign_functions: BTreeSet<&'static str>,
    limits: Limits,
    level: LogLevel,
    sink: Option<Sink>,
    environment: Vec<(String, String)>,
    node: BTreeMap<String, String>,
    recording: bool,
}

impl ProcessBuilder {
    fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Randomness::System,
            clusters: BTreeSet::new(),
            foreign_functions: crate::foreign::NAMES.into_iter().collect(),
            limits: Limits::default(),
            level: LogLevel::Info,
            sink: None,
            environment: Vec::new(),
            node: BTreeMap::new(),
            recording: false,
        }
    }

    /// Another clock; a [`VirtualClock`](crate::VirtualClock) in tests.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Repeatable randomness from this seed. Never in production: guests make jitter and nonces of it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Randomness::Seeded(seed);
        self
    }

    /// An upstream cluster that guests may call.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.clusters.insert(name.into());
        self
    }

    /// Does not offer a foreign function (`verify_signature`, `clear_route_cache`): the guest gets
    /// `NotFound`, as from an Envoy before 1.31.
    pub fn without_foreign_function(mut self, name: &str) -> Self {
        self.foreign_functions.retain(|known| *known != name);
        self
    }

    /// What one VM may use.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The least important level that is kept and handed on; guests can ask for it. Default info.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Hands each line on, on the thread of the worker whose guest logged it.
    pub fn on_log(mut self, sink: impl Fn(&LogLine) + Send + Sync + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }

    /// An environment variable that guests see; they see no others.
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A field of the property `node`, such as `id` or `cluster`.
    pub fn node(mut self, field: impl Into<String>, value: impl Into<String>) -> Self {
        self.node.insert(field.into(), value.into());
        self
    }

    /// Keeps the order of host calls from the start: see [`Process::take_record`].
    pub fn recording(mut self) -> Self {
        self.recording = true;
        self
    }

    /// The process.
    #[must_use]
    pub fn build(self) -> Process {
        let names = HostCall::ALL.iter().map(|call| call.name()).collect();
        Process(Arc::new(Shared {
            data: SharedData::default(),
            queues: SharedQueues::default(),
            metrics: Metrics::default(),
            log: Log::new(self.level, self.sink),
            recorder: Recorder::new(names, self.recording),
            clock: self.clock,
            random: Mutex::new(self.random),
            limits: self.limits,
            environment: self.environment,
            node: self.node,
            clusters: Mutex::new(self.clusters),
            foreign_functions: Mutex::new(self.foreign_functions),
            next_vm: AtomicU64::new(1),
        }))
    }
}
