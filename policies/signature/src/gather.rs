//! From evidence to candidates: which signatures there are for an image, and what is still to be
//! read to know. The plan and the decision both walk here, so that they cannot disagree.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    Answer, Digest, Evidence, Policy, Read, Reason, ReasonCode, Request, What, encoding,
    evidence::{Layer, Staple},
    manifest::{Descriptor, Manifest},
    policy::{Platforms, Requirement, RuleView},
};

/// Media types of Sigstore bundles begin so, whatever their version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The layers of a `.sig` manifest.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The layers of an `.att` manifest.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The predicate of the statement that Cosign 3 signs an image with.
pub(crate) const COSIGN_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What is known about an image so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The digest of what was asked for.
    pub(crate) digest: Option<Digest>,
    /// What must be signed: what was asked for, and perhaps each platform's manifest.
    pub(crate) targets: Vec<Target>,
    /// The reads that come next.
    pub(crate) needed: BTreeSet<Read>,
    /// Why nothing can be known.
    pub(crate) failure: Option<Reason>,
}

/// One digest and the signatures that there are for it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) digest: Digest,
    pub(crate) candidates: Vec<Candidate>,
    /// What could not be read.
    pub(crate) problems: Vec<Reason>,
    needed: BTreeSet<Read>,
    depth: Depth,
    layers: usize,
    /// Bytes of signatures that are still looked into: what is beyond would cost more than it is worth.
    room: usize,
}

/// A signature or attestation that nobody has verified yet.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Where it is, for people.
    pub(crate) place: String,
    pub(crate) material: Material,
    /// What it says that it is.
    pub(crate) kind: Kind,
    /// The digest of all of it.
    pub(crate) id: Digest,
}

#[derive(Debug)]
pub(crate) enum Material {
    Bundle(String),
    Signature(Layer),
    Attestation(Layer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Signature,
    /// A statement with a predicate of this type.
    Statement(String),
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only to the reads that come next: no signature is looked into.
    Reads,
    /// To the signatures.
    Candidates,
}

/// Walks through the evidence as far as it goes.
pub(crate) fn gather(
    request: &Request,
    policy: &Policy,
    rules: &[&RuleView],
    evidence: &Evidence,
    depth: Depth,
) -> Gathered {
    let mut gathered = Gathered::default();
    let image = &request.image;
    let read = |what| Read {
        registry: image.registry().to_owned(),
        repository: image.repository().to_owned(),
        what,
    };
    let digest = match (image.digest(), image.tag()) {
        (Some(digest), _) => digest,
        (None, tag) => {
            let read = read(What::Tag(tag.unwrap_or_default().to_owned()));
            match evidence.answer(&read) {
                Some(Answer::Found(body)) => Digest::of(&body.0),
                Some(answer) => {
                    gathered.failure = Some(refused(&read, answer, ReasonCode::ImageNotFound));
                    return gathered;
                }
                None => {
                    gathered.needed.insert(read);
                    return gathered;
                }
            }
        }
    };
    gathered.digest = Some(digest);
    let mut digests = vec![digest];
    if rules.iter().any(|rule| rule.platforms == Platforms::Each) {
        // A tag's answer is the manifest that is asked for here.
        let by_tag = image.tag().filter(|_| image.digest().is_none());
        let read = by_tag.map_or_else(|| read(What::Manifest(digest)), |tag| read(What::Tag(tag.to_owned())));
        match platforms(&read, evidence, policy) {
            Ok(Some(platforms)) => digests.extend(platforms),
            Ok(None) => {
                gathered.needed.insert(read);
            }
            Err(reason) => {
                gathered.failure = Some(reason);
                return gathered;
            }
        }
    }
    for digest in digests {
        let mut target = target(request, policy, rules, evidence, digest, depth);
        gathered.needed.append(&mut target.needed);
        gathered.targets.push(target);
    }
    gathered
}

/// The digests of an index's platforms; nothing for the manifest of one image.
fn platforms(read: &Read, evidence: &Evidence, policy: &Policy) -> Result<Option<Vec<Digest>>, Reason> {
    let body = match evidence.answer(read) {
        Some(Answer::Found(body)) => &body.0,
        Some(answer) => return Err(refused(read, answer, ReasonCode::ImageNotFound)),
        None => return Ok(None),
    };
    let manifest = Manifest::parse(body).map_err(|reason| reason.about(read.to_string()))?;
    if manifest.manifests.len() > policy.limits().platforms {
        let most = policy.limits().platforms;
        let message = format!("the index has {} manifests; {most} are allowed", manifest.manifests.len());
        return Err(Reason::new(ReasonCode::LimitExceeded, message));
    }
    let platforms = manifest.manifests.iter().filter(|descriptor| descriptor.is_platform());
    platforms
        .map(|descriptor| descriptor.digest().map_err(|reason| reason.about(read.to_string())))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn refused(read: &Read, answer: &Answer, absent: ReasonCode) -> Reason {
    match answer {
        Answer::Failed { code, detail } => Reason::new(*code, detail.clone()),
        Answer::Absent | Answer::Found(_) => {
            Reason::new(absent, "the registry says that there is no such image")
        }
    }
    .about(read.to_string())
}

fn target(
    request: &Request,
    policy: &Policy,
    rules: &[&RuleView],
    evidence: &Evidence,
    digest: Digest,
    depth: Depth,
) -> Target {
    let mut target = Target::new(digest, depth, policy.limits().bytes);
    if let Some(staple) = evidence.stapled(&digest) {
        // What came with the object is enough or it is not: a registry is not asked as well.
        target.stapled(staple);
    } else {
        let attested = rules.iter().any(|rule| needs_attestation(&rule.require));
        let mut places = BTreeSet::new();
        for rule in rules {
            places.insert(rule.signatures_in.clone().unwrap_or_else(|| {
                (request.image.registry().to_owned(), request.image.repository().to_owned())
            }));
        }
        for (registry, repository) in places {
            let mut walk = Walk {
                registry,
                repository,
                evidence,
                target: &mut target,
                most: policy.limits().signatures,
            };
            walk.referrers();
            walk.legacy("sig", SIMPLE_SIGNING, Material::Signature);
            if attested {
                walk.legacy("att", ENVELOPE, Material::Attestation);
            }
        }
    }
    target.bound(policy.limits().signatures);
    target
}

fn needs_attestation(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Attestation { .. } => true,
        Requirement::All(of) | Requirement::Any(of) => of.iter().any(needs_attestation),
        Requirement::Signature { .. } | Requirement::AtLeast { .. } => false,
    }
}

impl Target {
    fn new(digest: Digest, depth: Depth, room: usize) -> Self {
        let (candidates, problems) = (Vec::new(), Vec::new());
        Self { digest, candidates, problems, needed: BTreeSet::new(), depth, layers: 0, room }
    }

