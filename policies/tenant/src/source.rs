//! The places of a request that may name its tenant. What they say is a selection, never a proof.

mod cookie;
mod header;
mod host;
mod path;
pub(crate) mod query;

use alloc::{borrow::Cow, string::String};

use portcullis_core::{Code, Denial, HeaderName, Request, pattern::Part};

pub(crate) use cookie::CookieName;
pub(crate) use host::HostSource;
pub(crate) use path::tenant_at;

use crate::{Slug, TenantId};

/// One configured place.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// How routes, reports and the log call it.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) by: By,
    pub(crate) usage: Usage,
}

/// Where to look.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Host(HostSource),
    Path(alloc::vec::Vec<Part>),
    Header(HeaderName),
    Query(String),
    Cookie(CookieName),
}

/// Which of a tenant's names a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Id,
    Slug,
}

/// What a route makes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// It must name the tenant.
    Required,
    /// It may, and then it must agree with the others.
    Optional,
    /// It must not.
    Forbidden,
    /// It is not looked at.
    Ignored,
}

/// A tenant's name of a known kind, its grammar checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'r> {
    Id(Cow<'r, str>),
    Slug(Cow<'r, str>),
    Domain(Cow<'r, str>),
}

impl Reference<'_> {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Slug(text) | Self::Domain(text) => text,
        }
    }
}

impl By {
    /// The reference that `text` is, byte for byte.
    pub(crate) fn reference<'r>(self, text: &'r [u8]) -> Option<Reference<'r>> {
        let valid = match self {
            Self::Id => TenantId::is_valid(text),
            Self::Slug => Slug::is_valid(text),
        };
        let text = core::str::from_utf8(text).ok().filter(|_| valid)?;
        Some(match self {
            Self::Id => Reference::Id(text.into()),
            Self::Slug => Reference::Slug(text.into()),
        })
    }
}

/// A request, read once in the one way that every place is read from.
pub(crate) struct Reading<'r> {
    pub(crate) request: Request<'r>,
    pub(crate) segments: alloc::vec::Vec<Cow<'r, str>>,
    pub(crate) query: Option<&'r str>,
    /// In lower case, without port.
    pub(crate) host: String,
}

impl<'r> Reading<'r> {
    /// Reads what places and routes look at.
    pub(crate) fn new(request: Request<'r>) -> Result<Self, Denial> {
        let (path, query) = request.path_and_query()?;
        let segments = portcullis_core::request::segments(path)?;
        let authority = request.pseudo(":authority")?;
        // HTTP/2 may carry both (RFC 9113 section 8.3.1); which one the upstream takes is open.
        for host in portcullis_core::header::values(request.headers(), "host") {
            if authority.is_none_or(|authority| authority.as_bytes() != host) {
                return Err(Denial::new(Code::RequestAmbiguous, "`host` beside another `:authority`"));
            }
        }
        let host = portcullis_core::request::host(authority.unwrap_or_default())?;
        Ok(Self { request, segments, query, host })
    }
}

impl Source {
    /// The tenant that this place names, if it names one.
    pub(crate) fn read<'r>(&self, reading: &'r Reading<'_>) -> Result<Option<Reference<'r>>, Denial> {
        match &self.place {
            Place::Host(host) => host.read(self, reading),
            Place::Path(parts) => path::read(self, parts, reading),
            Place::Header(name) => header::read(self, name, reading),
            Place::Query(name) => query::read(self, name, reading),
            Place::Cookie(name) => cookie::read(self, name, reading),
        }
    }

    /// The one value of this place as a reference.
    fn reference<'r>(&self, value: &'r [u8]) -> Result<Reference<'r>, Denial> {
        self.by.reference(value).ok_or_else(|| self.invalid("holds what no tenant is called"))
    }

    fn invalid(&self, why: &str) -> Denial {
        Denial::new(Code::TenantSelectionInvalid, alloc::format!("the source `{}` {why}", self.name))
    }
}
