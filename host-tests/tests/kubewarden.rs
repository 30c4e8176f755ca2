//! The signature policy as Kubewarden runs it: settings, verdicts, mutation, and the registry by the
//! host's `oci` capabilities.

#[path = "../../policies/signature/tests/common/conformance.rs"]
mod conformance;
#[path = "../../policies/signature/tests/common/registry.rs"]
mod registry;
#[path = "image_admission/stage.rs"]
mod stage;
#[path = "kubewarden/wapc.rs"]
mod wapc;

use std::{collections::BTreeMap, rc::Rc, sync::OnceLock};

use portcullis_mini_sigstore::{
    Fault, Identity, Image, KeyKind, START, Signature, Signing, Sigstore, Upload, Version,
};
use serde_json::{Value, json};
use wapc::{Guest, HostCalls};

const NOW: u64 = START.unsigned_abs() + 60;

fn guest() -> Guest {
    // Compiled once for all tests.
    static MODULE: OnceLock<wasmtime::Module> = OnceLock::new();
    Guest::new(MODULE.get_or_init(|| Guest::compile(wasm()).unwrap())).unwrap()
}

fn wasm() -> &'static [u8] {
    portcullis_modules::IMAGE_KUBEWARDEN.wasm
}

fn sigstore() -> &'static Sigstore {
    static SIGSTORE: OnceLock<Sigstore> = OnceLock::new();
    SIGSTORE.get_or_init(|| Sigstore::new([8; 32]))
}

fn identity() -> Identity {
    Identity::github("acme/shop", ".github/workflows/release.yml", "refs/heads/main")
}

fn settings(registry: &str) -> Value {
    json!({
        "policy": {
            "roots": { "test": { "trusted_root": sigstore().trusted_root() } },
            "signers": {
                "release": { "github": {
                    "repository": "acme/shop", "workflow": ".github/workflows/release.yml", "ref": "refs/heads/main",
                } },
                "key": { "key": { "public_key": sigstore().key("release", KeyKind::P256).public_pem() } },
            },
            "rules": [{
                "name": "all", "images": ["**"],
                "require": { "any": [
                    { "signature": { "signer": "release" } }, { "signature": { "signer": "key" } },
                ] },
            }],
        },
        "registry": registry,
    })
}

/// A registry as Kubewarden's host shows it: digests and manifests by reference.
#[derive(Default)]
struct Registry(BTreeMap<String, Vec<u8>>);

impl Registry {
    fn push(&mut self, repository: &str, upload: Upload) {
        for (reference, manifest) in upload.manifests {
            self.0.insert(format!("{repository}@{}", manifest.digest()), manifest.bytes.clone());
            self.0.insert(format!("{repository}:{reference}"), manifest.bytes);
        }
    }

    fn calls(self) -> HostCalls {
        Rc::new(move |operation, payload| {
            let image: String = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
            let missing = || format!("fetching {image}: MANIFEST_UNKNOWN: manifest unknown");
            let manifest = self.0.get(&image).ok_or_else(missing)?;
            match operation {
                "oci/v1/oci_manifest" => Ok(manifest.clone()),
                "oci/v1/manifest_digest" => {
                    let digest = portcullis_mini_sigstore::Blob::new("", manifest.clone()).digest();
                    Ok(json!({ "digest": digest }).to_string().into_bytes())
                }
                other => Err(format!("no capability {other}")),
            }
        })
    }
}

fn no_host() -> HostCalls {
    Rc::new(|operation, _| Err(format!("no capability {operation}")))
}

fn call(operation: &str, payload: &Value, host: HostCalls) -> (Value, Vec<String>) {
    let (response, called) = guest().call(operation, payload.to_string().as_bytes(), NOW, host).unwrap();
    (serde_json::from_slice(&response.unwrap()).unwrap(), called)
}

fn pod(image: &str, evidence: Option<&Value>) -> Value {
    let mut metadata = json!({ "name": "app" });
    if let Some(evidence) = evidence {
        metadata["annotations"] = json!({ "portcullis.dev/evidence": evidence.to_string() });
    }
    json!({
        "uid": "u", "kind": { "group": "", "version": "v1", "kind": "Pod" }, "namespace": "shop",
        "operation": "CREATE",
        "object": {
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": { "containers": [{ "name": "app", "image": image }] },
        },
    })
}

