//! The policy: a document, read strictly, and what it means.

mod document;
mod resolve;
mod signer;

use std::{cell::OnceCell, collections::BTreeMap, fmt, rc::Rc, time::Duration};

use portcullis_core::UnixTime;

use crate::{Digest, ImageRef, Pattern, Request, encoding, trust::Root};

pub use document::{
    Builtin, Condition, Document, Exemption, GitHub, GitLab, Google, Key, Keyless, Limits, Log, Mode,
    Platforms, Remap, Requirement, Rule, SignedName, Signer, Tags, Test, TrustedRootSource, Unmatched,
    UnnamedBundles,
};
pub use signer::Claim;
pub(crate) use signer::{CertificateRule, KeyRule, SignerRule};

/// A policy that can be decided with.
#[derive(Clone, Debug)]
pub struct Policy {
    document: Rc<Document>,
    /// Once asked for.
    digest: OnceCell<Digest>,
    roots: BTreeMap<String, Rc<Root>>,
    signers: BTreeMap<String, SignerRule>,
    rules: Vec<RuleView>,
    exemptions: Vec<ExemptionView>,
}

/// A rule with its patterns and times parsed.
#[derive(Clone, Debug)]
pub(crate) struct RuleView {
    pub(crate) name: String,
    pub(crate) images: Vec<Pattern>,
    pub(crate) namespaces: Vec<Pattern>,
    pub(crate) require: Requirement,
    pub(crate) signed_name: SignedName,
    pub(crate) unnamed_bundles: UnnamedBundles,
    pub(crate) signed_after: Option<UnixTime>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) platforms: Platforms,
    pub(crate) mode: Mode,
    pub(crate) signatures_in: Option<(String, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct ExemptionView {
    pub(crate) images: Vec<Pattern>,
    pub(crate) namespaces: Vec<Pattern>,
    pub(crate) digest: Option<Digest>,
    pub(crate) reason: String,
    pub(crate) until: UnixTime,
    pub(crate) until_text: String,
}

/// Why a document is not a policy: where in it, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    path: String,
    reason: String,
}

impl PolicyError {
    pub(crate) fn new(path: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { path: path.into(), reason: reason.to_string() }
    }

    /// The place in the document, as `rules[0].images[1]`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for PolicyError {}

impl Policy {
    /// Reads a policy from its JSON form. YAML is turned into JSON by the caller.
    ///
    /// # Errors
    ///
    /// Anything that is unknown, malformed, or named and not there. Nothing is ignored.
    pub fn from_json(json: &[u8]) -> Result<Self, PolicyError> {
        Self::new(read(json)?)
    }

    /// Makes a policy of a document.
    ///
    /// # Errors
    ///
    /// As [`Policy::from_json`].
    pub fn new(document: Document) -> Result<Self, PolicyError> {
        resolve::resolve(document)
    }

    /// The document that this policy was made of.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The digest of the document: what a cache's key has of the policy. The trusted roots are part
    /// of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // A document that was read can be written: its maps have texts as keys.
        let digest = || Digest::of(&serde_json::to_vec(&*self.document).unwrap_or_default());
        *self.digest.get_or_init(digest)
    }

    pub(crate) fn root(&self, name: &str) -> Option<&Rc<Root>> {
        self.roots.get(name)
    }

    pub(crate) fn signer(&self, name: &str) -> Option<&SignerRule> {
        self.signers.get(name)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.document.limits
    }

    /// The rules that are about the image: all of them must hold.
    pub(crate) fn rules_for(&self, request: &Request) -> Vec<&RuleView> {
        let name = request.image.name();
        let about = |rule: &&RuleView| matches(&rule.images, &rule.namespaces, &name, request);
        self.rules.iter().filter(about).collect()
    }

    pub(crate) fn exemptions_for(&self, request: &Request) -> Vec<&ExemptionView> {
        let name = request.image.name();
        let about = |exemption: &&ExemptionView| {
            matches(&exemption.images, &exemption.namespaces, &name, request)
                && exemption.digest.is_none_or(|digest| request.image.digest() == Some(digest))
        };
        self.exemptions.iter().filter(about).collect()
    }
}

#[cfg(feature = "paths")]
fn read(json: &[u8]) -> Result<Document, PolicyError> {
    let text = encoding::utf8(json).map_err(|error| PolicyError::new(".", error))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| PolicyError::new(error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| PolicyError::new(".", error))?;
    Ok(document)
}

#[cfg(not(feature = "paths"))]
fn read(json: &[u8]) -> Result<Document, PolicyError> {
    encoding::json(json).map_err(|error| PolicyError::new("policy", error))
}

/// A rule for some namespaces is not about a request whose namespace is unknown; one for all is.
fn matches(images: &[Pattern], namespaces: &[Pattern], name: &str, request: &Request) -> bool {
    let namespace = request.namespace.as_deref().unwrap_or_default();
    images.iter().any(|pattern| pattern.matches(name))
        && (namespaces.is_empty() || namespaces.iter().any(|pattern| pattern.matches(namespace)))
}

impl Request {
    /// A request about `image`, in no namespace.
    #[must_use]
    pub const fn new(image: ImageRef) -> Self {
        Self { image, namespace: None }
    }
}
