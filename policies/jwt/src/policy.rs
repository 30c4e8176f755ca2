//! The decision: one request in, a permit, a denial or a need out.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use portcullis_core::{Challenge, Code, Denial, HeaderName, UnixTime};
use portcullis_crypto::{Algorithm, Verifier};

use crate::{
    claims::{ClaimChecks, Registered, grants_scope},
    config::{self, ConfigError, resolve::Warning},
    forward::Forward,
    json::{self, Object, Value},
    jwks::KeySet,
    life::LifeConfig,
    locations::{self, Changes, Location},
    permit::{Identity, Permit},
    request::Request,
    rules::{Requirement, Rule, Rules},
    token::{Compact, RawHeader, Types, Unverified},
};

/// A configuration that was found sound.
#[derive(Debug)]
pub struct Policy {
    pub(crate) issuers: Vec<Issuer>,
    /// Issuer identifier to index: the provider is chosen before any other work is done.
    pub(crate) by_identifier: BTreeMap<String, usize>,
    pub(crate) rules: Rules,
    pub(crate) realm: Option<String>,
    pub(crate) bypass_cors_preflight: bool,
    pub(crate) limits: Limits,
    pub(crate) owned: Vec<HeaderName>,
    pub(crate) warnings: Vec<Warning>,
}

/// What one request and one worker may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A longer token is refused before it is decoded.
    pub token_bytes: usize,
    /// Requests of one worker that may wait for keys at the same time.
    pub waiting_requests: u32,
    /// How long a request may wait for keys.
    pub wait: Duration,
}

#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) identifier: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) types: Types,
    pub(crate) checks: ClaimChecks,
    pub(crate) locations: Vec<Location>,
    pub(crate) forward: Forward,
    pub(crate) keys: Keys,
}

/// Where an issuer's keys come from.
#[derive(Debug)]
pub(crate) enum Keys {
    Inline(KeySet),
    Remote(Box<RemoteKeys>),
}

/// A key set that has to be fetched.
#[derive(Clone, Debug)]
pub struct RemoteKeys {
    /// Its sources and the life of what they give.
    pub life: LifeConfig,
    /// For each source, the name that the proxy knows the upstream by.
    pub clusters: Vec<String>,
}

/// The remote key sets as they are now.
pub trait KeySource {
    /// The current set of the issuer with this index, if there is a usable one.
    fn key_set(&self, issuer: usize) -> Option<&KeySet>;
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It may continue, changed as the permit says.
    Permit(Permit),
    /// It is refused.
    Deny(Denial),
    /// It cannot be judged without newer keys.
    Need(Need),
}

/// Keys that could change the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The issuer, by its index in the configuration.
    pub issuer: usize,
    /// What was missing.
    pub missing: Missing,
    /// The `kid` of the token, as the client sent it.
    pub kid: Option<String>,
    /// The answer where no newer keys can be had.
    pub otherwise: Denial,
}

/// What stands between a token and its verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no key set yet.
    KeySet,
    /// The set has no key for the token.
    Key,
    /// The set's key does not fit the token: it may have been replaced under the same `kid`.
    Match,
}

enum Refusal {
    Deny(Denial),
    Need(Box<Need>),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Deny(denial)
    }
}