fn validate(request: Value, settings: Value, host: HostCalls) -> Value {
    let payload = Value::Object(
        [("request".to_owned(), request), ("settings".to_owned(), settings)].into_iter().collect(),
    );
    call("validate", &payload, host).0
}

fn stapled(image: &Image, signature: &Signature) -> Value {
    json!({ image.digest(): { "bundles": [signature.bundle(Version::V0_3).json()] } })
}

#[test]
fn the_policy_speaks_kubewardens_protocol() {
    assert_eq!(call("protocol_version", &Value::Null, no_host()).0, "v1");
    let sections = Guest::sections(wasm()).unwrap();
    let metadata: Value = serde_json::from_slice(&sections["io.kubewarden.metadata"]).unwrap();
    assert_eq!((&metadata["protocolVersion"], &metadata["mutating"]), (&json!("v1"), &json!(true)));
    let resources: Vec<_> = metadata["rules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| rule["resources"].as_array().unwrap())
        .collect();
    assert!(resources.contains(&&json!("pods/ephemeralcontainers")));
}

#[test]
fn settings_are_read_strictly() {
    let judge = |settings: &Value| call("validate_settings", settings, no_host()).0;
    assert_eq!(judge(&settings("host"))["valid"], true);
    let mut unknown = settings("none");
    unknown["policy"]["rules"][0]["requires"] = json!({});
    let mut nobody = settings("none");
    nobody["policy"]["rules"][0]["require"] = json!({ "signature": { "signer": "nobody" } });
    for (bad, place) in [
        (json!({}), "policy"),
        (unknown, "settings.policy.rules[0]"),
        (nobody, "settings.policy.rules[0].require"),
        (settings("sometimes"), "settings.registry"),
    ] {
        let answer = judge(&bad);
        assert_eq!(answer["valid"], false);
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(place), "{place}: {message}");
    }
}

#[test]
fn stapled_evidence_admits_and_needs_no_host() {
    let image = Image::new("app");
    let signature = Signing::keyless(sigstore(), identity()).sign(&image.statement());
    let name = format!("r.test/shop/app:1.0@{}", image.digest());
    let request = pod(&name, Some(&stapled(&image, &signature)));
    let payload = json!({ "request": request, "settings": settings("none") });
    let (answer, called) = call("validate", &payload, no_host());
    assert_eq!((&answer["accepted"], &answer["mutated_object"]), (&json!(true), &Value::Null), "{answer:#}");
    assert_eq!(called, Vec::<String>::new());

    // The same evidence from the settings.
    let mut shared = settings("none");
    shared["evidence"] = stapled(&image, &signature);
    assert_eq!(validate(pod(&name, None), shared, no_host())["accepted"], true);
}

