//! How signatures lie in a registry: cosign's tags, referrers, and the fallback tag where a
//! registry has no referrers API.

use serde_json::{Value, json};

use crate::{Blob, Bundle, Image, SIMPLE_SIGNING, Signature, der, sigstore::START};

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Where signatures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// OCI 1.1: each bundle is a manifest whose `subject` is the image; the registry lists them.
    Referrers,
    /// The same, and the list is an index under the tag `sha256-<hex>` (OCI distribution 1.1,
    /// "Referrers Tag Schema"), kept by who pushes.
    FallbackTag,
}

/// What is to be pushed to a repository: blobs first, then manifests.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// Blobs.
    pub blobs: Vec<Blob>,
    /// Manifests by the tag or digest that they are pushed under.
    pub manifests: Vec<(String, Blob)>,
}

impl Upload {
    /// The image itself, under `tag` and, as every manifest, its digest.
    #[must_use]
    pub fn image(image: &Image, tag: &str) -> Self {
        let mut upload = Self::default();
        for child in &image.children {
            let child_upload = Self::image(child, &child.digest());
            upload.blobs.extend(child_upload.blobs);
            upload.manifests.extend(child_upload.manifests);
        }
        upload.blobs.extend(image.blobs.iter().cloned());
        upload.manifests.push((tag.to_owned(), image.manifest.clone()));
        upload
    }

    /// Cosign 1 and 2: one manifest under `sha256-<hex>.sig`, or `.att` for statements, whose
    /// layers are the payloads and whose annotations are the evidence.
    #[must_use]
    pub fn legacy(image: &Image, signatures: &[Signature]) -> Self {
        let statements = signatures.iter().any(Signature::is_statement);
        let suffix = if statements { "att" } else { "sig" };
        let media_type = if statements { ENVELOPE } else { SIMPLE_SIGNING };
        let layers: Vec<_> =
            signatures.iter().map(|signature| Blob::new(media_type, signature.payload())).collect();
        let descriptors: Vec<_> = layers
            .iter()
            .zip(signatures)
            .map(|(layer, signature)| {
                let mut descriptor = layer.descriptor();
                descriptor["annotations"] = signature.annotations();
                descriptor
            })
            .collect();
        let config = json!({
            "architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {},
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(Blob::digest).collect::<Vec<_>>() },
        });
        let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = Blob::manifest(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": descriptors,
        }));
        let mut blobs = layers;
        blobs.push(config);
        Self { blobs, manifests: vec![(format!("sha256-{}.{suffix}", image.hex()), manifest)] }
    }

    /// Cosign 3: a manifest for each bundle.
    #[must_use]
    pub fn bundles(image: &Image, bundles: &[Bundle], layout: Layout) -> Self {
        let mut upload = Self::default();
        let mut listed = Vec::new();
        let empty = Blob::new(EMPTY, "{}");
        for bundle in bundles {
            let layer = Blob::new(bundle.media_type(), bundle.json());
            let annotations = annotations(bundle);
            let manifest = Blob::manifest(&json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": bundle.media_type(),
                "config": empty.descriptor(),
                "layers": [layer.descriptor()],
                "subject": image.manifest.descriptor(),
                "annotations": annotations,
            }));
            let mut descriptor = manifest.descriptor();
            descriptor["artifactType"] = json!(bundle.media_type());
            descriptor["annotations"] = annotations;
            listed.push(descriptor);
            upload.blobs.push(layer);
            upload.manifests.push((manifest.digest(), manifest));
        }
        upload.blobs.push(empty);
        if layout == Layout::FallbackTag {
            upload.manifests.push((format!("sha256-{}", image.hex()), Blob::index(&listed)));
        }
        upload
    }
}

fn annotations(bundle: &Bundle) -> Value {
    let mut annotations = json!({
        "org.opencontainers.image.created": der::rfc3339(START),
        "dev.sigstore.bundle.content": match bundle.predicate_type() {
            Some(_) => "dsse-envelope",
            None => "message-signature",
        },
    });
    if let Some(kind) = bundle.predicate_type() {
        annotations["dev.sigstore.bundle.predicateType"] = json!(kind);
    }
    annotations
}
