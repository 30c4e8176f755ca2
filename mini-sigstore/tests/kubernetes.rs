//! The files of `deploy/kubernetes`, as people copy them: what the CI examples sign is what the policy
//! asks for, what Envoy is given is that policy, and the webhooks ask about everything that runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{Content, Identity, Image, START, Signing, Sigstore, Version};
use portcullis_signature::{Digest, Evidence, ImageRef, Outcome, Policy, Request, Staple, decide};
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes").join(name)
}

fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(name)).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn document(name: &str) -> Value {
    documents(name).remove(0)
}

/// The configuration of the filter in `envoy.yaml`.
fn filter() -> Value {
    let envoy = document("envoy.yaml");
    let manager =
        &envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let wasm = &manager["http_filters"][0]["typed_config"]["config"];
    assert_eq!(wasm["failure_policy"], "FAIL_CLOSED");
    assert_eq!(wasm["allow_on_headers_stop_iteration"], true);
    serde_json::from_str(wasm["configuration"]["value"].as_str().unwrap()).unwrap()
}

#[test]
fn envoy_is_given_the_policy_that_is_shown() {
    let parse = |policy: &Value| Policy::from_json(policy.to_string().as_bytes()).unwrap().document().clone();
    let filter = filter();
    assert_eq!(parse(&filter["policy"]), parse(&document("policy.yaml")));
    let clusters: Vec<_> = document("envoy.yaml")["static_resources"]["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| cluster["name"].clone())
        .collect();
    for host in filter["hosts"].as_object().unwrap().values() {
        assert!(clusters.contains(&host["cluster"]), "{host}");
    }
    // The filter answers before the API server gives up.
    let deadline = filter["limits"]["deadline_ms"].as_u64().unwrap();
    for webhook in documents("webhook.yaml") {
        let seconds = webhook["webhooks"][0]["timeoutSeconds"].as_u64().unwrap();
        assert!(deadline < seconds * 1000);
    }
}

/// The verdict of the policy that is shown, under a Sigstore of the test's, on `image` with these
/// contents signed by `identity`.
fn verdict(image: &str, identity: &Identity, contents: &dyn Fn(&Image) -> Vec<Content>) -> Outcome {
    let sigstore = Sigstore::new([6; 32]);
    let mut policy = document("policy.yaml");
    policy["roots"] = json!({ "test": { "trusted_root": sigstore.trusted_root() } });
    let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
    let made = Image::new("release");
    let digest = Digest::parse(&made.digest()).unwrap();
    let signing = Signing::keyless(&sigstore, identity.clone());
    let bundles =
        contents(&made).iter().map(|content| signing.sign(content).bundle(Version::V0_3).json()).collect();
    let mut evidence = Evidence::default();
    evidence.staple(digest, Staple { bundles, ..Staple::default() });
    let request = Request::new(ImageRef::parse(image).unwrap().pinned(digest));
    decide(&request, &evidence, &policy, UnixTime::from_secs(START + 60)).outcome
}

#[test]
fn the_github_example_signs_what_the_policy_asks_for() {
    let workflow = document("ci/github-release.yml");
    let branch = workflow["on"]["push"]["branches"][0].as_str().unwrap();
    let permissions = &workflow["jobs"]["image"]["permissions"];
    assert_eq!((&permissions["id-token"], &permissions["attestations"]), (&json!("write"), &json!("write")));
    let steps = workflow["jobs"]["image"]["steps"].to_string();
    assert!(steps.contains("cosign sign --yes") && steps.contains("actions/attest-build-provenance"));
    let file = ".github/workflows/release.yml";
    let text = fs::read_to_string(path("ci/github-release.yml")).unwrap();
    assert!(text.starts_with(&format!("# {file} of the repository acme/shop")));

    let both = |image: &Image| {
        let provenance = Content::statement("", &image.hex(), "https://slsa.dev/provenance/v1", &json!({}));
        vec![image.statement(), provenance]
    };
    let release = Identity::github("acme/shop", file, &format!("refs/heads/{branch}"));
    assert_eq!(verdict("ghcr.io/acme/shop", &release, &both), Outcome::Allow);
    // Without the attestation, from a pull request's branch, from a fork, on a runner of one's own.
    assert_eq!(verdict("ghcr.io/acme/shop", &release, &|image| vec![image.statement()]), Outcome::Deny);
    for other in [
        Identity::github("acme/shop", file, "refs/pull/7/merge"),
        Identity::github("evil/shop", file, "refs/heads/main"),
        Identity::github("acme/shop", ".github/workflows/evil.yml", "refs/heads/main"),
        release.claim(11, "self-hosted"),
    ] {
        assert_eq!(verdict("ghcr.io/acme/shop", &other, &both), Outcome::Deny, "{other:?}");
    }
}

#[test]
fn the_gitlab_example_signs_what_the_policy_asks_for() {
    let pipeline = document("ci/gitlab-ci.yml");
    assert_eq!(pipeline["image"]["id_tokens"]["SIGSTORE_ID_TOKEN"]["aud"], "sigstore");
    assert!(pipeline["image"]["script"].to_string().contains("cosign sign --yes"));
    let signature = |image: &Image| vec![image.statement()];
    let name = "registry.gitlab.com/acme/billing";
    let main = Identity::gitlab("acme/billing", "refs/heads/main");
    assert_eq!(verdict(name, &main, &signature), Outcome::Allow);
    let branch = Identity::gitlab("acme/billing", "refs/heads/feature");
    assert_eq!(verdict(name, &branch, &signature), Outcome::Deny);
    assert_eq!(verdict("registry.gitlab.com/acme/other", &main, &signature), Outcome::Deny);
}

#[test]
fn the_webhooks_fail_closed_and_ask_about_everything_that_runs() {
    let webhooks = documents("webhook.yaml");
    let kinds: Vec<_> = webhooks.iter().map(|webhook| webhook["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]);
    for webhook in webhooks.iter().map(|configuration| &configuration["webhooks"][0]) {
        assert_eq!(webhook["failurePolicy"], "Fail");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        let mut resources: Vec<_> = webhook["rules"]
            .as_array()
            .unwrap()
            .iter()
            .inspect(|rule| assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"])))
            .flat_map(|rule| rule["resources"].as_array().unwrap())
            .map(|resource| resource.as_str().unwrap())
            .collect();
        resources.sort_unstable();
        assert_eq!(
            resources,
            [
                "cronjobs",
                "daemonsets",
                "deployments",
                "jobs",
                "pods",
                "pods/ephemeralcontainers",
                "podtemplates",
                "replicasets",
                "replicationcontrollers",
                "statefulsets",
            ]
        );
        let service = &webhook["clientConfig"]["service"];
        assert_eq!(
            (&service["name"], &service["namespace"]),
            (&json!("image-admission"), &json!("portcullis"))
        );
    }
}

#[test]
fn the_certificate_is_for_the_service_and_by_the_authority_that_is_printed() {
    let output = Command::new("sh").arg(path("certificate.sh")).output().unwrap();
    assert!(output.status.success(), "needs openssl: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let bundle = text.lines().next().unwrap().strip_prefix("# caBundle: ").unwrap();
    let secret: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(secret["metadata"]["name"], "image-admission-tls");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, encoded: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let path = folder.path().join(name);
        fs::write(&path, STANDARD.decode(encoded).unwrap()).unwrap();
        path
    };
    let authority = write("ca.crt", bundle);
    let certificate = write("tls.crt", secret["data"]["tls.crt"].as_str().unwrap());
    let verified = Command::new("openssl")
        .args([
            "verify",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            "image-admission.portcullis.svc",
            "-CAfile",
        ])
        .args([&authority, &certificate])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
