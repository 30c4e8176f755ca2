//! One request through all checks, in their order.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderName, UnixTime};
use portcullis_crypto::{Algorithm, Verifier};

use crate::{
    check::{Check, Note, Ran, Reached, Refusal, Run, both, of},
    claims::{Claims, grants_scope},
    conditions::{self, Facts},
    examination::VerifiedKey,
    jwks::JsonWebKey,
    locations::{self, Changes, Found, Location},
    permit::{Identity, Permit},
    policy::{Issuer, KeySource, Keys, Missing, Need, Policy},
    request::Request,
    rules::{Accepted, Reading, Requirement, Rule},
    token::{Candidates, Compact, Header, RawHeader, Unverified, within},
    verified::{Known, Memory, Recalled},
};

/// One decision in the making.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'d> {
    policy: &'d Policy,
    request: Request<'d>,
    keys: &'d dyn KeySource,
    verifier: &'d dyn Verifier,
    memory: Option<&'d dyn Memory>,
    now: UnixTime,
    /// The reading of the request and the rule that it is under, once they are known.
    reading: Option<&'d Reading<'d>>,
    rule: Option<&'d Rule>,
}

/// A token's bytes.
#[derive(Clone, Copy)]
struct Text<'t> {
    token: &'t [u8],
    payload: &'t [u8],
    /// Its segments, where they were decoded for this request.
    compact: Option<&'t Compact<'t>>,
}

impl Text<'_> {
    /// The first of `candidates` that the signature was made with.
    fn verify<'k>(
        &self,
        candidates: Candidates<'k>,
        algorithm: Algorithm,
        verifier: &dyn Verifier,
    ) -> Result<Result<&'k JsonWebKey, Unverified>, Denial> {
        match self.compact {
            Some(compact) => Ok(compact.verify(candidates, algorithm, verifier)),
            // It is remembered, but not with a key that is still there.
            None => Ok(Compact::parse(self.token)?.verify(candidates, algorithm, verifier)),
        }
    }
}

/// The memory, where there is one, and what it knew of the token.
type Remembering<'m> = Option<(&'m dyn Memory, &'m Recalled)>;

/// What a token says, as far as it could be read.
struct Said<'s, R: Run> {
    header: Reached<&'s RawHeader<'s>, R>,
    claims: Reached<&'s Claims<'s>, R>,
    text: Reached<Text<'s>, R>,
}

/// A token that was verified.
struct Proven<'d> {
    issuer: &'d Issuer,
    payload: Vec<u8>,
    headers: Vec<(&'d HeaderName, Vec<u8>)>,
    location: &'d Location,
}

impl<'d> Judge<'d> {
    pub(crate) fn new(
        policy: &'d Policy,
        request: Request<'d>,
        keys: &'d dyn KeySource,
        verifier: &'d dyn Verifier,
        now: UnixTime,
    ) -> Self {
        Self { policy, request, keys, verifier, memory: None, now, reading: None, rule: None }
    }

