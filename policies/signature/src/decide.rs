//! The decision: what is asked of an image, held against what was verified.

use std::collections::BTreeMap;

use portcullis_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::{
    Class, Digest, Evidence, ImageRef, Policy, Read, Reason, ReasonCode,
    gather::{Candidate, Depth, Gathered, Kind, Material, Target, gather},
    judge,
    policy::{Mode, Platforms, Requirement, RuleView, SignerRule, Tags, Unmatched},
    time,
    verify::{self, Fact, Subject, Trust},
};

/// The question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The image that is to run.
    pub image: ImageRef,
    /// The namespace that it is to run in.
    pub namespace: Option<String>,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may run.
    Allow,
    /// It may not.
    Deny,
    /// [`plan`] has reads that nobody has made yet. Not an allow.
    Missing,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In one word.
    pub outcome: Outcome,
    /// The image that was asked about.
    pub image: String,
    /// The digest that the answer is about, once it is known.
    pub digest: Option<Digest>,
    /// The reference to run instead, where the image came with a tag only and is pinned.
    pub pinned: Option<String>,
    /// Why.
    pub reason: Reason,
    /// For whoever asked, although it may run: rules that only audit, exemptions.
    pub warnings: Vec<String>,
    /// Whether something was refused that [`Facts::verify_next`] may yet make good. Never so in what
    /// [`decide`] returns.
    #[serde(skip)]
    pub unfinished: bool,
}

impl Verdict {
    /// The class of what decided. Transient as soon as anything transient is among the reasons of a
    /// refusal: then it must not be kept.
    #[must_use]
    pub fn class(&self) -> Class {
        let transient = self.reason.walk().any(|reason| reason.code.class() == Class::Transient);
        match self.outcome {
            Outcome::Allow => Class::Good,
            Outcome::Missing => Class::Missing,
            Outcome::Deny if transient => Class::Transient,
            Outcome::Deny => self.reason.root_cause().code.class(),
        }
    }
}

/// The reads of a registry that come next. Empty where everything that the policy could ask for is in
/// the evidence. Asked again after each round of reads; there are at most four rounds.
#[must_use]
pub fn plan(request: &Request, policy: &Policy, evidence: &Evidence) -> Vec<Read> {
    let rules = policy.rules_for(request);
    let settled = rules.is_empty()
        || (policy.document().tags == Tags::Refuse && request.image.digest().is_none())
        // Whether an exemption has ended is for `decide` to say, which knows the time; the reads are
        // then made for nothing.
        || policy.exemptions_for(request).iter().any(|exemption| exemption.until == UnixTime::MAX);
    if settled {
        return Vec::new();
    }
    gather(request, policy, &rules, evidence, Depth::Reads).needed.into_iter().collect()
}

/// The evidence about one image, sorted: what there is to verify. Made once all is read, so that each
/// step after it costs one verification and no reading.
#[derive(Debug)]
pub struct Dossier(Gathered);

impl Dossier {
    /// Sorts the evidence about an image.
    #[must_use]
    pub fn new(request: &Request, policy: &Policy, evidence: &Evidence) -> Self {
        Self(gather(request, policy, &policy.rules_for(request), evidence, Depth::Candidates))
    }
}

/// Decides. Verifies what there is, signature by signature, until the policy is satisfied or there is
/// no more.
#[must_use]
pub fn decide(request: &Request, evidence: &Evidence, policy: &Policy, now: UnixTime) -> Verdict {
    let mut facts = Facts::default();
    let dossier = Dossier::new(request, policy, evidence);
    loop {
        let verdict = facts.judge(request, &dossier, policy, now);
        if !verdict.unfinished || !facts.verify_next(request, &dossier, policy) {
            return verdict;
        }
    }
}

/// What was verified. A host that must not compute for long at a time calls
/// [`Facts::verify_next`] once per callback, and one that sees the same image again keeps this: the
/// policy is judged anew each time, the arithmetic is not done again.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    verified: BTreeMap<FactKey, Result<Fact, Reason>>,
}

/// What was verified about which image, by what trust. The policy's digest is not in it: keep one
/// `Facts` per policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FactKey {
    image: Digest,
    material: Digest,
    trust: String,
}

