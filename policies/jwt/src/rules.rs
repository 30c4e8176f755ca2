//! Which requirement a request is under: host, method and path, first match wins.

mod index;

use alloc::{borrow::Cow, string::String, vec::Vec};

use portcullis_core::{Denial, HeaderName};

use self::index::Index;
use crate::{
    conditions::Condition,
    locations::Location,
    policy::Issuer,
    request::{self, Request},
};

/// One rule: what it matches, and what it demands.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) methods: Vec<String>,
    pub(crate) path: PathPattern,
    pub(crate) requirement: Requirement,
    /// All of these must be granted.
    pub(crate) scopes: Vec<String>,
    /// One of these must be granted, where there are any.
    pub(crate) any_scopes: Vec<String>,
    pub(crate) conditions: Vec<Condition>,
    /// Where the rule only tells what it would refuse.
    pub(crate) report: Option<Report>,
}

/// How a rule tells what it would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Gets the decision on the way to the upstream.
    pub(crate) header: Option<HeaderName>,
}

/// Whose token a rule demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// One token of one of these.
    Any(Accepted),
    /// A token of each of these.
    All(Vec<Accepted>),
    /// None, or one token of one of these: a token that is there must be good.
    Optional(Accepted),
    /// No token is looked for.
    Nothing,
}

/// Issuers of which one token is accepted, and all the places where theirs are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    issuers: Vec<usize>,
    places: Vec<Location>,
}

impl Accepted {
    /// Those of `issuers` that `wanted` names by their index.
    pub(crate) fn new(mut wanted: Vec<usize>, issuers: &[Issuer]) -> Self {
        wanted.sort_unstable();
        let mut places: Vec<Location> = Vec::new();
        for location in wanted.iter().filter_map(|index| issuers.get(*index)).flat_map(|i| &i.locations) {
            if !places.contains(location) {
                places.push(location.clone());
            }
        }
        Self { issuers: wanted, places }
    }

    pub(crate) fn contains(&self, issuer: usize) -> bool {
        self.issuers.binary_search(&issuer).is_ok()
    }

    /// Indices in the configuration, in ascending order.
    pub(crate) fn issuers(&self) -> &[usize] {
        &self.issuers
    }

    pub(crate) fn places(&self) -> &[Location] {
        &self.places
    }
}

/// A host name, or `*.base` for exactly one label more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostPattern {
    Exact(String),
    OneLabelBelow(String),
}

/// A path, compared segment by segment on the decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathPattern {
    /// Every path.
    Any,
    Exact(Vec<String>),
    /// These segments and whatever follows: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(Vec<String>),
    Template(Vec<Part>),
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Variable(String),
    /// `**` at the end: whatever follows.
    Rest,
}

impl PathPattern {
    /// The names of a template's variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &String> {
        let parts = if let Self::Template(parts) = self { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|part| if let Part::Variable(name) = part { Some(name) } else { None })
    }
}

/// The rules of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    index: Index,
    /// Whether any rule looks at the path: if none does, no reading of it matters.
    paths_matter: bool,
    hosts_matter: bool,
    reports: bool,
}

impl Rules {
    /// `hosts_matter` where something else than a rule's match looks at the host.
    pub(crate) fn new(rules: Vec<Rule>, hosts_matter: bool) -> Self {
        Self {
            paths_matter: rules.iter().any(|rule| rule.path != PathPattern::Any),
            hosts_matter: hosts_matter || rules.iter().any(|rule| !rule.hosts.is_empty()),
            index: Index::new(&rules),
            reports: rules.iter().any(|rule| rule.report.is_some()),
            rules,
        }
    }

    /// Whether any rule only reports.
    pub(crate) const fn report(&self) -> bool {
        self.reports
    }

    /// The first rule that matches, with its index.
    pub(crate) fn find(&self, reading: &Reading<'_>) -> Option<(usize, &Rule)> {
        let method = reading.asked.unwrap_or(reading.method);
        let at = self.index.find(&self.rules, method, &reading.host, &reading.segments)?;
        Some((at, self.rules.get(at)?))
    }
}

/// The one reading of a request that rules rely on. What no rule looks at is not read.
#[derive(Debug)]
pub(crate) struct Reading<'r> {
    method: &'r str,
    /// The method that a preflight asks for, where preflights pass.
    pub(crate) asked: Option<&'r str>,
    host: String,
    segments: Vec<Cow<'r, str>>,
}

impl<'r> Reading<'r> {
    /// Reads what `rules` look at.
    pub(crate) fn new(rules: &Rules, request: &Request<'r>, preflights_pass: bool) -> Result<Self, Denial> {
        let method = request.pseudo(":method")?.unwrap_or_default();
        let asked = request.preflight_method().filter(|_| preflights_pass);
        let (path, _) = request.path_and_query()?;
        let segments = if rules.paths_matter { request::segments(path)? } else { Vec::new() };
        let host = match request.pseudo(":authority")? {
            Some(authority) if rules.hosts_matter => request::host(authority)?,
            _ => String::new(),
        };
        Ok(Self { method, asked, host, segments })
    }

    /// The host in lower case and without its port; empty where there is none.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What the path has in the place of the variable `name` of `rule`, which matches it.
    pub(crate) fn variable(&self, rule: &Rule, name: &str) -> Option<&str> {
        let PathPattern::Template(parts) = &rule.path else { return None };
        let named = |part: &Part| matches!(part, Part::Variable(own) if own == name);
        let at = parts.iter().position(named)?;
        self.segments.get(at).map(AsRef::as_ref)
    }
}
