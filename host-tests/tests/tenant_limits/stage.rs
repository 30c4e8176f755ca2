//! An Envoy with jwt-auth and tenant-guard, and requests of tenants.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use portcullis_host_tests::{
    envoy::{
        Discovered, Envoy, Options,
        config::{Bootstrap, Listener, discovered, wasm, wasm_config},
    },
    loopback::{Connection, Reply, Request},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

/// tenant-guard for every tenant that a token names, with these further members.
pub fn guard(further: &Value) -> Value {
    let mut guard = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "memberships": {"claim": "orgs", "shape": "names"}}],
        "switching": "allowed",
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id"}},
    });
    if let (Some(guard), Some(further)) = (guard.as_object_mut(), further.as_object()) {
        guard.extend(further.clone());
    }
    guard
}

/// Where requests go that are let through, and how long the answer may take.
#[derive(Clone, Copy)]
pub struct Upstream {
    pub address: SocketAddr,
    pub timeout: &'static str,
}

pub struct Stage {
    pub envoy: Envoy,
    setup: Setup,
    guard: Discovered,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Two workers with `guard`. Without an upstream Envoy answers itself.
    pub fn start(binary: &Path, guard: &Value, upstream: Option<Upstream>) -> Result<Self> {
        Self::start_beside(binary, guard, upstream, None)
    }

    /// With one more listener, `beside`, that has this filter.
    pub fn start_beside(
        binary: &Path,
        guard: &Value,
        upstream: Option<Upstream>,
        beside: Option<Value>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
        let mut jwt_auth = setup.jwt_auth_everywhere();
        // Its memory fills while others are measured.
        jwt_auth["limits"] = json!({"verified_tokens_bytes": 1 << 20});
        let jwt_module = portcullis_modules::JWT_AUTH.write_to(folder.path())?;
        let module = portcullis_modules::TENANT_GUARD.wasm;
        std::fs::write(folder.path().join("first.wasm"), module)?;
        // A custom section (id 0, its length, the length of its name, the name): another module for Envoy.
        std::fs::write(folder.path().join("second.wasm"), [module, b"\0\x07\x06second"].concat())?;
        let first = wasm_config("tenant-guard", &folder.path().join("first.wasm"), guard);
        let guard = Discovered::create(folder.path(), "tenant-guard", &first)?;
        let mut listener = Listener::new("gateway")
            .filter(wasm("jwt-auth", &jwt_module, &jwt_auth))
            .filter(discovered("tenant-guard", &guard));
        let mut bootstrap = Bootstrap::new();
        if let Some(upstream) = upstream {
            bootstrap = bootstrap.cluster("upstream", upstream.address);
            listener = listener.to_cluster("upstream");
        }
        bootstrap = bootstrap.listener(listener);
        if let Some(beside) = beside {
            bootstrap = bootstrap.listener(Listener::new("beside").filter(beside));
        }
        let mut bootstrap = bootstrap.into_value();
        if let Some(upstream) = upstream {
            let manager =
                &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
            let route =
                &mut manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
            route["timeout"] = json!(upstream.timeout);
        }
        let envoy = Envoy::start_with(binary, &bootstrap, Options { workers: 2, ..Options::default() })?;
        let reloads = "extension_config_discovery.http_filter.tenant-guard.config_reload";
        envoy.wait_for_stat(reloads, Duration::from_secs(60), |count| count > 0)?;
        Ok(Self { envoy, setup, guard, folder })
    }

    /// Puts another configuration to work, in one of two builds of the module.
    pub fn swap(&mut self, module: &str, guard: &Value) -> Result<()> {
        self.guard.swap(&wasm_config("tenant-guard", &self.folder.path().join(module), guard))
    }

    /// A token of somebody who belongs to `tenants`.
    pub fn token(&self, tenants: &[String]) -> Result<String> {
        Ok(self
            .setup
            .token()
            .claim("sub", json!("u"))
            .claim("orgs", json!(tenants))
            .compact(&self.setup.keys.ec)?)
    }

    /// A request of a member of `tenant`.
    pub fn request(&self, path: &str, tenant: &str) -> Result<Request> {
        let token = self.token(&[tenant.to_owned()])?;
        Ok(Request::get(path).header("x-tenant-id", tenant).bearer(&token))
    }

    pub fn connect(&self) -> Result<Connection> {
        self.envoy.connect("gateway")
    }

    /// One request on a connection of its own.
    pub fn call(&self, path: &str, tenant: &str) -> Result<Reply> {
        self.connect()?.call(&self.request(path, tenant)?)
    }

    /// A counter or gauge of tenant-guard.
    pub fn stat(&self, name: &str) -> Result<u64> {
        self.envoy.stat(&format!("wasmcustom.portcullis.tenant.{name}"))
    }
}