    fn stapled(&mut self, staple: &Staple) {
        for (index, bundle) in staple.bundles.iter().enumerate() {
            self.push(format!("stapled bundle {index}"), Material::Bundle(bundle.clone()));
        }
        for (index, layer) in staple.signatures.iter().enumerate() {
            self.push(format!("stapled signature {index}"), Material::Signature(layer.clone()));
        }
        for (index, layer) in staple.attestations.iter().enumerate() {
            self.push(format!("stapled attestation {index}"), Material::Attestation(layer.clone()));
        }
    }

    fn push(&mut self, place: String, material: Material) {
        if self.depth == Depth::Reads {
            return;
        }
        match self.room.checked_sub(material.len()) {
            Some(room) => self.room = room,
            None => {
                let message = "there are more bytes of signatures than are looked into";
                self.problems.push(Reason::new(ReasonCode::LimitExceeded, message).about(place));
                return;
            }
        }
        let kind = material.kind();
        let id = material.id();
        // The same signature may be both a referrer and under a tag.
        if !self.candidates.iter().any(|candidate| candidate.id == id) {
            self.candidates.push(Candidate { place, material, kind, id });
        }
    }

    fn bound(&mut self, most: usize) {
        if self.candidates.len() > most {
            let message = format!("there are {} signatures; the first {most} count", self.candidates.len());
            self.problems.push(Reason::new(ReasonCode::LimitExceeded, message));
            self.candidates.truncate(most);
        }
    }
}

impl Material {
    /// What it claims to be. Only what is verified is believed.
    fn kind(&self) -> Kind {
        let payload = match self {
            Self::Signature(_) => return Kind::Signature,
            Self::Attestation(layer) => encoding::json::<Value>(&layer.payload.0).ok(),
            Self::Bundle(json) => serde_json::from_str::<Value>(json)
                .ok()
                .and_then(|bundle| bundle.get("dsseEnvelope").cloned()),
        };
        let predicate_type = payload
            .and_then(|envelope| encoding::decode(envelope.get("payload")?.as_str()?).ok())
            .and_then(|bytes| encoding::json::<Value>(&bytes).ok())
            .and_then(|statement| Some(statement.get("predicateType")?.as_str()?.to_owned()));
        match (predicate_type, self) {
            (Some(kind), Self::Bundle(_)) if kind == COSIGN_SIGNATURE => Kind::Signature,
            (Some(kind), _) => Kind::Statement(kind),
            // Not a statement, or not readable: as a signature it is refused, with the reason.
            (None, Self::Bundle(_)) => Kind::Signature,
            (None, _) => Kind::Statement(String::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bundle(json) => json.len(),
            Self::Signature(layer) | Self::Attestation(layer) => {
                let annotations = layer.annotations.iter();
                annotations.fold(layer.payload.0.len(), |sum, (name, value)| {
                    sum.saturating_add(name.len()).saturating_add(value.len())
                })
            }
        }
    }

    fn id(&self) -> Digest {
        let mut bytes = Vec::new();
        let layer = match self {
            Self::Bundle(json) => return Digest::of(json.as_bytes()),
            Self::Signature(layer) | Self::Attestation(layer) => layer,
        };
        bytes.extend(Digest::of(&layer.payload.0).as_bytes());
        for (name, value) in &layer.annotations {
            bytes.extend(Digest::of(name.as_bytes()).as_bytes());
            bytes.extend(Digest::of(value.as_bytes()).as_bytes());
        }
        Digest::of(&bytes)
    }
}

/// The signatures of one target in one repository.
struct Walk<'a> {
    registry: String,
    repository: String,
    evidence: &'a Evidence,
    target: &'a mut Target,
    most: usize,
}

impl<'a> Walk<'a> {
    /// The body of an answer; what is not there is noted as needed, what failed as a problem.
    fn body(&mut self, what: What) -> Option<(Read, &'a [u8])> {
        let read = Read { registry: self.registry.clone(), repository: self.repository.clone(), what };
        match self.evidence.answer(&read) {
            Some(Answer::Found(body)) => Some((read, &body.0)),
            Some(Answer::Absent) => None,
            Some(Answer::Failed { code, detail }) => {
                self.target.problems.push(Reason::new(*code, detail.clone()).about(read.to_string()));
                None
            }
            None => {
                self.target.needed.insert(read);
                None
            }
        }
    }

