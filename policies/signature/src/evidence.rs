//! What a decision stands on: what a registry was asked and what it answered, and what came with
//! the object itself. It is recorded as it is, so that a decision can be replayed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, ReasonCode,
    encoding::{self, Base64},
};

/// One read of a registry, by the OCI distribution specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The registry's host and port, as in an image's name.
    pub registry: String,
    /// The repository in it.
    pub repository: String,
    /// What is read.
    pub what: What,
}

/// What a [`Read`] reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// The manifest or index under a tag.
    Tag(String),
    /// The manifest or index with a digest.
    Manifest(Digest),
    /// The blob with a digest.
    Blob(Digest),
    /// The referrers of a digest.
    Referrers(Digest),
}

/// What an `Accept` header says where a manifest is read: both generations, images and indexes.
pub const ACCEPT_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

impl Read {
    /// The path of the request (OCI distribution specification 1.1, "Endpoints").
    #[must_use]
    pub fn path(&self) -> String {
        let repository = &self.repository;
        match &self.what {
            What::Tag(tag) => format!("/v2/{repository}/manifests/{tag}"),
            What::Manifest(digest) => format!("/v2/{repository}/manifests/{digest}"),
            What::Blob(digest) => format!("/v2/{repository}/blobs/{digest}"),
            What::Referrers(digest) => format!("/v2/{repository}/referrers/{digest}"),
        }
    }

    /// The value of the request's `Accept` header.
    #[must_use]
    pub const fn accept(&self) -> &'static str {
        match self.what {
            What::Tag(_) | What::Manifest(_) => ACCEPT_MANIFEST,
            What::Blob(_) => "*/*",
            What::Referrers(_) => "application/vnd.oci.image.index.v1+json",
        }
    }

    /// The digest that the answer must have.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        match self.what {
            What::Manifest(digest) | What::Blob(digest) => Some(digest),
            What::Tag(_) | What::Referrers(_) => None,
        }
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.registry, self.path())
    }
}

/// What became of a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// Status 200 and this body.
    Found(Base64),
    /// Status 404: there is no such thing. Only the registry itself can say so.
    Absent,
    /// Anything else. The code's class is [`crate::Class::Transient`], or the body was not what
    /// was asked for.
    Failed {
        /// Why.
        code: ReasonCode,
        /// What was seen, for people.
        detail: String,
    },
}

/// Signatures that came with the object instead of from a registry, for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Staple {
    /// Sigstore bundles, each the text of its JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<String>,
    /// Legacy Cosign signatures: layers of a `.sig` manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Layer>,
    /// Legacy Cosign attestations: layers of an `.att` manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Layer>,
}

/// A layer of a legacy Cosign manifest: its blob, and the annotations of its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The blob: the payload that is signed, or the DSSE envelope of an attestation.
    pub payload: Base64,
    /// The annotations, where the signature and what proves it are.
    pub annotations: BTreeMap<String, String>,
}

/// Everything that is known about some images.
///
/// Its JSON form is the recorded file: `{"version":1,"reads":[{"read":…,"answer":…}],
/// "staples":{"sha256:…":…}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Recorded", into = "Recorded")]
pub struct Evidence {
    reads: BTreeMap<Read, Answer>,
    staples: BTreeMap<Digest, Staple>,
}

/// Why a recorded file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceError(String);

impl fmt::Display for EvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not recorded evidence: {}", self.0)
    }
}

impl std::error::Error for EvidenceError {}

impl Evidence {
    /// Reads a recorded file.
    ///
    /// # Errors
    ///
    /// JSON of another form or version.
    pub fn from_json(json: &[u8]) -> Result<Self, EvidenceError> {
        encoding::json(json).map_err(|error| EvidenceError(error.to_string()))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// None that can happen: every part has a form in JSON.
    pub fn to_json(&self) -> Result<String, EvidenceError> {
        serde_json::to_string_pretty(self).map_err(|error| EvidenceError(error.to_string()))
    }

    /// Records what became of `read`. A body that does not have the digest it was asked for by is
    /// recorded as the lie it is; the first answer to a read stays.
    pub fn record(&mut self, read: Read, answer: Answer) {
        let answer = checked(&read, answer);
        self.reads.entry(read).or_insert(answer);
    }

    /// What became of `read`, if it was made.
    #[must_use]
    pub fn answer(&self, read: &Read) -> Option<&Answer> {
        self.reads.get(read)
    }

    /// Takes over the answers of `other` to reads that were not made here.
    pub fn merge(&mut self, other: &Self) {
        for (read, answer) in &other.reads {
            self.reads.entry(read.clone()).or_insert_with(|| answer.clone());
        }
    }

    /// Forgets a read: what a tag means, for one, is asked each time.
    pub fn forget(&mut self, read: &Read) {
        self.reads.remove(read);
    }

    /// How many bytes the answers have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.reads.values().fold(0, |sum, answer| match answer {
            Answer::Found(body) => sum.saturating_add(body.0.len()),
            Answer::Absent | Answer::Failed { .. } => sum,
        })
    }

    /// Every read and its answer.
    pub fn reads(&self) -> impl Iterator<Item = (&Read, &Answer)> {
        self.reads.iter()
    }

    /// Adds signatures that came with the object, for the image with `digest`.
    pub fn staple(&mut self, digest: Digest, staple: Staple) {
        let all = self.staples.entry(digest).or_default();
        all.bundles.extend(staple.bundles);
        all.signatures.extend(staple.signatures);
        all.attestations.extend(staple.attestations);
    }

    /// The signatures that came with the object for the image with `digest`.
    #[must_use]
    pub fn stapled(&self, digest: &Digest) -> Option<&Staple> {
        self.staples.get(digest)
    }
}

fn checked(read: &Read, answer: Answer) -> Answer {
    match (&answer, read.digest()) {
        (Answer::Found(body), Some(digest)) if Digest::of(&body.0) != digest => Answer::Failed {
            code: ReasonCode::ContentDigestMismatch,
            detail: format!("what was sent has the digest {}", Digest::of(&body.0)),
        },
        _ => answer,
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    version: u32,
    #[serde(default)]
    reads: Vec<RecordedRead>,
    #[serde(default)]
    staples: BTreeMap<Digest, Staple>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedRead {
    read: Read,
    answer: Answer,
}

impl TryFrom<Recorded> for Evidence {
    type Error = String;

    fn try_from(recorded: Recorded) -> Result<Self, String> {
        if recorded.version != VERSION {
            return Err(format!("version {} is not known; version {VERSION} is", recorded.version));
        }
        let mut evidence = Self { reads: BTreeMap::new(), staples: recorded.staples };
        for RecordedRead { read, answer } in recorded.reads {
            evidence.record(read, answer);
        }
        Ok(evidence)
    }
}

impl From<Evidence> for Recorded {
    fn from(evidence: Evidence) -> Self {
        let reads = evidence.reads.into_iter().map(|(read, answer)| RecordedRead { read, answer }).collect();
        Self { version: VERSION, reads, staples: evidence.staples }
    }
}
