//! The decision: one request in, a permit, a denial or a need out.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::{hash::BuildHasher, time::Duration};

use portcullis_core::{Challenge, Denial, HeaderName, UnixTime};
use portcullis_crypto::{Algorithm, Verifier};

use crate::{
    check::{Everything, Refusal, UntilFailure},
    claims::ClaimChecks,
    config::{self, ConfigError, resolve::Warning},
    examination::Examination,
    forward::Forward,
    judge::Judge,
    jwks::KeySet,
    life::LifeConfig,
    locations::{Changes, Location},
    permit::Permit,
    request::Request,
    rules::{Reading, Report, Rule, Rules},
    token::Types,
    verified::Verified,
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
    pub(crate) publish_claims: bool,
    pub(crate) compares_peer: bool,
    pub(crate) limits: Limits,
    pub(crate) owned: Vec<HeaderName>,
    pub(crate) warnings: Vec<Warning>,
}

/// What one request and one worker may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A longer token is refused before it is decoded.
    pub token_bytes: usize,
    /// What one worker may remember of verified tokens; see [`crate::verified`].
    pub verified_tokens_bytes: usize,
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

    /// Whether what a permit publishes is for later filters.
    #[must_use]
    pub const fn publishes_claims(&self) -> bool {
        self.publish_claims
    }

    /// Whether a claim is compared with the client's certificate, so that [`Request::with_peer`] is
    /// needed; without it such a condition refuses.
    #[must_use]
    pub const fn compares_peer(&self) -> bool {
        self.compares_peer
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
        request.headers().iter().map(|(name, _)| *name).filter(|name| ours(name)).map(Into::into).collect()
    }

    /// Judges `request` at the time `now`.
    pub fn decide(
        &self,
        request: &Request<'_>,
        keys: &dyn KeySource,
        verifier: &dyn Verifier,
        now: UnixTime,
    ) -> Decision {
        self.run(request, Judge::new(self, *request, keys, verifier, now))
    }

    /// The same decision with a memory of tokens that were verified before: see [`crate::verified`].
    pub fn decide_remembering<S: BuildHasher>(
        &self,
        request: &Request<'_>,
        keys: &dyn KeySource,
        verifier: &dyn Verifier,
        memory: &Verified<S>,
        now: UnixTime,
    ) -> Decision {
        self.run(request, Judge::new(self, *request, keys, verifier, now).remembering(memory))
    }

    fn run(&self, request: &Request<'_>, judge: Judge<'_>) -> Decision {
        match judge.judge(&mut UntilFailure) {
            Ok(Ok(permit)) => Decision::Permit(permit),
            Err(Refusal::Deny(denial)) => self.refuse(request, denial),
            Err(Refusal::Need(need)) => Decision::Need(*need),
        }
    }

    /// Makes every check of [`Policy::decide`] that can be made, not only those up to the first
    /// failure. It costs more, up to [`MAX_TRIES`](crate::MAX_TRIES) signatures: for tools, not
    /// for the way of a request.
    pub fn examine(
        &self,
        request: &Request<'_>,
        keys: &dyn KeySource,
        verifier: &dyn Verifier,
        now: UnixTime,
    ) -> Examination {
        let mut run = Everything::default();
        let Ok(reached) = Judge::new(self, *request, keys, verifier, now).judge(&mut run);
        Examination::new(run, reached.ok(), |denial| match self.refuse(request, denial) {
            Decision::Permit(permit) => Some(permit),
            Decision::Deny(_) | Decision::Need(_) => None,
        })
    }

    /// What refusing `request` with `denial` comes to: a denial, or a permit that says what it
    /// would have been, where the request's rule only reports. A caller whose wait for keys ended
    /// asks this; decisions do by themselves.
    #[must_use]
    pub fn refuse(&self, request: &Request<'_>, denial: Denial) -> Decision {
        let Some(report) = self.reporting(request) else { return Decision::Deny(denial) };
        let mut changes = Changes { remove: self.spoofed(request), set: Vec::new() };
        if let Some(header) = &report.header {
            changes.set.push((header.as_str().into(), denial.code().as_str().into()));
        }
        Decision::Permit(Permit::reported_only(changes, denial))
    }

    /// Whether a rule only reports.
    #[must_use]
    pub fn reports(&self) -> bool {
        self.rules.report()
    }

    /// How the rule that `request` is under reports, where it does only that. What has no rule is
    /// refused.
    fn reporting(&self, request: &Request<'_>) -> Option<&Report> {
        if !self.rules.report() {
            return None;
        }
        let reading = Reading::new(&self.rules, request, self.bypass_cors_preflight).ok()?;
        self.rules.find(&reading)?.1.report.as_ref()
    }

    pub(crate) fn challenge(&self, rule: Option<&Rule>) -> Challenge {
        let scopes = rule.map(|rule| [rule.scopes.as_slice(), &rule.any_scopes].concat().join(" "));
        let scopes = scopes.filter(|scopes| !scopes.is_empty());
        Challenge { realm: self.realm.clone(), scope: scopes }
    }
}
