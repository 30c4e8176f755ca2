//! One rule and one digest: does what is verified satisfy what is asked?

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::UnixTime;

use crate::{
    Class, Facts, ImageRef, Pattern, Policy, Reason, ReasonCode, Request, condition,
    decide::{Asked, when},
    gather::Target,
    policy::{Condition, Log, Remap, Requirement, RuleView, SignedName, SignerRule, UnnamedBundles},
    time,
    verify::{Content, Fact, Identity, LogEvidence},
};

pub(crate) struct Scene<'a> {
    facts: &'a Facts,
    request: &'a Request,
    policy: &'a Policy,
    rule: &'a RuleView,
    target: &'a Target,
    now: UnixTime,
    unfinished: Cell<bool>,
}

/// A signature that counts, by whom.
struct Counted {
    identity: String,
    reason: Reason,
}

impl<'a> Scene<'a> {
    pub(crate) const fn new(
        facts: &'a Facts,
        request: &'a Request,
        policy: &'a Policy,
        rule: &'a RuleView,
        target: &'a Target,
        now: UnixTime,
    ) -> Self {
        Self { facts, request, policy, rule, target, now, unfinished: Cell::new(false) }
    }

    /// Whether there was a signature that nobody has verified yet.
    pub(crate) const fn is_unfinished(&self) -> bool {
        self.unfinished.get()
    }

    pub(crate) fn judge(&self) -> Reason {
        let reason = self.requirement(&self.rule.require);
        let about = format!("rule `{}`, {}", self.rule.name, self.target.digest);
        let (code, message) = match reason.holds() {
            true => (ReasonCode::Satisfied, "the rule's requirement holds"),
            false => (ReasonCode::NotSatisfied, "the rule's requirement does not hold"),
        };
        Reason::new(code, message).about(about).because(vec![reason])
    }

    fn requirement(&self, requirement: &Requirement) -> Reason {
        match requirement {
            Requirement::Signature { signer, annotations } => {
                let extra = |fact: &Fact| annotated(fact, annotations);
                self.one(signer, Asked::Signature, &extra)
            }
            Requirement::Attestation { predicate_type, signer, conditions } => {
                let extra = |fact: &Fact| self.conditions(fact, predicate_type, conditions);
                self.one(signer, Asked::Statement(predicate_type), &extra)
            }
            Requirement::All(of) => {
                let reasons: Vec<_> = of.iter().map(|part| self.requirement(part)).collect();
                match reasons.iter().all(Reason::holds) {
                    true => Reason::new(ReasonCode::Satisfied, "all of these hold").because(reasons),
                    false => {
                        let failed = reasons.iter().filter(|reason| !reason.holds()).count();
                        let message = format!("all {} must hold, and {failed} do not", reasons.len());
                        Reason::new(ReasonCode::NotSatisfied, message).because(reasons)
                    }
                }
            }
            Requirement::Any(of) => {
                let reasons: Vec<_> = of.iter().map(|part| self.requirement(part)).collect();
                match reasons.iter().position(Reason::holds) {
                    Some(_) => Reason::new(ReasonCode::Satisfied, "one of these holds").because(reasons),
                    None => {
                        let message = format!("one of {} must hold, and none does", reasons.len());
                        Reason::new(ReasonCode::NotSatisfied, message).because(reasons)
                    }
                }
            }
            Requirement::AtLeast { count, signers } => self.at_least(*count, signers),
        }
    }

    /// So many of the signers, each by an identity of its own: two signers whose patterns overlap do
    /// not count one person twice.
    fn at_least(&self, count: usize, signers: &[String]) -> Reason {
        let mut reasons = Vec::new();
        let mut identities: Vec<Vec<String>> = Vec::new();
        for signer in signers {
            let (counted, refused) = self.candidates(signer, Asked::Signature, &|_| Ok(()));
            reasons.push(self.leaf(signer, Asked::Signature, &counted, refused));
            identities.push(counted.into_iter().map(|counted| counted.identity).collect());
        }
        let distinct = matching(&identities);
        let (code, verb) = match distinct >= count {
            true => (ReasonCode::Satisfied, "did"),
            false => (ReasonCode::ThresholdNotMet, "only"),
        };
        let message = match code {
            ReasonCode::Satisfied => format!("{distinct} of {} signers signed; {count} must", signers.len()),
            _ => {
                format!("{verb} {distinct} of {} signers signed, each by itself; {count} must", signers.len())
            }
        };
        let mut reason = Reason::new(code, message);
        if code != ReasonCode::Satisfied && reasons.iter().all(Reason::holds) {
            // Every signer has a signature, but they are of the same people.
            reason.message.push_str(": the same identity counts once");
        }
        reason.because(reasons)
    }

