//! The image filter in the real Envoy.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{fs, net::SocketAddr};

use anyhow::{Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Connection, Request},
};
use serde_json::{Value, json};

/// Envoy with the filter; the folder has the module that Envoy reads.
pub struct Webhook {
    envoy: Envoy,
    _folder: tempfile::TempDir,
}

impl Webhook {
    /// With a cluster `registry` at this address. Nothing where tests in Envoy are skipped.
    pub fn start(configuration: &Value, registry: Option<SocketAddr>) -> Result<Option<Self>> {
        let Some(binary) = envoy::binary_unless_skipped() else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("image-admission.wasm");
        fs::write(&module, portcullis_modules::IMAGE_ADMISSION.wasm)?;
        let mut filter = wasm("image-admission", &module, configuration);
        // The body is read while the headers are held.
        filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
        let mut bootstrap =
            Bootstrap::new().listener(Listener::new("webhook").filter(filter).direct(500, "passed"));
        if let Some(registry) = registry {
            bootstrap = bootstrap.cluster("registry", registry);
        }
        let envoy = Envoy::start(&binary, &bootstrap.into_value())?;
        Ok(Some(Self { envoy, _folder: folder }))
    }

    pub fn ask(&self, review: &Value) -> Result<Value> {
        let request = Request::new("POST", "/validate")
            .header("host", "webhook")
            .header("content-type", "application/json")
            .body(review.to_string());
        let reply = Connection::open(self.envoy.address("webhook"))?.call(&request)?;
        ensure!(reply.status == 200, "answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        reply.json()
    }
}
