//! The response side of a tenant's route: what an upstream's answer must not do on its way out.
//!
//! A shared cache must not keep it (RFC 9111 section 3.5: `public` and `s-maxage` allow that even
//! for authorized requests; a cache that got no word at all kept other people's pages in March
//! 2026 and May 2021), a cookie must not reach sibling tenants, and no link or permission may lead
//! to another tenant. What this policy tells upstreams must not come back out.

mod reference;

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderPair, header};
use serde::Deserialize;

use reference::Target;

/// Whose a host is, seen from a request's tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The request's tenant's.
    Own,
    /// Another tenant's, or one that cannot be known.
    Other,
    /// No tenant's, but the product's own.
    Central,
    /// Somebody else's.
    Outside,
}

/// Who owns which names, for one request.
pub trait Ownership {
    /// Whose `host` is: lower case, without port.
    fn host(&self, host: &str) -> Whose;

    /// Whether `path`, on a host of the product, names another tenant. Where paths name tenants, one
    /// that cannot be read does.
    fn names_other(&self, path: &str) -> bool;

    /// Whether a cookie for `domain` and the hosts below it reaches another tenant.
    fn shares_cookies(&self, domain: &str) -> bool;

    /// Whether the header is one that only this policy may set.
    fn owns_header(&self, name: &[u8]) -> bool;
}

/// What happens to an answer's headers that point at another tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// A cookie that other tenants' hosts would get. Default: `remove`.
    #[serde(default)]
    cookie_domain: Treatment<Remove>,
    /// A redirect to another tenant. Default: `refuse`.
    #[serde(default)]
    location: Treatment<Refuse>,
    /// A permission for another tenant's pages to read the answer. Default: `remove`.
    #[serde(default)]
    allow_origin: Treatment<Remove>,
}

/// What happens to a header that points at another tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// It goes; of a cookie, only its `Domain`.
    Remove,
    /// The answer becomes a 502.
    Refuse,
    /// It stays, and is counted.
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Treatment<D>(Act, core::marker::PhantomData<D>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remove;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refuse;

impl Default for Treatment<Remove> {
    fn default() -> Self {
        Self(Act::Remove, core::marker::PhantomData)
    }
}

impl Default for Treatment<Refuse> {
    fn default() -> Self {
        Self(Act::Refuse, core::marker::PhantomData)
    }
}

#[cfg(feature = "schema")]
impl<D> schemars::JsonSchema for Treatment<D> {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "Treatment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [
                { "const": "remove", "description": "It goes; of a cookie, only its `Domain`." },
                { "const": "refuse", "description": "The answer becomes a 502." },
                { "const": "report", "description": "It stays, and is counted." },
            ],
        })
    }
}

impl<'de, D> Deserialize<'de> for Treatment<D> {
    fn deserialize<E: serde::Deserializer<'de>>(deserializer: E) -> Result<Self, E::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Raw {
            Remove,
            Refuse,
            Report,
        }
        let act = match Raw::deserialize(deserializer)? {
            Raw::Remove => Act::Remove,
            Raw::Refuse => Act::Refuse,
            Raw::Report => Act::Report,
        };
        Ok(Self(act, core::marker::PhantomData))
    }
}

/// What was found in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// A shared cache could have kept it.
    Cacheable,
    /// A cookie that other tenants' hosts would get.
    CookieDomain,
    /// A redirect to another tenant.
    Location,
    /// A permission for another tenant's pages.
    AllowOrigin,
    /// A header that only this policy may set.
    OwnedHeader,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 5] =
        [Self::Cacheable, Self::CookieDomain, Self::Location, Self::AllowOrigin, Self::OwnedHeader];

    /// The finding's name in metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cacheable => "cacheable",
            Self::CookieDomain => "cookie_domain",
            Self::Location => "location",
            Self::AllowOrigin => "allow_origin",
            Self::OwnedHeader => "owned_header",
        }
    }
}

/// How a response changes on its way out: first what is removed, then what is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Names of headers to remove, all of each name.
    pub remove: Vec<Vec<u8>>,
    /// Headers to add afterwards, a line each.
    pub add: Vec<(Vec<u8>, Vec<u8>)>,
    /// What was found, each once.
    pub findings: Vec<Finding>,
}

/// Headers that speak to some cache only, and that win over `Cache-Control` there: RFC 9213,
/// the surrogate protocol, nginx, LiteSpeed, Akamai.
const CACHE_CONTROLS: [&str; 6] = [
    "surrogate-control",
    "cdn-cache-control",
    "edge-control",
    "x-accel-expires",
    "x-litespeed-cache-control",
    "expires",
];
const UNCACHED: &[u8] = b"private, no-store";