    fn manifest(&mut self, what: What) -> Option<(Read, Manifest)> {
        let (read, body) = self.body(what)?;
        match Manifest::parse(body) {
            Ok(manifest) => Some((read, manifest)),
            Err(reason) => {
                self.target.problems.push(reason.about(read.to_string()));
                None
            }
        }
    }

    /// Bundles that refer to the target: by the registry's list, and by the tag that stands for the
    /// list where a registry has none, or an empty one (OCI distribution specification 1.1, "Referrers
    /// Tag Schema").
    fn referrers(&mut self) {
        let digest = self.target.digest;
        let listed = self.manifest(What::Referrers(digest));
        let tagged = self.manifest(What::Tag(format!("sha256-{}", digest.to_hex())));
        let mut bundles: Vec<Digest> = Vec::new();
        for (read, index) in listed.into_iter().chain(tagged) {
            for descriptor in index.manifests.iter().filter(|descriptor| descriptor.may_be_a(BUNDLE)) {
                match descriptor.digest() {
                    Ok(digest) if !bundles.contains(&digest) => bundles.push(digest),
                    Ok(_) => {}
                    Err(reason) => self.target.problems.push(reason.about(read.to_string())),
                }
            }
        }
        if bundles.len() > self.most {
            let message = format!("there are {} referrers; the first {} count", bundles.len(), self.most);
            self.target.problems.push(Reason::new(ReasonCode::LimitExceeded, message));
            bundles.truncate(self.most);
        }
        for digest in bundles {
            let Some((read, manifest)) = self.manifest(What::Manifest(digest)) else { continue };
            for layer in
                manifest.layers.iter().filter(|layer| layer.media_type().starts_with(BUNDLE)).take(self.most)
            {
                let Some(body) = self.layer(&read, layer) else { continue };
                if self.target.depth == Depth::Reads {
                    continue;
                }
                match String::from_utf8(body.to_vec()) {
                    Ok(json) => self.target.push(format!("referrer {digest}"), Material::Bundle(json)),
                    Err(_) => self.target.problems.push(
                        Reason::new(ReasonCode::BundleMalformed, "the bundle is not text")
                            .about(read.to_string()),
                    ),
                }
            }
        }
    }

    fn legacy(&mut self, suffix: &str, media_type: &str, material: fn(Layer) -> Material) {
        let tag = format!("sha256-{}.{suffix}", self.target.digest.to_hex());
        let Some((read, manifest)) = self.manifest(What::Tag(tag.clone())) else { return };
        if manifest.layers.len() > self.most {
            let message =
                format!("`{tag}` has {} layers; the first {} count", manifest.layers.len(), self.most);
            self.target.problems.push(Reason::new(ReasonCode::LimitExceeded, message));
        }
        let layers = manifest.layers.iter().filter(|layer| layer.media_type() == media_type).take(self.most);
        for (index, layer) in layers.enumerate() {
            let Some(body) = self.layer(&read, layer) else { continue };
            if self.target.depth == Depth::Reads {
                continue;
            }
            let layer =
                Layer { payload: encoding::Base64(body.to_vec()), annotations: layer.annotations.clone() };
            self.target.push(format!("{tag} layer {index}"), material(layer));
        }
    }

    /// A layer's blob. So many are read for one target and no more, however they are spread over
    /// manifests.
    fn layer(&mut self, read: &Read, layer: &Descriptor) -> Option<&'a [u8]> {
        self.target.layers = self.target.layers.saturating_add(1);
        if self.target.layers > self.most {
            let message = format!("there are more than {} signatures; the first ones count", self.most);
            self.target
                .problems
                .push(Reason::new(ReasonCode::LimitExceeded, message).about(read.to_string()));
            return None;
        }
        match layer.digest() {
            Ok(digest) => self.body(What::Blob(digest)).map(|(_, body)| body),
            Err(reason) => {
                self.target.problems.push(reason.about(read.to_string()));
                None
            }
        }
    }
}
