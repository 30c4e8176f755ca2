//! The little of a manifest or index that is read here (OCI image specification 1.1, "Image
//! Manifest" and "Image Index"; Docker's schema 2 has the same members).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Digest, Reason, ReasonCode, encoding};

/// A manifest or an index.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Manifest {
    /// An index's manifests.
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
    /// A manifest's layers.
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Reason> {
        encoding::json(body).map_err(|error| {
            Reason::new(ReasonCode::ManifestMalformed, format!("not a manifest or an index: {error}"))
        })
    }
}

impl Descriptor {
    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }

    pub(crate) fn digest(&self) -> Result<Digest, Reason> {
        Digest::parse(&self.digest).map_err(|error| {
            let shown: String = self.digest.chars().take(80).collect();
            Reason::new(ReasonCode::ManifestMalformed, format!("`{shown}`: {error}"))
        })
    }

    /// Whether this can be an artifact whose type begins with `prefix`. A registry that does not say
    /// the type leaves it open.
    pub(crate) fn may_be_a(&self, prefix: &str) -> bool {
        self.artifact_type.as_ref().is_none_or(|kind| kind.is_empty() || kind.starts_with(prefix))
    }

    /// Whether this is the manifest of a platform, and not BuildKit's attestation beside one.
    pub(crate) fn is_platform(&self) -> bool {
        !self.annotations.contains_key("vnd.docker.reference.type")
    }
}
