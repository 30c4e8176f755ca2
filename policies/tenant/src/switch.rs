//! The route by which a product that keeps the active tenant in a cookie changes it.

use alloc::{format, string::String};

use portcullis_core::{Code, Denial, pattern::PathPattern};

use crate::{
    outcome::{Proven, Switch},
    source::{By, CookieName, Reading, Source},
};

/// `POST /_tenant/switch?tenant=initech`.
#[derive(Clone, Debug)]
pub(crate) struct SwitchRoute {
    pub(crate) path: PathPattern,
    /// The query parameter that names the tenant.
    pub(crate) target: Source,
    pub(crate) cookie: CookieName,
    /// Attributes of the cookie after its value.
    pub(crate) attributes: String,
    pub(crate) location: Option<String>,
}

impl SwitchRoute {
    pub(crate) fn is_for(&self, reading: &Reading<'_>) -> bool {
        self.path.matches(&reading.segments)
    }

    /// The request must be a POST that a page of this very host made: browsers say so themselves
    /// (Fetch metadata; Origin, RFC 6454 section 7), and pages of other sites cannot.
    pub(crate) fn check_origin(&self, reading: &Reading<'_>, method: &str) -> Result<(), Denial> {
        let refused = |detail: &'static str| Err(Denial::new(Code::TenantSwitchRefused, detail));
        if method != "POST" {
            return refused("the switch is not a POST");
        }
        let values = |name| portcullis_core::header::values(reading.request.headers(), name);
        let mut site = values("sec-fetch-site");
        let mut origin = values("origin");
        match (site.next(), site.next(), origin.next(), origin.next()) {
            (Some(b"same-origin"), None, None, None) => Ok(()),
            (None | Some(b"same-origin"), None, Some(origin), None) if is_origin(origin, &reading.host) => {
                Ok(())
            }
            _ => refused("the switch does not come from a page of this host"),
        }
    }

    pub(crate) fn answer(&self, tenant: &Proven) -> Switch {
        let name = match self.target.by {
            By::Id => tenant.id.as_str(),
            By::Slug => tenant.slug.as_deref().unwrap_or(&tenant.id),
        };
        Switch {
            tenant: tenant.id.clone(),
            cookie: format!("{}={name}{}", self.cookie.0, self.attributes),
            location: self.location.clone(),
        }
    }
}

/// Whether `origin` is a web origin of `host`, on any port.
fn is_origin(origin: &[u8], host: &str) -> bool {
    let Ok(origin) = core::str::from_utf8(origin) else { return false };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| {
        !authority.contains('/') && portcullis_core::request::host(authority).is_ok_and(|own| own == host)
    })
}
