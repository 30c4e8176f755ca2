//! jwt-auth, tenant-guard and llm-fanout in the real Envoy, with a model behind them.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use portcullis_host_tests::{
    envoy::{
        Envoy, Options,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Reply, Request, Upstream},
    model::{Server, Speed},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

use crate::stage::configuration;

/// The gateway and what is around it; the folder has the modules that Envoy reads.
pub struct Gateway {
    pub envoy: Envoy,
    pub model: Server,
    pub upstream: Upstream,
    setup: Setup,
    _folder: tempfile::TempDir,
}

impl Gateway {
    pub fn start(binary: &Path, change: &Value, speed: Speed, workers: usize) -> Result<Self> {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
        let folder = tempfile::tempdir()?;
        let jwt_auth = setup.jwt_auth_everywhere();
        let tenant_guard = json!({
            "sources": [{"header": "x-scope-orgid", "use": "required"}],
            "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "tenant_id"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
            "forward": {"headers": {"id": "x-scope-orgid"}},
        });
        let mut fanout = wasm(
            "llm-fanout",
            &portcullis_modules::LLM_FANOUT.write_to(folder.path())?,
            &configuration(change),
        );
        // The body is read while the headers are held.
        fanout["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
        fanout["typed_config"]["config"]["vm_config"]["environment_variables"] =
            json!({"key_values": {"MODEL_KEY": "Bearer from-environment"}});
        let (model, upstream) = (Server::start(speed)?, Upstream::start()?);
        let listener = Listener::new("gateway")
            .filter(wasm("jwt-auth", &portcullis_modules::JWT_AUTH.write_to(folder.path())?, &jwt_auth))
            .filter(wasm(
                "tenant-guard",
                &portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
                &tenant_guard,
            ))
            .filter(fanout)
            .to_cluster("upstream");
        let bootstrap = Bootstrap::new()
            .cluster("model", model.address())
            .cluster("upstream", upstream.address())
            .listener(listener);
        let envoy =
            Envoy::start_with(binary, &bootstrap.into_value(), Options { workers, ..Options::default() })?;
        Ok(Self { envoy, model, upstream, setup, _folder: folder })
    }

    pub fn request(&self, tenant: &str, body: impl AsRef<[u8]>) -> Result<Request> {
        let token = self.setup.token().claim("tenant_id", json!(tenant)).compact(&self.setup.keys.ec)?;
        Ok(Request::new("POST", "/v1/chat/completions")
            .header("host", "gateway")
            .header("content-type", "application/json")
            .bearer(&token)
            .header("x-scope-orgid", tenant)
            .header("x-cache-namespace", "globex")
            .header("cookie", "session=client")
            .body(body))
    }

    pub fn ask(&self, tenant: &str, body: &Value) -> Result<(Reply, Duration)> {
        let request = self.request(tenant, body.to_string())?;
        let mut connection = self.envoy.connect("gateway")?;
        let began = Instant::now();
        let reply = connection.call(&request)?;
        Ok((reply, began.elapsed()))
    }

    pub fn stat(&self, name: &str) -> Result<u64> {
        self.envoy.stat(&format!("wasmcustom.portcullis.fanout.{name}"))
    }

    /// Waits until nothing is under way.
    pub fn wait_until_idle(&self) -> Result<()> {
        for name in ["calls_in_flight", "requests_under_way"] {
            let name = format!("wasmcustom.portcullis.fanout.{name}");
            self.envoy.wait_for_stat(&name, Duration::from_secs(20), |value| value == 0)?;
        }
        Ok(())
    }
}
