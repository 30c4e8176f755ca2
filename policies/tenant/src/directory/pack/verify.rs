//! What only the whole of a packed directory can show: that its names lead where they should.

use alloc::string::{String, ToString};
use core::fmt;

use super::{InMemory, item::Item, page::Page, part::Part};
use crate::directory::Directory as _;

/// What a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tenants in any state.
    pub tenants: u64,
    /// Slugs and domains.
    pub names: u64,
    /// Members of tenants.
    pub members: u64,
}

/// Why the parts do not make a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// A page cannot be read.
    Unreadable,
    /// A tenant is not found under one of its names.
    NotFound {
        /// The tenant's id.
        id: String,
        /// The name.
        name: String,
    },
    /// A member of a tenant that does not exist.
    MemberOfNobody {
        /// The tenant's id.
        id: String,
    },
    /// There are more slugs and domains than tenants have.
    StrayNames,
    /// The manifest counts other tenants than there are.
    Count,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("a page cannot be read"),
            Self::NotFound { id, name } => write!(f, "tenant `{id}` is not found under its name `{name}`"),
            Self::MemberOfNobody { id } => {
                write!(f, "there are members of a tenant `{id}` and no such tenant")
            }
            Self::StrayNames => f.write_str("there are slugs or domains that no tenant has"),
            Self::Count => f.write_str("the manifest counts other tenants than there are"),
        }
    }
}

impl core::error::Error for VerifyError {}

impl InMemory {
    /// Looks every tenant up under every name.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] with the first thing that is not as it should be.
    pub fn verify(&self) -> Result<Summary, VerifyError> {
        let directory = self.directory();
        let words = directory.manifest.words().len();
        let (mut found, mut aliases) = (Summary::default(), 0_u64);
        for part in self.parts() {
            let part = Part::frame(part).ok_or(VerifyError::Unreadable)?;
            for page in part.pages() {
                let page = page.and_then(Page::read).ok_or(VerifyError::Unreadable)?;
                aliases = aliases.saturating_add(u64::try_from(page.aliases().count()).unwrap_or(u64::MAX));
                for (_, item) in page.items() {
                    let item =
                        item.and_then(|item| Item::read(item, words)).ok_or(VerifyError::Unreadable)?;
                    let lost = |id: &str, name: &str| VerifyError::NotFound {
                        id: id.to_string(),
                        name: name.to_string(),
                    };
                    match item {
                        Item::Tenant(tenant) => {
                            found.tenants = found.tenants.saturating_add(1);
                            let slugs = tenant.slugs.iter().map(|slug| (*slug, directory.by_slug(slug)));
                            let domains =
                                tenant.domains.iter().map(|name| (*name, directory.by_domain(name)));
                            for (name, entry) in slugs.chain(domains) {
                                found.names = found.names.saturating_add(1);
                                let entry = entry.map_err(|_| VerifyError::Unreadable)?;
                                if entry.is_none_or(|entry| entry.id != tenant.id) {
                                    return Err(lost(tenant.id, name));
                                }
                            }
                        }
                        Item::Member(member) => {
                            found.members = found.members.saturating_add(1);
                            let tenant = directory.by_id(member.id).map_err(|_| VerifyError::Unreadable)?;
                            if tenant.is_none() {
                                return Err(VerifyError::MemberOfNobody { id: member.id.to_string() });
                            }
                        }
                    }
                }
            }
        }
        if aliases != found.names {
            return Err(VerifyError::StrayNames);
        }
        if directory.manifest.tenants() != found.tenants {
            return Err(VerifyError::Count);
        }
        Ok(found)
    }
}
