//! How an allowed request changes on its way: the trusted context that the upstream may rely on.

use alloc::{format, string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderName, header::encode_value};

use crate::{
    outcome::{OwnedHeader, Proven},
    source::{Reading, query},
};

/// What is told to the upstream, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) headers: Vec<(Fact, HeaderName)>,
    /// A query parameter that gets the id.
    pub(crate) query: Option<String>,
    /// What stands before the path.
    pub(crate) path_prefix: Option<PathPrefix>,
    /// Whether the segments of a path source, up to the tenant's, are dropped.
    pub(crate) strip_path: bool,
}

/// One thing that is known of the tenant or the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Id,
    Slug,
    State,
    Plan,
    Region,
    Subject,
    Issuer,
    Roles,
    Field(String),
}

/// `/tenants/{id}`: text, and one of the tenant's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPrefix {
    pub(crate) before: String,
    pub(crate) fact: Fact,
    pub(crate) after: String,
}

impl Fact {
    /// The header value: safe as such, and a list only where the fact is one.
    fn value(&self, tenant: &Proven) -> Option<Vec<u8>> {
        match self {
            Self::Id => Some(tenant.id.clone().into_bytes()),
            Self::Slug => tenant.slug.as_deref().map(element),
            Self::State => Some(tenant.state.as_str().into()),
            Self::Plan => tenant.plan.as_deref().map(element),
            Self::Region => tenant.region.as_deref().map(element),
            Self::Subject => tenant.subject.as_deref().map(element),
            Self::Issuer => Some(element(&tenant.issuer)),
            Self::Roles if tenant.roles.is_empty() => None,
            Self::Roles => {
                let roles: Vec<_> = tenant.roles.iter().map(|role| element(role)).collect();
                Some(roles.join(&b","[..]))
            }
            Self::Field(name) => {
                tenant.fields.iter().find(|(own, _)| own == name).map(|(_, value)| element(value))
            }
        }
    }
}

impl Scope {
    /// Headers to set for `tenant`, `:path` among them where it changes. `named` segments of the
    /// path lead to the tenant in it and name it.
    pub(crate) fn changes(
        &self,
        tenant: &Proven,
        reading: &Reading<'_>,
        named: usize,
    ) -> Result<Vec<OwnedHeader>, Denial> {
        let mut set: Vec<_> = self
            .headers
            .iter()
            .filter_map(|(fact, name)| Some((name.as_str().into(), fact.value(tenant)?)))
            .collect();
        let named = if self.strip_path { named } else { 0 };
        if self.query.is_some() || self.path_prefix.is_some() || named > 0 {
            set.push((b":path".to_vec(), self.path(tenant, reading, named)?.into_bytes()));
        }
        Ok(set)
    }

    fn path(&self, tenant: &Proven, reading: &Reading<'_>, named: usize) -> Result<String, Denial> {
        let (path, query) = reading.request.path_and_query()?;
        // The path was read without complaint, so it begins with a slash.
        let kept: Vec<_> = path.split('/').skip(named.saturating_add(1)).collect();
        let prefix =
            self.path_prefix.as_ref().map_or_else(|| Ok(String::new()), |prefix| prefix.of(tenant))?;
        let path = format!("{prefix}/{}", kept.join("/"));
        Ok(match (&self.query, query) {
            (Some(name), query) => query::with_parameter(&path, query, name, &tenant.id),
            (None, Some(query)) => format!("{path}?{query}"),
            (None, None) => path,
        })
    }
}

impl PathPrefix {
    /// Without the tenant's name the path would be everybody's.
    fn of(&self, tenant: &Proven) -> Result<String, Denial> {
        let name = match self.fact {
            Fact::Slug => tenant.slug.as_deref(),
            _ => Some(tenant.id.as_str()),
        };
        let name =
            name.ok_or_else(|| Denial::new(Code::InternalError, "the tenant has no slug for its path"))?;
        Ok(format!("{}{name}{}", self.before, self.after))
    }
}

/// A text that poses neither as two headers nor as two elements.
fn element(text: &str) -> Vec<u8> {
    let parts: Vec<_> = text.split(',').map(encode_value).collect();
    parts.join(&b"%2C"[..])
}
