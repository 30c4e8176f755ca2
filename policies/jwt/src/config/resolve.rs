//! From the document's shape to the policy: every contradiction and unsafe setting ends here.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use portcullis_core::{HeaderName, config::ClaimNames};
use portcullis_crypto::{Algorithm, KeyType};

use super::{ConfigError, conditions, profile, raw, remote};
use crate::{
    claims::{ClaimChecks, ClaimPath},
    conditions::{Condition, Counterpart},
    config::duration::Span,
    forward::Forward,
    jwks::{self, KeySet, Origin},
    locations::Location,
    policy::{Issuer, Keys, Limits, Policy},
    rules::{Accepted, HostPattern, Part, PathPattern, Report, Requirement, Rule, Rules},
    token::{Types, media_type},
};

pub(super) type Resolved<T> = Result<T, ConfigError>;

/// More skew than this is a broken clock, not a skewed one (RFC 7519 section 4.1.4: "usually no
/// more than a few minutes").
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(600);
const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(60);
const MAX_TOKEN_BYTES: usize = 256 * 1024;
/// Each worker has a memory of its own, and a module can address 4 GiB.
const MAX_VERIFIED_TOKENS_BYTES: usize = 1024 * 1024 * 1024;

/// A setting that works and deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The place in the document.
    pub path: String,
    /// What is worth knowing.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

pub(crate) fn policy(config: raw::Config<'_>) -> Resolved<Policy> {
    let raw::Config { issuers, rules, limits, realm, bypass_cors_preflight, publish_claims } = config;
    let mut warnings = Vec::new();
    let limits = resolve_limits(&limits)?;
    let issuers: Vec<Issuer> =
        indexed("issuers", issuers, |path, raw| issuer(path, raw, limits, &mut warnings))?;
    let names = unique("issuers", "name", issuers.iter().map(|issuer| issuer.name.clone()))?;
    let by_identifier = unique("issuers", "issuer", issuers.iter().map(|issuer| issuer.identifier.clone()))?;
    if rules.is_empty() {
        return Err(ConfigError::new("rules", "empty: every request would be refused; add a rule"));
    }
    let rules = indexed("rules", rules, |path, raw| rule(path, raw, &names, &issuers))?;
    let mut owned: Vec<HeaderName> =
        issuers.iter().flat_map(|issuer| issuer.forward.owned()).cloned().collect();
    for (at, header) in reports(&rules) {
        if owned.iter().any(|own| own.is_spelled(header.as_str().as_bytes())) {
            let reason = format!("`{header}` is also set by `forward`; choose another");
            return Err(ConfigError::new(format!("rules[{at}].report_only.header"), reason));
        }
    }
    owned.extend(reports(&rules).map(|(_, header)| header.clone()));
    owned.sort();
    owned.dedup();
    refuse_owned_sources(&issuers, &owned)?;
    let counterparts = counterparts(&issuers, &rules);
    refuse_owned_counterparts(&counterparts, &owned)?;
    let compared = |wanted: fn(&Counterpart) -> bool| counterparts.iter().any(|(_, own)| wanted(own));
    let hosts_matter = compared(|own| matches!(own, Counterpart::Host | Counterpart::LabelBelow(_)));
    let compares_peer = compared(|own| matches!(own, Counterpart::Peer(_)));
    Ok(Policy {
        rules: Rules::new(rules, hosts_matter),
        compares_peer,
        limits,
        realm: realm.map(|realm| resolve_realm(&realm)).transpose()?,
        by_identifier,
        bypass_cors_preflight,
        publish_claims,
        issuers,
        owned,
        warnings,
    })
}

pub(super) fn indexed<R, T>(
    path: &str,
    items: Vec<R>,
    mut item: impl FnMut(&str, R) -> Resolved<T>,
) -> Resolved<Vec<T>> {
    items.into_iter().enumerate().map(|(at, raw)| item(&format!("{path}[{at}]"), raw)).collect()
}

fn unique(
    path: &str,
    member: &str,
    values: impl Iterator<Item = String>,
) -> Resolved<BTreeMap<String, usize>> {
    let mut seen = BTreeMap::new();
    for (at, value) in values.enumerate() {
        if value.is_empty() {
            return Err(ConfigError::new(format!("{path}[{at}].{member}"), "empty"));
        }
        if let Some(first) = seen.insert(value.clone(), at) {
            let reason = format!("`{value}` is already {path}[{first}].{member}; each needs its own");
            return Err(ConfigError::new(format!("{path}[{at}].{member}"), reason));
        }
    }
    Ok(seen)
}

