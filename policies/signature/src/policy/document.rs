//! The document's form. What each part means is said here; that names exist and patterns parse is
//! checked in `resolve`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::Claim;

/// A policy as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The trusted roots by name. Without any, there is one called `sigstore`: the public-good
    /// instance, built in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<String, TrustedRootSource>,
    /// The signers by name.
    #[serde(default)]
    pub signers: BTreeMap<String, Signer>,
    /// The rules. All that are about an image must hold for it.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The images that run whatever the rules say, until a date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemptions: Vec<Exemption>,
    /// What becomes of an image that no rule is about. Default: `deny`.
    #[serde(default)]
    pub unmatched: Unmatched,
    /// What becomes of an image that has a tag and no digest. Default: `pin`.
    #[serde(default)]
    pub tags: Tags,
    /// Where objects of other kinds name their images: `group/Kind`, or `Kind` where there is no
    /// group, to JSON pointers, in which `*` stands for every element: `/spec/steps/*/image`. An
    /// empty list says that the kind names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Vec<String>>,
    /// What is read and verified at most.
    #[serde(default)]
    pub limits: Limits,
}

/// Where a trusted root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrustedRootSource {
    /// One that is built in, as of the build.
    Builtin(Builtin),
    /// A `TrustedRoot` of sigstore's protobuf specification, version 0.1, as JSON.
    TrustedRoot(Value),
    /// A certificate authority of one's own, and timestamp authorities that say when.
    Authority {
        /// The authority's certificates: each PEM block, intermediates and root.
        certificates: String,
        /// The timestamp authorities (RFC 3161): for each one its PEM chain, the signing
        /// certificate first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        timestamp_authorities: Vec<String>,
    },
}

/// A trusted root that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// The public-good instance.
    Sigstore,
    /// GitHub's instance, for the attestations of private repositories.
    Github,
}

/// Somebody who signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Signer {
    /// A key.
    Key(Key),
    /// An identity in a certificate.
    Keyless(Keyless),
    /// A workflow of GitHub Actions.
    Github(GitHub),
    /// A pipeline of GitLab CI.
    Gitlab(GitLab),
    /// A person or service account of Google.
    Google(Google),
}

/// A signer with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The public key: a PEM `PUBLIC KEY`. ECDSA P-256 or P-384, Ed25519, RSA of 2048 bits and more.
    pub public_key: String,
    /// What a transparency log must say. Nothing, unless it is asked for.
    #[serde(default = "Log::none")]
    pub log: Log,
    /// The root with the log's key. Only with a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// A signer with a certificate from a certificate authority like Fulcio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Keyless {
    /// The OIDC issuer, exactly. An identity means nothing without it.
    pub issuer: String,
    /// A pattern for the certificate's subject: an e-mail address or a URI.
    pub subject: String,
    /// Patterns for the certificate's claims about the build; one of each list must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(transform = claim_names))]
    pub claims: BTreeMap<Claim, Vec<String>>,
    /// The root with the certificate authority. May be left out where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What a transparency log must say.
    #[serde(default)]
    pub log: Log,
}

/// The names of claims, for the members of a map.
#[cfg(feature = "schema")]
fn claim_names(schema: &mut schemars::Schema) {
    let mut names = schemars::schema_for!(Claim);
    for of_a_document in ["$schema", "title"] {
        names.remove(of_a_document);
    }
    schema.insert("propertyNames".into(), names.into());
}

/// A workflow of GitHub Actions, by what Fulcio's certificate says of it. Every part is a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GitHub {
    /// `owner/repository` that the build's source is from.
    pub repository: String,
    /// The path of the workflow's file: `.github/workflows/release.yml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The workflow that signs, where it is a reusable one of another repository:
    /// `owner/repository/.github/workflows/build.yml@refs/tags/v1`. Without it, a workflow of
    /// `repository` itself must have signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_workflow: Option<String>,
    /// The git reference: `refs/tags/v*`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The events that may start it: `push`, `release`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
    /// The runner's environment: `github-hosted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// The deployment environment: `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The server, for an enterprise's own. `https://github.com` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The OIDC issuer, for an enterprise's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// As in [`Keyless`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// As in [`Keyless`].
    #[serde(default)]
    pub log: Log,
}

/// A pipeline of GitLab CI. Every part but the server is a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GitLab {
    /// `group/project` that the build's source is from.
    pub project: String,
    /// The path of the pipeline's file: `.gitlab-ci.yml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The git reference: `refs/heads/main`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What may start it: `push`, `web`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
    /// The runner's environment: `gitlab-hosted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// The deployment environment: `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The server, which is also the issuer. `https://gitlab.com` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// As in [`Keyless`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// As in [`Keyless`].
    #[serde(default)]
    pub log: Log,
}

/// A Google account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Google {
    /// A pattern for the e-mail address.
    pub email: String,
    /// As in [`Keyless`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// As in [`Keyless`].
    #[serde(default)]
    pub log: Log,
}