#[test]
fn a_forged_or_a_missing_signature_is_refused_with_its_reason() {
    let image = Image::new("app");
    let name = format!("r.test/shop/app@{}", image.digest());
    for (fault, expected) in [
        (Fault::Signature, "SIGNATURE_INVALID"),
        (Fault::ExpiredCertificate, "CERTIFICATE_EXPIRED"),
        (Fault::ForeignAuthority, "CERTIFICATE_UNTRUSTED"),
        (Fault::OtherArtifactInLog, "LOG_ENTRY_MISMATCH"),
    ] {
        let signature = Signing::keyless(sigstore(), identity()).fault(fault).sign(&image.statement());
        let answer = validate(pod(&name, Some(&stapled(&image, &signature))), settings("none"), no_host());
        assert_eq!(answer["accepted"], false);
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let other = Image::new("other");
    let signature = Signing::keyless(sigstore(), identity()).sign(&other.statement());
    let moved = json!({ image.digest(): stapled(&other, &signature)[other.digest()] });
    let answer = validate(pod(&name, Some(&moved)), settings("none"), no_host());
    assert!(answer["message"].as_str().unwrap().contains("SUBJECT_DIGEST_MISMATCH"), "{answer:#}");
    let answer = validate(pod(&name, None), settings("none"), no_host());
    assert_eq!(answer["accepted"], false, "{answer:#}");
}

#[test]
fn a_tag_is_pinned_by_what_the_host_reads() {
    let image = Image::new("app");
    let mut registry = Registry::default();
    let key = sigstore().key("release", KeyKind::P256);
    let signature = Signing::key(sigstore(), key).sign(&image.simple_signing("r.test/shop/app"));
    registry.push("r.test/shop/app", Upload::image(&image, "1.0"));
    registry.push("r.test/shop/app", Upload::legacy(&image, &[signature]));
    let payload = json!({ "request": pod("r.test/shop/app:1.0", None), "settings": settings("host") });
    let (answer, called) = call("validate", &payload, registry.calls());
    assert_eq!(answer["accepted"], true, "{answer:#}");
    let pinned = format!("r.test/shop/app:1.0@{}", image.digest());
    assert_eq!(answer["mutated_object"]["spec"]["containers"][0]["image"], pinned);

    // What it calls is what its metadata asks the host for.
    let sections = Guest::sections(wasm()).unwrap();
    let metadata: Value = serde_json::from_slice(&sections["io.kubewarden.metadata"]).unwrap();
    let allowed = metadata["hostCapabilities"].as_array().unwrap();
    assert!(called.iter().all(|name| allowed.contains(&json!(name))), "{called:?}");
    assert!(called.contains(&"oci/v1/oci_manifest".to_owned()), "{called:?}");
}

#[test]
fn a_host_that_cannot_read_is_a_refusal() {
    let answer = validate(pod("r.test/shop/app:1.0", None), settings("host"), no_host());
    assert_eq!(answer["accepted"], false);
    assert!(answer["message"].as_str().unwrap().contains("REGISTRY_UNAVAILABLE"), "{answer:#}");
    let unsigned = Image::new("unsigned");
    let mut registry = Registry::default();
    registry.push("r.test/shop/app", Upload::image(&unsigned, "1.0"));
    let answer = validate(pod("r.test/shop/app:1.0", None), settings("host"), registry.calls());
    assert_eq!((&answer["accepted"], &answer["mutated_object"]), (&json!(false), &Value::Null), "{answer:#}");
}

#[test]
fn what_cannot_be_read_is_refused_and_never_traps() {
    for request in
        [json!({}), json!({ "uid": "u" }), json!(null), json!({ "uid": "u", "operation": "CREATE" })]
    {
        let answer = validate(request, settings("none"), no_host());
        assert_eq!(answer["accepted"], false, "{answer:#}");
    }
    let payload = json!({ "request": pod("not an image", None), "settings": settings("none") });
    assert_eq!(call("validate", &payload, no_host()).0["accepted"], false);
    assert_eq!(call("validate", &json!([]), no_host()).0["accepted"], false);
}

#[test]
fn every_conformance_case_is_judged_as_it_must_be() -> anyhow::Result<()> {
    let Some(cases) = stage::cases() else { return Ok(()) };
    let settings = json!({ "policy": cases.configuration["policy"], "registry": "none" });
    assert!(cases.reviews.len() >= 44, "{} cases are there", cases.reviews.len());
    for (name, review, expected) in &cases.reviews {
        let payload = json!({ "request": review["request"], "settings": settings }).to_string();
        let (answer, called) = guest().call("validate", payload.as_bytes(), stage::NOW, no_host()).unwrap();
        let answer: Value = serde_json::from_slice(&answer.unwrap())?;
        // Kubewarden's answer in the words of Kubernetes', which the other hosts give.
        let response = json!({
            "allowed": answer["accepted"], "auditAnnotations": answer["audit_annotations"],
            "status": { "message": answer["message"] },
        });
        stage::check(name, &json!({ "response": response }), expected)?;
        assert_eq!(called, Vec::<String>::new(), "{name}");
    }
    // The one with a broken root is refused with the settings.
    let broken = conformance::cases().into_iter().flatten();
    let broken = broken.into_iter().find(|case| case.expected.as_str() == "TRUST_ROOT_INVALID").unwrap();
    let answer = call("validate_settings", &json!({ "policy": broken.policy }), no_host()).0;
    assert_eq!(answer["valid"], false);
    assert!(answer["message"].as_str().unwrap().starts_with("settings.policy.roots.root"), "{answer:#}");
    Ok(())
}