    fn one(&self, signer: &str, asked: Asked<'_>, extra: &dyn Fn(&Fact) -> Result<(), Reason>) -> Reason {
        let (counted, refused) = self.candidates(signer, asked, extra);
        self.leaf(signer, asked, &counted, refused)
    }

    fn leaf(&self, signer: &str, asked: Asked<'_>, counted: &[Counted], refused: Vec<Reason>) -> Reason {
        let about = format!("signer `{signer}`");
        if let Some(counted) = counted.first() {
            return counted.reason.clone().about(about);
        }
        // The one that came furthest says most.
        let refused = ranked(refused);
        let nothing = match asked {
            Asked::Signature => {
                (ReasonCode::SignatureMissing, "there is no signature for the image".to_owned())
            }
            Asked::Statement(kind) => {
                (ReasonCode::AttestationMissing, format!("there is no attestation of the type `{kind}`"))
            }
        };
        if refused.is_empty() {
            return Reason::new(nothing.0, nothing.1).about(about).because(self.target.problems.clone());
        }
        let message = match refused.len() {
            1 => "the one signature that there is does not count".to_owned(),
            several => format!("none of the {several} signatures that there are counts"),
        };
        Reason::new(ReasonCode::NotSatisfied, message).about(about).because(refused)
    }

    /// What counts for a signer, and what does not and why.
    fn candidates(
        &self,
        signer: &str,
        asked: Asked<'_>,
        extra: &dyn Fn(&Fact) -> Result<(), Reason>,
    ) -> (Vec<Counted>, Vec<Reason>) {
        let (mut counted, mut refused) = (Vec::new(), Vec::new());
        let Some(rule) = self.policy.signer(signer) else {
            return (counted, vec![Reason::new(ReasonCode::InternalError, "the signer is not there")]);
        };
        for candidate in self.target.candidates.iter().filter(|candidate| asked.is(&candidate.kind)) {
            let judged = match self.facts.get(self.target, candidate, rule) {
                Some(Ok(fact)) => self.counts(fact, rule, asked).and_then(|()| extra(fact)).map(|()| fact),
                Some(Err(reason)) => Err(reason.clone()),
                None => {
                    self.unfinished.set(true);
                    Err(Reason::new(ReasonCode::EvidencePending, "not verified yet"))
                }
            };
            match judged {
                Ok(fact) => counted.push(Counted {
                    identity: identity(&fact.identity),
                    reason: Reason::new(
                        ReasonCode::Verified,
                        format!("signed by {}{}: {}", who(&fact.identity), when(fact), candidate.place),
                    ),
                }),
                Err(reason) => refused.push(reason.about(candidate.place.clone())),
            }
        }
        (counted, refused)
    }

    fn counts(&self, fact: &Fact, signer: &SignerRule, asked: Asked<'_>) -> Result<(), Reason> {
        signed_by(fact, signer, self.now)?;
        self.named(fact)?;
        self.timely(fact)?;
        // What the candidate claimed to be when it was chosen is what was verified.
        match (asked, &fact.content) {
            (Asked::Signature, Content::Artifact | Content::Image { .. }) => Ok(()),
            (Asked::Signature, Content::Statement(statement))
                if statement.predicate_type == crate::gather::COSIGN_SIGNATURE =>
            {
                Ok(())
            }
            (Asked::Statement(kind), Content::Statement(statement)) if statement.predicate_type == kind => {
                Ok(())
            }
            _ => Err(Reason::new(
                ReasonCode::PayloadMalformed,
                "signed, but as something else than it is used as",
            )),
        }
    }

