//! The configuration: from a document to a [`Policy`](crate::Policy) that cannot be wrong.
//!
//! `raw` is the document's shape; `sources`, `proofs`, `routes` and `forward` turn its parts into
//! the policy and refuse contradictions and unsafe settings. Every error names the path in the
//! document.

mod fetched;
mod forward;
mod proofs;
pub(crate) mod raw;
mod routes;
mod sources;

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use portcullis_core::ConfigError;

pub use fetched::Remote;

use crate::{
    Class, Listed, Policy, RESERVED, Slug,
    policy::{Switching, Tenants},
    proof::{Kind, MembershipFrom},
    route::Routes,
    source::Place,
};

/// The JSON Schema (draft 2020-12) of what [`Policy::from_json`] reads.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(raw::Config)
}

type Resolved<T> = Result<T, ConfigError>;

/// A setting that works and deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The place in the document.
    pub path: String,
    /// What is worth knowing.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

pub(crate) fn policy(raw: raw::Config) -> Resolved<Policy> {
    let raw::Config {
        directory,
        reserved,
        sources,
        proofs,
        issuers_share_tenants,
        switching,
        switch,
        routes,
        forward,
        owned_headers,
        owned_families,
        forwarded_headers,
        bypass_cors_preflight,
        require_server_name,
        refuse_as,
        responses,
        guards,
        quotas,
        concurrency,
        signed_context,
        audit,
    } = raw;
    let mut warnings = Vec::new();
    let reserved = reserved_labels(reserved)?;
    let tenants = match directory {
        raw::Directory::Claims => Tenants::Claimed,
        raw::Directory::Inline { tenants } => {
            Tenants::Listed(Listed::new("directory.inline.tenants", tenants, &reserved)?)
        }
        raw::Directory::Fetched(raw) => Tenants::Fetched(fetched::resolve(raw, &reserved)?),
    };
    let has_directory = !matches!(tenants, Tenants::Claimed);
    let sources = sources::resolve(sources, &reserved, has_directory)?;
    let proofs = proofs::resolve(proofs, &mut warnings)?;
    proofs::check_together(&proofs, has_directory, issuers_share_tenants)?;
    let guards = crate::inspect::config::resolve(guards)?;
    let routes = routes::resolve(routes, &sources, &guards)?;
    let quotas = quotas.map(crate::quota::config::resolve).transpose()?;
    let concurrency = concurrency.map(crate::concurrency::config::resolve).transpose()?;
    for (at, route) in routes.iter().enumerate() {
        if let Some(weight) = &route.quota {
            let path = format!("routes[{at}].quota");
            crate::quota::config::weight(&path, weight, quotas.as_ref(), concurrency.as_ref())?;
        }
    }
    let named = |class: &str| {
        let weights = routes.iter().filter_map(|route| route.quota.as_ref());
        weights.filter_map(|weight| weight.class.as_deref()).any(|own| own == class)
    };
    let unused = |class: &str| class != crate::concurrency::DEFAULT && !named(class);
    let mut classes = concurrency.iter().flat_map(crate::concurrency::Limits::classes);
    let unused = classes.find(|(class, _)| unused(class)).map(|(class, _)| String::from(class));
    drop(classes);
    if let Some(class) = unused {
        let reason = "no route has it as the `class` of its `quota`";
        return Err(ConfigError::new(format!("concurrency.classes.{class}"), reason));
    }
    if proofs.is_empty() && routes.iter().any(|route| route.class != Class::Public) {
        let reason = "empty: only public routes would ever pass; say what proves a caller";
        return Err(ConfigError::new("proofs", reason));
    }
    let certificates = proofs.iter().any(|proof| matches!(proof.kind, Kind::Certificate(_)));
    let server_name = require_server_name.unwrap_or(certificates);
    if let Tenants::Listed(listed) = &tenants {
        check_issuers(
            listed,
            &proofs.iter().map(|proof| proof.name.as_str()).collect(),
            issuers_share_tenants,
        )?;
    }
    let scope = forward::scope(forward, sources.iter().any(|source| matches!(source.place, Place::Path(_))))?;
    let signing = signed_context.map(|raw| raw.resolve("signed_context")).transpose()?;
    let mut hygiene = forward::hygiene(&scope, &sources, owned_headers, owned_families, forwarded_headers)?;
    hygiene.names.extend(guards.iter().filter_map(|(_, guard)| guard.header().cloned()));
    hygiene.names.extend(signing.iter().map(|signing| signing.header().clone()));
    let switch = switch.map(|raw| routes::switch(raw, &sources)).transpose()?;
    if switch.is_some()
        && !proofs.iter().any(|proof| proof.membership != MembershipFrom::Claims || proof.lists_memberships())
    {
        let reason = "no proof knows more than one tenant of a caller, so there is nothing to switch to";
        return Err(ConfigError::new("switch", reason));
    }
    Ok(Policy {
        tenants,
        sources,
        proofs,
        issuers_share_tenants,
        switching: match switching {
            raw::Switching::Required => Switching::Required,
            raw::Switching::Allowed => Switching::Allowed,
        },
        switch,
        routes: Routes(routes),
        scope,
        hygiene,
        bypass_cors_preflight,
        server_name,
        hides: refuse_as == raw::RefuseAs::NotFound,
        responses,
        quotas,
        concurrency,
        signing,
        audit: audit.resolve("audit")?,
        warnings,
    })
}

/// The labels that are nobody's: ours and the configuration's.
fn reserved_labels(own: Vec<String>) -> Resolved<BTreeSet<String>> {
    let mut labels: BTreeSet<String> = RESERVED.iter().map(ToString::to_string).collect();
    for (at, label) in own.into_iter().enumerate() {
        let slug = Slug::new(label)
            .map_err(|error| ConfigError::new(format!("reserved[{at}]"), error.to_string()))?;
        labels.insert(slug.as_str().into());
    }
    Ok(labels)
}

/// Issuers that tenants name must exist, and with several of them each tenant must name its own.
fn check_issuers(listed: &Listed, names: &BTreeSet<&str>, shared: bool) -> Resolved<()> {
    for (at, record) in listed.records().iter().enumerate() {
        let path = |member: &str| format!("directory.inline.tenants[{at}].{member}");
        if record.issuers.is_empty() && names.len() > 1 && !shared {
            let reason = "empty, and there are several proofs: name those that may vouch for its members, or say \
                          `issuers_share_tenants`: true";
            return Err(ConfigError::new(path("issuers"), reason));
        }
        let members = record.members.iter().map(|member| &member.issuer);
        for (n, issuer) in record.issuers.iter().chain(members).enumerate() {
            if !names.contains(issuer.as_str()) {
                let member = match n.checked_sub(record.issuers.len()) {
                    None => format!("issuers[{n}]"),
                    Some(n) => format!("members[{n}].issuer"),
                };
                let known = crate::policy::join(names.iter().copied());
                return Err(ConfigError::new(path(&member), format!("`{issuer}` is not one of {known}")));
            }
        }
    }
    Ok(())
}

fn indexed<R, T>(
    path: &str,
    items: Vec<R>,
    mut item: impl FnMut(&str, R) -> Resolved<T>,
) -> Resolved<Vec<T>> {
    items.into_iter().enumerate().map(|(at, raw)| item(&format!("{path}[{at}]"), raw)).collect()
}
