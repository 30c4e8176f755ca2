//! The modules as OCI artifacts: an image layout (OCI image 1.1), and the manifests that go to a
//! registry.
//!
//! The media types are those of the wasm image specification's artifact variant, which Istio's
//! `oci://` loader and Envoy Gateway read: one layer, which is the module itself, so that nothing is
//! packed and the same module always has the same digest.

use serde_json::{Value, json};

use super::{checksum, sbom};

/// An OCI manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Bytes and what they are.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) media_type: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { media_type, bytes: bytes.into() }
    }

    fn manifest(document: &Value) -> Self {
        Self::new(MANIFEST, document.to_string())
    }

    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", checksum(&self.bytes))
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// A module with what belongs to it.
pub(super) struct Artifact {
    pub(super) name: &'static str,
    /// What the manifests name.
    pub(super) blobs: Vec<Blob>,
    /// The module's manifest: its digest is the module's in a registry.
    pub(super) manifest: Blob,
    /// The bill of materials, which refers to it.
    pub(super) sbom: Blob,
}

impl Artifact {
    /// `module` and its bill of materials, as bytes.
    pub(super) fn new(module: &portcullis_modules::Module, bill: Vec<u8>) -> Self {
        let layer = Blob::new(LAYER, module.wasm);
        let config = Blob::new(CONFIG, "{}");
        let mut content = layer.descriptor();
        content["annotations"] = json!({"org.opencontainers.image.title": format!("{}.wasm", module.name)});
        let manifest = Blob::manifest(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [content],
            "annotations": {
                "org.opencontainers.image.title": module.name,
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        }));
        let bill = Blob::new(sbom::MEDIA_TYPE, bill);
        let empty = Blob::new(EMPTY, "{}");
        let sbom = Blob::manifest(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": sbom::MEDIA_TYPE,
            "config": empty.descriptor(),
            "layers": [bill.descriptor()],
            "subject": manifest.descriptor(),
        }));
        Self { name: module.name, blobs: vec![layer, config, bill, empty], manifest, sbom }
    }

    /// The index of what refers to the manifest, for registries without the referrers API, and its
    /// tag (OCI distribution 1.1, "Referrers Tag Schema").
    pub(super) fn referrers(&self) -> (String, Blob) {
        let mut descriptor = self.sbom.descriptor();
        descriptor["artifactType"] = json!(sbom::MEDIA_TYPE);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]});
        (self.manifest.digest().replace(':', "-"), Blob::new(INDEX, index.to_string()))
    }

    /// A signature as Cosign lays it down (`SIGNATURE_SPEC.md`): what is signed, and the tag and
    /// manifest that carry it once `sign` has made a base64 signature of it.
    pub(super) fn signature(
        &self,
        name: &str,
        sign: impl FnOnce(&[u8]) -> String,
    ) -> (Vec<Blob>, String, Blob) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": self.manifest.digest()},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = Blob::new(SIMPLE_SIGNING, payload.to_string());
        let mut layer = payload.descriptor();
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": sign(&payload.bytes)});
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [payload.digest()]},
        });
        let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = Blob::manifest(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer],
        }));
        let tag = format!("{}.sig", self.manifest.digest().replace(':', "-"));
        (vec![payload, config], tag, manifest)
    }
}

/// The files of an image layout that holds `artifacts`, by their paths in it.
pub(super) fn files(artifacts: &[Artifact]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut listed = Vec::new();
    for artifact in artifacts {
        let mut descriptor = artifact.manifest.descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": artifact.name});
        let mut sbom = artifact.sbom.descriptor();
        sbom["artifactType"] = json!(sbom::MEDIA_TYPE);
        listed.extend([descriptor, sbom]);
        for blob in artifact.blobs.iter().chain([&artifact.manifest, &artifact.sbom]) {
            files.push((format!("blobs/sha256/{}", checksum(&blob.bytes)), blob.bytes.clone()));
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    files.sort();
    files.dedup();
    files
}
