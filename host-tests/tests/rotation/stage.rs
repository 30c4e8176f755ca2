//! One Envoy with jwt-auth before one issuer, as most tests want it.

use std::path::Path;

use anyhow::{Context as _, Result};
use portcullis_host_tests::{
    envoy::{Envoy, config},
    loopback::{Answer, Endpoint},
};
use serde_json::{Value, json};

use crate::scene::{self, OURS};

/// A life that ends within seconds: for that it must be allowed to fetch often.
pub fn short_life() -> Value {
    json!({
        "default_fresh": "3s",
        "min_fresh": "3s",
        "max_fresh": "3s",
        "refresh_ahead": "1s",
        "stale_if_error": "3s",
        "fetches_per_minute": 60,
        "backoff_first": "200ms",
        "backoff_max": "1s",
    })
}

/// A running stage.
pub struct Scene {
    /// The proxy.
    pub envoy: Envoy,
    /// The issuer that jwt-auth asks.
    pub issuer: Endpoint,
    // Envoy reads the module's file again for every configuration.
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Envoy with `workers` and `configuration` for jwt-auth, before an issuer that answers
    /// `first`. The cluster `dead` refuses connections.
    pub fn start(binary: &Path, configuration: &Value, first: Answer, workers: usize) -> Result<Self> {
        let (folder, module) = scene::module()?;
        let issuer = Endpoint::start(first)?;
        let filter = config::wasm(OURS, &module, configuration);
        let bootstrap = scene::clusters(&issuer)?.listener(config::Listener::new(OURS).filter(filter));
        let envoy = scene::start(binary, bootstrap, workers)?;
        Ok(Self { envoy, issuer, _folder: folder })
    }

    /// A metric of the issuer `name`.
    pub fn metric(&self, name: &str, metric: &str) -> Result<u64> {
        metric_of(&self.envoy, name, metric)
    }
}

/// A metric of the issuer `name`; 0 where it was never written. Envoy has a prefix of its own.
pub fn metric_of(envoy: &Envoy, name: &str, metric: &str) -> Result<u64> {
    let ending = format!("portcullis.jwt.issuer.{name}.{metric}");
    let stats = envoy.stats().context("Envoy's statistics")?;
    Ok(stats.iter().find(|(known, _)| known.ends_with(&ending)).map_or(0, |(_, value)| *value))
}
