//! Route classes, and the switch route.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use portcullis_core::{
    ConfigError,
    pattern::{self, HostPattern, PathMatch, PathPattern},
};

use super::{Resolved, indexed, raw, sources::parameter};
use crate::{
    Class, State,
    inspect::config::Inspector,
    policy::join,
    route::Route,
    source::{Place, Source, Usage},
    switch::SwitchRoute,
};

/// The guards of the configuration, by their names.
pub(super) type Guards = [(String, Arc<Inspector>)];

pub(super) fn resolve(raw: Vec<raw::Route>, sources: &[Source], guards: &Guards) -> Resolved<Vec<Route>> {
    if raw.is_empty() {
        return Err(ConfigError::new("routes", "empty: every request would be refused; add a route"));
    }
    if let Some((name, _)) =
        guards.iter().find(|(name, _)| !raw.iter().any(|route| route.guard.as_ref() == Some(name)))
    {
        return Err(ConfigError::new(format!("guards.{name}"), "no route has it as its `guard`"));
    }
    indexed("routes", raw, |path, raw| route(path, raw, sources, guards))
}

fn route(path: &str, raw: raw::Route, sources: &[Source], guards: &Guards) -> Resolved<Route> {
    let raw::Route {
        hosts,
        methods,
        path: path_match,
        class,
        sources: own,
        states,
        writes_when_read_only,
        serve_stale,
        shared,
        guard,
        quota,
    } = raw;
    let at = |member: &str| format!("{path}.{member}");
    let class = match class {
        raw::Class::Tenant => Class::Tenant,
        raw::Class::Central => Class::Central,
        raw::Class::Universal => Class::Universal,
        raw::Class::Public => Class::Public,
    };
    let has_tenants = matches!(class, Class::Tenant | Class::Universal);
    let useless = [
        ("states", states.is_some()),
        ("writes_when_read_only", writes_when_read_only),
        ("serve_stale", serve_stale),
        ("shared", shared.is_some()),
        ("guard", guard.is_some()),
        ("quota", quota.is_some()),
    ];
    if let Some((member, _)) = useless.iter().find(|(_, is_there)| *is_there && !has_tenants) {
        return Err(ConfigError::new(at(member), format!("means nothing on a {} route", class.as_str())));
    }
    if shared.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        return Err(ConfigError::new(
            at("shared"),
            "empty; say why the answers are the same for every tenant",
        ));
    }
    if class == Class::Public && !own.is_empty() {
        return Err(ConfigError::new(at("sources"), "means nothing on a public route: none is looked at"));
    }
    if let Some(name) = own.keys().find(|name| !sources.iter().any(|source| source.name == **name)) {
        let known = join(sources.iter().map(|source| source.name.as_str()));
        return Err(ConfigError::new(at("sources"), format!("`{name}` is not one of {known}")));
    }
    let usages: Vec<Usage> = sources
        .iter()
        .map(|source| {
            own.get(&source.name).map_or_else(|| default_usage(class, source), |usage| (*usage).into())
        })
        .collect();
    if class == Class::Central
        && usages.iter().any(|usage| matches!(usage, Usage::Required | Usage::Optional))
    {
        return Err(ConfigError::new(
            at("sources"),
            "a central route has no tenant: `forbidden` or `ignored`",
        ));
    }
    let states = states.unwrap_or_else(|| Vec::from([State::Active, State::ReadOnly]));
    if states.contains(&State::Deleted) {
        return Err(ConfigError::new(at("states"), "a deleted tenant is served nowhere"));
    }
    if states.is_empty() {
        return Err(ConfigError::new(at("states"), "empty: no tenant would be served"));
    }
    Ok(Route {
        hosts: indexed(&at("hosts"), hosts, |path, host| HostPattern::new(path, &host))?,
        methods: indexed(&at("methods"), methods, pattern::method)?,
        path: PathPattern::new(&at("path"), &path_match)?,
        class,
        sources: usages,
        states,
        writes_when_read_only,
        shared: shared.is_some(),
        serve_stale,
        quota,
        guard: guard
            .map(|name| {
                let found = guards.iter().find(|(own, _)| *own == name);
                found.map(|(_, guard)| Arc::clone(guard)).ok_or_else(|| {
                    let known = join(guards.iter().map(|(name, _)| name.as_str()));
                    let known =
                        if known.is_empty() { String::from("none; add it to `guards`") } else { known };
                    ConfigError::new(at("guard"), format!("`{name}` is not one of the guards: {known}"))
                })
            })
            .transpose()?,
    })
}

fn default_usage(class: Class, source: &Source) -> Usage {
    match (class, source.usage) {
        // A cookie goes wherever the browser goes.
        (Class::Central, _) if matches!(source.place, Place::Cookie(_)) => Usage::Ignored,
        (Class::Central, Usage::Ignored) => Usage::Ignored,
        (Class::Central, _) => Usage::Forbidden,
        (Class::Universal, Usage::Required) => Usage::Optional,
        (Class::Public, _) => Usage::Ignored,
        (_, usage) => usage,
    }
}

pub(super) fn switch(raw: raw::Switch, sources: &[Source]) -> Resolved<SwitchRoute> {
    let raw::Switch { path, query, source, location } = raw;
    let cookies = sources.iter().filter_map(|source| match &source.place {
        Place::Cookie(cookie) => Some((source, cookie)),
        _ => None,
    });
    let Some((own, cookie)) = cookies.clone().find(|(own, _)| own.name == source) else {
        let known = join(cookies.map(|(own, _)| own.name.as_str()));
        let reason = format!("`{source}` is no cookie source; there is: {known}");
        return Err(ConfigError::new("switch.source", reason));
    };
    if let Some(location) = &location {
        let sound = location.starts_with('/')
            && !location.starts_with("//")
            && location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !sound {
            return Err(ConfigError::new("switch.location", "not a path of this host, such as `/`"));
        }
    }
    let query = parameter("switch.query", query)?;
    Ok(SwitchRoute {
        path: PathPattern::new("switch.path", &PathMatch::Exact(path))
            .map_err(|error| ConfigError::new("switch.path", error.reason().to_string()))?,
        target: Source {
            name: String::from("switch"),
            place: Place::Query(query),
            by: own.by,
            usage: Usage::Required,
        },
        cookie: cookie.clone(),
        attributes: String::from("; Path=/; Secure; HttpOnly; SameSite=Lax"),
        location,
    })
}
