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

/// The configuration and what it names, as they were looked at before they were read: a change after
/// that is seen.
#[derive(Clone)]
pub(super) struct Files {
    config: PathBuf,
    /// Standard input and pipes are read once.
    can_change: bool,
    named: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
}

impl Files {
    /// Nothing has been read yet.
    pub(super) fn new(config: &Path) -> Self {
        let can_change = config.is_file();
        Self { config: config.to_owned(), can_change, named: Vec::new(), stamps: Vec::new() }
    }

    /// Reads the configuration and the files that it names.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or says what is not understood.
    pub(super) fn read(&mut self) -> anyhow::Result<Settings> {
        loop {
            self.stamps = self.look();
            let settings = Config::read(&self.config)?;
            let is_looked_at = self.named == settings.files;
            self.named.clone_from(&settings.files);
            if is_looked_at || !self.can_change {
                return Ok(settings);
            }
        }
    }

    fn have_changed(&self) -> bool {
        self.look() != self.stamps
    }

    fn look(&self) -> Vec<Option<Stamp>> {
        [&self.config].into_iter().chain(&self.named).map(|path| Stamp::of(path)).collect()
    }
}

pub(super) struct Watch {
    files: Files,
    process: Process,
    swaps: u64,
}

impl Watch {
    /// Watches `files`, which were read; `process` is what the workers share.
    pub(super) const fn new(files: Files, process: Process) -> Self {
        Self { files, process, swaps: 0 }
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
            match self.take_up(running, &in_force).await {
                Ok(settings) => {
                    self.swaps += 1;
                    eprintln!(
                        "[info] swapped: change {} of {} is in force",
                        self.swaps,
                        self.files.config.display()
                    );
                    in_force = settings;
                }
                Err(error) => eprintln!(
                    "[error] refused, what was in force stays in force: {}: {error:#}",
                    self.files.config.display()
                ),
            }
        }
    }

    async fn changed(&self, hangup: &mut Signal) {
        let follows = self.files.can_change;
        loop {
            tokio::select! {
                _ = hangup.recv(), if follows => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            if follows && self.files.have_changed() {
                return;
            }
        }
    }

    async fn take_up(&mut self, running: &Running, in_force: &Settings) -> anyhow::Result<Settings> {
        let (mut files, process) = (self.files.clone(), self.process.clone());
        // Compiling a module takes a second, in which requests go on.
        let prepared = tokio::task::spawn_blocking(move || {
            let prepared = files.read().and_then(|settings| {
                let chain = Chain::prepare_in(&process, &settings)?;
                Ok((settings, chain))
            });
            (files, prepared)
        });
        let (files, prepared) = prepared.await.context("read the configuration")?;
        // Also where it is refused: to mend a file that it names is a change.
        self.files = files;
        let (settings, chain) = prepared?;
        if settings.listen != in_force.listen {
            bail!("`listen`: it cannot change while the gateway runs; start it anew");
        }
        if settings.limits.connections != in_force.limits.connections {
            bail!("`limits.connections`: it cannot change while the gateway runs; start it anew");
        }
        running.swap(&settings, chain)?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_configuration_names_was_looked_at_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (config, module) = (folder.path().join("gateway.yaml"), folder.path().join("guest.wasm"));
        let text =
            "listen: 127.0.0.1:0\nupstream: {address: 'a:1'}\nplugins: [{name: guest, module: guest.wasm}]\n";
        fs::write(&config, text).unwrap();
        fs::write(&module, "one").unwrap();

        let mut files = Files::new(&config);
        files.read().unwrap();
        assert!(!files.have_changed());
        assert_eq!(files.look().len(), 2);
        fs::write(&module, "another").unwrap();
        assert!(files.have_changed());
        files.read().unwrap();
        assert!(!files.have_changed());

        // What is refused is watched as well.
        fs::write(&config, text.replace("guest.wasm", "other.wasm")).unwrap();
        assert!(files.read().is_err());
        assert!(!files.have_changed());
        fs::write(&config, text).unwrap();
        assert!(files.have_changed());
    }
}
