//! What is kept of an allowed request for its answer, and whose the names in that answer are.

use alloc::{string::String, vec::Vec};

use portcullis_core::{Denial, HeaderPair, Request, UnixTime, pattern::label_below, request};

use crate::{
    Class, Directory, Domain, Outcome, Permit, Policy, Verdict,
    directory::Nothing,
    firewall::{Cleaned, Ownership, Whose},
    inspect::{Asked, Opening},
    source::{By, HostSource, Place, Reading, tenant_at},
};

/// A tenant's request that went on, as far as its answer is judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    id: String,
    slug: Option<String>,
    host: String,
    shared: bool,
    method: String,
    request_id: Option<Vec<u8>>,
    route: usize,
}

impl Guard {
    /// The tenant's id.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.id
    }

    /// The request's id, where it has one that is text.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        core::str::from_utf8(self.request_id.as_deref()?).ok()
    }

    /// The route, by its index in the configuration.
    #[must_use]
    pub const fn route(&self) -> usize {
        self.route
    }
}

impl Policy {
    /// What the answer to `request` is to be judged by; nothing where it is no tenant's.
    #[must_use]
    pub fn guard(&self, request: &Request<'_>, outcome: &Outcome) -> Option<Guard> {
        let Verdict::Permit(permit) = &outcome.verdict else { return None };
        let tenant = permit.tenant()?;
        let index = outcome.trace.route?;
        let route = self.routes.0.get(index)?;
        let text = |name: &str| request.single(name).and_then(|value| core::str::from_utf8(value).ok());
        let authority = request.pseudo(":authority").ok().flatten().unwrap_or_default();
        Some(Guard {
            id: tenant.id.clone(),
            slug: tenant.slug.clone(),
            host: request::host(authority).unwrap_or_default(),
            shared: route.shared && route.class == Class::Tenant,
            method: text(":method").unwrap_or_default().into(),
            request_id: request.single("x-request-id").map(Into::into),
            route: index,
        })
    }

    /// What the answer to `request` would be judged by, if it were proven to be the tenant's with this
    /// id; nothing where no route of a tenant is for it.
    #[must_use]
    pub fn guard_of(&self, request: &Request<'_>, id: &str, slug: Option<&str>) -> Option<Guard> {
        let reading = Reading::new(*request).ok()?;
        let method = request.pseudo(":method").ok()??;
        let (index, route) = self.routes.find(&reading, method)?;
        matches!(route.class, Class::Tenant | Class::Universal).then(|| Guard {
            id: id.into(),
            slug: slug.map(Into::into),
            host: reading.host.clone(),
            shared: route.shared && route.class == Class::Tenant,
            method: method.into(),
            request_id: request.single("x-request-id").map(Into::into),
            route: index,
        })
    }

    /// How the answer with these headers has to change, for a request with this `guard`.
    ///
    /// # Errors
    ///
    /// A [`Denial`] to answer with instead.
    pub fn clean(
        &self,
        headers: &[HeaderPair<'_>],
        guard: &Guard,
        directory: Option<&dyn Directory>,
    ) -> Result<Cleaned, Denial> {
        self.responses.clean(headers, guard.shared, &self.owned_by(guard, directory))
    }

    /// Looks at an answer with these headers, where the route has a guard; it `ends` with them where it
    /// has no body. With `reports` nothing is stopped.
    #[must_use]
    pub fn inspect(
        &self,
        guard: &Guard,
        headers: &[HeaderPair<'_>],
        ends: bool,
        reports: bool,
    ) -> Option<Opening> {
        let inspector = self.routes.0.get(guard.route)?.guard.as_ref()?;
        let asked = Asked {
            tenant: &guard.id,
            slug: guard.slug.as_deref(),
            method: &guard.method,
            request_id: guard.request_id.as_deref(),
        };
        Some(inspector.open(asked, headers, ends, reports))
    }

    /// The names of headers that must not leave with any answer, or in its trailers.
    #[must_use]
    pub fn kept_inside(&self, headers: &[HeaderPair<'_>]) -> Vec<Vec<u8>> {
        self.hygiene.told(headers)
    }

    /// Whether upstreams get a signed context, so that [`Policy::signed`] is worth asking.
    #[must_use]
    pub const fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// The signed context for a request that may go on with `permit`, where one is configured.
    #[must_use]
    pub fn signed(
        &self,
        request: &Request<'_>,
        permit: &Permit,
        now: UnixTime,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        let (signing, tenant) = (self.signing.as_ref()?, permit.tenant()?);
        let text =
            |value: Option<&[u8]>| value.and_then(|value| core::str::from_utf8(value).ok().map(String::from));
        let rewritten =
            permit.set().iter().find(|(name, _)| name == b":path").map(|(_, value)| value.as_slice());
        let target = text(rewritten.or_else(|| request.single(":path")))?;
        let method = text(request.single(":method"))?;
        let id = text(request.single("x-request-id")).unwrap_or_default();
        let subject = tenant.subject.as_deref().unwrap_or_default();
        let value = signing.sign((&tenant.id, subject, &id), (&method, &target), now);
        Some((signing.header().as_str().into(), value.into_bytes()))
    }

    fn owned_by<'p>(&'p self, guard: &'p Guard, directory: Option<&'p dyn Directory>) -> impl Ownership + 'p {
        Owned { policy: self, guard, directory }
    }

    fn hosts(&self) -> impl Iterator<Item = &HostSource> {
        self.sources.iter().filter_map(|source| match &source.place {
            Place::Host(host) => Some(host),
            _ => None,
        })
    }
}

struct Owned<'p> {
    policy: &'p Policy,
    guard: &'p Guard,
    directory: Option<&'p dyn Directory>,
}

