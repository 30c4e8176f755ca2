//! The module in the real Envoy, with an upstream that tells what reached it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use portcullis_issuer::attacks::Request;
use serde_json::Value;

use super::{Judgement, Subject, refusal};
use crate::{
    envoy::{
        Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{self, Connection, Upstream},
};

/// Envoy with one worker and the jwt-auth module before an upstream.
pub struct Real {
    envoy: Envoy,
    upstream: Upstream,
    // Envoy reads the module's file again for every configuration.
    _folder: tempfile::TempDir,
}

impl Real {
    /// Starts `binary` with the module `wasm_bytes` and `configuration`.
    ///
    /// # Errors
    ///
    /// Envoy does not start, or refuses the module or its configuration.
    pub fn load(binary: &Path, wasm_bytes: &[u8], configuration: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("jwt-auth.wasm");
        fs::write(&module, wasm_bytes)?;
        let upstream = Upstream::start()?;
        let bootstrap = Bootstrap::new().cluster("upstream", upstream.address()).listener(
            Listener::new("gateway").filter(wasm("jwt-auth", &module, configuration)).to_cluster("upstream"),
        );
        let envoy = Envoy::start(binary, &bootstrap.into_value())?;
        Ok(Self { envoy, upstream, _folder: folder })
    }

    /// The process.
    #[must_use]
    pub const fn envoy(&self) -> &Envoy {
        &self.envoy
    }
}

impl Subject for Real {
    fn name(&self) -> &'static str {
        "module in Envoy"
    }

    fn judge(&mut self, request: &Request) -> Result<Judgement> {
        let mut bytes = loopback::Request::new(&request.method, &request.path).header("host", "gateway");
        for (name, value) in &request.headers {
            bytes = bytes.header(name, value);
        }
        // What earlier requests left there is not this one's.
        drop(self.upstream.take_seen());
        let mut connection = Connection::open(self.envoy.address("gateway"))?;
        let reply = connection.call(&bytes)?;
        let seen = self.upstream.take_seen();
        if reply.status == 200 {
            let arrived = seen.first().context("answered 200, but nothing reached the upstream")?;
            let headers = arrived.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            return Ok(Judgement::Forwarded(headers.collect()));
        }
        ensure!(seen.is_empty(), "refused with {}, but the request reached the upstream", reply.status);
        let challenge = reply.one("www-authenticate");
        Ok(Judgement::Refused(refusal(reply.status, &reply.body, challenge)))
    }
}
