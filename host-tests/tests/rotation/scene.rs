//! The stage: an Envoy with two workers, an issuer on loopback that answers what it is told to,
//! and beside it, where wanted, Envoy's own jwt_authn with an issuer of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use portcullis_host_tests::{
    envoy::{Envoy, Options, config},
    loopback::{Answer, Endpoint},
};
use portcullis_issuer::{SigningKey, Token, jwk_set, keys};
use serde_json::{Value, json};

/// The identifier of the issuer that the tests rotate.
pub const ISSUER: &str = "https://issuer.example";
/// The listener with the jwt-auth module.
pub const OURS: &str = "jwt-auth";
/// The listener with Envoy's own filter.
pub const NATIVE: &str = "jwt_authn";

/// An ES256 key; the same name and number make the same key.
pub fn key(kid: &str, number: u8) -> SigningKey {
    SigningKey::generate(&keys::Seed::new([number; 32]), kid, keys::Kind::P256).expect("a P-256 key")
}

/// What an honest token of `issuer` says, for ten minutes from now.
pub fn claims(issuer: &str) -> Token {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    Token::new()
        .claim("iss", issuer)
        .claim("aud", "api")
        .claim("sub", "alice")
        .claim("exp", now.as_secs() + 600)
}

/// A token of [`ISSUER`], signed with `key`.
pub fn token(key: &SigningKey) -> String {
    claims(ISSUER).compact(key).expect("a token")
}

/// The answer of an issuer that publishes these keys.
pub fn published(keys: &[&SigningKey]) -> Answer {
    Answer::json(&jwk_set(keys.iter().map(|key| key.jwk())))
}

/// The configuration of one issuer whose keys are fetched from the cluster `cluster`.
pub fn issuer(name: &str, issuer: &str, cluster: &str, life: &Value) -> Value {
    json!({
        "name": name,
        "issuer": issuer,
        "audiences": ["api"],
        "algorithms": ["ES256"],
        "jwks": {"remote": {
            "uri": "http://idp/jwks",
            "cluster": cluster,
            "timeout": "5s",
            "allow_insecure_http": true,
            "life": life,
        }},
    })
}

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

/// The filter's configuration with these issuers, any of which a request on `path` needs.
pub fn configuration(issuers: &[Value], path: &str, wait: &str) -> Value {
    let names: Vec<&Value> = issuers.iter().map(|issuer| &issuer["name"]).collect();
    json!({
        "issuers": issuers,
        "rules": [{"path": {"prefix": path}, "require": {"any": names}}],
        "limits": {"wait": wait},
    })
}

/// [`configuration`] of [`ISSUER`] alone, for every path.
pub fn only(life: &Value) -> Value {
    configuration(&[issuer("main", ISSUER, "idp", life)], "/", "5s")
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

/// A folder with the module in it.
pub fn module() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("jwt-auth.wasm");
    fs::write(&path, portcullis_modules::JWT_AUTH.wasm)?;
    Ok((folder, path))
}

impl Scene {
    /// Envoy with `workers` and `configuration` for jwt-auth, before an issuer that answers
    /// `first`. The cluster `dead` refuses connections.
    pub fn start(binary: &Path, configuration: &Value, first: Answer, workers: usize) -> Result<Self> {
        let (folder, module) = module()?;
        let issuer = Endpoint::start(first)?;
        let filter = config::wasm(OURS, &module, configuration);
        let bootstrap = Self::clusters(&issuer)?.listener(config::Listener::new(OURS).filter(filter));
        let envoy = start(binary, bootstrap, workers)?;
        Ok(Self { envoy, issuer, _folder: folder })
    }

    /// A bootstrap with the clusters `idp` and `dead` and no listener.
    pub fn clusters(issuer: &Endpoint) -> Result<config::Bootstrap> {
        // Bound once, so that nobody else has it, and closed again.
        let nobody = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        Ok(config::Bootstrap::new().cluster("idp", issuer.address()).cluster("dead", nobody))
    }

    /// A metric of the issuer `name`.
    pub fn metric(&self, name: &str, metric: &str) -> Result<u64> {
        metric_of(&self.envoy, name, metric)
    }
}

/// Envoy with this bootstrap.
pub fn start(binary: &Path, bootstrap: config::Bootstrap, workers: usize) -> Result<Envoy> {
    let options = Options { workers, ..Options::default() };
    Envoy::start_with(binary, &bootstrap.into_value(), options)
}

/// A metric of the issuer `name`; 0 where it was never written. Envoy has a prefix of its own.
pub fn metric_of(envoy: &Envoy, name: &str, metric: &str) -> Result<u64> {
    let ending = format!("portcullis.jwt.issuer.{name}.{metric}");
    let stats = envoy.stats().context("Envoy's statistics")?;
    Ok(stats.iter().find(|(known, _)| known.ends_with(&ending)).map_or(0, |(_, value)| *value))
}
