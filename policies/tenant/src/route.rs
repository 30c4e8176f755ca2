//! What a route demands: first match wins, no match is a refusal.

use alloc::{string::String, sync::Arc, vec::Vec};

use portcullis_core::{
    Request,
    pattern::{HostPattern, PathPattern},
};

use crate::{
    State,
    hygiene::is_spelled,
    inspect::config::Inspector,
    quota::config::Weight,
    source::{Reading, Usage},
};

/// Whose data a route serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One tenant's: the request names it and the caller is proven to belong to it.
    Tenant,
    /// The product's own, for proven callers: no tenant may be named.
    Central,
    /// A tenant's where the request names one, nobody's where it does not.
    Universal,
    /// Nobody's: no proof is asked for and no tenant is told to the upstream.
    Public,
}

impl Class {
    /// The class's name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Central => "central",
            Self::Universal => "universal",
            Self::Public => "public",
        }
    }
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) methods: Vec<String>,
    pub(crate) path: PathPattern,
    pub(crate) class: Class,
    /// What each of the policy's sources means here, in their order.
    pub(crate) sources: Vec<Usage>,
    /// Tenants in these states are served.
    pub(crate) states: Vec<State>,
    /// Whether every method is served while the tenant is read-only.
    pub(crate) writes_when_read_only: bool,
    /// Whether a stale directory still serves this route.
    pub(crate) serve_stale: bool,
    /// Whether answers are the same for every tenant, so that caches may share them.
    pub(crate) shared: bool,
    /// What looks at answers.
    pub(crate) guard: Option<Arc<Inspector>>,
    /// What a request takes from its tenant's quota, where that is not one.
    pub(crate) quota: Option<Weight>,
}

/// The routes of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Routes(pub(crate) Vec<Route>);

impl Routes {
    /// The first route for `reading` as if its method were `method`, and its index.
    pub(crate) fn find(&self, reading: &Reading<'_>, method: &str) -> Option<(usize, &Route)> {
        self.0.iter().enumerate().find(|(_, route)| {
            (route.methods.is_empty() || route.methods.iter().any(|own| own == method))
                && (route.hosts.is_empty() || route.hosts.iter().any(|own| own.matches(&reading.host)))
                && route.path.matches(&reading.segments)
        })
    }
}

/// Headers by which clients ask frameworks to take a request for one of another method.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Whether the request changes nothing (RFC 9110 section 9.2.1), as far as a gateway can know.
pub(crate) fn is_safe(method: &str, request: &Request<'_>) -> bool {
    let overridden = |name: &[u8]| OVERRIDES.iter().any(|own| is_spelled(own, name));
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
        && !request.headers().iter().any(|(name, _)| overridden(name))
}
