//! Key sets that are fetched: addresses, clusters and the departures from the usual life.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{ConfigError, duration::Span, raw, resolve::Resolved};
use crate::{
    jwks::{self, KeySet, Origin},
    life::{Address, Allow, LifeConfig, Source, discovery_addresses},
    policy::{Keys, Limits, RemoteKeys},
};

pub(super) fn keys(path: &str, raw: raw::Remote<'_>, issuer: &str, limits: Limits) -> Resolved<Keys> {
    let raw::Remote { uri, cluster, timeout, allow_insecure_http, failover, last_resort, life } = raw;
    let mut sources = Vec::new();
    let mut clusters = Vec::new();
    let first = (path.to_string(), uri, cluster);
    let others = failover.into_iter().enumerate();
    let others = others.map(|(at, place)| (format!("{path}.failover[{at}]"), place.uri, place.cluster));
    for (path, uri, cluster) in core::iter::once(first).chain(others) {
        sources.push(Source::Keys(address(&format!("{path}.uri"), &uri, allow_insecure_http)?));
        clusters.push(named(&format!("{path}.cluster"), cluster)?);
    }
    let config = LifeConfig::new(issuer.into(), sources);
    resolve(path, config, clusters, (timeout, last_resort, life), limits)
}

pub(super) fn discovered(
    path: &str,
    raw: raw::Discovery<'_>,
    issuer: &str,
    limits: Limits,
) -> Resolved<Keys> {
    let raw::Discovery { uri, cluster, timeout, allow_insecure_http, last_resort, life } = raw;
    let addresses = match uri {
        Some(uri) => Vec::from([address(&format!("{path}.uri"), &uri, allow_insecure_http)?]),
        None => discovery_addresses(issuer, allow(allow_insecure_http)).map_err(|error| {
            let reason = format!("the issuer is {error}; give the document's address as `uri`");
            ConfigError::new(path, reason)
        })?,
    };
    let cluster = named(&format!("{path}.cluster"), cluster)?;
    let clusters = addresses.iter().map(|_| cluster.clone()).collect();
    let sources = addresses.into_iter().map(Source::Discovery).collect();
    let config = LifeConfig::new(issuer.into(), sources);
    resolve(path, config, clusters, (timeout, last_resort, life), limits)
}

fn resolve(
    path: &str,
    mut config: LifeConfig,
    clusters: Vec<String>,
    (timeout, last_resort, life): (Option<Span>, Option<&serde_json::value::RawValue>, raw::Life),
    limits: Limits,
) -> Resolved<Keys> {
    let raw::Life {
        default_fresh,
        min_fresh,
        max_fresh,
        refresh_ahead,
        stale_if_error,
        fetches_per_minute,
        backoff_first,
        backoff_max,
        max_keys,
        max_document_bytes,
    } = life;
    set(&mut config.fetch_timeout, timeout);
    set(&mut config.default_fresh, default_fresh);
    set(&mut config.min_fresh, min_fresh);
    set(&mut config.max_fresh, max_fresh);
    set(&mut config.refresh_ahead, refresh_ahead);
    set(&mut config.stale_if_error, stale_if_error);
    set(&mut config.backoff_first, backoff_first);
    set(&mut config.backoff_max, backoff_max);
    config.fetches_per_minute = fetches_per_minute.unwrap_or(config.fetches_per_minute);
    config.limits.keys = max_keys.unwrap_or(config.limits.keys);
    config.limits.document_bytes = max_document_bytes.unwrap_or(config.limits.document_bytes);
    config.wait = limits.wait;
    config.max_waiting = usize::try_from(limits.waiting_requests).unwrap_or(usize::MAX);
    config.inline = last_resort
        .map(|document| {
            KeySet::parse(document.get().as_bytes(), Origin::Remote, &jwks::Limits::default())
                .map_err(|error| ConfigError::new(format!("{path}.last_resort"), error.to_string()))
        })
        .transpose()?;
    config.check().map_err(|error| ConfigError::new(format!("{path}.life"), error.to_string()))?;
    Ok(Keys::Remote(Box::new(RemoteKeys { life: config, clusters })))
}

fn set(setting: &mut Duration, span: Option<Span>) {
    if let Some(Span(duration)) = span {
        *setting = duration;
    }
}

fn address(path: &str, uri: &str, insecure: bool) -> Resolved<Address> {
    Address::parse(uri, allow(insecure)).map_err(|error| ConfigError::new(path, error.to_string()))
}

fn allow(insecure_http: bool) -> Allow {
    Allow { insecure_http, ..Allow::default() }
}

fn named(path: &str, cluster: String) -> Resolved<String> {
    if cluster.is_empty() {
        return Err(ConfigError::new(path, "empty; name the Envoy cluster that reaches the address"));
    }
    Ok(cluster)
}
