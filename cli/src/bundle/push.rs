//! The bundle into a registry, signed where there is a key.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::DecodePrivateKey as _,
};
use portcullis_signature::ImageRef;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};

use super::layout::{Artifact, Blob, INDEX, MANIFEST};
use crate::{output, registry::Registry};

/// Reads an ECDSA P-256 key: PKCS#8 in PEM, without a password.
///
/// # Errors
///
/// It is something else; how to make one is in the text.
pub(super) fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let wrong = || {
        anyhow!(
            "`--sign-key`: `{}` is no unencrypted ECDSA P-256 key in PKCS#8; make one: openssl genpkey \
             -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out bundle.key",
            path.display()
        )
    };
    let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|_| wrong())?;
    SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).map_err(|_| wrong())
}

/// Writes each artifact to `<target's repository>/<module>:<target's tag>` and shows its digest.
///
/// # Errors
///
/// What the registry says; what was written before stays written.
pub(super) async fn push(
    registry: &Registry,
    target: &ImageRef,
    artifacts: &[Artifact],
    key: Option<&SigningKey>,
) -> anyhow::Result<()> {
    let tag =
        target.tag().context("`--push`: a tag is needed, such as `registry.example.com/portcullis:1.0`")?;
    for artifact in artifacts {
        let place = Place {
            registry,
            host: target.registry(),
            repository: format!("{}/{}", target.repository(), artifact.name),
        };
        let name = format!("{}/{}", place.host, place.repository);
        place.write(artifact, tag, key).await.with_context(|| format!("push `{name}:{tag}`"))?;
        let signed = if key.is_some() { ", signed" } else { "" };
        anstream::println!(
            "{} {name}:{tag}@{}{signed}",
            output::styled(output::GOOD, "pushed"),
            artifact.manifest.digest()
        );
    }
    Ok(())
}

struct Place<'a> {
    registry: &'a Registry,
    host: &'a str,
    repository: String,
}

impl Place<'_> {
    /// The tag last: who sees it finds everything.
    async fn write(&self, artifact: &Artifact, tag: &str, key: Option<&SigningKey>) -> anyhow::Result<()> {
        self.blobs(&artifact.blobs).await?;
        self.manifest(&artifact.manifest.digest(), MANIFEST, &artifact.manifest).await?;
        self.manifest(&artifact.sbom.digest(), MANIFEST, &artifact.sbom).await?;
        let (referrers, index) = artifact.referrers();
        self.manifest(&referrers, INDEX, &index).await?;
        if let Some(key) = key {
            let name = format!("{}/{}", self.host, self.repository);
            let (blobs, tag, manifest) = artifact.signature(&name, |payload| {
                let signature: DerSignature = key.sign(payload);
                STANDARD.encode(signature.as_bytes())
            });
            self.blobs(&blobs).await?;
            self.manifest(&tag, MANIFEST, &manifest).await?;
        }
        self.manifest(tag, MANIFEST, &artifact.manifest).await
    }

    async fn blobs(&self, blobs: &[Blob]) -> anyhow::Result<()> {
        for blob in blobs {
            self.registry.push_blob(self.host, &self.repository, &blob.digest(), &blob.bytes).await?;
        }
        Ok(())
    }

    async fn manifest(&self, name: &str, media_type: &str, blob: &Blob) -> anyhow::Result<()> {
        let written = self.registry.push_manifest(self.host, &self.repository, name, media_type, &blob.bytes);
        Ok(written.await?)
    }
}
