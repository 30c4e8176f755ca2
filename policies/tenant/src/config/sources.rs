//! The places of a request that name its tenant.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::{
    ConfigError, HeaderName,
    pattern::{Part, template},
};

use super::{Resolved, indexed, raw};
use crate::{
    Domain,
    source::{By, CookieName, HostSource, Place, Source, Usage},
};

impl From<raw::Use> for Usage {
    fn from(raw: raw::Use) -> Self {
        match raw {
            raw::Use::Required => Self::Required,
            raw::Use::Optional => Self::Optional,
            raw::Use::Forbidden => Self::Forbidden,
            raw::Use::Ignored => Self::Ignored,
        }
    }
}

impl From<raw::By> for By {
    fn from(raw: raw::By) -> Self {
        match raw {
            raw::By::Id => Self::Id,
            raw::By::Slug => Self::Slug,
        }
    }
}

pub(super) fn resolve(
    raw: Vec<raw::Source>,
    reserved: &BTreeSet<String>,
    has_directory: bool,
) -> Resolved<Vec<Source>> {
    let sources = indexed("sources", raw, |path, raw| source(path, raw, reserved, has_directory))?;
    let mut names = BTreeSet::new();
    for (at, source) in sources.iter().enumerate() {
        if !names.insert(&source.name) {
            let reason = format!("`{}` is another source's name already; give each its own", source.name);
            return Err(ConfigError::new(format!("sources[{at}].name"), reason));
        }
    }
    Ok(sources)
}

fn source(
    path: &str,
    raw: raw::Source,
    reserved: &BTreeSet<String>,
    has_directory: bool,
) -> Resolved<Source> {
    let raw::Source { name, host, path: template, header, query, cookie, by, r#use } = raw;
    let at = |member: &str| format!("{path}.{member}");
    let (kind, place) = match (host, template, header, query, cookie) {
        (Some(raw), None, None, None, None) => {
            ("host", host_source(&at("host"), raw, reserved, has_directory)?)
        }
        (None, Some(text), None, None, None) => ("path", path_source(&at("path"), &text)?),
        (None, None, Some(name), None, None) => ("header", Place::Header(header_name(&at("header"), &name)?)),
        (None, None, None, Some(name), None) => ("query", Place::Query(parameter(&at("query"), name)?)),
        (None, None, None, None, Some(name)) => ("cookie", Place::Cookie(cookie_name(&at("cookie"), name)?)),
        _ => {
            return Err(ConfigError::new(path, "exactly one of `host`, `path`, `header`, `query`, `cookie`"));
        }
    };
    let by = by.map_or_else(
        || if matches!(place, Place::Host(_) | Place::Path(_)) { By::Slug } else { By::Id },
        Into::into,
    );
    if matches!(place, Place::Host(_)) && by == By::Id && has_directory {
        let reason = "a host is in lower case and an id need not be: use the slug, which is the default";
        return Err(ConfigError::new(at("by"), reason));
    }
    Ok(Source { name: name.unwrap_or_else(|| kind.into()), place, by, usage: r#use.into() })
}

fn host_source(
    path: &str,
    raw: raw::Host,
    reserved: &BTreeSet<String>,
    has_directory: bool,
) -> Resolved<Place> {
    let raw::Host { bases, domains, central } = raw;
    let hosts = |member: &str, hosts: Vec<String>| {
        indexed(&format!("{path}.{member}"), hosts, |path, host| {
            Domain::new(host).map_err(|error| ConfigError::new(path, error.to_string()))
        })
    };
    if domains && !has_directory {
        let reason = "only a directory knows whose a domain is; add `directory`";
        return Err(ConfigError::new(format!("{path}.domains"), reason));
    }
    if bases.is_empty() && !domains {
        let reason = "names no tenant: say `bases`, `domains`: true, or both";
        return Err(ConfigError::new(path, reason));
    }
    let text = |hosts: Vec<Domain>| hosts.into_iter().map(|host| host.as_str().into());
    let bases: Vec<String> = text(hosts("bases", bases)?).collect();
    for (at, base) in bases.iter().enumerate() {
        if let Some(other) = bases.iter().find(|other| base.ends_with(&format!(".{other}"))) {
            let reason = format!("`{base}` is below `{other}`, so its hosts would have two readings");
            return Err(ConfigError::new(format!("{path}.bases[{at}]"), reason));
        }
    }
    Ok(Place::Host(HostSource {
        bases,
        domains,
        central: text(hosts("central", central)?).collect(),
        reserved: reserved.clone(),
    }))
}

fn path_source(path: &str, text: &str) -> Resolved<Place> {
    let parts = template(path, text)?;
    let tenants =
        parts.iter().filter(|part| matches!(part, Part::Variable(name) if name == "tenant")).count();
    if tenants != 1 {
        return Err(ConfigError::new(path, "needs `{tenant}` exactly once, such as `/t/{tenant}/**`"));
    }
    Ok(Place::Path(parts))
}

/// Headers that are the protocol's or carry credentials: never a tenant's, never ours to set.
const NOT_OURS: [&str; 16] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "x-forwarded-client-cert",
    "x-forwarded-for",
];

pub(super) fn header_name(path: &str, name: &str) -> Resolved<HeaderName> {
    let name = HeaderName::new(name).map_err(|error| ConfigError::new(path, error.to_string()))?;
    if NOT_OURS.iter().any(|own| name.is_spelled(own.as_bytes())) {
        return Err(ConfigError::new(
            path,
            format!("`{name}` belongs to the protocol; choose a header of your own"),
        ));
    }
    Ok(name)
}

pub(super) fn parameter(path: &str, name: String) -> Resolved<String> {
    let sound =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if sound { Ok(name) } else { Err(ConfigError::new(path, "only ASCII letters, digits, `-` and `_`")) }
}

fn cookie_name(path: &str, name: String) -> Resolved<CookieName> {
    // RFC 6265 section 4.1.1: a token, as header names are.
    let sound = HeaderName::new(&name).is_ok();
    if sound { Ok(CookieName(name)) } else { Err(ConfigError::new(path, "not a cookie's name (RFC 6265)")) }
}