fn resolve_limits(raw: &raw::Limits) -> Resolved<Limits> {
    let raw::Limits { token_bytes, verified_tokens_bytes, waiting_requests, wait: Span(wait) } = *raw;
    if !(64..=MAX_TOKEN_BYTES).contains(&token_bytes) {
        return Err(ConfigError::new("limits.token_bytes", format!("not in 64..={MAX_TOKEN_BYTES}")));
    }
    if verified_tokens_bytes > MAX_VERIFIED_TOKENS_BYTES {
        let reason = format!("not in 0..={MAX_VERIFIED_TOKENS_BYTES}");
        return Err(ConfigError::new("limits.verified_tokens_bytes", reason));
    }
    if wait.is_zero() || wait > Duration::from_secs(60) {
        return Err(ConfigError::new("limits.wait", "not in `1ms` to `60s`"));
    }
    Ok(Limits { token_bytes, verified_tokens_bytes, waiting_requests, wait })
}

fn resolve_realm(realm: &str) -> Resolved<String> {
    let sound = realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if sound { Ok(realm.into()) } else { Err(ConfigError::new("realm", "only visible ASCII without quotes")) }
}

fn issuer(
    path: &str,
    mut raw: raw::Issuer<'_>,
    limits: Limits,
    warnings: &mut Vec<Warning>,
) -> Resolved<Issuer> {
    let of_profile = profile::apply(path, &mut raw)?;
    let raw::Issuer {
        name,
        issuer,
        profile: _,
        departs_from_profile: _,
        audiences,
        accept_any_audience,
        algorithms,
        jwks,
        types,
        require_type,
        clock_skew,
        require_expiry,
        max_lifetime,
        required_claims,
        claims,
        from,
        forward,
    } = raw;
    let at = |member: &str| format!("{path}.{member}");
    match (audiences.is_empty(), accept_any_audience) {
        (true, false) => {
            let reason = "no audience: tokens for other services would pass; name at least one, or say \
                          `accept_any_audience`: true";
            return Err(ConfigError::new(at("audiences"), reason));
        }
        (false, true) => {
            return Err(ConfigError::new(
                at("accept_any_audience"),
                "contradicts `audiences`; keep one of them",
            ));
        }
        _ => {}
    }
    let algorithms = algorithms
        .ok_or_else(|| ConfigError::new(at("algorithms"), "missing; name them, or a `profile` that does"))?;
    let algorithms = resolve_algorithms(&at("algorithms"), &algorithms)?;
    let keys = keys(&at("jwks"), jwks, &algorithms, (&issuer, limits), warnings)?;
    let Span(clock_skew) = clock_skew.unwrap_or(Span(DEFAULT_CLOCK_SKEW));
    if clock_skew > MAX_CLOCK_SKEW {
        return Err(ConfigError::new(at("clock_skew"), "more than `10m`; correct the clocks instead"));
    }
    let max_lifetime = max_lifetime.map(|Span(lifetime)| lifetime);
    let require_expiry = require_expiry.unwrap_or(true);
    if max_lifetime.is_some() && !require_expiry {
        let reason = "contradicts `max_lifetime`: a token without `exp` has no end";
        return Err(ConfigError::new(at("require_expiry"), reason));
    }
    let checks = ClaimChecks {
        audiences,
        require_expiry,
        clock_skew,
        max_lifetime,
        required: indexed(&at("required_claims"), required_claims, |path, ClaimNames(names)| {
            claim_path(path, names)
        })?,
        conditions: [of_profile, conditions::conditions(&at("claims"), claims, &[])?].concat(),
    };
    Ok(Issuer {
        types: resolve_types(&at("types"), types, require_type)?,
        locations: locations(&at("from"), from.unwrap_or_default())?,
        forward: resolve_forward(&at("forward"), forward)?,
        identifier: issuer,
        name,
        algorithms,
        checks,
        keys,
    })
}

fn resolve_algorithms(path: &str, names: &[String]) -> Resolved<Vec<Algorithm>> {
    if names.is_empty() {
        return Err(ConfigError::new(path, "empty: no token could pass; name the issuer's algorithms"));
    }
    let known = || Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ");
    indexed(path, names.to_vec(), |path, name| {
        Algorithm::from_name(&name)
            .ok_or_else(|| ConfigError::new(path, format!("`{name}` is not one of {}", known())))
    })
}

