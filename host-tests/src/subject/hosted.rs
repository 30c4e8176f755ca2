//! The module in the wasmtime host, at a virtual time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use portcullis_host::{Engine, Module, Outcome, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_issuer::attacks::Request;
use serde_json::Value;

use super::{Judgement, Subject, refusal, with_pseudo_headers};

/// One worker with the jwt-auth module.
pub struct Hosted {
    name: &'static str,
    process: Process,
    worker: Worker,
}

/// Who does the signature arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticIn {
    /// The host offers `verify_signature`, as Envoy does.
    Host,
    /// The host offers nothing.
    Module,
}

impl Hosted {
    /// The module `wasm` with `configuration`, at `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The module does not load or refuses its configuration.
    pub fn load(wasm: &[u8], configuration: &Value, now: i64, arithmetic: ArithmeticIn) -> Result<Self> {
        Self::load_with(wasm, configuration, now, arithmetic, |_| {})
    }

    /// [`Hosted::load`], with `prepare` told of the process before the module starts.
    ///
    /// # Errors
    ///
    /// As [`Hosted::load`].
    pub fn load_with(
        wasm: &[u8],
        configuration: &Value,
        now: i64,
        arithmetic: ArithmeticIn,
        prepare: impl FnOnce(&Process),
    ) -> Result<Self> {
        let builder = Process::builder()
            .clock(VirtualClock::at_unix_seconds(u64::try_from(now).context("a time before 1970")?))
            .seed(1);
        let (name, process) = match arithmetic {
            ArithmeticIn::Host => ("module, arithmetic in the host", builder.build()),
            ArithmeticIn::Module => {
                ("module, arithmetic in wasm", builder.without_foreign_function("verify_signature").build())
            }
        };
        prepare(&process);
        let module = compiled(wasm)?;
        let mut worker = Worker::new(&process);
        worker.add(&module, Plugin::new("jwt-auth").configuration(configuration.to_string()))?;
        Ok(Self { name, process, worker })
    }

    /// What the worker's proxy knows: metrics, log, host calls, faults to inject.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Drives one request and gives the raw outcome, a trap included.
    pub fn outcome(&mut self, request: &Request) -> Outcome {
        let stream = self.worker.open(StreamInfo::new());
        let outcome = self.worker.request_headers(stream, with_pseudo_headers(request), true);
        self.worker.close(stream);
        outcome
    }
}

impl Subject for Hosted {
    fn name(&self) -> &str {
        self.name
    }

    fn judge(&mut self, request: &Request) -> Result<Judgement> {
        let outcome = self.outcome(request);
        if let Some(trap) = outcome.trap() {
            bail!("the module trapped: {trap}");
        }
        judgement(&outcome)
    }
}

/// Compiled once in a test binary: compiling takes longer than all that a test does with it.
pub fn compiled(wasm: &[u8]) -> Result<Module> {
    static COMPILED: Mutex<BTreeMap<Vec<u8>, Module>> = Mutex::new(BTreeMap::new());
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = all.get(wasm) {
        return Ok(module.clone());
    }
    let module = Module::compile(&Engine::new()?, wasm)?;
    all.insert(wasm.to_vec(), module.clone());
    Ok(module)
}

/// What the outcome means for the client and the upstream.
///
/// # Errors
///
/// The request neither went on nor was answered.
pub fn judgement(outcome: &Outcome) -> Result<Judgement> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(reply) = outcome.reply() {
        let challenge = reply.headers.iter().find(|(name, _)| *name == b"www-authenticate");
        let refusal = refusal(reply.status(), &reply.body, challenge.map(|(_, value)| text(value)));
        return Ok(Judgement::Refused(refusal));
    }
    let Some(headers) = outcome.headers() else { bail!("neither forwarded nor answered: {outcome:?}") };
    let seen = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    Ok(Judgement::Forwarded(seen.map(|(name, value)| (text(name), value.to_vec())).collect()))
}
