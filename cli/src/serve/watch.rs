//! Follows the files of a running gateway: a change is read as a whole, judged by the plugins, and
//! takes the place of what was in force, or changes nothing.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use portcullis_host::Process;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    gateway::{
        Running,
        chain::Chain,
        config::{Config, Settings},
    },
    stamp::Stamp,
};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_millis(500);

pub(super) struct Watch {
    config: PathBuf,
    files: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    process: Process,
    swaps: u64,
}

impl Watch {
    /// Watches `config` and what `settings` were read from; `process` is what the workers share.
    pub(super) fn new(config: &Path, settings: &Settings, process: Process) -> Self {
        let mut watch =
            Self { config: config.to_owned(), files: Vec::new(), stamps: Vec::new(), process, swaps: 0 };
        watch.name(&settings.files);
        watch.stamps = watch.look();
        watch
    }

    /// Follows the files for as long as the gateway runs.
    ///
    /// # Errors
    ///
    /// SIGHUP cannot be waited for.
    pub(super) async fn follow(&mut self, running: &Running, first: Settings) -> anyhow::Result<Infallible> {
        let mut hangup = signal(SignalKind::hangup()).context("wait for SIGHUP")?;
        let mut in_force = first;
        loop {
            self.changed(&mut hangup).await;
            // Before the files are read: what changes after that is the next change.
            self.stamps = self.look();
            match self.take_up(running, &in_force).await {
                Ok(settings) => {
                    self.swaps += 1;
                    eprintln!(
                        "[info] swapped: change {} of {} is in force",
                        self.swaps,
                        self.config.display()
                    );
                    if self.name(&settings.files) {
                        self.stamps = self.look();
                    }
                    in_force = settings;
                }
                Err(error) => eprintln!(
                    "[error] refused, what was in force stays in force: {}: {error:#}",
                    self.config.display()
                ),
            }
        }
    }

    async fn changed(&self, hangup: &mut Signal) {
        // Standard input is read once.
        let is_file = self.config != Path::new("-");
        loop {
            tokio::select! {
                _ = hangup.recv(), if is_file => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            if is_file && self.look() != self.stamps {
                return;
            }
        }
    }

    async fn take_up(&self, running: &Running, in_force: &Settings) -> anyhow::Result<Settings> {
        let (config, process) = (self.config.clone(), self.process.clone());
        // Compiling a module takes a second, in which requests go on.
        let prepared = tokio::task::spawn_blocking(move || {
            let settings = Config::read(&config)?;
            let chain = Chain::prepare_in(&process, &settings)?;
            anyhow::Ok((settings, chain))
        });
        let (settings, chain) = prepared.await.context("read the configuration")??;
        if settings.listen != in_force.listen {
            bail!("`listen`: it cannot change while the gateway runs; start it anew");
        }
        if settings.limits.connections != in_force.limits.connections {
            bail!("`limits.connections`: it cannot change while the gateway runs; start it anew");
        }
        running.swap(&settings, chain)?;
        Ok(settings)
    }

    /// Whether other files than before are watched.
    fn name(&mut self, files: &[PathBuf]) -> bool {
        let files: Vec<_> = [&self.config].into_iter().chain(files).cloned().collect();
        let other = files != self.files;
        self.files = files;
        other
    }

    fn look(&self) -> Vec<Option<Stamp>> {
        self.files.iter().map(|path| Stamp::of(path)).collect()
    }
}