    /// The same decision by somebody who remembers tokens.
    pub(crate) fn remembering(self, memory: &'d dyn Memory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Makes the checks as `run` wants them made.
    pub(crate) fn judge<R: Run>(self, run: &mut R) -> Ran<Permit, R> {
        let reading = self.check(run, Check::Request, Ok(()), |()| {
            Ok(Reading::new(&self.policy.rules, &self.request, self.policy.bypass_cors_preflight)?)
        })?;
        let found = self.check(run, Check::Rule, of(&reading), |reading| {
            let none = || Denial::new(Code::NoRuleMatched, "no rule matches host, method and path");
            Ok(self.policy.rules.find(reading).ok_or_else(none)?)
        })?;
        let mut under = Judge { reading: reading.as_ref().ok(), ..self };
        if let Ok((index, rule)) = found {
            run.note(|| Note::Rule(index));
            // A preflight asks for another request, so that request's rule decides whether it exists.
            if reading.as_ref().is_ok_and(|reading| reading.asked.is_some()) {
                return Ok(Ok(self.permit(Vec::new())));
            }
            under.rule = Some(rule);
        }
        let proven = under.tokens(run, found.map(|(_, rule)| &rule.requirement))?;
        Ok(proven.map(|proven| under.permit(proven)))
    }

    /// Makes one check; whatever refuses gets the challenge of the rule.
    fn check<R: Run, I, T>(
        &self,
        run: &mut R,
        check: Check,
        input: Reached<I, R>,
        answer: impl FnOnce(I) -> Result<T, Refusal>,
    ) -> Ran<T, R> {
        run.check(check, input, |input| {
            answer(input).map_err(|refusal| {
                refusal.map(|denial| denial.with_challenge(self.policy.challenge(self.rule)))
            })
        })
    }

    fn tokens<R: Run>(
        &self,
        run: &mut R,
        requirement: Reached<&'d Requirement, R>,
    ) -> Ran<Vec<Proven<'d>>, R> {
        let one = |proven: Reached<Option<Proven<'d>>, R>| proven.map(|proven| proven.into_iter().collect());
        match requirement {
            Ok(Requirement::Nothing) => Ok(Ok(Vec::new())),
            Ok(Requirement::Any(issuers)) => self.one_of(run, Ok(issuers), true).map(one),
            Ok(Requirement::Optional(issuers)) => self.one_of(run, Ok(issuers), false).map(one),
            Ok(Requirement::All(issuers)) => {
                let mut all = Ok(Vec::with_capacity(issuers.len()));
                for issuer in issuers {
                    run.note(|| Note::TokenOf(self.name(issuer)));
                    let proven = self.one_of(run, Ok(issuer), true)?;
                    all = both(all, proven).map(|(mut all, proven)| {
                        all.extend(proven);
                        all
                    });
                }
                Ok(all)
            }
            Err(lost) => self.one_of(run, Err(lost), true).map(one),
        }
    }

    fn name(&self, issuer: &Accepted) -> String {
        let issuer = issuer.issuers().first().and_then(|index| self.policy.issuers.get(*index));
        issuer.map(|issuer| issuer.name.clone()).unwrap_or_default()
    }