impl Policy {
    /// The policy that a JSON configuration describes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the path in the document and what would be right there.
    pub fn from_json(document: &[u8]) -> Result<Self, ConfigError> {
        config::resolve::policy(config::read::<config::raw::Config<'_>>(document)?)
    }

    /// What is sound but worth a line in the log.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The limits of the configuration.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The issuers whose keys have to be fetched: index, name and address.
    pub fn remote_keys(&self) -> impl Iterator<Item = (usize, &str, &RemoteKeys)> {
        self.issuers.iter().enumerate().filter_map(|(index, issuer)| match &issuer.keys {
            Keys::Remote(remote) => Some((index, issuer.name.as_str(), remote.as_ref())),
            Keys::Inline(_) => None,
        })
    }

    /// Headers of `request` that pretend to come from this policy, as the client spelled them.
    ///
    /// A permit removes them too; a caller that refuses a request removes them first, so that
    /// they do not reach an access log either.
    #[must_use]
    pub fn spoofed(&self, request: &Request<'_>) -> Vec<Vec<u8>> {
        let ours = |name: &[u8]| self.owned.iter().any(|own| own.is_spelled(name));
        request.headers().iter().map(|(name, _)| name).filter(|name| ours(name)).cloned().collect()
    }

    /// Judges `request` at the time `now`.
    pub fn decide(
        &self,
        request: &Request<'_>,
        keys: &dyn KeySource,
        verifier: &dyn Verifier,
        now: UnixTime,
    ) -> Decision {
        let judge = Judge { policy: self, request: *request, keys, verifier, now };
        match judge.judge() {
            Ok(permit) => Decision::Permit(permit),
            Err(Refusal::Deny(denial)) => Decision::Deny(denial),
            Err(Refusal::Need(need)) => Decision::Need(*need),
        }
    }

    fn challenge(&self, rule: Option<&Rule>) -> Challenge {
        let scopes = rule.map(|rule| rule.scopes.join(" ")).filter(|scopes| !scopes.is_empty());
        Challenge { realm: self.realm.clone(), scope: scopes }
    }
}

/// One decision in the making.
struct Judge<'d> {
    policy: &'d Policy,
    request: Request<'d>,
    keys: &'d dyn KeySource,
    verifier: &'d dyn Verifier,
    now: UnixTime,
}

/// A token that was verified.
struct Proven<'d> {
    issuer: &'d Issuer,
    payload: Vec<u8>,
    headers: Vec<(HeaderName, Vec<u8>)>,
    location: Location,
}