/// What a transparency log must say about a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Nothing. A certificate then needs a timestamp of an authority that the root names.
    None,
    /// A signed promise to include it, or a proof that it is included.
    #[default]
    Required,
    /// A proof that it is included.
    Proof,
}

impl Log {
    const fn none() -> Self {
        Self::None
    }
}

/// What some images need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For reasons and reports.
    pub name: String,
    /// Patterns for `registry/repository`.
    pub images: Vec<String>,
    /// Patterns for the namespace; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// What must be there.
    pub require: Requirement,
    /// What the name in a signature must be.
    #[serde(default)]
    pub signed_name: SignedName,
    /// What becomes of a bundle that has no name, as those of Cosign 3 have none.
    #[serde(default)]
    pub unnamed_bundles: UnnamedBundles,
    /// The oldest signing time, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_after: Option<String>,
    /// The greatest age of a signature: `90d`, `12h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// What of an image for several platforms must be signed.
    #[serde(default)]
    pub platforms: Platforms,
    /// What a failure does.
    #[serde(default)]
    pub mode: Mode,
    /// `registry/repository` where the signatures are, if not beside the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures_in: Option<String>,
}

/// What must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Requirement {
    /// A signature of the image.
    Signature {
        /// By whom.
        signer: String,
        /// Patterns for the signature's annotations.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// A signed statement about the image.
    Attestation {
        /// The predicate's type, the URI in full: `https://slsa.dev/provenance/v1`.
        predicate_type: String,
        /// By whom.
        signer: String,
        /// What it must say. All of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
    },
    /// All of these.
    All(Vec<Requirement>),
    /// One of these.
    Any(Vec<Requirement>),
    /// Signatures by so many of these signers, each by an identity of its own.
    AtLeast {
        /// How many.
        count: usize,
        /// Of whom.
        signers: Vec<String>,
    },
}

/// What a verified statement must say at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A JSON pointer (RFC 6901) into the statement: `/predicate/runDetails/builder/id`. A part that
    /// is `*` stands for every element of an array, which must be there and may be empty.
    pub path: String,
    /// What is asked of the value there.
    pub is: Test,
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is this value.
    Equals(Value),
    /// It is one of these values.
    OneOf(Vec<Value>),
    /// It is none of these values.
    NoneOf(Vec<Value>),
    /// It is a text that matches this pattern.
    Matches(String),
    /// It is a number, this or less.
    AtMost(i64),
    /// It is a number, this or more.
    AtLeast(i64),
    /// It is a time (RFC 3339) that is not further back than this, and not in the future.
    YoungerThan(String),
}

/// What the repository's name in a signature must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignedName {
    /// The image's repository.
    #[default]
    Repository,
    /// The image's repository, and its tag where it is asked for by tag.
    Exact,
    /// The repository that the image was copied from.
    Remap(Remap),
    /// Anything: whoever can push to another repository of the same signer can pass its images off
    /// as this one's.
    Any,
}

/// Where a mirror's images come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Remap {
    /// The beginning of the image's name, whole parts of it: `mirror.example/ghcr`.
    pub from: String,
    /// What the signature has instead: `ghcr.io`.
    pub to: String,
}

/// What becomes of a bundle without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnnamedBundles {
    /// It counts: the digest and the signer say enough.
    #[default]
    Allow,
    /// It does not count.
    Deny,
}

/// What of an image for several platforms must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Platforms {
    /// What was asked for: the index, which names its platforms' manifests by digest.
    #[default]
    Requested,
    /// The index, and each platform's manifest in it.
    Each,
}

/// What a failure does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The image does not run.
    #[default]
    Enforce,
    /// The image runs, with a warning.
    Audit,
}

/// Images that run whatever the rules say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    /// Patterns for `registry/repository`.
    pub images: Vec<String>,
    /// Patterns for the namespace; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Only the image with this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why, for whoever reads it later.
    pub reason: String,
    /// Until when, as RFC 3339.
    pub until: String,
}

/// What becomes of an image that no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// It does not run.
    #[default]
    Deny,
    /// It runs.
    Allow,
}

/// What becomes of an image that has a tag and no digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Tags {
    /// The digest that was verified is written beside the tag.
    #[default]
    Pin,
    /// It does not run: what a tag means can change after it was verified.
    Refuse,
}

/// What is read and verified at most, for one image or one review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Signatures and attestations that are verified for one image. Default: `32`.
    pub signatures: usize,
    /// Different images in one review. Default: `64`.
    pub images: usize,
    /// Platforms of one index. Default: `16`.
    pub platforms: usize,
    /// Bytes of one answer of a registry, and of stapled evidence. Default: `4194304`.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { signatures: 32, images: 64, platforms: 16, bytes: 4_194_304 }
    }
}
