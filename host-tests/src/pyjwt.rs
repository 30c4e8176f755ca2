//! PyJWT in a process of its own, as a second opinion whose code and arithmetic (OpenSSL) share
//! nothing with ours.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::pypi::{cache_folder, interpreter_with_pip};

const PACKAGES: [&str; 2] = ["pyjwt==2.10.1", "cryptography==50.0.2"];
const SKIP: &str = "PORTCULLIS_SKIP_PYJWT";

/// A running judge.
#[derive(Debug)]
pub struct PyJwt {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl PyJwt {
    /// Starts it, after installing PyJWT from PyPI once. `None`, with a line that says so, where
    /// the environment asks to leave it out.
    ///
    /// # Errors
    ///
    /// It cannot be had; the text says how to get it.
    pub fn start(jwks: &Value, issuer: &str, audience: &str, leeway: u64) -> Result<Option<Self>> {
        if std::env::var_os(SKIP).is_some_and(|value| value == "1") {
            eprintln!("did not run: the comparison with PyJWT ({SKIP}=1)");
            return Ok(None);
        }
        let folder = installed()?;
        let mut child = Command::new("python3")
            .args(["-c", include_str!("pyjwt.py")])
            .env("PYTHONPATH", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `python3`")?;
        let to = child.stdin.take().context("no standard input")?;
        let from = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut judge = Self { child, to, from };
        let setting = json!({ "jwks": jwks, "issuer": issuer, "audience": audience, "leeway": leeway });
        writeln!(judge.to, "{setting}")?;
        judge.to.flush()?;
        Ok(Some(judge))
    }

    /// Judges tokens, by the machine's clock: nothing where a token is good, else why it is not.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn judge(&mut self, tokens: &[&str]) -> Result<Vec<Option<String>>> {
        for token in tokens {
            writeln!(self.to, "{}", json!(token))?;
        }
        self.to.flush()?;
        let mut answers = Vec::with_capacity(tokens.len());
        for _ in tokens {
            let mut line = String::new();
            self.from.read_line(&mut line)?;
            match line.trim_end() {
                "" => bail!("PyJWT's process has ended"),
                "ok" => answers.push(None),
                reason => answers.push(Some(reason.to_owned())),
            }
        }
        Ok(answers)
    }
}

impl Drop for PyJwt {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> Result<PathBuf> {
    let cache = cache_folder()?;
    let folder = cache.join("pyjwt-2.10.1");
    if works(&folder) {
        return Ok(folder);
    }
    fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join("pyjwt.lock"))?;
    lock.lock()?;
    if works(&folder) {
        return Ok(folder);
    }
    let scratch = tempfile::Builder::new().prefix("installing-").tempdir_in(&cache)?;
    let target = scratch.path().join("target");
    let python = interpreter_with_pip(scratch.path())?;
    eprintln!("installing {} once from PyPI", PACKAGES.join(", "));
    let output = Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target"])
        .arg(&target)
        .args(PACKAGES)
        .output()?;
    let how = format!(
        "install it (`python3 -m pip install --target {} {}`), or set {SKIP}=1 to leave out what needs it",
        folder.display(),
        PACKAGES.join(" ")
    );
    ensure!(output.status.success(), "no PyJWT: {how}: {}", String::from_utf8_lossy(&output.stderr).trim());
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&target, &folder)?;
    ensure!(works(&folder), "PyJWT does not run: {how}");
    Ok(folder)
}

fn works(folder: &Path) -> bool {
    folder.is_dir()
        && Command::new("python3")
            .args(["-c", "import jwt, cryptography"])
            .env("PYTHONPATH", folder)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