fn keys(
    path: &str,
    raw: raw::Jwks<'_>,
    algorithms: &[Algorithm],
    (issuer, limits): (&str, Limits),
    warnings: &mut Vec<Warning>,
) -> Resolved<Keys> {
    let hmac = algorithms.iter().find(|own| own.key_type() == KeyType::Hmac).map(|own| own.as_str());
    match raw {
        raw::Jwks::Inline(document) => {
            let path = format!("{path}.inline");
            let set = KeySet::parse(document.get().as_bytes(), Origin::Inline, &jwks::Limits::default())
                .map_err(|error| ConfigError::new(&path, error.to_string()))?;
            let left_out = set.left_out().iter().map(ToString::to_string);
            let messages = left_out.chain(set.notes().iter().map(ToString::to_string));
            warnings.extend(messages.map(|message| Warning { path: path.clone(), message }));
            let fits = |own: &Algorithm| set.keys().iter().any(|key| key.permits(*own));
            if algorithms.iter().any(fits) {
                return Ok(Keys::Inline(set));
            }
            Err(ConfigError::new(path, "no key fits any of the issuer's algorithms"))
        }
        raw::Jwks::Remote(_) | raw::Jwks::Discovery(_) if hmac.is_some() => {
            let reason =
                format!("{} needs a shared secret, which never comes from a URL", hmac.unwrap_or_default());
            Err(ConfigError::new(path, reason))
        }
        raw::Jwks::Remote(remote) => remote::keys(&format!("{path}.remote"), *remote, issuer, limits),
        raw::Jwks::Discovery(place) => {
            remote::discovered(&format!("{path}.discovery"), *place, issuer, limits)
        }
    }
}

fn resolve_types(path: &str, types: Option<Vec<String>>, required: Option<bool>) -> Resolved<Types> {
    // RFC 7519 section 5.1 and RFC 9068 section 2.1; what most issuers send.
    let accepted = types.unwrap_or_else(|| Vec::from(["JWT".into(), "at+jwt".into()]));
    if accepted.is_empty() {
        return Err(ConfigError::new(
            path,
            "empty: no token could pass; leave it out for `JWT` and `at+jwt`",
        ));
    }
    Ok(Types {
        accepted: accepted.iter().map(|typ| media_type(typ)).collect(),
        absent: !required.unwrap_or(false),
    })
}

fn locations(path: &str, raw: raw::From) -> Resolved<Vec<Location>> {
    let raw::From { authorization, headers, cookies, query } = raw;
    let mut locations = Vec::new();
    if let Some(scheme) = authorization {
        let path = format!("{path}.authorization");
        HeaderName::new(&scheme).map_err(|_| ConfigError::new(path, "not a scheme, such as `Bearer`"))?;
        locations.push(Location::Authorization { scheme });
    }
    for (at, raw::HeaderSource { name, prefix }) in headers.into_iter().enumerate() {
        let path = format!("{path}.headers[{at}].name");
        let name = header_name(&path, &name)?;
        if matches!(name.as_str(), "authorization" | "cookie") {
            let reason =
                format!("`{name}` has a form of its own; use `from.authorization` or `from.cookies`");
            return Err(ConfigError::new(path, reason));
        }
        locations.push(Location::Header { name, prefix });
    }
    locations.extend(indexed(&format!("{path}.cookies"), cookies, |path, name| {
        HeaderName::new(&name).map_err(|_| ConfigError::new(path, "not a cookie's name"))?;
        Ok(Location::Cookie { name })
    })?);
    locations.extend(indexed(&format!("{path}.query"), query, |path, name| {
        let sound = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if sound {
            Ok(Location::Query { name })
        } else {
            Err(ConfigError::new(path, "only letters, digits, `_`, `-`, `.`"))
        }
    })?);
    if locations.is_empty() {
        locations.push(Location::Authorization { scheme: "Bearer".into() });
    }
    Ok(locations)
}