impl Judge<'_> {
    fn judge(&self) -> Result<Permit, Refusal> {
        let rule = self.rule().map_err(|denial| denial.with_challenge(self.policy.challenge(None)))?;
        let Some(rule) = rule else { return Ok(self.permit(Vec::new())) };
        let challenge = || self.policy.challenge(Some(rule));
        self.tokens(rule).map(|proven| self.permit(proven)).map_err(|refusal| match refusal {
            Refusal::Deny(denial) => Refusal::Deny(denial.with_challenge(challenge())),
            Refusal::Need(need) => {
                let otherwise = need.otherwise.with_challenge(challenge());
                Refusal::Need(Box::new(Need { otherwise, ..*need }))
            }
        })
    }

    /// The rule that the request is under; `None` for a preflight that passes without one.
    fn rule(&self) -> Result<Option<&Rule>, Denial> {
        let method = self.request.pseudo(":method")?.unwrap_or_default();
        // A preflight asks for another request, so that request's rule decides whether it exists.
        let asked = self.request.preflight_method().filter(|_| self.policy.bypass_cors_preflight);
        let rule = self.policy.rules.find(&self.request, asked.unwrap_or(method))?;
        match (rule, asked) {
            (None, _) => Err(Denial::new(Code::NoRuleMatched, "no rule matches host, method and path")),
            (Some(_), Some(_)) => Ok(None),
            (Some(rule), None) => Ok(Some(rule)),
        }
    }

    fn tokens(&self, rule: &Rule) -> Result<Vec<Proven<'_>>, Refusal> {
        match &rule.requirement {
            Requirement::Nothing => Ok(Vec::new()),
            Requirement::Any(issuers) => self.one_of(issuers, rule)?.map_or_else(
                || Err(Denial::new(Code::MissingToken, "no token in the configured places").into()),
                |proven| Ok(Vec::from([proven])),
            ),
            Requirement::Optional(issuers) => Ok(self.one_of(issuers, rule)?.into_iter().collect()),
            Requirement::All(issuers) => issuers
                .iter()
                .map(|issuer| {
                    self.one_of(&[*issuer], rule)?.ok_or_else(|| {
                        Denial::new(Code::MissingToken, "a token of one of the issuers is missing").into()
                    })
                })
                .collect(),
        }
    }

    /// The one token in the places of `issuers`, verified; none where there is no token.
    fn one_of(&self, issuers: &[usize], rule: &Rule) -> Result<Option<Proven<'_>>, Refusal> {
        let mut places: Vec<&Location> = Vec::new();
        for location in
            issuers.iter().filter_map(|index| self.policy.issuers.get(*index)).flat_map(|i| &i.locations)
        {
            if !places.contains(&location) {
                places.push(location);
            }
        }
        let Some(found) = locations::find_one(&places, &self.request)? else { return Ok(None) };
        self.verify(found.token, found.location, issuers, rule).map(Some)
    }

    fn verify(
        &self,
        token: &[u8],
        location: Location,
        issuers: &[usize],
        rule: &Rule,
    ) -> Result<Proven<'_>, Refusal> {
        let compact = Compact::parse(token, self.policy.limits.token_bytes)?;
        let header = RawHeader::parse(&compact.header)?;
        let claims = json::parse_object(&compact.payload)
            .map_err(|error| Denial::new(Code::MalformedToken, format!("the payload is {error}")))?;
        let registered = Registered::parse(&claims)?;
        let (index, issuer) = self.issuer(&claims, issuers, &location)?;
        let header = header.check(&issuer.algorithms, &issuer.types)?;

        let set = match &issuer.keys {
            Keys::Inline(set) => Some(set),
            Keys::Remote(_) => self.keys.key_set(index),
        };
        let verified = match set {
            Some(set) => compact.verify(&header, set, self.verifier).map(|_| ()).map_err(Some),
            None => Err(None),
        };
        verified.map_err(|why| refusal(index, issuer, header.kid, why))?;

        issuer.checks.check(&claims, &registered, self.now)?;
        if let Some(scope) = rule.scopes.iter().find(|scope| !grants_scope(&claims, scope)) {
            return Err(
                Denial::new(Code::InsufficientScope, format!("the scope `{scope}` is not granted")).into()
            );
        }
        let headers = issuer.forward.render(&compact.payload, &claims);
        Ok(Proven { issuer, headers, location, payload: compact.payload })
    }

    /// The provider that `iss` names, if the rule knows it and looks for its token there.
    fn issuer(
        &self,
        claims: &Object<'_>,
        allowed: &[usize],
        location: &Location,
    ) -> Result<(usize, &Issuer), Denial> {
        let named = claims.get("iss").and_then(Value::as_str);
        let index = named.and_then(|identifier| self.policy.by_identifier.get(identifier)).copied();
        index
            .filter(|index| allowed.contains(index))
            .and_then(|index| Some((index, self.policy.issuers.get(index)?)))
            .filter(|(_, issuer)| issuer.locations.contains(location))
            .ok_or_else(|| Denial::new(Code::IssuerMismatch, "`iss` is not an issuer of this rule"))
    }

    fn permit(&self, proven: Vec<Proven<'_>>) -> Permit {
        let mut changes = Changes { remove: self.policy.spoofed(&self.request), set: Vec::new() };
        let stripped: Vec<_> =
            proven.iter().filter(|p| !p.issuer.forward.token).map(|proven| &proven.location).collect();
        locations::strip(&stripped, &self.request, &mut changes);
        let mut identities = Vec::with_capacity(proven.len());
        for token in proven {
            let headers = token.headers.into_iter();
            changes.set.extend(headers.map(|(name, value)| (name.as_str().into(), value)));
            identities.push(Identity { issuer: token.issuer.name.clone(), payload: token.payload });
        }
        Permit::new(changes, identities)
    }
}

/// The answer where no key verified the token; a remote set may have changed since it was read.
fn refusal(index: usize, issuer: &Issuer, kid: Option<String>, why: Option<Unverified>) -> Refusal {
    let (missing, code, detail) = match why {
        None => (Missing::KeySet, Code::KeysUnavailable, "there is no key set"),
        Some(Unverified::NoKey) => (Missing::Key, Code::KidNotFound, "the key set has no key for the token"),
        Some(Unverified::Unusable) => {
            (Missing::Match, Code::KeyUnusable, "the key with this `kid` must not verify this token")
        }
        Some(Unverified::Mismatch) => {
            (Missing::Match, Code::SignatureInvalid, "no key verifies the signature")
        }
        Some(Unverified::Unavailable) => {
            return Denial::new(Code::InternalError, "the signature could not be checked").into();
        }
    };
    let otherwise = Denial::new(code, detail.to_string());
    match issuer.keys {
        Keys::Inline(_) => otherwise.into(),
        Keys::Remote(_) => Refusal::Need(Box::new(Need { issuer: index, missing, kid, otherwise })),
    }
}
