//! Which tenants there are: what a decision asks, and a small answer from the configuration.

mod listed;

use alloc::vec::Vec;

pub use listed::Listed;

use crate::State;

/// What is known about tenants.
///
/// Names come in exactly as they were sent and after their grammar was checked; an
/// implementation compares bytes and folds nothing.
pub trait Directory {
    /// The tenant with this id.
    fn by_id(&self, id: &str) -> Option<Entry<'_>>;

    /// The tenant with this slug.
    fn by_slug(&self, slug: &str) -> Option<Entry<'_>>;

    /// The tenant whose domain this is.
    fn by_domain(&self, domain: &str) -> Option<Entry<'_>>;

    /// The roles of `member` in the tenant with this id; `None` where it is no member.
    fn roles(&self, id: &str, member: Member<'_>) -> Option<Vec<&str>>;

    /// Whether what is known may be relied on.
    fn freshness(&self) -> Freshness {
        Freshness::Current
    }
}

/// What a decision needs to know about a tenant, borrowed from its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'d> {
    /// The id, which never changes.
    pub id: &'d str,
    /// The slug that is shown.
    pub slug: Option<&'d str>,
    /// Where it is in its life.
    pub state: State,
    /// What it pays for.
    pub plan: Option<&'d str>,
    /// Where its data is.
    pub region: Option<&'d str>,
    /// Profile fields by name.
    pub fields: Vec<(&'d str, &'d str)>,
    /// The issuers that may vouch for membership, by their names in the configuration.
    pub issuers: Vec<&'d str>,
}

/// A caller as its issuer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member<'m> {
    /// The issuer's name in the configuration.
    pub issuer: &'m str,
    /// The subject, which means nothing without the issuer.
    pub subject: &'m str,
}

/// How much a directory is to be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As the configuration wants it.
    Current,
    /// Older than the configuration allows: routes say whether it still serves them.
    Stale,
    /// There is none: nothing can be looked up.
    Absent,
}
