//! Image manifests with legacy Cosign signatures, as containers/image keeps them.

use std::{collections::BTreeMap, env, fs, path::Path};

use portcullis_signature::{Base64, Digest, Evidence, Layer, Staple};
use serde::Deserialize;

/// An image and what is said to sign it.
pub struct Image {
    pub digest: Digest,
    pub evidence: Evidence,
}

#[derive(Deserialize)]
struct Stored {
    payload: Base64,
    annotations: BTreeMap<String, String>,
}

/// A file of the folder, or nothing with a line that says so.
pub fn text(path: &str) -> Option<String> {
    let Some(folder) = env::var_os("PORTCULLIS_VECTORS") else {
        println!("not run: container-image-signatures; PORTCULLIS_VECTORS names no folder");
        return None;
    };
    Some(fs::read_to_string(Path::new(&folder).join("container-image-signatures").join(path)).unwrap())
}

/// The image in the folder `name`. An image without a manifest has the digest that its signature says.
pub fn image(name: &str) -> Option<Image> {
    let folder = Path::new(&env::var_os("PORTCULLIS_VECTORS")?).join("container-image-signatures").join(name);
    let digest = fs::read(folder.join("manifest.json")).map_or_else(
        |_| Digest::parse("sha256:634a8f35b5f16dcf4aaa0822adc0b1964bb786fca12f6831de8ddc45e5986a00").unwrap(),
        |manifest| Digest::of(&manifest),
    );
    let mut staple = Staple::default();
    for number in 1.. {
        let Ok(stored) = fs::read(folder.join(format!("signature-{number}"))) else { break };
        let json = stored.strip_prefix(b"\0sigstore-json\n").unwrap();
        let stored: Stored = serde_json::from_slice::<serde_json::Value>(json)
            .map(|mut value| {
                value.as_object_mut().unwrap().remove("mimeType");
                serde_json::from_value(value).unwrap()
            })
            .unwrap();
        staple.signatures.push(Layer { payload: stored.payload, annotations: stored.annotations });
    }
    let mut evidence = Evidence::default();
    evidence.staple(digest, staple);
    Some(Image { digest, evidence })
}
