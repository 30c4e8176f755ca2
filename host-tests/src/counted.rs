//! Requests whose WebAssembly instructions are counted: a cost that does not depend on the machine or on
//! what else it does.

use anyhow::{Context as _, Result};
use portcullis_host::{Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_issuer::{SigningKey, Token};
use serde_json::Value;

/// What the host's clock shows, and when tokens are issued: 2026-01-01.
pub const NOW: u64 = 1_767_225_600;

/// A worker with jwt-auth that counts.
pub struct Counted {
    worker: Worker,
    minted: u64,
}

impl Counted {
    /// A worker with this configuration; `module` is of an engine that counts.
    ///
    /// # Errors
    ///
    /// The module does not take the configuration.
    pub fn new(module: &Module, configuration: &Value) -> Result<Self> {
        let process = Process::builder().clock(VirtualClock::at_unix_seconds(NOW)).seed(1).build();
        let mut worker = Worker::new(&process);
        worker.add(module, Plugin::new("jwt-auth").configuration(configuration.to_string()))?;
        Ok(Self { worker, minted: 0 })
    }

    /// An ordinary token of `issuer` for the audience `api`, another one each time.
    ///
    /// # Errors
    ///
    /// The key does not sign.
    pub fn token(&mut self, issuer: &str, key: &SigningKey) -> Result<String> {
        self.minted += 1;
        Ok(Token::new()
            .header("typ", "JWT")
            .claim("iss", issuer)
            .claim("aud", "api")
            .claim("sub", format!("user-{:04}", self.minted))
            .claim("jti", format!("{:032x}", self.minted))
            .claim("scope", "orders:read orders:write profile")
            .claim("org_id", "acme")
            .claim("iat", NOW)
            .claim("exp", NOW + 3600)
            .compact(key)?)
    }

    /// The instructions that a request for `path` costs, from its first callback to its last.
    ///
    /// # Errors
    ///
    /// It was refused, or the engine does not count.
    pub fn serve(&mut self, path: &str, token: &str) -> Result<u64> {
        let bearer = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":path", path),
            (":authority", "gateway"),
            (":scheme", "https"),
            ("user-agent", "portcullis"),
            ("accept", "*/*"),
            ("authorization", bearer.as_str()),
        ];
        let before = self.instructions()?;
        let stream = self.worker.open(StreamInfo::new());
        let outcome = self.worker.request_headers(stream, headers, true);
        self.worker.close(stream);
        anyhow::ensure!(outcome.is_forward(), "refused: {outcome:?}");
        Ok(self.instructions()? - before)
    }

    fn instructions(&self) -> Result<u64> {
        self.worker.instructions(0).context("this engine does not count")
    }
}

/// The middle of `counts`; 0 where there are none.
#[must_use]
pub fn median(mut counts: Vec<u64>) -> u64 {
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or_default()
}