    /// The one token in the places of `issuers`, verified; none where there is none and none is
    /// `needed`.
    fn one_of<R: Run>(
        &self,
        run: &mut R,
        issuers: Reached<&'d Accepted, R>,
        needed: bool,
    ) -> Ran<Option<Proven<'d>>, R> {
        let found = self.check(run, Check::Token, issuers, |issuers| {
            match locations::find_one(issuers.places(), &self.request)? {
                None if needed => {
                    Err(Denial::new(Code::MissingToken, "no token in the configured places").into())
                }
                found => Ok(found),
            }
        })?;
        let Some(found) = found.transpose() else { return Ok(Ok(None)) };
        Ok(self.verify(run, both(found, issuers))?.map(Some))
    }

    /// Everything about one token.
    fn verify<R: Run>(
        &self,
        run: &mut R,
        found: Reached<(Found<'d>, &'d Accepted), R>,
    ) -> Ran<Proven<'d>, R> {
        let found = self.check(run, Check::Size, found, |found| {
            within(found.0.token, self.policy.limits.token_bytes)?;
            Ok(found)
        })?;
        let recalled = of(&found).ok().and_then(|(found, _)| Some(self.memory?.recall(found.token)));
        let remembering = self.memory.zip(recalled.as_ref());
        if let Some(known) = remembering.and_then(|(_, recalled)| recalled.known()) {
            // Form, header and claims passed when these bytes were read: see [`crate::verified`].
            let text =
                found.map(|(found, _)| Text { token: found.token, payload: known.payload(), compact: None });
            let said = Said { header: Ok(known.header()), claims: Ok(known.claims()), text };
            return self.judge_said(run, found, said, remembering);
        }
        let compact =
            self.check(run, Check::Form, of(&found), |(found, _)| Ok(Compact::parse(found.token)?))?;
        let header =
            self.check(run, Check::Header, of(&compact), |compact| Ok(RawHeader::parse(compact.header())?))?;
        let claims =
            self.check(run, Check::Claims, of(&compact), |compact| Ok(Claims::parse(compact.payload())?))?;
        let text = both(found, of(&compact)).map(|((found, _), compact)| Text {
            token: found.token,
            payload: compact.payload(),
            compact: Some(compact),
        });
        let said = Said { header: of(&header), claims: of(&claims), text };
        self.judge_said(run, found, said, remembering)
    }

    /// Everything about one token that is not a function of its bytes alone.
    fn judge_said<R: Run>(
        &self,
        run: &mut R,
        found: Reached<(Found<'d>, &'d Accepted), R>,
        Said { header, claims, text }: Said<'_, R>,
        remembering: Remembering<'_>,
    ) -> Ran<Proven<'d>, R> {
        let issuer = self.check(run, Check::Issuer, both(claims, found), |(claims, (found, issuers))| {
            Ok(self.issuer(claims, issuers, found.location)?)
        })?;
        let extensions =
            self.check(run, Check::Extensions, header, |header| Ok(header.check_extensions()?))?;
        let algorithm =
            self.check(run, Check::Algorithm, both(header, issuer), |(header, (_, issuer))| {
                Ok(header.algorithm(&issuer.algorithms)?)
            })?;
        let typ = self.check(run, Check::Type, both(header, issuer), |(header, (_, issuer))| {
            Ok(header.check_type(&issuer.types)?)
        })?;
        let pointer = both(header, algorithm).map(|(header, algorithm)| header.pointer(algorithm));
        let key = self.signature(run, issuer, pointer, text, remembering)?;
        // Its second time: it may come a third one.
        if let Some((memory, recalled)) = remembering
            && recalled.comes_again
            && let Ok((text, key)) = both(text, key)
            && let Some(compact) = text.compact
            && let Ok(known) =
                Known::new(key.key().thumbprint(), text.token, compact.header(), compact.payload())
        {
            memory.keep(recalled, known);
        }
        let holds = self.claims(run, issuer, claims)?;
        let headers = both(both(claims, issuer), both(text, key))
            .map(|((claims, (_, issuer)), (text, _))| issuer.forward.render(text.payload, claims.all()));
        let token = both(both(headers, issuer), both(found, text));
        Ok(extensions.and(typ).and(holds).and(token).map(|((headers, (_, issuer)), ((found, _), text))| {
            Proven { issuer, headers, location: found.location, payload: text.payload.into() }
        }))
    }

    /// The key that verifies the signature.
    fn signature<R: Run>(
        &self,
        run: &mut R,
        issuer: Reached<(usize, &'d Issuer), R>,
        header: Reached<Header<'_>, R>,
        text: Reached<Text<'_>, R>,
        remembering: Remembering<'_>,
    ) -> Ran<&'d JsonWebKey, R> {
        let pointed = both(issuer, header);
        let candidates = self.check(run, Check::Key, pointed, |((index, issuer), header)| {
            let set = match &issuer.keys {
                Keys::Inline(set) => Some(set),
                Keys::Remote(_) => self.keys.key_set(index),
            };
            let candidates = set.ok_or(None).and_then(|set| Candidates::new(set, header).map_err(Some));
            candidates.map_err(|why| refusal(index, issuer, header.kid, why))
        })?;
        let key = self.check(
            run,
            Check::Signature,
            both(both(pointed, text), candidates),
            |((((index, issuer), header), text), candidates)| {
                if let Some((memory, recalled)) = remembering
                    && let Some(known) = recalled.known()
                    && let Some(key) = candidates.with_thumbprint(&known.thumbprint)
                {
                    memory.confirmed();
                    return Ok(key);
                }
                let key = text.verify(candidates, header.algorithm, self.verifier)?;
                let key = key.map_err(|why| refusal(index, issuer, header.kid, Some(why)))?;
                if let Some((memory, recalled)) = remembering {
                    memory.verified(recalled);
                }
                Ok(key)
            },
        )?;
        if let Ok(((_, issuer), header)) = pointed
            && let Ok(key) = key
        {
            run.note(|| Note::Verified(VerifiedKey::new(&issuer.name, key, header.algorithm)));
        }
        Ok(key)
    }

    /// The checks on the claims of a token that is well formed.
    fn claims<R: Run>(
        &self,
        run: &mut R,
        issuer: Reached<(usize, &'d Issuer), R>,
        claims: Reached<&Claims<'_>, R>,
    ) -> Ran<(), R> {
        let own = both(issuer, claims).map(|((_, issuer), claims)| (&issuer.checks, claims));
        let now = self.now;
        let audience = self.check(run, Check::Audience, own, |(own, claims)| Ok(own.audience(claims)?))?;
        let expiry = self.check(run, Check::Expiry, own, |(own, claims)| Ok(own.expiry(claims, now)?))?;
        let start = self.check(run, Check::Start, own, |(own, claims)| Ok(own.start(claims, now)?))?;
        let lifetime =
            self.check(run, Check::Lifetime, own, |(own, claims)| Ok(own.lifetime(claims, now)?))?;
        let required =
            self.check(run, Check::RequiredClaims, own, |(own, claims)| Ok(own.required(claims)?))?;
        let values = self.check(run, Check::ClaimValues, own, |(own, claims)| {
            let absent = Code::MissingClaim;
            Ok(conditions::check(&own.conditions, self.facts(claims), Code::ClaimMismatch, absent)?)
        })?;
        let scopes = self.check(run, Check::Scopes, claims, |claims| Ok(self.scopes(claims)?))?;
        let of_rule = self.check(run, Check::RuleClaims, claims, |claims| {
            let (code, own) = (Code::InsufficientClaims, self.rule.map(|rule| rule.conditions.as_slice()));
            Ok(conditions::check(own.unwrap_or_default(), self.facts(claims), code, code)?)
        })?;
        let of_issuer = audience.and(expiry).and(start).and(lifetime).and(required).and(values);
        Ok(of_issuer.and(scopes).and(of_rule))
    }

    fn facts<'f>(&'f self, claims: &'f Claims<'f>) -> Facts<'f> {
        Facts { claims: claims.all(), request: &self.request, reading: self.reading, rule: self.rule }
    }

    fn scopes(&self, claims: &Claims<'_>) -> Result<(), Denial> {
        let Some(rule) = self.rule else { return Ok(()) };
        let granted = |scope: &String| grants_scope(claims.all(), scope);
        if let Some(scope) = rule.scopes.iter().find(|scope| !granted(scope)) {
            return Err(Denial::new(Code::InsufficientScope, format!("the scope `{scope}` is not granted")));
        }
        if !rule.any_scopes.is_empty() && !rule.any_scopes.iter().any(granted) {
            let detail = format!("none of the scopes `{}` is granted", rule.any_scopes.join(" "));
            return Err(Denial::new(Code::InsufficientScope, detail));
        }
        Ok(())
    }

    /// The provider that `iss` names, if the rule knows it and looks for its token there.
    fn issuer(
        &self,
        claims: &Claims<'_>,
        allowed: &Accepted,
        location: &Location,
    ) -> Result<(usize, &'d Issuer), Denial> {
        let index = claims.issuer().and_then(|identifier| self.policy.by_identifier.get(identifier)).copied();
        index
            .filter(|index| allowed.contains(*index))
            .and_then(|index| Some((index, self.policy.issuers.get(index)?)))
            .filter(|(_, issuer)| issuer.locations.contains(location))
            .ok_or_else(|| Denial::new(Code::IssuerMismatch, "`iss` is not an issuer of this rule"))
    }

    fn permit(&self, proven: Vec<Proven<'_>>) -> Permit {
        let mut changes = Changes { remove: self.policy.spoofed(&self.request), set: Vec::new() };
        let stripped: Vec<_> =
            proven.iter().filter(|p| !p.issuer.forward.token).map(|proven| proven.location).collect();
        locations::strip(&stripped, &self.request, &mut changes);
        let mut identities = Vec::with_capacity(proven.len());
        for token in proven {
            let headers = token.headers.into_iter();
            changes.set.extend(headers.map(|(name, value)| (name.as_str().into(), value)));
            identities.push(Identity { issuer: token.issuer.name.clone(), payload: token.payload });
        }
        if let Some(header) = self.rule.and_then(|rule| rule.report.as_ref()?.header.as_ref()) {
            changes.set.push((header.as_str().into(), b"allow".into()));
        }
        Permit::new(changes, identities)
    }
}

/// The answer where no key verified the token; a remote set may have changed since it was read.
fn refusal(index: usize, issuer: &Issuer, kid: Option<&str>, why: Option<Unverified>) -> Refusal {
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
    let otherwise = Denial::new(code, detail);
    match issuer.keys {
        Keys::Inline(_) => otherwise.into(),
        Keys::Remote(_) => {
            let kid = kid.map(Into::into);
            Refusal::Need(Box::new(Need { issuer: index, missing, kid, otherwise }))
        }
    }
}
