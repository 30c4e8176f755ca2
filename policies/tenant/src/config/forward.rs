//! What the upstream is told, and which headers no client may bring.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::{ConfigError, HeaderName};

use super::{
    Resolved, indexed, raw,
    sources::{header_name, parameter},
};
use crate::{
    hygiene::Hygiene,
    scope::{Fact, PathPrefix, Scope},
    source::{Place, Source},
};

pub(super) fn scope(raw: raw::Forward, has_path_source: bool) -> Resolved<Scope> {
    let raw::Forward { headers, query, path } = raw;
    let raw::ForwardHeaders { id, slug, state, plan, region, subject, issuer, roles, fields } = headers;
    let known = [
        ("id", Fact::Id, id),
        ("slug", Fact::Slug, slug),
        ("state", Fact::State, state),
        ("plan", Fact::Plan, plan),
        ("region", Fact::Region, region),
        ("subject", Fact::Subject, subject),
        ("issuer", Fact::Issuer, issuer),
        ("roles", Fact::Roles, roles),
    ];
    let known = known.into_iter().filter_map(|(member, fact, name)| Some((member.to_string(), fact, name?)));
    let fields =
        fields.into_iter().map(|(field, name)| (format!("fields.{field}"), Fact::Field(field), name));
    let mut headers: Vec<(Fact, HeaderName)> = Vec::new();
    for (member, fact, name) in known.chain(fields) {
        let path = format!("forward.headers.{member}");
        let name = header_name(&path, &name)?;
        if headers.iter().any(|(_, other)| other.is_spelled(name.as_str().as_bytes())) {
            return Err(ConfigError::new(
                path,
                format!("`{name}` is set already; one header holds one thing"),
            ));
        }
        headers.push((fact, name));
    }
    if path.strip && !has_path_source {
        return Err(ConfigError::new(
            "forward.path.strip",
            "there is no path source whose segments could be dropped",
        ));
    }
    Ok(Scope {
        headers,
        query: query.map(|name| parameter("forward.query", name)).transpose()?,
        path_prefix: path.prefix.map(|text| prefix(&text)).transpose()?,
        strip_path: path.strip,
    })
}

fn prefix(text: &str) -> Resolved<PathPrefix> {
    let parts = [("{id}", Fact::Id), ("{slug}", Fact::Slug)];
    let found = parts.into_iter().find_map(|(name, fact)| Some((text.split_once(name)?, fact)));
    let plain =
        |text: &str| !text.contains(['{', '}', '%', '?', '#', ';', '\\', ' ']) && !text.contains("//");
    match found {
        Some(((before, after), fact))
            if before.starts_with('/') && plain(before) && plain(after) && !after.ends_with('/') =>
        {
            Ok(PathPrefix { before: before.into(), fact, after: after.into() })
        }
        _ => {
            let reason =
                "a path with `{id}` or `{slug}` once and no slash at the end, such as `/tenants/{id}`";
            Err(ConfigError::new("forward.path.prefix", reason))
        }
    }
}

/// The family that is owned where the configuration does not say.
const DEFAULT_FAMILY: &str = "x-tenant-";

pub(super) fn hygiene(
    scope: &Scope,
    sources: &[Source],
    owned_headers: Vec<String>,
    owned_families: Option<Vec<String>>,
    forwarded: raw::Forwarded,
) -> Resolved<Hygiene> {
    let mut names: BTreeSet<HeaderName> = scope.headers.iter().map(|(_, name)| name.clone()).collect();
    names.extend(sources.iter().filter_map(|source| match &source.place {
        Place::Header(name) => Some(name.clone()),
        _ => None,
    }));
    names.extend(indexed("owned_headers", owned_headers, |path, name| header_name(path, &name))?);
    let families = owned_families.unwrap_or_else(|| Vec::from([DEFAULT_FAMILY.into()]));
    let families = indexed("owned_families", families, |path, family| {
        let sound = HeaderName::new(&family).is_ok() && family.ends_with('-') && family.len() >= 4;
        if sound {
            Ok(family.to_ascii_lowercase())
        } else {
            Err(ConfigError::new(
                path,
                "the beginning of header names with a `-` at its end, such as `x-tenant-`",
            ))
        }
    })?;
    Ok(Hygiene {
        names: names.into_iter().collect(),
        families,
        keep_forwarded: forwarded == raw::Forwarded::Keep,
    })
}
