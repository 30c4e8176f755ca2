//! The parts of a stage: keys, tokens, what an issuer publishes, the filter's configuration, and
//! an Envoy around them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Result;
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

/// A folder with the module in it.
pub fn module() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("jwt-auth.wasm");
    fs::write(&path, portcullis_modules::JWT_AUTH.wasm)?;
    Ok((folder, path))
}

/// A bootstrap with the clusters `idp` and `dead`, which refuses connections, and no listener.
pub fn clusters(issuer: &Endpoint) -> Result<config::Bootstrap> {
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    Ok(config::Bootstrap::new().cluster("idp", issuer.address()).cluster("dead", nobody))
}

/// Envoy with this bootstrap.
pub fn start(binary: &Path, bootstrap: config::Bootstrap, workers: usize) -> Result<Envoy> {
    let options = Options { workers, ..Options::default() };
    Envoy::start_with(binary, &bootstrap.into_value(), options)
}
