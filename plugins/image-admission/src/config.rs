//! The configuration of the filter.

use std::{collections::BTreeMap, time::Duration};

use portcullis_signature::{Digest, Evidence, Policy, Staple, policy, registry::Registries};
use serde::Deserialize;

/// The configuration of image-admission: the signature policy, and how registries are reached.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Document {
    /// The signature policy.
    policy: policy::Document,
    /// The hosts that may be spoken to, and the proxy's cluster for each: registries, their token
    /// services, and where they keep their blobs.
    #[serde(default)]
    hosts: BTreeMap<String, Host>,
    /// What is known about registries, by the name that is in images' names.
    #[serde(default)]
    registries: Registries,
    /// Signatures that need no registry, by the image's digest: a ConfigMap, for instance.
    #[serde(default)]
    evidence: BTreeMap<Digest, Staple>,
    /// What a review may cost.
    #[serde(default)]
    limits: Limits,
}

/// A host that may be spoken to.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Host {
    /// The proxy's cluster for it.
    cluster: String,
}

/// What a review may cost. Each member has a default.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct Limits {
    /// The whole of a review, in milliseconds, 1 to 29000. Shorter than the webhook's
    /// `timeoutSeconds`, whose default is ten seconds. Default: `8000`.
    deadline_ms: u64,
    /// The largest review, in bytes. Default: `8388608`.
    review_bytes: usize,
    /// Reviews under way in one worker. Default: `64`.
    reviews: usize,
    /// Bytes of registries' answers that one worker holds for them. Default: `134217728`.
    evidence_bytes: usize,
    /// Images whose signatures are kept in one worker. Default: `256`.
    cached_images: usize,
    /// How long they are kept, in seconds. Default: `600`.
    cached_seconds: u64,
    /// How long a refusal is kept, in seconds: a signature may be pushed in the meantime.
    /// Default: `15`.
    refused_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline_ms: 8_000,
            review_bytes: 8_388_608,
            reviews: 64,
            evidence_bytes: 134_217_728,
            cached_images: 256,
            cached_seconds: 600,
            refused_seconds: 15,
        }
    }
}

/// The JSON Schema (draft 2020-12) of what [`Config::parse`] reads.
#[cfg(feature = "schema")]
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(Document)
}

/// What the filter works with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) registries: Registries,
    pub(crate) evidence: Evidence,
    pub(crate) deadline: Duration,
    pub(crate) review_bytes: usize,
    pub(crate) reviews: usize,
    pub(crate) evidence_bytes: usize,
    pub(crate) cached_images: usize,
    pub(crate) cached: Duration,
    pub(crate) refused: Duration,
    hosts: BTreeMap<String, Host>,
}

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    ///
    /// The place in the document, and what would be right.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let document: Document = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
        deserializer.end().map_err(|error| error.to_string())?;
        let limits = document.limits;
        if limits.deadline_ms == 0 || limits.deadline_ms > 29_000 {
            return Err("limits.deadline_ms: must be 1 to 29000, and less than the webhook's timeout".into());
        }
        if limits.reviews == 0 || limits.review_bytes == 0 {
            return Err("limits: a limit of zero would refuse every review".into());
        }
        let mut evidence = Evidence::default();
        for (digest, staple) in document.evidence {
            evidence.staple(digest, staple);
        }
        Ok(Self {
            policy: Policy::new(document.policy).map_err(|error| format!("policy.{error}"))?,
            registries: document.registries,
            evidence,
            deadline: Duration::from_millis(limits.deadline_ms),
            review_bytes: limits.review_bytes,
            reviews: limits.reviews,
            evidence_bytes: limits.evidence_bytes,
            cached_images: limits.cached_images,
            cached: Duration::from_secs(limits.cached_seconds),
            refused: Duration::from_secs(limits.refused_seconds),
            hosts: document.hosts,
        })
    }

    /// The proxy's cluster for a host.
    pub(crate) fn cluster(&self, host: &str) -> Option<&str> {
        self.hosts.get(host).map(|host| host.cluster.as_str())
    }
}
