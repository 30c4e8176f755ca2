//! Images: manifests, indexes and the payload that cosign 1 and 2 sign for them.

use serde_json::{Value, json};

use crate::{Content, hex, sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The type of a layer that is a simple signing payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Bytes of a type in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The media type.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// A blob.
    #[must_use]
    pub fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { media_type: media_type.to_owned(), bytes: bytes.into() }
    }

    pub(crate) fn manifest(document: &Value) -> Self {
        Self::new(MANIFEST, document.to_string())
    }

    pub(crate) fn index(manifests: &[Value]) -> Self {
        let document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        Self::new(INDEX, document.to_string())
    }

    /// `sha256:` and the digest in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex(sha256(&self.bytes)))
    }

    /// The descriptor that a manifest has of it.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

/// An image, or an index of images.
#[derive(Clone, Debug)]
pub struct Image {
    /// Configuration and layers.
    pub blobs: Vec<Blob>,
    /// The manifests that an index names.
    pub children: Vec<Image>,
    /// The manifest or the index itself.
    pub manifest: Blob,
}

impl Image {
    /// A small image that runs nowhere; another `marker` makes another digest.
    #[must_use]
    pub fn new(marker: &str) -> Self {
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", format!("layer {marker}"));
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Labels": { "marker": marker } },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
        });
        let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = Blob::manifest(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": config.descriptor(), "layers": [layer.descriptor()],
        }));
        Self { blobs: vec![config, layer], children: Vec::new(), manifest }
    }

    /// An index of `children`, one for each architecture (at most three).
    #[must_use]
    pub fn index(children: Vec<Self>) -> Self {
        let manifests: Vec<_> = children
            .iter()
            .zip(["amd64", "arm64", "s390x"])
            .map(|(child, architecture)| {
                let mut descriptor = child.manifest.descriptor();
                descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
                descriptor
            })
            .collect();
        Self { blobs: Vec::new(), manifest: Blob::index(&manifests), children }
    }

    /// `sha256:` and the manifest's digest.
    #[must_use]
    pub fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// The digest's hex part.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(sha256(&self.manifest.bytes))
    }

    /// What cosign 3 signs for an image: a statement without a name and without a predicate.
    #[must_use]
    pub fn statement(&self) -> Content {
        Content::statement("", &self.hex(), "https://sigstore.dev/cosign/sign/v1", &json!({}))
    }

    /// What cosign 1 and 2 sign for an image that goes by `reference` (`host/repository`).
    #[must_use]
    pub fn simple_signing(&self, reference: &str) -> Content {
        simple_signing(reference, &self.digest(), &Value::Null)
    }
}

/// Cosign's payload: `docker-reference`, the manifest's digest and `optional` annotations.
#[must_use]
pub fn simple_signing(reference: &str, digest: &str, optional: &Value) -> Content {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": reference },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": optional,
    });
    Content::Message(payload.to_string().into_bytes())
}
