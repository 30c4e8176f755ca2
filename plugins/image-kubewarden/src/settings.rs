//! The settings, read strictly: Kubewarden asks whether they are valid before a policy serves.

use std::collections::BTreeMap;

use portcullis_signature::{Digest, Policy, Staple, policy};
use serde::Deserialize;
use serde_json::{Value, json};

/// The settings of the Kubewarden policy.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Document {
    /// The signature policy.
    policy: policy::Document,
    /// Signatures that need no registry, by the image's digest.
    #[serde(default)]
    evidence: BTreeMap<Digest, Staple>,
    /// Where else signatures come from. Default: `none`.
    #[serde(default)]
    registry: RegistryAccess,
}

/// Whether registries are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum RegistryAccess {
    /// Nothing is read: images come by digest, with their evidence.
    #[default]
    None,
    /// Digests and signature tags are read through the host's `oci` capabilities.
    Host,
}

/// The JSON Schema (draft 2020-12) of what [`Settings::parse`] reads.
#[cfg(feature = "schema")]
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(Document)
}

/// What a call works with.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The policy.
    pub(crate) policy: Policy,
    /// The evidence that everyone shares.
    pub(crate) evidence: BTreeMap<Digest, Staple>,
    /// Whether registries are read.
    pub(crate) registry: RegistryAccess,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// The place in them, and what would be right.
    pub(crate) fn parse(settings: &Value) -> Result<Self, String> {
        let document: Document = serde_path_to_error::deserialize(settings)
            .map_err(|error| format!("settings.{}: {}", error.path(), error.inner()))?;
        let policy = Policy::new(document.policy).map_err(|error| format!("settings.policy.{error}"))?;
        Ok(Self { policy, evidence: document.evidence, registry: document.registry })
    }
}

/// Kubewarden's `SettingsValidationResponse`.
pub(crate) fn judge(payload: &[u8]) -> Value {
    let parsed = serde_json::from_slice(payload).map_err(|error| format!("settings: {error}"));
    match parsed.and_then(|settings: Value| Settings::parse(&settings)) {
        Ok(_) => json!({ "valid": true, "message": null }),
        Err(message) => json!({ "valid": false, "message": message }),
    }
}
