//! One review under way: its images, and what is known about each so far.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::UnixTime;
use portcullis_signature::{
    Answer, Dossier, Evidence, Facts, ImageRef, Outcome, Policy, Read, Reason, ReasonCode, Request, Verdict,
    What, plan, review::Review,
};

use crate::cache::Key;

/// The most bytes that are kept of one image: an image with more is read again each time.
const MOST_KEPT: usize = 262_144;

/// A review and its images.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) review: Review,
    pub(crate) deadline: UnixTime,
    images: Vec<Image>,
}

/// One image of a review.
#[derive(Debug)]
pub(crate) struct Image {
    request: Request,
    evidence: Evidence,
    facts: Facts,
    /// The evidence, sorted, once all is read.
    dossier: Option<Dossier>,
    /// Reads that were dispatched and have no answer yet.
    open: BTreeSet<Read>,
    /// Whether the cache was asked, which needs the digest.
    looked_up: bool,
    verdict: Option<Verdict>,
}

/// What comes next for an image.
pub(crate) enum Next {
    /// These are to be read.
    Read(Vec<Read>),
    /// Answers are under way.
    Wait,
    /// All is read; signatures are to be verified.
    Verify,
    Done,
}

impl Case {
    pub(crate) fn new(review: Review, configured: &Evidence, deadline: UnixTime) -> Self {
        let stapled = review.evidence();
        let image = |request: Request| {
            let mut evidence = stapled.clone();
            if let Some(digest) = request.image.digest()
                && let Some(staple) = configured.stapled(&digest)
            {
                evidence.staple(digest, staple.clone());
            }
            Image {
                request,
                evidence,
                facts: Facts::default(),
                dossier: None,
                open: BTreeSet::new(),
                looked_up: false,
                verdict: None,
            }
        };
        let images = review.requests().into_iter().map(image).collect();
        Self { review, deadline, images }
    }

    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// How many bytes of registries' answers are held for it.
    pub(crate) fn bytes(&self) -> usize {
        self.images.iter().fold(0, |sum, image| sum.saturating_add(image.bytes()))
    }

    pub(crate) fn image(&mut self, index: usize) -> Option<&mut Image> {
        self.images.get_mut(index)
    }

    /// The verdicts, once every image has one.
    pub(crate) fn verdicts(&self) -> Option<BTreeMap<ImageRef, Verdict>> {
        let verdict = |image: &Image| Some((image.request.image.clone(), image.verdict.clone()?));
        self.images.iter().map(verdict).collect()
    }

    /// The time is over: what is not known is not known.
    pub(crate) fn expire(&mut self) {
        for image in self.images.iter_mut().filter(|image| image.verdict.is_none()) {
            let waits = match image.open.iter().next() {
                Some(read) => {
                    format!("{} answers of the registry are missing, of {read} for one", image.open.len())
                }
                None => "its signatures were not all verified".to_owned(),
            };
            let reason = Reason::new(
                ReasonCode::DeadlineExceeded,
                format!("the time for the review is over: {waits}"),
            );
            image.verdict = Some(denied(&image.request, reason));
        }
    }
}

impl Image {
    /// What comes next.
    pub(crate) fn next(&mut self, policy: &Policy) -> Next {
        if self.verdict.is_some() {
            return Next::Done;
        }
        let wanted: Vec<Read> = plan(&self.request, policy, &self.evidence)
            .into_iter()
            .filter(|read| !self.open.contains(read))
            .collect();
        if !wanted.is_empty() {
            self.open.extend(wanted.iter().cloned());
            return Next::Read(wanted);
        }
        if self.open.is_empty() { Next::Verify } else { Next::Wait }
    }

    /// How many bytes are held for it.
    pub(crate) fn bytes(&self) -> usize {
        self.evidence.bytes()
    }

    pub(crate) fn answered(&mut self, read: Read, answer: Answer) {
        self.open.remove(&read);
        self.evidence.record(read, answer);
    }

    /// What the cache is to be asked, once: the digest is known from the start or by the tag's answer.
    pub(crate) fn lookup(&mut self) -> Option<Key> {
        if self.looked_up {
            return None;
        }
        let digest = self.request.image.digest().or_else(|| match self.evidence.answer(&self.tag()?) {
            Some(Answer::Found(body)) => Some(portcullis_signature::Digest::of(&body.0)),
            _ => None,
        })?;
        self.looked_up = true;
        Some((self.request.image.name(), digest))
    }

    pub(crate) fn remember(&mut self, evidence: &Evidence, facts: Facts) {
        self.evidence.merge(evidence);
        self.facts = facts;
    }

    /// Verifies at most one signature, and judges. True once there is a verdict.
    pub(crate) fn verify(&mut self, policy: &Policy, now: UnixTime) -> bool {
        let Self { request, evidence, facts, dossier, .. } = self;
        let dossier = dossier.get_or_insert_with(|| Dossier::new(request, policy, evidence));
        let mut verdict = facts.judge(request, dossier, policy, now);
        if verdict.unfinished && facts.verify_next(request, dossier, policy) {
            verdict = facts.judge(request, dossier, policy, now);
        }
        let done = !verdict.unfinished;
        if done {
            self.verdict = Some(verdict);
            self.dossier = None;
        }
        done
    }

    /// What is worth keeping of a decided image, and whether it was allowed. Nothing where signatures
    /// came with the object: they are its own.
    pub(crate) fn keepsake(&self) -> Option<(Key, Evidence, Facts, bool)> {
        let verdict = self.verdict.as_ref()?;
        let digest = verdict.digest?;
        if !verdict.class().cacheable()
            || self.bytes() > MOST_KEPT
            || self.evidence.stapled(&digest).is_some()
            || self.facts.is_empty()
        {
            return None;
        }
        let mut evidence = self.evidence.clone();
        if let Some(tag) = self.tag() {
            evidence.forget(&tag);
        }
        let key = (self.request.image.name(), digest);
        Some((key, evidence, self.facts.clone(), verdict.outcome == Outcome::Allow))
    }

    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The read of what the image's tag means.
    fn tag(&self) -> Option<Read> {
        let image = &self.request.image;
        Some(Read {
            registry: image.registry().to_owned(),
            repository: image.repository().to_owned(),
            what: What::Tag(image.tag()?.to_owned()),
        })
    }
}

fn denied(request: &Request, reason: Reason) -> Verdict {
    Verdict {
        outcome: Outcome::Deny,
        image: request.image.to_string(),
        digest: request.image.digest(),
        pinned: None,
        reason,
        warnings: Vec::new(),
        unfinished: false,
    }
}
