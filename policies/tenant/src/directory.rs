//! Which tenants there are: what a decision asks, and a small answer from the configuration.

pub mod life;
mod listed;
pub mod pack;

use alloc::{borrow::Cow, vec::Vec};
use core::fmt;

pub use listed::Listed;

use crate::State;

/// What is known about tenants.
///
/// Names come in exactly as they were sent and after their grammar was checked; an
/// implementation compares bytes and folds nothing. `None` is for a name that is not there; where it
/// cannot be known, that is an error and never a `None`.
pub trait Directory {
    /// The tenant with this id.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] where it cannot be known, here and below.
    fn by_id(&self, id: &str) -> Result<Option<Entry<'_>>, Unreadable>;

    /// The tenant with this slug.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    fn by_slug(&self, slug: &str) -> Result<Option<Entry<'_>>, Unreadable>;

    /// The tenant whose domain this is.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    fn by_domain(&self, domain: &str) -> Result<Option<Entry<'_>>, Unreadable>;

    /// The roles of `member` in the tenant with this id; `None` where it is no member.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    fn roles(&self, id: &str, member: Member<'_>) -> Result<Option<Vec<&str>>, Unreadable>;

    /// Whether what is known may be relied on.
    fn freshness(&self) -> Freshness {
        Freshness::Current
    }
}

/// The directory is there and could not be read: nothing is known about the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tenant directory cannot be read")
    }
}

impl core::error::Error for Unreadable {}

/// What a decision needs to know about a tenant, borrowed from its directory where that holds it
/// in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'d> {
    /// The id, which never changes.
    pub id: Cow<'d, str>,
    /// The slug that is shown.
    pub slug: Option<Cow<'d, str>>,
    /// Where it is in its life.
    pub state: State,
    /// What it pays for.
    pub plan: Option<&'d str>,
    /// Where its data is.
    pub region: Option<&'d str>,
    /// Profile fields by name.
    pub fields: Vec<(&'d str, Cow<'d, str>)>,
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

/// The directory before there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Directory for Nothing {
    fn by_id(&self, _: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Err(Unreadable)
    }

    fn by_slug(&self, _: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Err(Unreadable)
    }

    fn by_domain(&self, _: &str) -> Result<Option<Entry<'_>>, Unreadable> {
        Err(Unreadable)
    }

    fn roles(&self, _: &str, _: Member<'_>) -> Result<Option<Vec<&str>>, Unreadable> {
        Err(Unreadable)
    }

    fn freshness(&self) -> Freshness {
        Freshness::Absent
    }
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
