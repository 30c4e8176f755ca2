//! `portcullis staple`: what it writes is admitted without a registry, and it writes nothing for an
//! image that may not run.

use std::fs;

use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{Image, Layout, START, Signing, Upload, Version};
use portcullis_signature::{Outcome, Policy, decide, plan, review::Review};
use serde_json::{Value, json};

use crate::{
    common,
    world::{World, identity},
};

const MANIFEST: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: { name: shop }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  template:
    metadata: { labels: { app: shop } }
    spec:
      initContainers: [{ name: migrate, image: NAME/bundled:1.0 }]
      containers: [{ name: shop, image: NAME/legacy:1.0 }]
---
";

fn signed() -> World {
    let world = World::start();
    let image = Image::new("legacy");
    let signature =
        Signing::keyless(&world.sigstore, identity()).sign(&image.simple_signing(&world.name("legacy")));
    world.push("legacy", "1.0", &image, &[Upload::legacy(&image, &[signature])]);
    let image = Image::new("bundled");
    let bundle = Signing::keyless(&world.sigstore, identity()).sign(&image.statement()).bundle(Version::V0_3);
    world.push("bundled", "1.0", &image, &[Upload::bundles(&image, &[bundle], Layout::FallbackTag)]);
    world
}

fn staple(world: &World, manifest: &str, more: &[&str]) -> std::process::Output {
    let policy = world.rule(json!({ "signature": { "signer": "release" } }));
    let (policy_path, path) = (world.path("policy.json"), world.path("manifest.yaml"));
    fs::write(&policy_path, policy.to_string()).unwrap();
    let manifest = manifest.replace("NAME", &format!("{}/acme", world.registry.host()));
    fs::write(&path, manifest).unwrap();
    common::run(&[&["staple", &path, "--policy", &policy_path, "--plain-http"], more].concat())
}

#[test]
fn a_stapled_manifest_is_admitted_without_a_registry() {
    let world = signed();
    let output = staple(&world, MANIFEST, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", common::text(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("List"), &json!("ServiceAccount")));
    let deployment = &list["items"][1];
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("{}:1.0@{}", world.name("legacy"), Image::new("legacy").digest()));
    assert_eq!(deployment["metadata"].get("annotations"), None, "the template has them: its pods do too");

    let policy = world.rule(json!({ "signature": { "signer": "release" } }));
    let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
    let judge = |deployment: &Value| {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u", "operation": "CREATE", "namespace": "shop", "object": deployment,
                "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
            },
        });
        let review = Review::parse(body.to_string().as_bytes(), &policy).unwrap();
        let evidence = review.evidence();
        let requests = review.requests();
        assert_eq!(requests.len(), 2);
        let verdicts = requests.iter().map(|request| {
            assert_eq!(plan(request, &policy, &evidence), [], "a registry would be read");
            decide(request, &evidence, &policy, UnixTime::from_secs(START + 60)).outcome
        });
        verdicts.collect::<Vec<_>>()
    };
    assert_eq!(judge(deployment), [Outcome::Allow; 2]);
}

#[test]
fn evidence_can_be_a_config_map() {
    let world = signed();
    let output = staple(&world, MANIFEST, &["--config-map", "evidence"]);
    assert_eq!(output.status.code(), Some(0), "{}", common::text(&output.stderr));
    let map: Value = serde_json::from_slice(&output.stdout).unwrap();
    let evidence: Value = serde_json::from_str(map["data"]["evidence.json"].as_str().unwrap()).unwrap();
    let digests: Vec<_> = evidence.as_object().unwrap().keys().cloned().collect();
    let mut expected = ["legacy", "bundled"].map(|name| Image::new(name).digest());
    expected.sort();
    assert_eq!(digests, expected);
}

#[test]
fn nothing_is_written_for_an_image_that_may_not_run() {
    let world = signed();
    world.push("legacy", "1.0", &Image::new("unsigned"), &[]);
    let output = staple(&world, MANIFEST, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", common::text(&output.stderr));
    let text = common::text(&output.stdout);
    assert!(text.starts_with("may not run: ") && text.contains("SIGNATURE_MISSING"), "{text}");
    assert!(!text.contains("portcullis.dev/evidence"), "{text}");
}
