//! The real Envoy as a child process: started on free loopback ports, read through its admin
//! interface, and ended when the handle goes.
//!
//! What Envoy is told is built in [`config`]; what a configuration means is the tests' affair.

mod binary;
pub mod config;
mod discovered;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::Value;

pub use binary::{VERSION, binary, binary_unless_skipped, installed};
pub use discovered::Discovered;

use crate::loopback::{Connection, Request};

/// How long Envoy may take to be ready. Compiling wasm modules on a loaded machine is most of it.
const START: Duration = Duration::from_secs(240);

/// What files of `deploy/` read from the environment: secrets are in none of them.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("MODEL_AUTHORIZATION", "Bearer nobody"),
    ("ISOLATION_KEY", "YSBrZXkgZm9yIHRlc3RzIG9mIGF0IGxlYXN0IDMyIGJ5dGVz"),
];

/// How much of Envoy's log is worth reading when something failed.
const LOG_TAIL: usize = 16 * 1024;

/// A running Envoy. Dropping it ends the process and removes its folder; if the thread is
/// panicking, the end of its log is printed first.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    folder: tempfile::TempDir,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

/// How Envoy is started.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Worker threads; each has its own wasm VMs.
    pub workers: usize,
    /// Envoy's `--log-level`: `warning`, `info`, `debug`, `trace`.
    pub log_level: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1, log_level: "info" }
    }
}

impl Envoy {
    /// Starts `binary` with one worker and waits until its listeners accept.
    ///
    /// # Errors
    /// When Envoy refuses the configuration or is not ready in time; the text ends with its log.
    pub fn start(binary: &Path, bootstrap: &Value) -> Result<Self> {
        Self::start_with(binary, bootstrap, Options::default())
    }

    /// [`Envoy::start`] with other options.
    ///
    /// # Errors
    /// As [`Envoy::start`].
    pub fn start_with(binary: &Path, bootstrap: &Value, options: Options) -> Result<Self> {
        let folder = scratch()?;
        let config = folder.path().join("envoy.json");
        fs::write(&config, bootstrap.to_string())?;
        let from = folder.path().to_owned();
        Self::launch(binary, folder, &config, &from, options)
    }

    /// Starts `binary` with the configuration file `config`, from the folder `from`, which relative
    /// paths in it begin at. The file must name an admin interface.
    ///
    /// # Errors
    /// As [`Envoy::start`].
    pub fn start_file(binary: &Path, config: &Path, from: &Path) -> Result<Self> {
        Self::launch(binary, scratch()?, config, from, Options::default())
    }

    fn launch(
        binary: &Path,
        folder: tempfile::TempDir,
        config: &Path,
        from: &Path,
        options: Options,
    ) -> Result<Self> {
        let log = File::create(log_path(folder.path()))?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(config)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
            .args(["--log-level", options.log_level])
            .args(["--concurrency", &options.workers.to_string()])
            // What an access log says is there for the test to read.
            .args(["--file-flush-interval-msec", "100"])
            // Two Envoys with one base id would end each other.
            .arg("--disable-hot-restart")
            .current_dir(from)
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `{}`", binary.display()))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { child, folder, admin: nowhere, listeners: BTreeMap::new() };
        match envoy.wait_until_ready() {
            Ok(()) => Ok(envoy),
            Err(error) => Err(error.context(format!("Envoy did not start; its log:\n{}", envoy.log_tail()))),
        }
    }

