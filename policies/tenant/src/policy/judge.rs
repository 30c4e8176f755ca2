//! One decision, step by step.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

use portcullis_core::{Code, Denial, Request};

use super::{Policy, Refusal, Switching};
use crate::{
    Class, Directory, Entry, Freshness, Member, Permit, Proven, Reason, State, Unreadable, Verdict,
    hygiene::is_xfcc,
    outcome::{Known, Selection, Trace},
    proof::{Caller, Evidence, Kind, MembershipFrom, Origin, Unknown},
    route::{Route, is_safe},
    source::{Place, Reading, Reference, Usage, tenant_at},
    switch::SwitchRoute,
};

pub(super) struct Judge<'d> {
    pub(super) policy: &'d Policy,
    pub(super) request: Request<'d>,
    pub(super) evidence: &'d dyn Evidence,
    pub(super) directory: Option<&'d dyn Directory>,
}

type Judged<T> = Result<T, Refusal>;

fn because(reason: Reason) -> impl FnOnce(Denial) -> Refusal {
    move |denial| Refusal { denial, reason }
}

fn refuse<T>(reason: Reason, code: Code, detail: impl Into<Cow<'static, str>>) -> Judged<T> {
    Err(Refusal { denial: Denial::new(code, detail), reason })
}

/// A source that names a tenant.
struct Selected<'r> {
    source: &'r str,
    reference: Reference<'r>,
    /// How many segments of the path lead to the tenant and name it, where the path does.
    segments: usize,
}

impl<'d> Judge<'d> {
    pub(super) fn judge(&self, trace: &mut Trace) -> Judged<Verdict> {
        self.policy.hygiene.check_nominations(&self.request).map_err(because(Reason::Ambiguous))?;
        let reading = Reading::new(self.request).map_err(because(Reason::Ambiguous))?;
        let method = self.request.pseudo(":method").map_err(because(Reason::Ambiguous))?.unwrap_or_default();
        if let Some(switch) = self.policy.switch.as_ref().filter(|switch| switch.is_for(&reading)) {
            return self.switch(switch, &reading, method, trace);
        }
        // A preflight asks for another request, so that request's route decides whether it exists.
        let asked = self.request.preflight_method().filter(|_| self.policy.bypass_cors_preflight);
        let Some((index, route)) = self.policy.routes.find(&reading, asked.unwrap_or(method)) else {
            return refuse(Reason::NoRoute, Code::NoRuleMatched, "no route matches host, method and path");
        };
        trace.route = Some(index);
        trace.class = Some(route.class);
        if asked.is_some() || route.class == Class::Public {
            return self.pass();
        }
        let selections = self.selections(&route.sources, &reading)?;
        note_selections(trace, &selections);
        let callers = self.callers(&reading)?;
        note_callers(trace, &callers);
        let universal = route.class == Class::Universal;
        if callers.is_empty() && !(universal && selections.is_empty()) {
            return refuse(Reason::ProofMissing, Code::AuthenticationRequired, "nothing proves the caller");
        }
        let without_tenant = selections.is_empty() && callers.iter().all(|caller| caller.active.is_none());
        if route.class == Class::Central || (universal && without_tenant) {
            return self.pass();
        }
        self.directory_serves(route.serve_stale)?;
        let tenant = self.proven(&selections, &callers, self.policy.switching, trace)?;
        self.state_allows(&tenant, route, method)?;
        let segments = selections.iter().map(|selected| selected.segments).max().unwrap_or_default();
        let mut set = self
            .policy
            .scope
            .changes(&tenant, &reading, segments)
            .map_err(because(Reason::State(tenant.state)))?;
        let mut remove = self.unwanted()?;
        if route.guard.as_ref().is_some_and(|guard| guard.reads_bodies()) {
            // What is to be looked at comes whole, and as the application wrote it.
            set.push((b"accept-encoding".to_vec(), b"identity".to_vec()));
            remove.extend([b"range".to_vec(), b"if-range".to_vec()]);
        }
        Ok(Verdict::Permit(Permit { remove, set, tenant: Some(tenant) }))
    }

    /// Continues without a tenant, and without anything that pretends to be one.
    fn pass(&self) -> Judged<Verdict> {
        Ok(Verdict::Permit(Permit { remove: self.unwanted()?, set: Vec::new(), tenant: None }))
    }

