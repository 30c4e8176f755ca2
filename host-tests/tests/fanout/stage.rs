//! What the tests of llm-fanout share: its configuration, requests, and the module in the embedded host
//! with a model behind it.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use portcullis_host::{
    Answer, CallResponse, Clock as _, Engine, Event, HostError, LocalReply, Module, Outcome, OutgoingCall,
    Plugin, Process, Simulation, StreamId, StreamInfo, VirtualClock, Worker,
};
use portcullis_host_tests::model::{Memory, Script, Speed};
use serde_json::{Value, json};

/// A configuration with everything that isolates; `change` replaces members.
pub fn configuration(change: &Value) -> Value {
    let mut document = json!({
        "provider": {
            "cluster": "model",
            "authority": "model.example",
            "scheme": "http",
            "headers": [{"name": "Authorization", "value": "Bearer provider-key"}],
            "forward_headers": ["x-request-id"],
        },
        "isolation": {
            "key": {"value": "a2V5IG9mIGF0IGxlYXN0IHRoaXJ0eS10d28gYnl0ZXM="},
            "headers": ["x-cache-namespace"],
        },
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document
}

/// A request of these questions, with `own` in `x_fanout`.
pub fn body(questions: &[&str], own: &Value) -> Value {
    let mut x_fanout = own.clone();
    x_fanout["questions"] = json!(questions);
    json!({
        "model": "m", "messages": [{"role": "system", "content": "Be brief."}], "x_fanout": x_fanout,
    })
}

/// The same as one ordinary message.
pub fn questions(questions: &[&str]) -> String {
    json!({"messages": [{"role": "user", "content": questions.join("\n")}], "max_tokens": 100_000})
        .to_string()
}

#[derive(Debug, Default)]
struct Load {
    /// When each answer ends, and whose it is.
    ends: Vec<(Duration, String)>,
    most: BTreeMap<String, usize>,
}

/// The module in one or more workers of the embedded host.
pub struct Stage {
    pub process: Process,
    pub worker: Worker,
    pub simulation: Simulation,
    /// The `x-cache-namespace` of what [`Stage::pass`] passed on last.
    pub namespace: Option<Vec<u8>>,
    others: Vec<Worker>,
    clock: VirtualClock,
    load: Arc<Mutex<Load>>,
}

impl Stage {
    pub fn new(configuration: &Value, speed: Speed) -> Result<Self> {
        Self::with_workers(configuration, speed, 1)
    }

    pub fn with_workers(configuration: &Value, speed: Speed, workers: usize) -> Result<Self> {
        let clock = VirtualClock::at_unix_seconds(1_767_225_600);
        let process = Process::builder()
            .clock(clock.clone())
            .seed(1)
            .cluster("model")
            .environment("MODEL_KEY", "Bearer from-environment")
            .build();
        let mut all = Vec::new();
        for _ in 0..workers {
            let mut worker = Worker::new(&process);
            let plugin = Plugin::new("llm-fanout")
                .configuration(configuration.to_string())
                .allow_on_headers_stop_iteration();
            worker.add(&module()?, plugin).map_err(|error| match error {
                HostError::Refused { log } => anyhow::anyhow!("{log:?}"),
                error => error.into(),
            })?;
            all.push(worker);
        }
        let load = Arc::new(Mutex::new(Load::default()));
        let simulation = Simulation::new(clock.clone()).upstream("model", model(speed, &clock, &load));
        let worker = all.remove(0);
        Ok(Self { process, worker, simulation, namespace: None, others: all, clock, load })
    }

    /// Sends a request with its body in one piece.
    pub fn begin(&mut self, tenant: &str, body: &Value) -> StreamId {
        self.begin_in(0, tenant, body)
    }

    /// The same in another worker.
    pub fn begin_in(&mut self, worker: usize, tenant: &str, body: &Value) -> StreamId {
        let worker = match worker.checked_sub(1) {
            None => &mut self.worker,
            Some(at) => &mut self.others[at],
        };
        let stream = open(worker, tenant, "/v1/chat/completions");
        let outcome = worker.request_body(stream, body.to_string(), true);
        assert!(!outcome.is_forward(), "{outcome:?}");
        stream
    }

    /// The answer to a request, and how long it took.
    pub fn ask(&mut self, tenant: &str, body: &Value) -> Result<(LocalReply, Duration)> {
        let began = self.clock.monotonic();
        let stream = open(&mut self.worker, tenant, "/v1/chat/completions");
        let outcome = self.worker.request_body(stream, body.to_string(), true);
        if let Outcome::Reply(reply) = outcome {
            self.worker.close(stream);
            return Ok((reply, Duration::ZERO));
        }
        for _ in 0..100_000 {
            for (worker, event) in self.run_for(Duration::from_millis(1)) {
                if worker == 0 && event.stream == stream {
                    let Outcome::Reply(reply) = event.outcome else { bail!("{:?}", event.outcome) };
                    self.worker.close(stream);
                    return Ok((reply, self.clock.monotonic().saturating_sub(began)));
                }
            }
        }
        bail!("no answer")
    }

    /// What the upstream gets of a body that comes in pieces of `size`.
    pub fn pass(&mut self, path: &str, body: &[u8], size: usize, trailers: bool) -> Vec<u8> {
        let stream = open(&mut self.worker, "acme", path);
        let mut passed = Vec::new();
        let chunks: Vec<&[u8]> = if body.is_empty() { vec![b""] } else { body.chunks(size).collect() };
        for (at, chunk) in chunks.iter().enumerate() {
            let ends = at + 1 == chunks.len() && !trailers;
            passed.push(self.worker.request_body(stream, *chunk, ends));
        }
        if trailers {
            passed.push(self.worker.request_trailers(stream, [("x-trailer", "1")]));
        }
        for outcome in &passed {
            assert!(outcome.reply().is_none(), "{outcome:?}");
        }
        self.worker.close(stream);
        self.namespace = passed
            .iter()
            .find_map(Outcome::headers)
            .and_then(|headers| headers.first("x-cache-namespace"))
            .map(<[u8]>::to_vec);
        passed.iter().flat_map(Outcome::body).collect()
    }

    pub fn run_for(&mut self, span: Duration) -> Vec<(usize, Event)> {
        let mut all: Vec<&mut Worker> = std::iter::once(&mut self.worker).chain(&mut self.others).collect();
        self.simulation.run_for(span, &mut all)
    }

    /// Runs for as long as there can be anything to do.
    pub fn run_until_idle(&mut self) -> Vec<(usize, Event)> {
        self.run_for(Duration::from_secs(120))
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.process.counter(&format!("portcullis.fanout.{name}")).unwrap_or(0)
    }

    pub fn gauge(&self, name: &str) -> u64 {
        self.process.gauge(&format!("portcullis.fanout.{name}")).unwrap_or(0)
    }

    /// The most answers at a time for each `user`.
    pub fn most_by_user(&self) -> BTreeMap<String, usize> {
        self.load.lock().unwrap().most.clone()
    }

    /// Nothing is under way: no request, no call, no lease, no timer.
    pub fn assert_idle(&mut self) {
        assert_eq!((self.gauge("calls_in_flight"), self.gauge("requests_under_way")), (0, 0));
        assert_eq!(self.worker.next_tick(), None, "the timer still runs");
        for bucket in 0..portcullis_fanout::share::BUCKETS {
            let key = format!("portcullis/fanout/1/{bucket}");
            let (bytes, _) = self.process.shared_data("llm-fanout", &key).expect("prepared");
            let entry = 16 + 8 + 2;
            assert_eq!(bytes.len() % entry, 0, "a lease is left in bucket {bucket}");
        }
    }
}

fn open(worker: &mut Worker, tenant: &str, path: &str) -> StreamId {
    let mut info = StreamInfo::new();
    if !tenant.is_empty() {
        info = info.property(["portcullis_tenant_id"], tenant);
    }
    let stream = worker.open(info);
    let headers = [
        (":method", "POST"),
        (":path", path),
        (":authority", "gateway"),
        ("content-type", "application/json"),
        ("authorization", "Bearer client-token"),
        ("cookie", "session=client-token"),
        ("x-api-key", "client-token"),
        ("x-cache-namespace", "globex"),
        ("x-tenant-id", "acme"),
        ("x-request-id", "r-1"),
    ];
    let _ = worker.request_headers(stream, headers, false);
    stream
}

/// The model, in virtual time.
fn model(
    speed: Speed,
    clock: &VirtualClock,
    load: &Arc<Mutex<Load>>,
) -> impl FnMut(&OutgoingCall) -> Answer + Send + 'static {
    let (clock, load, memory) = (clock.clone(), Arc::clone(load), Memory::default());
    move |call| {
        let script = Script::read(&call.body, &memory);
        let user =
            serde_json::from_slice::<Value>(&call.body).unwrap()["user"].as_str().unwrap_or("").to_owned();
        let now = clock.monotonic();
        let mut load = load.lock().unwrap();
        load.ends.retain(|(end, _)| *end > now);
        let delay = script.delay(speed, load.ends.len());
        let ends = now + delay.unwrap_or(call.timeout).min(call.timeout);
        load.ends.push((ends, user.clone()));
        let own = load.ends.iter().filter(|(_, whose)| *whose == user).count();
        let most = load.most.entry(user).or_default();
        *most = (*most).max(own);
        let mut response = CallResponse::new(script.status, script.body);
        for (name, value) in script.headers {
            response = response.header(name, value);
        }
        match delay {
            Some(delay) => Answer::after(delay, response),
            None => Answer::never(),
        }
    }
}

fn module() -> Result<Module> {
    static COMPILED: OnceLock<Module> = OnceLock::new();
    if let Some(module) = COMPILED.get() {
        return Ok(module.clone());
    }
    let module = Module::compile(&Engine::new()?, portcullis_modules::LLM_FANOUT.wasm)
        .context("the module does not compile")?;
    Ok(COMPILED.get_or_init(|| module).clone())
}
