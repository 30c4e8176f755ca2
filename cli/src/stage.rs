//! The modules in the embedded host under a clock that is told the time: one request in, what
//! became of it out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use portcullis_host::{
    Answer, Clock as _, Direction, Engine, Headers, HostError, LogLevel, Module, Outcome, OutgoingCall,
    Piece, Plugin, Process, Simulation, StreamId, StreamInfo, VirtualClock, Worker,
};

/// How long a request may wait in the virtual time; the plugins' own limits are far below.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(100);

/// A folder that keeps compiled modules from run to run, where somebody wants one: who can write
/// to it can run code as this process.
const CACHE: &str = "PORTCULLIS_CACHE";

/// A plugin and its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) plugin: portcullis_modules::Module,
    pub(crate) configuration: Vec<u8>,
}

/// What goes through the chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    /// With pseudo headers.
    pub(crate) request: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// Paths joined with NUL, and values as the ABI encodes them.
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    /// What the upstream answers, with `:status`.
    pub(crate) response: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) response_body: Vec<u8>,
}

/// What became of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The request as the upstream got it, if it did.
    pub(crate) upstream: Option<Headers>,
    /// A plugin answered in the upstream's place.
    pub(crate) refused: bool,
    /// The reply to the client, with `:status`.
    pub(crate) reply: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trap: Option<String>,
}

impl Observed {
    pub(crate) fn status(&self) -> u16 {
        self.reply.text(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The stable code of a refusal.
    pub(crate) fn code(&self) -> Option<String> {
        if !self.refused {
            return None;
        }
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }
}

/// Why the chain did not start.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// A plugin refused its configuration.
    Refused {
        plugin: &'static str,
        reason: String,
    },
    Failed(anyhow::Error),
}

/// One worker with a chain of plugins.
pub(crate) struct Stage {
    clock: VirtualClock,
    /// What the clock should say: waiting for answers moves it on.
    wall: Duration,
    simulation: Simulation,
    worker: Worker,
}

impl Stage {
    /// Starts the chain at a time since 1970, with upstreams that `answer` speaks for.
    pub(crate) fn start(
        chain: &[Configured],
        now: Duration,
        clusters: impl IntoIterator<Item = String>,
        answer: impl Fn(&OutgoingCall) -> Answer + Clone + Send + 'static,
    ) -> Result<Self, NotStarted> {
        let clock = VirtualClock::at(now);
        let process = Process::builder().clock(clock.clone()).seed(1).log_level(LogLevel::Warn).build();
        let mut simulation = Simulation::new(clock.clone());
        for cluster in clusters {
            process.add_cluster(cluster.as_str());
            simulation.script(&cluster, answer.clone());
        }
        let mut worker = Worker::new(&process);
        for Configured { plugin, configuration } in chain {
            let module = compiled(*plugin).map_err(NotStarted::Failed)?;
            let filter = Plugin::new(plugin.name).configuration(configuration.clone());
            let filter = if plugin.holds_headers { filter.allow_on_headers_stop_iteration() } else { filter };
            let added = worker.add(&module, filter);
            added.map_err(|error| match error {
                HostError::Refused { log } => {
                    NotStarted::Refused { plugin: plugin.name, reason: refusal(&log) }
                }
                error => NotStarted::Failed(error.into()),
            })?;
        }
        let mut stage = Self { clock, wall: now, simulation, worker };
        // What a plugin fetches at its start is there when the first request comes.
        stage.simulation.run_until_idle(&mut [&mut stage.worker]);
        Ok(stage)
    }

    /// Lets time pass, with every answer and tick that belongs into it.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.clock.set_wall(self.wall);
        self.simulation.run_for(span, &mut [&mut self.worker]);
        self.wall = self.wall.saturating_add(span);
    }

    /// The clock, in time since 1970.
    pub(crate) fn now(&self) -> Duration {
        self.clock.wall()
    }

    /// The time that the next request comes at.
    pub(crate) const fn wall(&self) -> Duration {
        self.wall
    }

    /// Sends one request through the chain, and the upstream's answer back.
    pub(crate) fn ask(&mut self, call: &Call) -> Observed {
        self.clock.set_wall(self.wall);
        let mut info = StreamInfo::new();
        for (path, value) in &call.properties {
            info = info.property([path.as_str()], value.clone());
        }
        let stream = self.worker.open(info);
        let mut seen = Observed::default();
        let ends = call.body.is_empty();
        let outcome = self.worker.request_headers(stream, headers(&call.request), ends);
        self.take(&mut seen, stream, Direction::Request, outcome, ends);
        if !ends && !seen.refused {
            let outcome = self.worker.request_body(stream, call.body.clone(), true);
            self.take(&mut seen, stream, Direction::Request, outcome, true);
        }
        if seen.upstream.is_some() && !seen.refused {
            self.respond(&mut seen, stream, call);
        }
        self.worker.close(stream);
        seen
    }

