//! What a decision comes to, and what it saw on the way.

use alloc::{string::String, vec::Vec};

use portcullis_core::{Denial, json};

use crate::{Class, State};

/// A header's name and value.
pub type OwnedHeader = (Vec<u8>, Vec<u8>);

/// A decision with its account.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is to be done with the request.
    pub verdict: Verdict,
    /// What the decision saw, for reports: nothing of it is for the client.
    pub trace: Trace,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may continue, changed as the permit says.
    Permit(Permit),
    /// It is refused.
    Deny(Denial),
    /// It asked to switch tenants and may: it is answered, not forwarded.
    Switch(Switch),
}

/// The proof that a request may continue, and how it changes on the way. Only a decision makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    pub(crate) remove: Vec<Vec<u8>>,
    pub(crate) set: Vec<OwnedHeader>,
    pub(crate) tenant: Option<Proven>,
}

impl Permit {
    /// Headers to remove, first of all.
    #[must_use]
    pub fn remove(&self) -> &[Vec<u8>] {
        &self.remove
    }

    /// Headers to set afterwards, each in place of whatever has its name.
    #[must_use]
    pub fn set(&self) -> &[OwnedHeader] {
        &self.set
    }

    /// The tenant whose data this request is about; none on routes without one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&Proven> {
        self.tenant.as_ref()
    }
}

/// A tenant, and the caller that was proven to belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// The tenant's id.
    pub id: String,
    /// Its slug.
    pub slug: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// What it pays for.
    pub plan: Option<String>,
    /// Where its data is.
    pub region: Option<String>,
    /// Profile fields by name.
    pub fields: Vec<(String, String)>,
    /// The caller, as its issuer knows it.
    pub subject: Option<String>,
    /// The name of the proof that vouches for the caller.
    pub issuer: String,
    /// What the caller may do there.
    pub roles: Vec<String>,
}

impl Proven {
    /// What later filters may read: a JSON object.
    #[must_use]
    pub fn published(&self) -> String {
        let mut out = String::from("{\"id\":");
        json::write_string(&self.id, &mut out);
        let optional = [
            ("slug", self.slug.as_deref()),
            ("state", Some(self.state.as_str())),
            ("plan", self.plan.as_deref()),
            ("region", self.region.as_deref()),
            ("subject", self.subject.as_deref()),
            ("issuer", Some(self.issuer.as_str())),
        ];
        for (name, value) in optional {
            let Some(value) = value else { continue };
            out.push(',');
            json::write_string(name, &mut out);
            out.push(':');
            json::write_string(value, &mut out);
        }
        out.push_str(",\"roles\":[");
        for (at, role) in self.roles.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::write_string(role, &mut out);
        }
        out.push_str("]}");
        out
    }
}

/// The answer to a switch of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The tenant that is active from now on.
    pub tenant: String,
    /// The value of `Set-Cookie`.
    pub cookie: String,
    /// Where the browser goes; the answer is 204 without it, 303 with it.
    pub location: Option<String>,
}

/// What a decision saw. Names are as the request had them, after their grammar was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The route, by its index in the configuration.
    pub route: Option<usize>,
    /// The route's class.
    pub class: Option<Class>,
    /// The sources that named a tenant, by index in the configuration, with the name and the id
    /// that it stands for, where there is such a tenant.
    pub selections: Vec<Selection>,
    /// The callers that were proven.
    pub callers: Vec<Known>,
    /// The tenant that the decision came to, proven or not.
    pub tenant: Option<String>,
    /// Why the request was refused, more closely than the client is told.
    pub reason: Option<Reason>,
}

impl Trace {
    /// The id of the tenant that the decision came to, if there is such a tenant.
    #[must_use]
    pub fn existing(&self) -> Option<&str> {
        let tenant = self.tenant.as_deref()?;
        let known = self.selections.iter().any(|selection| selection.id.as_deref() == Some(tenant));
        known.then_some(tenant)
    }
}

/// One source and what it named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The source's name in the configuration.
    pub source: String,
    /// What it named.
    pub name: String,
    /// The id of the tenant of that name.
    pub id: Option<String>,
}

/// One caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The proof's name in the configuration.
    pub issuer: String,
    /// The caller, as its issuer knows it.
    pub subject: Option<String>,
    /// The tenant that the proof is for.
    pub active: Option<String>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request can be read in two ways.
    Ambiguous,
    /// No route is for it.
    NoRoute,
    /// A source is there and unusable.
    SelectionInvalid,
    /// A source is there that must not be.
    SelectionForbidden,
    /// A source that must be there is not, or none is.
    SelectionMissing,
    /// A proof is there and unusable.
    ProofInvalid,
    /// A proof is there that must not be, or one that must be is not.
    ProofMissing,
    /// Sources name different tenants.
    Disagreement,
    /// There is no such tenant.
    Unknown,
    /// The caller is not proven to belong to the tenant.
    NotAMember,
    /// The proof's issuer may not vouch for the tenant's members.
    IssuerNotAllowed,
    /// The proof is for another tenant of the caller.
    OtherTenantActive,
    /// The route does not serve tenants in this state.
    State(State),
    /// The directory cannot be relied on.
    Directory,
    /// The connection was made for another host.
    Misdirected,
    /// The switch is not a same-site POST.
    SwitchRefused,
}

impl Reason {
    /// The reason's name in reports and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::NoRoute => "no_route",
            Self::SelectionInvalid => "selection_invalid",
            Self::SelectionForbidden => "selection_forbidden",
            Self::SelectionMissing => "selection_missing",
            Self::ProofInvalid => "proof_invalid",
            Self::ProofMissing => "proof_missing",
            Self::Disagreement => "disagreement",
            Self::Unknown => "unknown",
            Self::NotAMember => "not_a_member",
            Self::IssuerNotAllowed => "issuer_not_allowed",
            Self::OtherTenantActive => "other_tenant_active",
            Self::State(State::Pending) => "pending",
            Self::State(State::Active) => "active",
            Self::State(State::Suspended) => "suspended",
            Self::State(State::ReadOnly) => "read_only",
            Self::State(State::Deleted) => "deleted",
            Self::Directory => "directory",
            Self::Misdirected => "misdirected",
            Self::SwitchRefused => "switch_refused",
        }
    }
}
