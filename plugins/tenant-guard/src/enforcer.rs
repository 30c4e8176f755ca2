//! The way from a verdict to its effects.

use std::{cell::RefCell, collections::BTreeMap};

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::{Code, Denial, Request};
use portcullis_tenant::{
    Evidence as _, Guard, Origin, Outcome, Permit, Policy, Setting, Switch, Told, Verdict,
    audit::{Audit, Mode},
};

use crate::{
    answer::Timed,
    concurrency::{Concurrency, Place},
    directory::Fetched,
    evidence::Properties,
    metrics::Metrics,
    quota::{Slots, Survey},
};

/// The names under which later filters and Envoy's own language find the proven tenant.
const PROPERTY: &[&str] = &["portcullis_tenant"];
const ID_PROPERTY: &[&str] = &["portcullis_tenant_id"];

/// A request that goes on.
#[derive(Default)]
pub(crate) struct Passed {
    /// What its answer is to be judged by.
    pub(crate) guard: Option<Guard>,
    /// What its tenant is told of its limits.
    pub(crate) told: Option<Told>,
    /// Its place among those that are under way.
    pub(crate) _place: Option<Place>,
}

type Within = (Option<Place>, Option<Told>);

/// A configured worker.
pub(crate) struct Enforcer {
    pub(crate) policy: Policy,
    /// The directory, where it is another server's.
    pub(crate) fetched: Option<Fetched>,
    pub(crate) metrics: Metrics,
    /// With a salt in any case.
    pub(crate) audit: Audit,
    pub(crate) timed: Timed,
    pub(crate) quota: Option<Slots>,
    pub(crate) survey: Survey,
    pub(crate) concurrency: Option<Concurrency>,
    /// By route, how many answers had none of its guard's fields, until one has or it was told.
    pub(crate) unseen: RefCell<BTreeMap<usize, Option<u32>>>,
}

impl Enforcer {
    /// Judges the request of the effective context and makes the verdict true: nothing where it is
    /// answered.
    pub(crate) fn enforce(&self) -> Option<Passed> {
        self.judge().unwrap_or_else(|refused| {
            self.metrics.denied(Code::InternalError);
            log::write(Level::Error, || format!("denied: INTERNAL_ERROR: {refused}"));
            // Without an answer the request stays paused and the proxy's own timeout ends it:
            // that is still a refusal.
            let _ = reply::fail(refused);
            None
        })
    }

    fn judge(&self) -> Result<Option<Passed>, Refused> {
        let headers = http::headers(Map::RequestHeaders)?;
        let list = headers.list()?;
        let request = Request::new(&list);
        let has_certificate = || matches!(Properties.of(&Origin::MutualTls), Ok(Some(yes)) if yes == [1]);
        for setting in Setting::missing(&request, has_certificate) {
            self.metrics.missing(setting);
        }
        let outcome = match &self.fetched {
            None => self.policy.decide(&request, &Properties),
            Some(fetched) => {
                fetched.with(|directory| self.policy.decide_in(&request, &Properties, directory))
            }
        };
        if let Some(event) = self.audit.event(&request, &outcome) {
            log::write(Level::Info, || format!("portcullis_audit {event}"));
        }
        match &outcome.verdict {
            Verdict::Deny(denial) if self.audit.mode() == Mode::Shadow => {
                self.metrics.shadow(denial.code());
                self.strip(&request)?;
                Ok(Some(Passed::default()))
            }
            Verdict::Permit(permit) => {
                let (place, told) = match self.limit(&outcome)? {
                    Ok(within) => within,
                    Err((denial, _)) if self.only_reports() => {
                        self.metrics.shadow(denial.code());
                        (None, None)
                    }
                    Err((denial, told)) => {
                        self.strip(&request)?;
                        self.metrics.denied(denial.code());
                        reply::deny_with(&denial, &told.headers())?;
                        return Ok(None);
                    }
                };
                self.permit(&request, permit)?;
                Ok(Some(Passed { guard: self.policy.guard(&request, &outcome), told, _place: place }))
            }
            Verdict::Switch(switch) => self.switch(switch).map(|()| None),
            Verdict::Deny(denial) => {
                if let Some(tenant) = outcome.trace.existing() {
                    self.metrics.denied_to(&self.audit.pseudonym(tenant));
                }
                self.deny(&request, denial).map(|()| None)
            }
        }
    }

    /// Takes the request's cost from the quota, and then a place: what a place is not there for has
    /// been asked all the same.
    fn limit(&self, outcome: &Outcome) -> Result<Result<Within, (Denial, Told)>, Refused> {
        let left = match self.charge(outcome)? {
            Ok(left) => left,
            Err(exceeded) => return Ok(Err(exceeded)),
        };
        Ok(match (self.place(outcome)?, left) {
            (Ok(None), left) => Ok((None, left)),
            (Ok(Some((place, told))), None) => Ok((Some(place), Some(told))),
            (Ok(Some((place, told))), Some(left)) => Ok((Some(place), Some(left.and(&told)))),
            (Err((denial, told)), None) => Err((denial, told)),
            (Err((denial, told)), Some(left)) => Err((denial, left.and(&told))),
        })
    }

    /// Every change or none: a request whose changes fail is answered, not continued.
    fn permit(&self, request: &Request<'_>, permit: &Permit) -> Result<(), Refused> {
        let signed =
            if self.policy.signs() { self.policy.signed(request, permit, abi::now()?) } else { None };
        for name in permit.remove() {
            http::remove_header(Map::RequestHeaders, name)?;
        }
        for (name, value) in permit.set() {
            http::set_header(Map::RequestHeaders, name, value)?;
        }
        if let Some((name, value)) = signed {
            http::set_header(Map::RequestHeaders, &name, &value)?;
        }
        if let Some(tenant) = permit.tenant() {
            abi::set_property(PROPERTY, tenant.published().as_bytes())?;
            abi::set_property(ID_PROPERTY, tenant.id.as_bytes())?;
        }
        self.metrics.permitted.increment();
        Ok(())
    }

    fn switch(&self, switch: &Switch) -> Result<(), Refused> {
        let mut headers: Vec<(&[u8], &[u8])> =
            vec![(b"set-cookie", switch.cookie.as_bytes()), (b"cache-control", b"no-store")];
        if let Some(location) = &switch.location {
            headers.push((b"location", location.as_bytes()));
        }
        let status = if switch.location.is_some() { 303 } else { 204 };
        self.metrics.switched.increment();
        reply::answer(status, "portcullis_tenant_switched", &headers)
    }

    /// Takes out what pretends to come from this filter.
    fn strip(&self, request: &Request<'_>) -> Result<(), Refused> {
        let spoofed = self.policy.spoofed(request);
        spoofed.iter().try_for_each(|name| http::remove_header(Map::RequestHeaders, name))
    }

    /// Answers with `denial`, after what pretends to come from this filter is gone.
    fn deny(&self, request: &Request<'_>, denial: &Denial) -> Result<(), Refused> {
        self.strip(request)?;
        self.metrics.denied(denial.code());
        log::write(Level::Debug, || format!("denied: {denial}"));
        reply::deny(denial)
    }

    /// Takes what only this filter may say out of the trailers: some servers merge them into the
    /// headers (RFC 9110 section 6.5.1 warns of it).
    pub(crate) fn clean_trailers(&self) -> Result<(), Refused> {
        let trailers = http::headers(Map::RequestTrailers)?;
        let spoofed = self.policy.spoofed(&Request::new(&trailers.list()?));
        spoofed.iter().try_for_each(|name| http::remove_header(Map::RequestTrailers, name))
    }
}