impl Facts {
    /// How many verifications are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verified.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verified.is_empty()
    }

    /// Verifies one signature that the policy asks about, with one of the trusts that it could be
    /// good for. False where there is none left.
    pub fn verify_next(&mut self, request: &Request, dossier: &Dossier, policy: &Policy) -> bool {
        let rules = policy.rules_for(request);
        let Some((key, result)) = self.next(&dossier.0, policy, &rules) else { return false };
        self.verified.insert(key, result);
        true
    }

    fn next(
        &self,
        gathered: &Gathered,
        policy: &Policy,
        rules: &[&RuleView],
    ) -> Option<(FactKey, Result<Fact, Reason>)> {
        for (target, rule) in pairs(gathered, rules) {
            for (signer, kind) in asked(&rule.require) {
                let rule = policy.signer(signer)?;
                for candidate in target.candidates.iter().filter(|candidate| kind.is(&candidate.kind)) {
                    let key = key(target, candidate, rule);
                    if !self.verified.contains_key(&key) {
                        return Some((key, run(target, candidate, rule, policy)));
                    }
                }
            }
        }
        None
    }

    pub(crate) fn get(
        &self,
        target: &Target,
        candidate: &Candidate,
        rule: &SignerRule,
    ) -> Option<&Result<Fact, Reason>> {
        self.verified.get(&key(target, candidate, rule))
    }

    /// The verdict on what is verified so far. A refusal may become an allow with more of it.
    #[must_use]
    pub fn judge(&self, request: &Request, dossier: &Dossier, policy: &Policy, now: UnixTime) -> Verdict {
        let mut verdict = Verdict {
            outcome: Outcome::Deny,
            image: request.image.to_string(),
            digest: request.image.digest(),
            pinned: None,
            reason: Reason::new(ReasonCode::InternalError, "nothing was decided"),
            warnings: Vec::new(),
            unfinished: false,
        };
        let mut ended = Vec::new();
        for exemption in policy.exemptions_for(request) {
            if now < exemption.until {
                let message = format!("exempt until {}: {}", exemption.until_text, exemption.reason);
                verdict.outcome = Outcome::Allow;
                verdict.warnings.push(format!("{}: {message}", request.image));
                verdict.reason = Reason::new(ReasonCode::Exempt, message);
                return verdict;
            }
            let message = format!("the exemption ended {}: {}", exemption.until_text, exemption.reason);
            ended.push(Reason::new(ReasonCode::ExemptionEnded, message));
        }
        let rules = policy.rules_for(request);
        if rules.is_empty() {
            return unruled(verdict, policy, request, ended);
        }
        let enforced = rules.iter().any(|rule| rule.mode == Mode::Enforce);
        if policy.document().tags == Tags::Refuse && request.image.digest().is_none() {
            let message =
                "the image is named by a tag, which can be moved; name it by its digest: `@sha256:…`";
            verdict.reason = Reason::new(ReasonCode::TagNotAllowed, message);
            return audited(verdict, enforced);
        }
        let gathered = &dossier.0;
        verdict.digest = gathered.digest.or(verdict.digest);
        if let Some(failure) = &gathered.failure {
            verdict.reason = failure.clone();
            return audited(verdict, enforced);
        }
        if !gathered.needed.is_empty() {
            verdict.outcome = Outcome::Missing;
            let message = format!("{} reads of the registry are still to be made", gathered.needed.len());
            verdict.reason = Reason::new(ReasonCode::EvidencePending, message);
            return verdict;
        }
        self.judge_rules(verdict, request, policy, &rules, gathered, ended, now)
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `judge`, which has all of this")]
    fn judge_rules(
        &self,
        mut verdict: Verdict,
        request: &Request,
        policy: &Policy,
        rules: &[&RuleView],
        gathered: &Gathered,
        ended: Vec<Reason>,
        now: UnixTime,
    ) -> Verdict {
        let mut reasons = Vec::new();
        let mut denied = false;
        for (target, rule) in pairs(gathered, rules) {
            let scene = judge::Scene::new(self, request, policy, rule, target, now);
            let mut reason = scene.judge();
            let holds = reason.holds();
            verdict.unfinished |= !holds && scene.is_unfinished();
            if !holds {
                reason.because.extend(target.problems.iter().cloned());
            }
            if !holds && rule.mode == Mode::Audit {
                let cause = reason.root_cause();
                verdict.warnings.push(format!(
                    "{}: rule `{}` would deny: {}: {}",
                    request.image, rule.name, cause.code, cause.message
                ));
            }
            denied |= !holds && rule.mode == Mode::Enforce;
            reasons.push(reason);
        }
        // A refusal is explained by what refused, and not by a rule that only audits.
        let (good, mut reasons): (Vec<_>, Vec<_>) = reasons.into_iter().partition(Reason::holds);
        reasons.extend(good);
        reasons.extend(ended);
        if denied {
            let message = "not all that the policy asks of the image holds";
            verdict.reason = Reason::new(ReasonCode::NotSatisfied, message).because(reasons);
            return verdict;
        }
        verdict.outcome = Outcome::Allow;
        verdict.reason = Reason::new(ReasonCode::Satisfied, "all that the policy asks of the image holds")
            .because(reasons);
        if request.image.digest().is_none() && policy.document().tags == Tags::Pin {
            verdict.pinned = gathered.digest.map(|digest| request.image.pinned(digest).to_string());
        }
        verdict
    }
}