    fn timely(&self, fact: &Fact) -> Result<(), Reason> {
        // The earliest: a later timestamp on an old signature does not make it younger.
        let signed = fact.times.iter().min().copied();
        let oldest = self.rule.max_age.map(|age| self.now.saturating_sub(age)).max(self.rule.signed_after);
        match (oldest, signed) {
            (None, _) => Ok(()),
            (Some(_), None) => {
                let message =
                    "the rule bounds the signature's age, and no trusted party says when it was made";
                Err(Reason::new(ReasonCode::TimeUnknown, message))
            }
            (Some(oldest), Some(signed)) if signed < oldest => {
                let message = format!(
                    "signed {}, and the rule asks for {} or later",
                    time::text(signed),
                    time::text(oldest)
                );
                Err(Reason::new(ReasonCode::SignatureTooOld, message))
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }

    fn named(&self, fact: &Fact) -> Result<(), Reason> {
        let (names, legacy) = match &fact.content {
            Content::Artifact => (Vec::new(), false),
            Content::Image { name, .. } => (name.iter().map(String::as_str).collect(), true),
            Content::Statement(statement) => {
                (statement.subject_names.iter().map(String::as_str).collect(), false)
            }
        };
        if self.rule.signed_name == SignedName::Any {
            return Ok(());
        }
        // A statement may name the artifact more than once: one of the names must be right.
        let mut refused = None;
        for name in names {
            match self.one_name(name) {
                Ok(()) => return Ok(()),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        match (refused, self.rule.unnamed_bundles) {
            (Some(reason), _) => Err(reason),
            // A legacy payload always has a name.
            (None, UnnamedBundles::Allow) if !legacy => Ok(()),
            (None, UnnamedBundles::Allow | UnnamedBundles::Deny) => {
                Err(Reason::new(ReasonCode::NameMissing, "the signature does not say for which repository"))
            }
        }
    }

    fn one_name(&self, text: &str) -> Result<(), Reason> {
        let image = &self.request.image;
        let expected = match &self.rule.signed_name {
            SignedName::Remap(remap) => remapped(&image.name(), remap),
            SignedName::Repository | SignedName::Exact | SignedName::Any => image.name(),
        };
        let signed = ImageRef::parse_as_written(text).map_err(|error| {
            Reason::new(ReasonCode::NameMismatch, format!("the signature is for `{text}`: {error}"))
        })?;
        if signed.name() != expected {
            let message = format!("the signature is for `{}`, and `{expected}` is asked for", signed.name());
            return Err(Reason::new(ReasonCode::NameMismatch, message));
        }
        match (&self.rule.signed_name, image.tag()) {
            (SignedName::Exact, Some(tag)) if signed.tag() != Some(tag) => {
                let there =
                    signed.tag().map_or_else(|| "no tag".to_owned(), |tag| format!("the tag `{tag}`"));
                let message = format!("the signature is for {there}, and `{tag}` is asked for");
                Err(Reason::new(ReasonCode::TagMismatch, message))
            }
            _ => Ok(()),
        }
    }

    fn conditions(&self, fact: &Fact, kind: &str, conditions: &[Condition]) -> Result<(), Reason> {
        let Content::Statement(statement) = &fact.content else {
            return Err(Reason::new(
                ReasonCode::PayloadMalformed,
                format!("not a statement of the type `{kind}`"),
            ));
        };
        conditions.iter().try_for_each(|condition| condition::check(condition, &statement.json, self.now))
    }
}

impl crate::policy::CertificateRule {
    fn check(&self, identity: &Identity) -> Result<(), Reason> {
        let Identity::Certificate { issuer, subject, claims } = identity else {
            return Err(Reason::new(
                ReasonCode::KindMismatch,
                "signed with a key, and a certificate is asked for",
            ));
        };
        if *issuer != self.issuer {
            let message = format!("the issuer is `{issuer}`, and `{}` is asked for", self.issuer);
            return Err(Reason::new(ReasonCode::IssuerMismatch, message));
        }
        if !self.subject.matches(subject) {
            let message = format!("signed by `{subject}`, and `{}` is asked for", self.subject);
            return Err(Reason::new(ReasonCode::IdentityMismatch, message));
        }
        for (claim, patterns) in &self.claims {
            let name = claim.name();
            let any = patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join("` or `");
            match claim.of(claims) {
                Some(value) if patterns.iter().any(|pattern| pattern.matches(value)) => {}
                Some(value) => {
                    let message =
                        format!("the certificate's `{name}` is `{value}`, and `{any}` is asked for");
                    return Err(Reason::new(ReasonCode::ClaimMismatch, message));
                }
                None => {
                    let message = format!("the certificate has no `{name}`, and `{any}` is asked for");
                    return Err(Reason::new(ReasonCode::ClaimMismatch, message));
                }
            }
        }
        Ok(())
    }
}

/// Whether a verified signature is one of the signer's, as far as the signer's own rule goes.
pub(crate) fn signed_by(fact: &Fact, signer: &SignerRule, now: UnixTime) -> Result<(), Reason> {
    if fact.times.iter().any(|at| *at > now) {
        return Err(Reason::new(ReasonCode::LogTimeInvalid, "signed in the future"));
    }
    match signer {
        SignerRule::Key(rule) if fact.identity == Identity::Key(rule.fingerprint) => logged(fact, rule.log),
        SignerRule::Key(_) => Err(Reason::new(ReasonCode::KindMismatch, "signed with another key")),
        SignerRule::Certificate(rule) => {
            rule.check(&fact.identity)?;
            logged(fact, rule.log)
        }
    }
}

fn logged(fact: &Fact, log: Log) -> Result<(), Reason> {
    let (needed, what) = match log {
        Log::None => return Ok(()),
        Log::Required => (LogEvidence::Promise, "a transparency log's promise or proof"),
        Log::Proof => (LogEvidence::Proof, "a transparency log's proof of inclusion"),
    };
    if fact.log >= needed {
        return Ok(());
    }
    Err(Reason::new(ReasonCode::LogProofRequired, format!("the signer must have {what}, and this has none")))
}

fn annotated(fact: &Fact, asked: &BTreeMap<String, String>) -> Result<(), Reason> {
    let empty = BTreeMap::new();
    let there = match &fact.content {
        Content::Artifact => &empty,
        Content::Image { annotations, .. } => annotations,
        Content::Statement(statement) => &statement.subject_annotations,
    };
    for (name, pattern) in asked {
        let pattern = Pattern::parse(pattern)
            .map_err(|error| Reason::new(ReasonCode::InternalError, format!("`{pattern}`: {error}")))?;
        let message = match there.get(name) {
            Some(value) if pattern.matches(value) => continue,
            Some(value) => format!("the annotation `{name}` is `{value}`, and `{pattern}` is asked for"),
            None => format!("there is no annotation `{name}`, and `{pattern}` is asked for"),
        };
        return Err(Reason::new(ReasonCode::AnnotationMismatch, message));
    }
    Ok(())
}

/// The name that the original has. What is not below `from` keeps its name.
fn remapped(name: &str, remap: &Remap) -> String {
    match name.strip_prefix(&remap.from) {
        Some("") => remap.to.clone(),
        Some(rest) if rest.starts_with('/') => format!("{}{rest}", remap.to),
        _ => name.to_owned(),
    }
}

fn identity(identity: &Identity) -> String {
    match identity {
        Identity::Key(fingerprint) => format!("key {fingerprint}"),
        Identity::Certificate { issuer, subject, .. } => format!("{issuer} {subject}"),
    }
}

pub(crate) fn who(identity: &Identity) -> String {
    match identity {
        Identity::Key(fingerprint) => format!("the key {fingerprint}"),
        Identity::Certificate { issuer, subject, .. } => format!("`{subject}` ({issuer})"),
    }
}

/// The order in which reasons explain: what came furthest first.
/// The reasons by rank; of one rank as they came. There are few: no sort is built for them.
fn ranked(reasons: Vec<Reason>) -> Vec<Reason> {
    let mut ranked = Vec::<Reason>::with_capacity(reasons.len());
    for reason in reasons {
        let at = ranked.partition_point(|known| rank(known.code) <= rank(reason.code));
        ranked.insert(at, reason);
    }
    ranked
}

fn rank(code: ReasonCode) -> (u8, ReasonCode) {
    let class = match code.class() {
        Class::Transient => 0,
        Class::Policy => 1,
        Class::Untrusted if code == ReasonCode::KindMismatch => 5,
        Class::Untrusted => 2,
        Class::Invalid => 3,
        Class::Missing | Class::Good => 4,
    };
    (class, code)
}

/// The most signers that can each be given an identity of its own: a maximum bipartite matching, by
/// augmenting paths.
fn matching(signers: &[Vec<String>]) -> usize {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    (0..signers.len()).filter(|signer| assign(*signer, signers, &mut taken, &mut BTreeSet::new())).count()
}

fn assign<'a>(
    signer: usize,
    signers: &'a [Vec<String>],
    taken: &mut BTreeMap<&'a str, usize>,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    for identity in signers.get(signer).into_iter().flatten() {
        if !seen.insert(identity) {
            continue;
        }
        let holder = taken.get(identity.as_str()).copied();
        if holder.is_none_or(|holder| assign(holder, signers, taken, seen)) {
            taken.insert(identity, signer);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(signers: &[&[&str]]) -> usize {
        let signers: Vec<Vec<String>> =
            signers.iter().map(|identities| identities.iter().map(|&id| id.to_owned()).collect()).collect();
        matching(&signers)
    }

    #[test]
    fn one_identity_counts_for_one_signer() {
        assert_eq!(people(&[&["a"], &["a"]]), 1);
        assert_eq!(people(&[&["a", "b"], &["a"]]), 2);
        assert_eq!(people(&[&["a", "b"], &["a"], &["b"]]), 2);
        assert_eq!(people(&[&["a", "b"], &["a", "c"], &["a"]]), 3);
        assert_eq!(people(&[&[], &["a"]]), 1);
        assert_eq!(people(&[]), 0);
    }

    #[test]
    fn a_remapped_name_is_cut_at_whole_parts() {
        let remap = Remap { from: "mirror.example/ghcr".into(), to: "ghcr.io".into() };
        assert_eq!(remapped("mirror.example/ghcr/acme/app", &remap), "ghcr.io/acme/app");
        assert_eq!(remapped("mirror.example/ghcrevil/app", &remap), "mirror.example/ghcrevil/app");
    }
}
