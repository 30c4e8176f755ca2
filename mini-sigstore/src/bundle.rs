//! Sigstore bundles as JSON.

use serde_json::Value;

/// The bundle formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A chain, and a promise at least.
    V0_1,
    /// A chain, and an inclusion proof at least.
    V0_2,
    /// One certificate, and an inclusion proof.
    V0_3,
}

impl Version {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::V0_1 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
            Self::V0_2 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
            Self::V0_3 => "application/vnd.dev.sigstore.bundle.v0.3+json",
        }
    }
}

/// A bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    version: Version,
    /// The document, which a test may change.
    pub document: Value,
    predicate_type: Option<String>,
}

impl Bundle {
    pub(crate) fn new(version: Version, document: Value, predicate_type: Option<String>) -> Self {
        Self { version, document, predicate_type }
    }

    /// The document's text.
    #[must_use]
    pub fn json(&self) -> String {
        self.document.to_string()
    }

    /// The type of the document and of the artifact that it is in a registry.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.version.media_type()
    }

    /// The predicate's type when the content is a statement.
    #[must_use]
    pub fn predicate_type(&self) -> Option<&str> {
        self.predicate_type.as_deref()
    }
}