impl Owned<'_> {
    /// Whether `name` is this tenant's own, as the places of this kind name tenants.
    fn is_own(&self, by: By, name: &str) -> bool {
        match by {
            By::Id => name == self.guard.id,
            By::Slug if self.guard.slug.as_deref() == Some(name) => true,
            // An earlier slug of the same tenant.
            By::Slug => match self.directory.map(|directory| directory.by_slug(name)) {
                // Without a directory every name is an id.
                None => name == self.guard.id,
                Some(found) => found.is_ok_and(|found| found.is_some_and(|entry| entry.id == self.guard.id)),
            },
        }
    }

    fn below(&self, by: By, source: &HostSource, host: &str) -> Option<Whose> {
        if source.central.contains(host) || source.bases.iter().any(|base| base == host) {
            return Some(Whose::Central);
        }
        let label = source.bases.iter().find_map(|base| label_below(host, base))?;
        // `a.b.base` is below `b`.
        let label = label.rsplit('.').next().unwrap_or_default();
        Some(if source.reserved.contains(label) {
            Whose::Central
        } else if self.is_own(by, label) {
            Whose::Own
        } else {
            Whose::Other
        })
    }
}

impl Ownership for Owned<'_> {
    fn host(&self, host: &str) -> Whose {
        if host == self.guard.host {
            return Whose::Own;
        }
        let mut domains = false;
        for source in &self.policy.sources {
            let Place::Host(place) = &source.place else { continue };
            domains |= place.domains;
            if let Some(whose) = self.below(source.by, place, host) {
                return whose;
            }
        }
        if !domains || !Domain::is_valid(host.as_bytes()) {
            return Whose::Outside;
        }
        match self.directory.unwrap_or(&Nothing).by_domain(host) {
            Ok(Some(entry)) if entry.id == self.guard.id => Whose::Own,
            Ok(None) => Whose::Outside,
            Ok(Some(_)) | Err(_) => Whose::Other,
        }
    }

    fn names_other(&self, path: &str) -> bool {
        let mut named = self.policy.sources.iter().filter_map(|source| match &source.place {
            Place::Path(parts) => Some((source.by, parts)),
            _ => None,
        });
        named.any(|(by, parts)| {
            let Ok(segments) = request::segments(path) else { return true };
            let same =
                portcullis_core::pattern::matches_template(parts, &segments, str::eq_ignore_ascii_case);
            let name = tenant_at(parts).and_then(|at| segments.get(at));
            same && name.is_some_and(|name| !self.is_own(by, name))
        })
    }

    fn shares_cookies(&self, domain: &str) -> bool {
        let covers = |base: &String| base == domain || label_below(base, domain).is_some();
        self.policy.hosts().any(|host| host.bases.iter().any(covers))
    }

    fn owns_header(&self, name: &[u8]) -> bool {
        self.policy.hygiene.tells(name)
    }
}