/// Each target with each rule that is about it.
fn pairs<'a>(
    gathered: &'a Gathered,
    rules: &'a [&'a RuleView],
) -> impl Iterator<Item = (&'a Target, &'a RuleView)> {
    rules.iter().flat_map(|rule| {
        let all = if rule.platforms == Platforms::Each { gathered.targets.len() } else { 1 };
        gathered.targets.iter().take(all).map(move |target| (target, *rule))
    })
}

fn unruled(mut verdict: Verdict, policy: &Policy, request: &Request, ended: Vec<Reason>) -> Verdict {
    let place = request.namespace.as_ref().map(|namespace| format!(" in the namespace `{namespace}`"));
    let about = format!("no rule is about `{}`{}", request.image.name(), place.unwrap_or_default());
    match policy.document().unmatched {
        Unmatched::Deny => {
            let message = format!("{about}, and what no rule allows is denied");
            verdict.reason = Reason::new(ReasonCode::NoRule, message).because(ended);
        }
        Unmatched::Allow => {
            verdict.outcome = Outcome::Allow;
            verdict.reason = Reason::new(ReasonCode::Unruled, format!("{about}, and such images may run"));
        }
    }
    verdict
}

/// Where every rule only audits, a failure before any rule is judged is a warning as well.
fn audited(mut verdict: Verdict, enforced: bool) -> Verdict {
    if !enforced {
        verdict.outcome = Outcome::Allow;
        let cause = verdict.reason.root_cause();
        verdict
            .warnings
            .push(format!("{}: would be denied: {}: {}", verdict.image, cause.code, cause.message));
    }
    verdict
}

/// What a requirement asks for, leaf by leaf: by whom, and of which kind.
fn asked(requirement: &Requirement) -> Vec<(&str, Asked<'_>)> {
    match requirement {
        Requirement::Signature { signer, .. } => vec![(signer, Asked::Signature)],
        Requirement::Attestation { signer, predicate_type, .. } => {
            vec![(signer, Asked::Statement(predicate_type))]
        }
        Requirement::AtLeast { signers, .. } => {
            signers.iter().map(|signer| (signer.as_str(), Asked::Signature)).collect()
        }
        Requirement::All(of) | Requirement::Any(of) => of.iter().flat_map(asked).collect(),
    }
}

/// A kind of evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Signature,
    Statement(&'a str),
}

impl Asked<'_> {
    pub(crate) fn is(self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::Signature, Kind::Signature) => true,
            (Self::Statement(asked), Kind::Statement(there)) => asked == there,
            (Self::Signature, Kind::Statement(_)) | (Self::Statement(_), Kind::Signature) => false,
        }
    }
}

fn key(target: &Target, candidate: &Candidate, rule: &SignerRule) -> FactKey {
    let trust = match rule {
        SignerRule::Key(rule) => {
            format!("key {} {}", rule.fingerprint, rule.root.as_deref().unwrap_or_default())
        }
        SignerRule::Certificate(rule) => format!("root {}", rule.root),
    };
    FactKey { image: target.digest, material: candidate.id, trust }
}

fn run(target: &Target, candidate: &Candidate, rule: &SignerRule, policy: &Policy) -> Result<Fact, Reason> {
    let missing = || Reason::new(ReasonCode::TrustRootInvalid, "the signer's root is not there");
    let trust = match rule {
        SignerRule::Key(rule) => match &rule.root {
            Some(name) => Trust::Key(rule, Some(policy.root(name).ok_or_else(missing)?)),
            None => Trust::Key(rule, None),
        },
        SignerRule::Certificate(rule) => Trust::Root(policy.root(&rule.root).ok_or_else(missing)?),
    };
    match &candidate.material {
        Material::Bundle(json) => {
            verify::bundle(&verify::parse(json)?, Subject::Digest(target.digest), trust)
        }
        Material::Signature(layer) => verify::signature(layer, target.digest, trust),
        Material::Attestation(layer) => verify::attestation(layer, target.digest, trust),
    }
}

/// For messages: when something was signed.
pub(crate) fn when(fact: &Fact) -> String {
    fact.times.iter().min().map(|at| format!(" at {}", time::text(*at))).unwrap_or_default()
}
