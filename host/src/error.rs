//! Why a module, a VM or a configuration could not be taken into service.

use crate::log::LogLine;
use core::fmt;

/// A module was refused, a VM did not start, or a configuration was not accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// The engine could not be set up on this machine.
    Engine(wasmtime::Error),
    /// The bytes are not a WebAssembly module that this host runs.
    InvalidModule(wasmtime::Error),
    /// The module asks for a function that neither Envoy nor this host has.
    UnknownImport {
        /// The import's module, such as `env`.
        module: String,
        /// The import's name.
        name: String,
    },
    /// The module imports or exports a function of the ABI with another signature.
    WrongSignature(wasmtime::Error),
    /// The module does not say that it was written for ABI 0.2.
    UnknownAbi,
    /// The module lacks something that the host cannot do without.
    MissingExport(&'static str),
    /// The folder for compiled modules cannot be used.
    Cache(std::io::Error),
    /// The guest was stopped while it started or was configured.
    Trapped {
        /// What stopped it.
        trap: Trap,
        /// What it had logged.
        log: Vec<LogLine>,
    },
    /// The guest refused the configuration (`proxy_on_vm_start` or `proxy_on_configure` said no).
    Refused {
        /// What it had logged; by convention the reason is in there.
        log: Vec<LogLine>,
    },
    /// The worker has no such filter.
    NoSuchFilter(usize),
}

impl HostError {
    /// The lines that the guest logged before it was refused or stopped.
    #[must_use]
    pub fn log(&self) -> &[LogLine] {
        match self {
            Self::Trapped { log, .. } | Self::Refused { log } => log,
            _ => &[],
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => write!(f, "set up the WebAssembly engine: {error:#}"),
            Self::InvalidModule(error) => write!(f, "compile the module: {error:#}"),
            Self::UnknownImport { module, name } => {
                write!(
                    f,
                    "link the module: its import `{module}.{name}` is not part of proxy-wasm 0.2.1 or of Envoy's WASI"
                )
            }
            Self::WrongSignature(error) => write!(f, "link the module: {error:#}"),
            Self::UnknownAbi => f.write_str(
                "link the module: it exports neither `proxy_abi_version_0_2_1` nor `proxy_abi_version_0_2_0`",
            ),
            Self::MissingExport(name) => write!(f, "link the module: it does not export `{name}`"),
            Self::Cache(error) => write!(f, "use the folder for compiled modules: {error}"),
            Self::Trapped { trap, log } => write!(f, "configure the plugin: {trap}{}", Lines(log)),
            Self::Refused { log } => write!(f, "configure the plugin: it refused{}", Lines(log)),
            Self::NoSuchFilter(index) => write!(f, "reach filter `{index}`: the chain is shorter"),
        }
    }
}

impl std::error::Error for HostError {}

struct Lines<'a>(&'a [LogLine]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// What stopped a guest for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The callback that was running, such as `proxy_on_request_headers`.
    pub callback: &'static str,
    /// What happened, as the engine says it.
    pub reason: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest was stopped in `{}`: {}", self.callback, self.reason)
    }
}
