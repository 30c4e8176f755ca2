//! A tenant as a directory document describes it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::Deserialize;

use crate::{Domain, Slug, TenantId};

/// Where a tenant is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// Registered, not in use yet: like one that does not exist, except on routes that say so.
    Pending,
    /// In use.
    #[default]
    Active,
    /// Locked out; its members are told so, and nobody else.
    Suspended,
    /// Its data may be read and not changed.
    ReadOnly,
    /// Gone: like one that never existed. Its names stay taken.
    Deleted,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Active, Self::Suspended, Self::ReadOnly, Self::Deleted];

    /// The state's name in documents and headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::ReadOnly => "read-only",
            Self::Deleted => "deleted",
        }
    }
}

/// One tenant of a directory document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The id, which never changes.
    pub id: TenantId,
    /// What people call it; the first one is shown and forwarded.
    #[serde(default)]
    pub slugs: Vec<Slug>,
    /// Hosts that are this tenant's alone.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Where it is in its life; active where the document does not say.
    #[serde(default)]
    pub state: State,
    /// What it pays for.
    #[serde(default)]
    pub plan: Option<String>,
    /// Where its data is.
    #[serde(default)]
    pub region: Option<String>,
    /// What may be forwarded beside: profile fields by name.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// The proofs' issuers (by their names in the configuration) that may vouch for membership.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Who belongs to it, where membership is the directory's to know.
    #[serde(default)]
    pub members: Vec<Membership>,
}

/// One member of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The issuer that knows the subject, by its name in the configuration: a subject means
    /// nothing without it (RFC 7519 section 4.1.2).
    pub issuer: String,
    /// The subject.
    pub subject: String,
    /// What it may do there.
    #[serde(default)]
    pub roles: Vec<String>,
}