    /// What must not go on. A client certificate's header is the proxy's only where there is a
    /// client certificate.
    fn unwanted(&self) -> Judged<Vec<Vec<u8>>> {
        let mut names = self.policy.spoofed(&self.request);
        let mut forged =
            self.request.headers().iter().map(|(name, _)| name).filter(|name| is_xfcc(name)).peekable();
        if forged.peek().is_some() && self.evidence_of(&Origin::MutualTls)?.as_deref() != Some(&[1]) {
            names.extend(forged.map(|name| name.to_vec()));
        }
        Ok(names)
    }

    /// What every source names, each as the route wants it.
    fn selections<'r>(&'r self, usages: &[Usage], reading: &'r Reading<'_>) -> Judged<Vec<Selected<'r>>> {
        let mut selections = Vec::new();
        for (source, usage) in self.policy.sources.iter().zip(usages) {
            if *usage == Usage::Ignored {
                continue;
            }
            match (source.read(reading).map_err(because(Reason::SelectionInvalid))?, usage) {
                (Some(_), Usage::Forbidden) => {
                    let detail = format!("the source `{}` names a tenant", source.name);
                    return refuse(Reason::SelectionForbidden, Code::TenantSelectionForbidden, detail);
                }
                (None, Usage::Required) => {
                    let detail = format!("the source `{}` names no tenant", source.name);
                    return refuse(Reason::SelectionMissing, Code::TenantRequired, detail);
                }
                (None, _) => {}
                (Some(reference), _) => {
                    let segments = match &source.place {
                        Place::Path(parts) => tenant_at(parts).map_or(0, |at| at.saturating_add(1)),
                        _ => 0,
                    };
                    selections.push(Selected { source: &source.name, reference, segments });
                }
            }
        }
        Ok(selections)
    }

    fn callers(&self, reading: &Reading<'_>) -> Judged<Vec<Caller<'d>>> {
        let mut callers = Vec::new();
        for proof in &self.policy.proofs {
            let evidence = self.evidence_of(&proof.origin)?;
            let caller =
                proof.read(evidence.as_deref(), &self.request).map_err(because(Reason::ProofInvalid))?;
            match (caller, proof.usage) {
                (Some(_), Usage::Forbidden) => {
                    let detail = format!("the proof `{}` is there", proof.name);
                    return refuse(Reason::ProofInvalid, Code::TenantProofInvalid, detail);
                }
                (None, Usage::Required) => {
                    let detail = format!("the proof `{}` is missing", proof.name);
                    return refuse(Reason::ProofMissing, Code::AuthenticationRequired, detail);
                }
                (Some(caller), Usage::Required | Usage::Optional) => callers.push(caller),
                (_, Usage::Ignored) | (None, _) => {}
            }
        }
        let by_certificate = callers.iter().any(|caller| matches!(caller.proof.kind, Kind::Certificate(_)));
        if by_certificate {
            self.connection_is_for(&reading.host)?;
        }
        Ok(callers)
    }

    /// A certificate was shown to the host that the connection was made for: on one that was made
    /// for another, it proves nothing to this host (RFC 9110 section 7.4).
    fn connection_is_for(&self, host: &str) -> Judged<()> {
        if !self.policy.server_name {
            return Ok(());
        }
        let name = self.evidence_of(&Origin::ServerName)?.unwrap_or_default();
        if name.is_empty() || name.eq_ignore_ascii_case(host.as_bytes()) {
            return Ok(());
        }
        refuse(Reason::Misdirected, Code::MisdirectedRequest, "the TLS connection is for another host")
    }

    fn evidence_of(&self, origin: &Origin) -> Judged<Option<Vec<u8>>> {
        self.evidence.of(origin).map_err(|Unknown| Refusal {
            denial: Denial::new(Code::InternalError, format!("the host does not tell of {origin:?}")),
            reason: Reason::ProofInvalid,
        })
    }

    fn directory_serves(&self, stale_is_fine: bool) -> Judged<()> {
        let detail = match self.directory.map_or(Freshness::Current, Directory::freshness) {
            Freshness::Current => return Ok(()),
            Freshness::Stale if stale_is_fine => return Ok(()),
            Freshness::Stale => "the directory is too old for this route",
            Freshness::Absent => "there is no directory yet",
        };
        refuse(Reason::Directory, Code::TenantDirectoryUnavailable, detail)
    }

    /// The one tenant that every source names and every caller is proven to belong to.
    ///
    /// A tenant that does not exist is looked up, and its members too, exactly as one that does:
    /// what the answer does not tell, its time does not tell either.
    fn proven(
        &self,
        selections: &[Selected<'_>],
        callers: &[Caller<'_>],
        switching: Switching,
        trace: &mut Trace,
    ) -> Judged<Proven> {
        let named: Vec<&Reference<'_>> = if selections.is_empty() {
            callers.iter().filter_map(|caller| Some(&caller.active.as_ref()?.tenant)).collect()
        } else {
            selections.iter().map(|selected| &selected.reference).collect()
        };
        let Some(first) = named.first() else {
            return refuse(Reason::SelectionMissing, Code::TenantRequired, "nothing names a tenant");
        };
        let entries: Vec<_> = named.iter().map(|reference| self.find(reference)).collect::<Judged<_>>()?;
        for (noted, entry) in trace.selections.iter_mut().zip(&entries) {
            noted.id = entry.as_ref().map(|entry| entry.id.clone().into_owned());
        }
        let entry = entries.first().and_then(Option::as_ref);
        let id = entry.map_or(first.text(), |entry| &entry.id);
        trace.tenant = Some(id.to_owned());
        let belongings: Vec<_> =
            callers.iter().map(|caller| self.roles(caller, id)).collect::<Judged<_>>()?;

        if entries.iter().any(|other| other.as_ref().map(|other| &other.id) != entry.map(|entry| &entry.id)) {
            return self.nothing_here(Reason::Disagreement, "two places name different tenants");
        }
        let Some(entry) = entry else {
            return self.nothing_here(Reason::Unknown, "there is no such tenant");
        };
        let mut roles = Vec::new();
        for (caller, belonging) in callers.iter().zip(belongings) {
            let Some(own) = belonging else {
                return self.nothing_here(Reason::NotAMember, "the caller is no member");
            };
            if !self.may_vouch(caller, entry) {
                return self
                    .nothing_here(Reason::IssuerNotAllowed, "the issuer may not vouch for its members");
            }
            roles.extend(own.into_iter().filter(|role| !roles.contains(role)).collect::<Vec<_>>());
        }
        if entry.state == State::Deleted {
            return self.nothing_here(Reason::State(State::Deleted), "the tenant is deleted");
        }
        for active in callers.iter().filter_map(|caller| caller.active.as_ref()) {
            if switching == Switching::Required && !self.is_tenant(&active.tenant, &entry.id)? {
                let detail = "the token is for another tenant of the caller";
                return refuse(Reason::OtherTenantActive, Code::TenantSwitchRequired, detail);
            }
        }
        Ok(Proven {
            id: entry.id.clone().into_owned(),
            slug: entry.slug.clone().map(Cow::into_owned),
            state: entry.state,
            plan: entry.plan.map(ToOwned::to_owned),
            region: entry.region.map(ToOwned::to_owned),
            fields: entry.fields.iter().map(|(name, value)| ((*name).into(), value.clone().into())).collect(),
            subject: callers.iter().find_map(|caller| caller.subject.clone()),
            issuer: callers.first().map(|caller| caller.proof.name.clone()).unwrap_or_default(),
            roles,
        })
    }

    /// The roles of `caller` in the tenant with this id; nothing where it is no member.
    fn roles(&self, caller: &Caller<'_>, id: &str) -> Judged<Option<Vec<String>>> {
        let mut claimed = None;
        for belonging in caller.active.iter().chain(&caller.memberships) {
            if claimed.is_none() && self.is_tenant(&belonging.tenant, id)? {
                claimed = Some(belonging.roles.clone());
            }
        }
        let listed = match (self.directory, caller.subject.as_deref(), caller.proof.membership) {
            (Some(directory), Some(subject), MembershipFrom::Directory | MembershipFrom::Both) => {
                let member = Member { issuer: &caller.proof.name, subject };
                let roles = directory.roles(id, member).map_err(unreadable)?;
                roles.map(|roles| roles.into_iter().map(ToOwned::to_owned).collect())
            }
            _ => None,
        };
        Ok(match caller.proof.membership {
            MembershipFrom::Claims => claimed,
            MembershipFrom::Directory => listed,
            MembershipFrom::Both => claimed.and(listed),
        })
    }

    /// A tenant that names no issuers is open to the only one there is, or to all where the
    /// configuration says that they mean the same tenants.
    fn may_vouch(&self, caller: &Caller<'_>, entry: &Entry<'_>) -> bool {
        if entry.issuers.is_empty() {
            return self.directory.is_none()
                || self.policy.proofs.len() == 1
                || self.policy.issuers_share_tenants;
        }
        entry.issuers.iter().any(|issuer| *issuer == caller.proof.name)
    }

    fn state_allows(&self, tenant: &Proven, route: &Route, method: &str) -> Judged<()> {
        let state = tenant.state;
        if !route.states.contains(&state) {
            return match state {
                State::Suspended => {
                    refuse(Reason::State(state), Code::TenantSuspended, "the tenant is suspended")
                }
                State::ReadOnly => {
                    refuse(Reason::State(state), Code::TenantReadOnly, "the tenant is read-only")
                }
                State::Pending | State::Active | State::Deleted => {
                    self.nothing_here(Reason::State(state), "the route does not serve tenants in this state")
                }
            };
        }
        if state == State::ReadOnly && !route.writes_when_read_only && !is_safe(method, &self.request) {
            return refuse(Reason::State(state), Code::TenantReadOnly, "the tenant is read-only");
        }
        Ok(())
    }

    /// One answer for all that must not be told apart.
    fn nothing_here<T>(&self, reason: Reason, detail: &'static str) -> Judged<T> {
        let code = if self.policy.hides { Code::TenantNotFound } else { Code::TenantForbidden };
        refuse(reason, code, detail)
    }

    fn find<'r>(&self, reference: &'r Reference<'_>) -> Judged<Option<Entry<'r>>>
    where
        'd: 'r,
    {
        match (self.directory, reference) {
            // What the proof says is all that is known: every name is an id, and in use.
            (None, Reference::Domain(_)) => Ok(None),
            (None, reference) => Ok(Some(claimed(reference.text()))),
            (Some(directory), Reference::Id(id)) => directory.by_id(id).map_err(unreadable),
            (Some(directory), Reference::Slug(slug)) => directory.by_slug(slug).map_err(unreadable),
            (Some(directory), Reference::Domain(domain)) => directory.by_domain(domain).map_err(unreadable),
        }
    }

    /// Whether `reference` is a name of the tenant with this id.
    fn is_tenant(&self, reference: &Reference<'_>, id: &str) -> Judged<bool> {
        match reference {
            Reference::Id(own) => Ok(own == id),
            _ => Ok(self.find(reference)?.is_some_and(|entry| entry.id == id)),
        }
    }

    /// Answers a request to the switch route.
    fn switch(
        &self,
        route: &SwitchRoute,
        reading: &Reading<'_>,
        method: &str,
        trace: &mut Trace,
    ) -> Judged<Verdict> {
        route.check_origin(reading, method).map_err(because(Reason::SwitchRefused))?;
        let target = route.target.read(reading).map_err(because(Reason::SelectionInvalid))?;
        let Some(reference) = target else {
            return refuse(Reason::SelectionMissing, Code::TenantRequired, "the switch names no tenant");
        };
        let selections = [Selected { source: &route.target.name, reference, segments: 0 }];
        note_selections(trace, &selections);
        let callers = self.callers(reading)?;
        note_callers(trace, &callers);
        if callers.is_empty() {
            return refuse(Reason::ProofMissing, Code::AuthenticationRequired, "nothing proves the caller");
        }
        self.directory_serves(false)?;
        let tenant = self.proven(&selections, &callers, Switching::Allowed, trace)?;
        match tenant.state {
            State::Active | State::ReadOnly => Ok(Verdict::Switch(route.answer(&tenant))),
            state @ State::Suspended => {
                refuse(Reason::State(state), Code::TenantSuspended, "the tenant is suspended")
            }
            state @ (State::Pending | State::Deleted) => {
                self.nothing_here(Reason::State(state), "the tenant is not in use")
            }
        }
    }
}

fn unreadable(error: Unreadable) -> Refusal {
    let denial = Denial::new(Code::TenantDirectoryUnavailable, format!("{error}"));
    Refusal { denial, reason: Reason::Directory }
}

fn claimed(id: &str) -> Entry<'_> {
    Entry {
        id: id.into(),
        slug: None,
        state: State::Active,
        plan: None,
        region: None,
        fields: Vec::new(),
        issuers: Vec::new(),
    }
}

fn note_selections(trace: &mut Trace, selections: &[Selected<'_>]) {
    trace.selections = selections
        .iter()
        .map(|selected| Selection {
            source: selected.source.into(),
            name: selected.reference.text().into(),
            id: None,
        })
        .collect();
}

fn note_callers(trace: &mut Trace, callers: &[Caller<'_>]) {
    trace.callers = callers
        .iter()
        .map(|caller| Known {
            issuer: caller.proof.name.clone(),
            subject: caller.subject.clone(),
            active: caller.active.as_ref().map(|active| active.tenant.text().into()),
        })
        .collect();
}
