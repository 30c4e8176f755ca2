//! The plugins, compiled once and configured for every worker before the gateway opens its door.

use anyhow::Context as _;
use portcullis_host::{
    Engine, HostError, Limits, LogLevel, Module, Plugin, Process, ProcessBuilder, Worker as HostWorker,
};

use super::{cluster::Caller, config::Settings, worker::Worker};
use crate::stage;

/// Workers whose plugins have accepted their configuration.
pub(crate) struct Chain {
    workers: Vec<HostWorker>,
    filters: usize,
    process: Process,
}

impl Chain {
    /// Compiles and configures.
    ///
    /// # Errors
    ///
    /// What a plugin said against its configuration, with the plugin's place in the document.
    pub(crate) fn prepare(settings: &Settings) -> anyhow::Result<Self> {
        Self::prepare_in(&process(settings), settings)
    }

    /// What the workers share, for the chain that follows this one.
    pub(crate) fn process(&self) -> Process {
        self.process.clone()
    }

    /// [`Chain::prepare`] with what the workers of another chain share: key sets, spent quotas. What
    /// they share is bound to the issuers and clusters that it is from, so it is as good for these.
    pub(crate) fn prepare_in(process: &Process, settings: &Settings) -> anyhow::Result<Self> {
        for cluster in settings.clusters.keys() {
            process.add_cluster(cluster);
        }
        let engine = Engine::new()?;
        let modules = settings.plugins.iter().enumerate().map(|(at, plugin)| {
            Module::compile(&engine, &plugin.wasm).with_context(|| format!("`plugins[{at}]`"))
        });
        let modules: Vec<Module> = modules.collect::<anyhow::Result<_>>()?;
        let workers = (0..settings.workers.get()).map(|_| {
            let mut worker = HostWorker::new(process);
            for (at, (plugin, module)) in settings.plugins.iter().zip(&modules).enumerate() {
                let mut filter = Plugin::new(&plugin.name).configuration(plugin.configuration.clone());
                if portcullis_modules::by_name(&plugin.name).is_some_and(|own| own.holds_headers) {
                    filter = filter.allow_on_headers_stop_iteration();
                }
                let added = worker.add(module, filter);
                added
                    .map_err(|error| match error {
                        HostError::Refused { log } => plugin.refused(&stage::refusal(&log)),
                        error => error.into(),
                    })
                    .with_context(|| format!("`plugins[{at}]`"))?;
            }
            Ok(worker)
        });
        let workers = workers.collect::<anyhow::Result<_>>()?;
        Ok(Self { workers, filters: modules.len(), process: process.clone() })
    }

    /// Gives every worker its thread.
    pub(super) fn into_workers(self, caller: &Caller) -> anyhow::Result<Vec<Worker>> {
        let Self { workers, filters, .. } = self;
        let spawned = workers.into_iter().enumerate().map(|(at, worker)| {
            Worker::spawn(worker, filters, caller.clone(), at).context("start a worker's thread")
        });
        spawned.collect()
    }
}

fn process(settings: &Settings) -> Process {
    let limits = Limits { body: settings.limits.body_bytes.get(), ..Limits::default() };
    let builder =
        Process::builder().limits(limits).log_level(LogLevel::Info).on_log(|line| eprintln!("{line}"));
    settings.clusters.keys().fold(builder, ProcessBuilder::cluster).build()
}