fn resolve_forward(path: &str, raw: raw::Forward) -> Resolved<Forward> {
    let raw::Forward { headers, payload_header, token } = raw;
    let mut seen: Vec<HeaderName> = Vec::new();
    let mut own = |path: &str, name: &str| {
        let header = header_name(path, name)?;
        refuse_framing(path, &header)?;
        if seen.iter().any(|other| other.is_spelled(header.as_str().as_bytes())) {
            return Err(ConfigError::new(path, format!("`{header}` is already set from another claim")));
        }
        seen.push(header.clone());
        Ok(header)
    };
    let headers = indexed(
        &format!("{path}.headers"),
        headers,
        |path, raw::ClaimHeader { claim, path: names, header }| {
            Ok((claim_or_path(path, claim, names)?, own(&format!("{path}.header"), &header)?))
        },
    )?;
    let payload_header =
        payload_header.map(|name| own(&format!("{path}.payload_header"), &name)).transpose()?;
    Ok(Forward { headers, payload_header, token })
}

pub(super) fn header_name(path: &str, name: &str) -> Resolved<HeaderName> {
    HeaderName::new(name).map_err(|error| ConfigError::new(path, format!("`{name}` is {error}")))
}

/// Headers that no claim may become: they frame the message (RFC 9112), steer the route, or carry
/// the client's own credentials.
fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-type"
            | "cookie"
            | "expect"
            | "host"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A header that the policy sets is removed from every request, so no token can come in it.
fn refuse_owned_sources(issuers: &[Issuer], owned: &[HeaderName]) -> Resolved<()> {
    for (at, issuer) in issuers.iter().enumerate() {
        for location in &issuer.locations {
            if let Location::Header { name, .. } = location
                && owned.iter().any(|own| own.is_spelled(name.as_str().as_bytes()))
            {
                let reason = format!("`{name}` is also set by `forward`; a token cannot come in it");
                return Err(ConfigError::new(format!("issuers[{at}].from.headers"), reason));
            }
        }
    }
    Ok(())
}

/// The headers that reports are given to upstreams in, with the index of their rule.
fn reports(rules: &[Rule]) -> impl Iterator<Item = (usize, &HeaderName)> {
    rules.iter().enumerate().filter_map(|(at, rule)| Some((at, rule.report.as_ref()?.header.as_ref()?)))
}

/// What conditions compare claims with, and the lists that these conditions are in.
fn counterparts<'p>(issuers: &'p [Issuer], rules: &'p [Rule]) -> Vec<(String, &'p Counterpart)> {
    let of_issuers = issuers.iter().enumerate().map(|(at, own)| ("issuers", at, &own.checks.conditions));
    let of_rules = rules.iter().enumerate().map(|(at, own)| ("rules", at, &own.conditions));
    let lists = of_issuers.chain(of_rules);
    lists
        .flat_map(|(kind, at, conditions)| {
            let mut found = Vec::new();
            conditions.iter().for_each(|condition: &Condition| condition.counterparts(&mut found));
            found.into_iter().map(move |own| (format!("{kind}[{at}].claims"), own))
        })
        .collect()
}

/// What the client says in a header that the policy sets is removed, so it is nothing to compare
/// with.
fn refuse_owned_counterparts(counterparts: &[(String, &Counterpart)], owned: &[HeaderName]) -> Resolved<()> {
    for (path, counterpart) in counterparts {
        if let Counterpart::Header(name) = counterpart
            && owned.iter().any(|own| own.is_spelled(name.as_str().as_bytes()))
        {
            let reason = format!("`{name}` is set by `forward`; a claim cannot be compared with it");
            return Err(ConfigError::new(path.clone(), reason));
        }
    }
    Ok(())
}

pub(super) fn claim_or_path(
    path: &str,
    claim: Option<String>,
    names: Option<Vec<String>>,
) -> Resolved<ClaimPath> {
    match (claim, names) {
        (Some(claim), None) => claim_path(path, Vec::from([claim])),
        (None, Some(names)) => claim_path(path, names),
        _ => Err(ConfigError::new(
            path,
            "exactly one of `claim` (a name) and `path` (names on the way) is needed",
        )),
    }
}

fn claim_path(path: &str, names: Vec<String>) -> Resolved<ClaimPath> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(ConfigError::new(path, "a claim's name is empty"));
    }
    Ok(ClaimPath(names))
}

