//! What the minter pushes lies in a real registry as signers leave it there.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use portcullis_mini_sigstore::{
    Identity, Image, Layout, Signing, Sigstore, Upload, Version,
    registry::{Registry, Transport},
};
use serde_json::Value;

fn get(registry: &Registry, path: &str) -> Value {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let request = format!("GET {path} HTTP/1.0\r\naccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn images_and_signatures_of_every_layout_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), Transport::Http).unwrap();
    let sigstore = Sigstore::new([1; 32]);
    let image = Image::index(vec![Image::new("amd64"), Image::new("arm64")]);
    let signing = Signing::keyless(&sigstore, Identity::email("dev@acme.test", "https://login.acme.test"));
    let signature = signing.sign(&image.simple_signing(&format!("{}/shop/app", registry.host())));
    let attestation = signing.attest_legacy(&image.statement());
    let bundle = signing.sign(&image.statement()).bundle(Version::V0_3);

    for upload in [
        Upload::image(&image, "1.0"),
        Upload::legacy(&image, &[signature]),
        Upload::legacy(&image, &[attestation]),
        Upload::bundles(&image, &[bundle], Layout::FallbackTag),
    ] {
        registry.push("shop/app", &upload).unwrap();
    }

    let manifest = |tag: &str| get(&registry, &format!("/v2/shop/app/manifests/{tag}"));
    assert_eq!(manifest("1.0")["manifests"].as_array().unwrap().len(), 2);
    let hex = image.hex();
    let layer = &manifest(&format!("sha256-{hex}.sig"))["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    assert!(layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap().len() > 90);
    let layer = &manifest(&format!("sha256-{hex}.att"))["layers"][0];
    assert_eq!(layer["annotations"]["predicateType"], "https://sigstore.dev/cosign/sign/v1");
    let referrers = manifest(&format!("sha256-{hex}"));
    let digest = referrers["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(manifest(digest)["subject"]["digest"], image.digest());
}
