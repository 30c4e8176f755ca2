//! A directory that is fetched, and how answers leave.

use alloc::{collections::BTreeSet, format, string::String};
use core::time::Duration;

use portcullis_core::{
    ConfigError,
    config::duration::Span,
    fetch::{Address, Allow},
};
use serde::Deserialize;

use super::Resolved;
use crate::directory::life::LifeConfig;

/// Envoy hands over no more than this of an HTTP call's body.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// A directory at another server: a document, or a manifest that `portcullis tenants pack` made.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetched {
    /// The proxy's cluster for the server.
    cluster: String,
    /// The address, such as `https://tenants.internal/live/manifest.json`.
    uri: String,
    /// Take an address without TLS: anybody on the way could choose the tenants. Default:
    /// `false`.
    #[serde(default)]
    allow_insecure_http: bool,
    /// How often it is asked, `1s` to `1h`. Default: `5s`.
    refresh: Option<Span>,
    /// How old it may be before routes without `serve_stale` answer 503, at least twice
    /// `refresh`. Default: `5m`.
    max_age: Option<Span>,
    /// Of one fetch, `1s` to `5m`. Default: `10s`.
    timeout: Option<Span>,
    /// The longest pause after failures, `1s` to `1h`. Default: `30s`.
    max_backoff: Option<Span>,
    /// Bytes of one file, 1024 to 33554432. Default: `8388608`.
    max_bytes: Option<usize>,
    /// Files that are fetched at the same time, 1 to 16. Default: `4`.
    parallel: Option<usize>,
}

/// From where a directory comes.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The proxy's name for the server.
    pub cluster: String,
    /// The rest.
    pub life: LifeConfig,
}

pub(super) fn resolve(raw: Fetched, reserved: &BTreeSet<String>) -> Resolved<Remote> {
    let Fetched {
        cluster,
        uri,
        allow_insecure_http,
        refresh,
        max_age,
        timeout,
        max_backoff,
        max_bytes,
        parallel,
    } = raw;
    let at = |member: &str| format!("directory.fetched.{member}");
    if cluster.is_empty() {
        return Err(ConfigError::new(at("cluster"), "empty; name the proxy's cluster for the server"));
    }
    let allow = Allow { insecure_http: allow_insecure_http, ..Allow::default() };
    let address =
        Address::parse(&uri, allow).map_err(|error| ConfigError::new(at("uri"), format!("{error}")))?;
    let span = |member: &str, given: Option<Span>, default: u64, least: u64, most: u64| {
        let span = given.map_or(Duration::from_secs(default), |span| span.0);
        if span < Duration::from_secs(least) || span > Duration::from_secs(most) {
            return Err(ConfigError::new(at(member), format!("not from `{least}s` to `{most}s`")));
        }
        Ok(span)
    };
    let refresh = span("refresh", refresh, 5, 1, 3600)?;
    let max_age = span("max_age", max_age, 300, 1, 30 * 86_400)?;
    if max_age < refresh.saturating_mul(2) {
        let reason = "less than twice `refresh`: one slow answer would make the directory stale";
        return Err(ConfigError::new(at("max_age"), reason));
    }
    let max_bytes = max_bytes.unwrap_or(8 * 1024 * 1024);
    if !(1024..=MOST_BYTES).contains(&max_bytes) {
        return Err(ConfigError::new(at("max_bytes"), format!("not from 1024 to {MOST_BYTES}")));
    }
    let parallel = parallel.unwrap_or(4);
    if !(1..=16).contains(&parallel) {
        return Err(ConfigError::new(at("parallel"), "not from 1 to 16"));
    }
    let life = LifeConfig {
        address,
        refresh,
        max_age,
        timeout: span("timeout", timeout, 10, 1, 300)?,
        backoff_max: span("max_backoff", max_backoff, 30, 1, 3600)?,
        max_bytes,
        parallel,
        reserved: reserved.clone(),
    };
    Ok(Remote { cluster, life })
}
