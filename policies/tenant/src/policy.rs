//! The decision: a request and what is proven about its caller in, a verdict out.

mod judge;

use alloc::{string::String, vec::Vec};

use portcullis_core::{ConfigError, Denial, Request};

use crate::{
    Listed,
    audit::Audit,
    concurrency::{Claim, Limits},
    config::{self, Remote, Warning},
    context::Signing,
    directory::{Directory, Nothing},
    firewall::Firewall,
    hygiene::Hygiene,
    outcome::{Outcome, Proven, Trace, Verdict},
    proof::{Evidence, Proof},
    quota::{Charge, Quotas, config::Weight},
    route::Routes,
    scope::Scope,
    source::Source,
    switch::SwitchRoute,
};

/// A configuration that was found sound.
#[derive(Debug)]
pub struct Policy {
    pub(crate) tenants: Tenants,
    pub(crate) sources: Vec<Source>,
    pub(crate) proofs: Vec<Proof>,
    /// Whether every issuer may vouch for a tenant that names none.
    pub(crate) issuers_share_tenants: bool,
    pub(crate) switching: Switching,
    pub(crate) switch: Option<SwitchRoute>,
    pub(crate) routes: Routes,
    pub(crate) scope: Scope,
    pub(crate) hygiene: Hygiene,
    pub(crate) bypass_cors_preflight: bool,
    /// Whether a certificate counts only on a connection that was made for the request's host.
    pub(crate) server_name: bool,
    /// Whether a refusal says that there is nothing, or that it is forbidden.
    pub(crate) hides: bool,
    pub(crate) responses: Firewall,
    pub(crate) quotas: Option<Quotas>,
    pub(crate) concurrency: Option<Limits>,
    pub(crate) signing: Option<Signing>,
    pub(crate) audit: Audit,
    pub(crate) warnings: Vec<Warning>,
}

/// Which tenants there are.
#[derive(Debug)]
pub(crate) enum Tenants {
    /// Those that a proof names: every id is a tenant in use.
    Claimed,
    /// Those in the configuration.
    Listed(Listed),
    /// Those of another server's directory.
    Fetched(Remote),
}

/// What happens where the request names another tenant of the caller than the proof is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switching {
    /// The caller needs a proof for that tenant.
    Required,
    /// The caller may, being a member of both.
    Allowed,
}

impl Policy {
    /// The policy that a JSON configuration describes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the path in the document and what would be right there.
    pub fn from_json(document: &[u8]) -> Result<Self, ConfigError> {
        config::policy(portcullis_core::config::read(document)?)
    }

    /// What is sound but worth a line in the log.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The tenants of the configuration, where it lists any.
    #[must_use]
    pub const fn listed(&self) -> Option<&Listed> {
        match &self.tenants {
            Tenants::Listed(listed) => Some(listed),
            Tenants::Claimed | Tenants::Fetched(_) => None,
        }
    }

    /// From where the directory comes, if it is fetched: then decisions are made with
    /// [`Policy::decide_in`].
    #[must_use]
    pub const fn remote(&self) -> Option<&Remote> {
        match &self.tenants {
            Tenants::Fetched(remote) => Some(remote),
            Tenants::Claimed | Tenants::Listed(_) => None,
        }
    }

    /// How decisions are written down, and whether they are carried out.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Whether any route's answers are looked at.
    #[must_use]
    pub fn has_guards(&self) -> bool {
        self.routes.0.iter().any(|route| route.guard.is_some())
    }

    /// Whether any route's answers are held back while they are looked at.
    #[must_use]
    pub fn guards_answers(&self) -> bool {
        self.routes.0.iter().any(|route| route.guard.as_ref().is_some_and(|guard| guard.reads_bodies()))
    }

    /// How much tenants may ask, where that is limited.
    #[must_use]
    pub const fn quotas(&self) -> Option<&Quotas> {
        self.quotas.as_ref()
    }

    /// What a request with this outcome takes from its tenant's quota: only one that is proven, of a
    /// tenant that is served, takes anything. `key` is a secret that all workers share.
    #[must_use]
    pub fn charge(&self, outcome: &Outcome, key: &[u8; 16]) -> Option<Charge> {
        let (tenant, weight) = self.weighed(outcome)?;
        let class = weight.and_then(|weight| weight.class.as_deref()).unwrap_or_default();
        let cost = weight.map_or(1, |weight| weight.cost);
        Some(self.quotas.as_ref()?.charge(tenant, class, cost, key))
    }

    /// The proven tenant of a request with this outcome, and what its route says of limits.
    fn weighed<'o>(&'o self, outcome: &'o Outcome) -> Option<(&'o Proven, Option<&'o Weight>)> {
        let Verdict::Permit(permit) = &outcome.verdict else { return None };
        let route = outcome.trace.route.and_then(|index| self.routes.0.get(index));
        Some((permit.tenant()?, route.and_then(|route| route.quota.as_ref())))
    }

    /// How many requests may be under way, where that is limited.
    #[must_use]
    pub const fn concurrency(&self) -> Option<&Limits> {
        self.concurrency.as_ref()
    }

    /// The place that a request with this outcome needs, after its charge. `key` is a secret that all
    /// workers share.
    #[must_use]
    pub fn claim(&self, outcome: &Outcome, key: &[u8; 16]) -> Option<Claim> {
        let (tenant, weight) = self.weighed(outcome)?;
        let class = weight.and_then(|weight| weight.class.as_deref());
        self.concurrency.as_ref()?.claim(tenant, class, key)
    }

    /// Headers of `request` that only this policy may set, as the client spelled them: a permit
    /// removes them too, and nothing else may pass with them, trailers included.
    #[must_use]
    pub fn spoofed(&self, request: &Request<'_>) -> Vec<Vec<u8>> {
        self.hygiene.spoofed(request)
    }

    /// Judges `request`.
    ///
    /// `evidence` is asked for what the configuration's proofs need, once a route needs them.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, evidence: &dyn Evidence) -> Outcome {
        let directory: Option<&dyn Directory> = match &self.tenants {
            Tenants::Claimed => None,
            Tenants::Listed(listed) => Some(listed),
            Tenants::Fetched(_) => Some(&Nothing),
        };
        self.decide_with(request, evidence, directory)
    }

    /// As [`Policy::decide`], with the directory that was fetched.
    #[must_use]
    pub fn decide_in(
        &self,
        request: &Request<'_>,
        evidence: &dyn Evidence,
        directory: &dyn Directory,
    ) -> Outcome {
        self.decide_with(request, evidence, Some(directory))
    }

    fn decide_with(
        &self,
        request: &Request<'_>,
        evidence: &dyn Evidence,
        directory: Option<&dyn Directory>,
    ) -> Outcome {
        let mut trace = Trace::default();
        let verdict = judge::Judge { policy: self, request: *request, evidence, directory }
            .judge(&mut trace)
            .unwrap_or_else(|refusal| {
                trace.reason = Some(refusal.reason);
                Verdict::Deny(refusal.denial)
            });
        Outcome { verdict, trace }
    }
}

/// A denial with the reason behind it.
pub(crate) struct Refusal {
    pub(crate) denial: Denial,
    pub(crate) reason: crate::Reason,
}

/// The names of a list for messages.
pub(crate) fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.map(|name| alloc::format!("`{name}`")).collect();
    quoted.join(", ")
}