    fn respond(&mut self, seen: &mut Observed, stream: StreamId, call: &Call) {
        let ends = call.response_body.is_empty();
        let outcome = self.worker.response_headers(stream, headers(&call.response), ends);
        self.take(seen, stream, Direction::Response, outcome, ends);
        if !ends && !seen.refused {
            let outcome = self.worker.response_body(stream, call.response_body.clone(), true);
            self.take(seen, stream, Direction::Response, outcome, true);
        }
    }

    /// Notes an outcome; where it is a pause at the end of a message, waits for what follows.
    fn take(
        &mut self,
        seen: &mut Observed,
        stream: StreamId,
        direction: Direction,
        outcome: Outcome,
        ends: bool,
    ) {
        if !(matches!(outcome, Outcome::Pause) && ends) {
            return seen.note(direction, outcome);
        }
        let mut waited = Duration::ZERO;
        while waited < PATIENCE {
            let mut events = self.simulation.run_until_idle(&mut [&mut self.worker]);
            events.extend(self.simulation.run_for(STEP, &mut [&mut self.worker]));
            waited = waited.saturating_add(STEP);
            let mut settled = false;
            for (_, event) in events.into_iter().filter(|(_, event)| event.stream == stream) {
                settled = true;
                seen.note(event.direction, event.outcome);
            }
            if settled {
                return;
            }
        }
        seen.trap = Some(format!("the request was held for more than {} s", PATIENCE.as_secs()));
    }
}

impl Observed {
    fn note(&mut self, direction: Direction, outcome: Outcome) {
        match outcome {
            Outcome::Pause => {}
            Outcome::Forward(pieces) => {
                for piece in pieces {
                    match (direction, piece) {
                        (Direction::Request, Piece::Headers { headers, .. }) => self.upstream = Some(headers),
                        (Direction::Response, Piece::Headers { headers, .. }) => self.reply = headers,
                        (Direction::Response, Piece::Body { bytes, .. }) => self.body.extend(bytes),
                        _ => {}
                    }
                }
            }
            Outcome::Reply(reply) => self.refuse(reply.headers, reply.body),
            Outcome::Trapped(trap, reply) => {
                self.trap = Some(format!("the module was stopped: {trap}"));
                self.refuse(reply.headers, reply.body);
            }
            Outcome::Reset => {
                self.trap = Some("the stream was reset".into());
                self.refused = true;
            }
        }
    }

    fn refuse(&mut self, headers: Headers, body: Vec<u8>) {
        self.refused = true;
        self.reply = headers;
        self.body = body;
    }
}

fn headers(pairs: &[(Vec<u8>, Vec<u8>)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.add(name, value.clone());
    }
    headers
}

/// Compiled once in a run: compiling takes longer than all the checks of a suite.
fn compiled(plugin: portcullis_modules::Module) -> anyhow::Result<Module> {
    static COMPILED: OnceLock<Mutex<BTreeMap<&'static str, Module>>> = OnceLock::new();
    let mut all = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = all.get(plugin.name) {
        return Ok(module.clone());
    }
    let engine = Engine::new()?;
    let module = match std::env::var_os(CACHE) {
        Some(folder) => Module::cached(&engine, plugin.wasm, folder.as_ref()),
        None => Module::compile(&engine, plugin.wasm),
    };
    let module = module.with_context(|| format!("compile the module `{}`", plugin.name))?;
    all.insert(plugin.name, module.clone());
    Ok(module)
}

/// Why a plugin refused its configuration, out of what it logged.
pub(crate) fn refusal(log: &[portcullis_host::LogLine]) -> String {
    let errors = log.iter().filter(|line| line.level >= LogLevel::Error);
    // The plugins say `configuration refused: <path>: <reason>`; the first part is known here.
    let texts: Vec<_> = errors
        .map(|line| {
            line.text.split_once("configuration refused: ").map_or(line.text.as_str(), |(_, reason)| reason)
        })
        .collect();
    if texts.is_empty() { "the plugin gave no reason".into() } else { texts.join("; ") }
}