impl Firewall {
    /// What has to change in a response to a tenant's request; `shared` where the route says that
    /// its answers are the same for every tenant.
    ///
    /// # Errors
    ///
    /// A [`Denial`] to answer with in place of the response.
    pub fn clean(
        &self,
        headers: &[HeaderPair<'_>],
        shared: bool,
        own: &dyn Ownership,
    ) -> Result<Cleaned, Denial> {
        let mut cleaned = Cleaned::default();
        cleaned.owned(headers, own);
        // A cookie is for one client: whatever carries one is not the same for all.
        if !shared || header::values(headers, "set-cookie").next().is_some() {
            cleaned.uncache(headers);
        }
        self.cookies(headers, own, &mut cleaned)?;
        let location = |value: &[u8]| reference::target(value).is_some_and(|target| leads_away(&target, own));
        let origin = |value: &[u8]| !matches!(value, b"*" | b"null") && location(value);
        let refresh = |value: &[u8]| reference::refresh(value).is_some_and(location);
        let Self { cookie_domain: _, location: Treatment(moved, _), allow_origin: Treatment(origins, _) } =
            self;
        for (name, act, finding, leads) in [
            ("location", *moved, Finding::Location, &location as &dyn Fn(&[u8]) -> bool),
            ("refresh", *moved, Finding::Location, &refresh),
            ("access-control-allow-origin", *origins, Finding::AllowOrigin, &origin),
        ] {
            if header::values(headers, name).any(leads) {
                cleaned.treat(act, finding)?;
                if act == Act::Remove {
                    cleaned.remove.push(name.into());
                }
            }
        }
        Ok(cleaned)
    }

    /// Takes the domain out of every cookie that would reach another tenant: it becomes one for
    /// the host that set it (RFC 6265 section 5.3).
    fn cookies(
        &self,
        headers: &[HeaderPair<'_>],
        own: &dyn Ownership,
        cleaned: &mut Cleaned,
    ) -> Result<(), Denial> {
        let lines: Vec<&[u8]> = header::values(headers, "set-cookie").collect();
        let reaches = |line: &&[u8]| cookie_domains(line).any(|domain| shares(&domain, own));
        if !lines.iter().any(reaches) {
            return Ok(());
        }
        let Treatment(act, _) = self.cookie_domain;
        cleaned.treat(act, Finding::CookieDomain)?;
        if act == Act::Remove {
            cleaned.remove.push(b"set-cookie".to_vec());
            for line in lines {
                let line = if reaches(&line) { without_domain(line) } else { line.to_owned() };
                cleaned.add.push((b"set-cookie".to_vec(), line));
            }
        }
        Ok(())
    }
}

impl Cleaned {
    /// The names in a map of trailers that must not leave.
    #[must_use]
    pub fn of_trailers(trailers: &[HeaderPair<'_>], own: &dyn Ownership) -> Self {
        let mut cleaned = Self::default();
        cleaned.owned(trailers, own);
        cleaned
    }

    fn owned(&mut self, headers: &[HeaderPair<'_>], own: &dyn Ownership) {
        let names = headers.iter().map(|(name, _)| *name).filter(|name| own.owns_header(name));
        self.remove.extend(names.map(Into::into));
        if !self.remove.is_empty() {
            self.findings.push(Finding::OwnedHeader);
        }
    }

    fn uncache(&mut self, headers: &[HeaderPair<'_>]) {
        let mut said: Vec<&[u8]> = header::values(headers, "cache-control").collect();
        let uncached = said.pop().is_some_and(is_uncached) && said.is_empty();
        let mut others = false;
        for (name, _) in headers {
            let name = name.to_ascii_lowercase();
            let speaks = CACHE_CONTROLS.iter().any(|known| known.as_bytes() == name)
                || name.ends_with(b"-cdn-cache-control");
            if speaks && !self.remove.contains(&name) {
                others |= name != b"expires";
                self.remove.push(name);
            }
        }
        if !uncached {
            self.remove.push(b"cache-control".to_vec());
            self.add.push((b"cache-control".to_vec(), UNCACHED.to_vec()));
        }
        if !uncached || others {
            self.findings.push(Finding::Cacheable);
        }
    }

    fn treat(&mut self, act: Act, finding: Finding) -> Result<(), Denial> {
        if act == Act::Refuse {
            let detail = format!("the response points at another tenant: {}", finding.as_str());
            return Err(Denial::new(Code::TenantResponseRefused, detail));
        }
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
        Ok(())
    }
}

/// Whether the value says `no-store`, and nothing that some cache takes for leave to store.
fn is_uncached(value: &[u8]) -> bool {
    let mut directives = value.split(|byte| *byte == b',').map(|directive| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().to_ascii_lowercase()
    });
    let leave = |name: &[u8]| matches!(name, b"public" | b"s-maxage" | b"max-age" | b"immutable");
    directives.clone().any(|name| name == b"no-store") && !directives.any(|name| leave(&name))
}

fn leads_away(target: &Target<'_>, own: &dyn Ownership) -> bool {
    match target {
        Target::Unreadable => true,
        Target::Path(path) => own.names_other(path),
        Target::Host(host, path) => match own.host(host) {
            Whose::Other => true,
            Whose::Own | Whose::Central => own.names_other(path),
            Whose::Outside => false,
        },
    }
}

/// The domains in a `Set-Cookie` line: of several the last one counts (RFC 6265 section 5.3), but
/// not for everybody.
fn cookie_domains(line: &[u8]) -> impl Iterator<Item = String> {
    line.split(|byte| *byte == b';').skip(1).filter_map(|attribute| {
        let value = domain_of(attribute)?;
        let value = value.strip_prefix(b".").unwrap_or(value).to_ascii_lowercase();
        // What is not a host reaches nobody; it is taken for one that reaches all.
        Some(String::from_utf8(value).unwrap_or_default())
    })
}

fn domain_of(attribute: &[u8]) -> Option<&[u8]> {
    let equals = attribute.iter().position(|byte| *byte == b'=')?;
    let (name, value) = attribute.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?.trim_ascii();
    (name.trim_ascii().eq_ignore_ascii_case(b"domain") && !value.is_empty()).then_some(value)
}

fn shares(domain: &str, own: &dyn Ownership) -> bool {
    domain.is_empty() || own.shares_cookies(domain) || own.host(domain) == Whose::Other
}

fn without_domain(line: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = line
        .split(|byte| *byte == b';')
        .enumerate()
        .filter(|(at, attribute)| *at == 0 || domain_of(attribute).is_none())
        .map(|(_, attribute)| attribute)
        .collect();
    kept.join(&b';')
}