fn rule(
    path: &str,
    raw: raw::Rule<'_>,
    names: &BTreeMap<String, usize>,
    issuers: &[Issuer],
) -> Resolved<Rule> {
    let raw::Rule { hosts, methods, path: path_match, require, scopes, any_scopes, claims, report_only } =
        raw;
    let at = |member: &str| format!("{path}.{member}");
    let requirement = requirement(&at("require"), require, names, issuers)?;
    let demands =
        [("scopes", scopes.is_empty()), ("any_scopes", any_scopes.is_empty()), ("claims", claims.is_empty())];
    if !matches!(requirement, Requirement::Any(_) | Requirement::All(_))
        && let Some((member, _)) = demands.iter().find(|(_, empty)| !empty)
    {
        let reason = "only with `any` or `all`: without a token nothing satisfies it";
        return Err(ConfigError::new(at(member), reason));
    }
    let report = report_only.map(|raw| report(&at("report_only"), raw, &requirement)).transpose()?;
    let path_pattern = path_pattern(&at("path"), &path_match)?;
    let variables: Vec<String> = path_pattern.variables().cloned().collect();
    Ok(Rule {
        hosts: indexed(&at("hosts"), hosts, |path, host| host_pattern(path, &host))?,
        methods: indexed(&at("methods"), methods, |path, method| {
            let sound =
                !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            if sound {
                Ok(method)
            } else {
                Err(ConfigError::new(path, "not a method, such as `GET`; they are upper case"))
            }
        })?,
        scopes: indexed(&at("scopes"), scopes, scope)?,
        any_scopes: indexed(&at("any_scopes"), any_scopes, scope)?,
        conditions: conditions::conditions(&at("claims"), claims, &variables)?,
        path: path_pattern,
        requirement,
        report,
    })
}

fn report(path: &str, raw: raw::ReportOnly, requirement: &Requirement) -> Resolved<Report> {
    if *requirement == Requirement::Nothing {
        return Err(ConfigError::new(
            path,
            "a rule that requires nothing refuses nothing; there is no report",
        ));
    }
    let header = raw.header.map(|name| {
        let path = format!("{path}.header");
        let header = header_name(&path, &name)?;
        refuse_framing(&path, &header)?;
        Ok(header)
    });
    Ok(Report { header: header.transpose()? })
}

fn refuse_framing(path: &str, header: &HeaderName) -> Resolved<()> {
    if is_framing(header.as_str()) {
        let reason = format!("`{header}` steers the connection or the route; choose a header of your own");
        return Err(ConfigError::new(path, reason));
    }
    Ok(())
}

fn scope(path: &str, scope: String) -> Resolved<String> {
    // RFC 6749 section 3.3: scope-token.
    let sound =
        !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    if sound { Ok(scope) } else { Err(ConfigError::new(path, "not one scope token (RFC 6749 section 3.3)")) }
}

fn requirement(
    path: &str,
    raw: raw::Require,
    names: &BTreeMap<String, usize>,
    issuers: &[Issuer],
) -> Resolved<Requirement> {
    let lookup = |kind: &str, wanted: Vec<String>| {
        let path = format!("{path}.{kind}");
        if wanted.is_empty() {
            return Err(ConfigError::new(path, "empty; name at least one issuer, or require `\"none\"`"));
        }
        indexed(&path, wanted, |path, name| {
            let known = || names.keys().cloned().collect::<Vec<_>>().join(", ");
            names.get(&name).copied().ok_or_else(|| {
                ConfigError::new(path, format!("`{name}` is not an issuer's name; there are: {}", known()))
            })
        })
    };
    Ok(match raw {
        raw::Require::Any(wanted) => Requirement::Any(Accepted::new(lookup("any", wanted)?, issuers)),
        raw::Require::Optional(wanted) => {
            Requirement::Optional(Accepted::new(lookup("optional", wanted)?, issuers))
        }
        raw::Require::All(wanted) => {
            let wanted = lookup("all", wanted)?;
            let path = format!("{path}.all");
            refuse_shared_places(&path, &wanted, issuers)?;
            refuse_shared_headers(&path, &wanted, issuers)?;
            Requirement::All(
                wanted.into_iter().map(|index| Accepted::new(Vec::from([index]), issuers)).collect(),
            )
        }
        raw::Require::None => Requirement::Nothing,
    })
}

