//! PyJWT in a process of its own, as a second opinion whose code and arithmetic (OpenSSL) share
//! nothing with ours.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::python::Packages;

const PACKAGES: Packages = Packages {
    folder: "pyjwt-2.10.1",
    packages: &["pyjwt==2.10.1", "cryptography==50.0.2"],
    probe: "import jwt, cryptography",
    skip: "PORTCULLIS_SKIP_PYJWT",
};

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
        if PACKAGES.are_skipped() {
            return Ok(None);
        }
        let folder = PACKAGES.installed()?;
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