    /// Where the listener of this name accepts.
    ///
    /// # Panics
    /// When there is none of this name: a mistake in the test.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.listeners.get(listener) {
            Some(address) => *address,
            None => panic!("no listener `{listener}`, there are {:?}", self.listeners.keys()),
        }
    }

    /// Where every listener accepts that there is now, by its name.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let document: Value = serde_json::from_slice(&self.admin("/listeners?format=json")?)?;
        let mut found = BTreeMap::new();
        for status in document["listener_statuses"].as_array().into_iter().flatten() {
            let name = status["name"].as_str().context("a listener has no name")?;
            let local = &status["local_address"]["socket_address"];
            let ip = local["address"].as_str().context("a listener has no address")?;
            let port = local["port_value"].as_u64().context("a listener has no port")?;
            found.insert(name.to_owned(), SocketAddr::new(ip.parse()?, u16::try_from(port)?));
        }
        Ok(found)
    }

    /// A fresh connection to the listener of this name.
    ///
    /// # Errors
    /// When it does not accept.
    pub fn connect(&self, listener: &str) -> Result<Connection> {
        Connection::open(self.address(listener))
    }

    /// The body of a GET at the admin interface, which must answer 200.
    ///
    /// # Errors
    /// When it does not.
    pub fn admin(&self, path: &str) -> Result<Vec<u8>> {
        let reply = Connection::open(self.admin)?.call(&Request::get(path))?;
        ensure!(reply.status == 200, "the admin interface answered `{path}` with {}", reply.status);
        Ok(reply.body)
    }

    /// Every counter and gauge by name.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn stats(&self) -> Result<BTreeMap<String, u64>> {
        let document: Value = serde_json::from_slice(&self.admin("/stats?format=json")?)?;
        let entries = document["stats"].as_array().context("the statistics are no list")?;
        Ok(entries
            .iter()
            .filter_map(|entry| Some((entry["name"].as_str()?.to_owned(), entry["value"].as_u64()?)))
            .collect())
    }

    /// One counter or gauge; 0 when Envoy has not made it yet.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats()?.get(name).copied().unwrap_or(0))
    }

    /// Waits until the statistic `name` satisfies `enough`, for at most `limit`.
    ///
    /// # Errors
    /// When it does not by then.
    pub fn wait_for_stat(&self, name: &str, limit: Duration, enough: impl Fn(u64) -> bool) -> Result<u64> {
        let start = Instant::now();
        loop {
            let value = self.stat(name)?;
            if enough(value) {
                return Ok(value);
            }
            ensure!(start.elapsed() < limit, "`{name}` is still {value} after {limit:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The CPU time that all threads of the process have used, in user and system mode. This is
    /// the scheduler's own count in nanoseconds; the ticks of `/proc/PID/stat` are 10 ms.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        let time = clock_getcpuclockid(pid).and_then(ClockId::now).context("Envoy has ended")?;
        Ok(Duration::from(time))
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_memory(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that the process ever had, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .with_context(|| format!("the process status has no `{name}`"))?;
        Ok(kibibytes.trim().parse::<u64>()?.saturating_mul(1024))
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What Envoy has logged so far; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(log_path(self.folder.path()))?).into_owned())
    }

    fn log_tail(&self) -> String {
        let log = self.log().unwrap_or_else(|error| format!("(unreadable: {error})"));
        let from = log.ceil_char_boundary(log.len().saturating_sub(LOG_TAIL));
        log.get(from..).unwrap_or_default().to_owned()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(start.elapsed() < START, "it was not ready after {START:?}");
            thread::sleep(Duration::from_millis(20));
        }
        self.listeners = self.listeners()?;
        Ok(())
    }

    /// Whether the admin interface says so. The file with its address appears during the start.
    fn is_ready(&mut self) -> bool {
        let Some(admin) = fs::read_to_string(self.folder.path().join("admin"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
        else {
            return false;
        };
        self.admin = admin;
        self.admin("/ready").is_ok()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the end of Envoy's log ---\n{}", self.log_tail());
        }
        // Neither can fail in a way that matters: the process is ours, and at worst has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets `binary` check the configuration file at `path` as it would at a start, from the folder
/// `from`, which relative paths in it begin at.
///
/// # Errors
/// When Envoy refuses it; the text is Envoy's.
pub fn validate(binary: &Path, path: &Path, from: &Path) -> Result<()> {
    let output = Command::new(binary)
        .args(["--mode", "validate", "--disable-hot-restart", "--log-level", "warning", "-c"])
        .arg(path)
        .current_dir(from)
        .envs(ENVIRONMENT)
        .output()
        .with_context(|| format!("cannot start `{}`", binary.display()))?;
    ensure!(
        output.status.success(),
        "Envoy refuses `{}`: {}{}",
        path.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn scratch() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("portcullis-envoy-").tempdir().context("no folder for Envoy's files")
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("envoy.log")
}