/// `all` needs a token of each issuer, and one place holds one token.
fn refuse_shared_places(path: &str, wanted: &[usize], issuers: &[Issuer]) -> Resolved<()> {
    let mut seen: Vec<&Location> = Vec::new();
    for issuer in wanted.iter().filter_map(|index| issuers.get(*index)) {
        if issuer.locations.iter().any(|location| seen.contains(&location)) {
            let reason = format!(
                "`{}` looks for its token where another one does; give each a `from` of its own",
                issuer.name
            );
            return Err(ConfigError::new(path, reason));
        }
        seen.extend(&issuer.locations);
    }
    Ok(())
}

/// `all` sets the headers of each issuer, and one header has one value.
fn refuse_shared_headers(path: &str, wanted: &[usize], issuers: &[Issuer]) -> Resolved<()> {
    let mut seen: Vec<&HeaderName> = Vec::new();
    for issuer in wanted.iter().filter_map(|index| issuers.get(*index)) {
        let clash = |own: &&HeaderName| seen.iter().any(|other| other.is_spelled(own.as_str().as_bytes()));
        if let Some(header) = issuer.forward.owned().find(clash) {
            let reason =
                format!("`{header}` would be set by two of these issuers; give each a header of its own");
            return Err(ConfigError::new(path, reason));
        }
        seen.extend(issuer.forward.owned());
    }
    Ok(())
}

fn host_pattern(path: &str, host: &str) -> Resolved<HostPattern> {
    let base = host.strip_prefix("*.").unwrap_or(host);
    if !is_host(base) {
        let reason = format!("`{host}` is not a host in lower case without port, or `*.` and one");
        return Err(ConfigError::new(path, reason));
    }
    Ok(if base.len() == host.len() {
        HostPattern::Exact(base.into())
    } else {
        HostPattern::OneLabelBelow(base.into())
    })
}

pub(super) fn is_host(text: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'[' | b']' | b':');
    !text.is_empty() && !text.ends_with('.') && text.bytes().all(allowed)
}

fn path_pattern(path: &str, raw: &raw::PathMatch) -> Resolved<PathPattern> {
    let (kind, text) = match raw {
        raw::PathMatch::Exact(text) => ("exact", text),
        raw::PathMatch::Prefix(text) => ("prefix", text),
        raw::PathMatch::Template(text) => ("template", text),
    };
    let path = format!("{path}.{kind}");
    let Some(rest) = text.strip_prefix('/') else {
        return Err(ConfigError::new(path, format!("`{text}` does not begin with `/`")));
    };
    if rest.contains(['%', '?', '#', ';', '\\']) {
        let reason = "has one of % ? # ; \\: write the decoded path, without query; requests are decoded once before they are compared";
        return Err(ConfigError::new(path, reason));
    }
    let segments: Vec<String> = rest.split('/').map(Into::into).collect();
    let last = segments.len().saturating_sub(1);
    let odd = segments
        .iter()
        .enumerate()
        .any(|(at, text)| matches!(text.as_str(), "." | "..") || (text.is_empty() && at != last));
    if odd {
        return Err(ConfigError::new(path, "has a dot segment or an empty one; such requests are refused"));
    }
    match raw {
        raw::PathMatch::Exact(_) => Ok(PathPattern::Exact(segments)),
        raw::PathMatch::Prefix(_) if rest.is_empty() => Ok(PathPattern::Any),
        raw::PathMatch::Prefix(_) => {
            let kept = segments.into_iter().filter(|segment| !segment.is_empty()).collect();
            Ok(PathPattern::Prefix(kept))
        }
        raw::PathMatch::Template(_) => {
            let pattern = PathPattern::Template(template(&path, segments)?);
            let mut names: Vec<&String> = pattern.variables().collect();
            names.sort_unstable();
            match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
                None => Ok(pattern),
                Some(name) => {
                    Err(ConfigError::new(path, format!("`{{{name}}}` twice; give each its own name")))
                }
            }
        }
    }
}

fn template(path: &str, segments: Vec<String>) -> Resolved<Vec<Part>> {
    let last = segments.len().saturating_sub(1);
    segments
        .into_iter()
        .enumerate()
        .map(|(at, segment)| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}', '*']) => {
                Ok(Part::Variable(name.into()))
            }
            None if segment == "**" && at == last => Ok(Part::Rest),
            None if !segment.contains(['{', '}', '*']) => Ok(Part::Literal(segment)),
            _ => Err(ConfigError::new(
                path,
                format!("`{segment}`: a segment is text, `{{name}}`, or `**` at the end"),
            )),
        })
        .collect()
}
