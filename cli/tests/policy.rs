//! `portcullis policy lint` and `portcullis policy import`, as people and CI see them.

mod common;

use std::fs;

use common::{run, text};
use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{Identity, Image, START, Signing, Sigstore, Version};
use portcullis_signature::{Digest, Evidence, ImageRef, Outcome, Policy, Request, Staple, decide};
use serde_json::{Value, json};

/// The exit code, and standard output as JSON.
fn call(verb: &str, document: &str, more: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, document).unwrap();
    let path = path.display().to_string();
    let output = run(&[&["policy", verb, &path, "--format", "json"], more].concat());
    let printed = serde_json::from_slice(&output.stdout);
    let printed = printed.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output.status.code().unwrap(), printed)
}

fn lint(signer: &Value) -> (i32, Vec<Value>) {
    let policy = json!({
        "signers": { "s": signer },
        "rules": [{ "name": "all", "images": ["**"], "require": { "signature": { "signer": "s" } } }],
    });
    let (code, printed) = call("lint", &policy.to_string(), &[]);
    (code, printed["findings"].as_array().unwrap().clone())
}

#[test]
fn a_narrow_policy_has_no_finding() {
    let github = json!({ "repository": "acme/shop", "workflow": ".github/workflows/release.yml", "ref": "refs/heads/main" });
    assert_eq!(lint(&json!({ "github": github })), (0, vec![]));
    let keyless = json!({ "issuer": "https://accounts.google.com", "subject": "release@acme.test" });
    assert_eq!(lint(&json!({ "keyless": keyless })), (0, vec![]));
}

/// The identity that a finding shows really gets in: it is minted, and judged by the very policy.
#[test]
fn whom_the_linter_shows_the_policy_lets_in() {
    let sigstore = Sigstore::new([4; 32]);
    let issuer = "https://token.actions.githubusercontent.com";
    let signers = [
        (json!({ "keyless": { "issuer": issuer, "subject": "https://github.com/**" } }), "error"),
        (json!({ "keyless": { "issuer": issuer, "subject": "https://github.com/acme*/shop/**" } }), "error"),
        (json!({ "keyless": { "issuer": issuer, "subject": "https://github.com/acme/**" } }), "warning"),
        (json!({ "keyless": { "issuer": "https://accounts.google.com", "subject": "*acme.test" } }), "error"),
        (json!({ "google": { "email": "*@acme.test" } }), "warning"),
        (json!({ "github": { "repository": "acme/*" } }), "warning"),
        (
            json!({ "github": { "repository": "*/shop", "workflow": ".github/workflows/ci.yml", "ref": "refs/heads/main" } }),
            "error",
        ),
        (
            json!({ "github": { "repository": "acme/shop", "workflow": ".github/workflows/ci.yml", "ref": "refs/heads/*" } }),
            "note",
        ),
        (json!({ "gitlab": { "project": "acme/*", "ref": "refs/heads/main" } }), "warning"),
    ];
    for (signer, severity) in signers {
        let (code, findings) = lint(&signer);
        assert_eq!(code, i32::from(severity != "note"), "{signer}: {findings:?}");
        assert_eq!(findings[0]["severity"], severity, "{signer}: {findings:?}");
        let shown = &findings[0]["lets_in"];
        let (subject, issuer) = (shown["subject"].as_str().unwrap(), shown["issuer"].as_str().unwrap());

        let identity = stranger(subject, issuer);
        let image = Image::new("evil");
        let bundle = Signing::keyless(&sigstore, identity).sign(&image.statement()).bundle(Version::V0_3);
        let policy = json!({
            "roots": { "test": { "trusted_root": sigstore.trusted_root() } },
            "signers": { "s": signer },
            "rules": [{ "name": "all", "images": ["**"], "require": { "signature": { "signer": "s" } } }],
        });
        let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
        let digest = Digest::parse(&image.digest()).unwrap();
        let mut evidence = Evidence::default();
        evidence.staple(digest, Staple { bundles: vec![bundle.json()], ..Staple::default() });
        let request = Request::new(ImageRef::parse("r.test/app").unwrap().pinned(digest));
        let verdict = decide(&request, &evidence, &policy, UnixTime::from_secs(START + 60));
        assert_eq!(verdict.outcome, Outcome::Allow, "{signer}: {subject}: {}", verdict.reason);
    }
}

/// A certificate's holder of this name, with the claims that its CI system would add.
fn stranger(subject: &str, issuer: &str) -> Identity {
    if !subject.contains("://") {
        return Identity::email(subject, issuer);
    }
    let path = subject.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap().1;
    if issuer.contains("gitlab") {
        let (project, rest) = path.split_once("//").unwrap();
        let mut identity = Identity::gitlab(project, rest.split_once('@').unwrap().1);
        identity = identity.claim(9, subject).claim(18, subject);
        return Identity { name: portcullis_mini_sigstore::Name::Uri(subject.to_owned()), ..identity };
    }
    let Some((path, reference)) = path.split_once('@') else { return Identity::uri(subject, issuer) };
    let mut parts = path.splitn(3, '/');
    let repository = format!("{}/{}", parts.next().unwrap(), parts.next().unwrap());
    Identity::github(&repository, parts.next().unwrap(), reference)
}

#[test]
fn an_open_policy_is_shown_an_image_that_runs() {
    let document = "
signers: { k: { google: { email: dev@acme.test } } }
rules:
  - { name: a, images: [ghcr.io/acme/**], require: { signature: { signer: k } }, signed_name: any, mode: audit }
exemptions:
  - { images: ['quay.io/*'], reason: migration, until: '2027-01-01T00:00:00Z' }
unmatched: allow
";
    let (code, printed) = call("lint", document, &[]);
    assert_eq!(code, 1);
    let findings = printed["findings"].as_array().unwrap();
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding["path"].as_str().unwrap(), finding["severity"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("exemptions[0].images[0]", "error"),
            ("rules[0].signed_name", "warning"),
            ("unmatched", "warning"),
            ("rules[0].mode", "note"),
        ]
    );
    assert_eq!(findings[0]["lets_in"]["image"], "quay.io/evil");
}

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExRRST79+PsrRBnGAI4cMu6Omz2Jh\nfwlMW+gIutNKVRaMyS4rQKvgngc5p8UbLj55pVHhIoAxi/SRgURZI0J3Xw==\n-----END PUBLIC KEY-----\n";

fn indented(spaces: usize) -> String {
    KEY.lines().map(|line| format!("{}{line}\n", " ".repeat(spaces))).collect()
}

fn losses(printed: &Value) -> Vec<(String, String)> {
    let losses = printed["losses"].as_array().unwrap();
    let pair = |loss: &Value| {
        let text = |name: &str| loss[name].as_str().unwrap().to_owned();
        (text("effect"), text("path"))
    };
    losses.iter().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(effect, path)| ((*effect).to_owned(), (*path).to_owned())).collect()
}

#[test]
fn a_cluster_image_policy_is_imported() {
    let document = format!(
        "
apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{ name: shop }}
spec:
  images: [{{ glob: 'ghcr.io/acme/**' }}]
  authorities:
    - name: actions
      keyless:
        url: https://fulcio.sigstore.dev
        identities:
          - issuer: https://token.actions.githubusercontent.com
            subjectRegExp: '^https://github\\.com/acme/shop/.*$'
      ctlog: {{ url: https://rekor.sigstore.dev }}
    - name: key
      key:
        data: |
{}
",
        indented(10)
    );
    let (code, printed) = call("import", &document, &[]);
    assert_eq!((code, losses(&printed)), (0, vec![]), "{printed:#}");
    assert_eq!(
        printed["policy"],
        json!({
            "roots": { "sigstore": { "builtin": "sigstore" } },
            "signers": {
                "actions": { "keyless": {
                    "issuer": "https://token.actions.githubusercontent.com",
                    "subject": "https://github.com/acme/shop/**",
                    "root": "sigstore",
                } },
                "key": { "key": { "public_key": KEY } },
            },
            "rules": [{
                "name": "shop", "images": ["ghcr.io/acme/**"], "signed_name": "any",
                "require": { "any": [
                    { "signature": { "signer": "actions" } }, { "signature": { "signer": "key" } },
                ] },
            }],
        })
    );
}

#[test]
fn what_a_cluster_image_policy_asks_by_program_is_weaker_without_it() {
    let document = "
apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: { name: shop }
spec:
  images: [{ glob: 'ghcr.io/acme/*:v1' }]
  match: [{ group: apps, version: v1, resource: deployments }]
  mode: warn
  authorities:
    - keyless: { identities: [{ issuerRegExp: '.*', subject: dev@acme.test }] }
    - keyless: { identities: [{ issuer: 'https://accounts.google.com', subjectRegExp: '@acme.test' }] }
      attestations:
        - name: slsa
          predicateType: slsaprovenance1
          policy: { type: cue, data: 'predicate: x' }
";
    let (code, printed) = call("import", document, &[]);
    assert_eq!(code, 1);
    assert_eq!(printed["policy"], Value::Null, "a weaker policy is not written");
    assert_eq!(
        losses(&printed),
        pairs(&[
            ("stricter", "spec.images[0]"),
            ("stricter", "spec.match[0]"),
            ("stricter", "spec.authorities[0].keyless.identities[0].issuerRegExp"),
            ("stricter", "spec.authorities[0].keyless.identities[0].issuerRegExp"),
            ("stricter", "spec.authorities[0].name"),
            ("stricter", "spec.authorities[1].keyless.identities[0].subjectRegExp"),
            ("weaker", "spec.authorities[1].attestations[0].policy.data"),
        ])
    );
    let (_, printed) = call("import", document, &["--accept-weaker"]);
    let rule = &printed["policy"]["rules"][0];
    assert_eq!((&rule["mode"], &rule["images"]), (&json!("audit"), &json!(["ghcr.io/acme/*"])));
    assert_eq!(rule["require"]["all"][0]["attestation"]["predicate_type"], "https://slsa.dev/provenance/v1");
}

#[test]
fn kyverno_rules_are_imported() {
    let document = format!(
        "
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{ name: verify }}
spec:
  validationFailureAction: Enforce
  webhookTimeoutSeconds: 30
  rules:
    - name: signed
      match: {{ any: [{{ resources: {{ kinds: [Pod], namespaces: ['prod-*'] }} }}] }}
      verifyImages:
        - imageReferences: ['ghcr.io/acme/*']
          mutateDigest: false
          attestors:
            - count: 1
              entries:
                - keyless:
                    subject: https://github.com/acme/*
                    issuer: https://token.actions.githubusercontent.com
                    rekor: {{ url: https://rekor.sigstore.dev }}
                - keys:
                    rekor: {{ ignoreTlog: true }}
                    publicKeys: |
{}
",
        indented(22)
    );
    let (code, printed) = call("import", &document, &[]);
    assert_eq!((code, losses(&printed)), (0, vec![]), "{printed:#}");
    let policy = &printed["policy"];
    assert_eq!((&policy["unmatched"], &policy["tags"]), (&json!("allow"), &json!("refuse")));
    assert_eq!(policy["signers"]["signed-2"], json!({ "key": { "public_key": KEY } }));
    assert_eq!(
        policy["rules"][0],
        json!({
            "name": "signed", "images": ["ghcr.io/acme/**"], "namespaces": ["prod-**"], "signed_name": "any",
            "require": { "any": [
                { "signature": { "signer": "signed" } }, { "signature": { "signer": "signed-2" } },
            ] },
        })
    );
}

#[test]
fn what_kyverno_asks_over_jmespath_is_weaker_without_it() {
    let document = format!(
        "
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{ name: verify }}
spec:
  rules:
    - name: scanned
      exclude: {{ any: [{{ resources: {{ namespaces: [kube-system] }} }}] }}
      verifyImages:
        - imageReferences: ['*']
          skipImageReferences: ['ghcr.io/acme/old:*']
          attestations:
            - type: https://cosign.sigstore.dev/attestation/vuln/v1
              conditions: [{{ all: [{{ key: '{{{{ x }}}}', operator: Equals, value: y }}] }}]
              attestors:
                - entries:
                    - keys:
                        publicKeys: |
{}
",
        indented(26)
    );
    let (code, printed) = call("import", &document, &[]);
    assert_eq!((code, &printed["policy"]), (1, &Value::Null), "{printed:#}");
    assert_eq!(
        losses(&printed),
        pairs(&[
            ("stricter", "spec.rules[0].exclude"),
            ("stricter", "spec.rules[0].verifyImages[0].skipImageReferences[0]"),
            ("weaker", "spec.rules[0].verifyImages[0].attestations[0].conditions[0]"),
        ])
    );
}

#[test]
fn a_containers_policy_is_imported() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let document = json!({
        "default": [{ "type": "reject" }],
        "transports": {
            "docker": {
                "ghcr.io/acme": [{
                    "type": "sigstoreSigned", "keyData": STANDARD.encode(KEY),
                    "signedIdentity": { "type": "matchRepository" },
                }],
                "mirror.test/acme": [{
                    "type": "sigstoreSigned", "keyData": STANDARD.encode(KEY),
                    "signedIdentity": { "type": "remapIdentity", "prefix": "mirror.test", "signedPrefix": "ghcr.io" },
                }],
                "open.test": [{ "type": "insecureAcceptAnything" }],
            },
            "docker-daemon": { "": [{ "type": "insecureAcceptAnything" }] },
        },
    });
    let (code, printed) = call("import", &document.to_string(), &[]);
    assert_eq!(code, 1);
    assert_eq!(
        losses(&printed),
        pairs(&[("nothing", "transports.docker-daemon"), ("stricter", "transports.docker.\"open.test\"")])
    );
    let rules = &printed["policy"]["rules"];
    assert_eq!(rules[0]["images"], json!(["ghcr.io/acme", "ghcr.io/acme/**"]));
    assert_eq!(rules[0]["signed_name"], "repository");
    assert_eq!(rules[1]["signed_name"], json!({ "remap": { "from": "mirror.test", "to": "ghcr.io" } }));
}

#[test]
fn an_openpgp_demand_cannot_be_dropped_silently() {
    let document = json!({
        "default": [{ "type": "insecureAcceptAnything" }],
        "transports": { "docker": {
            "a.test": [{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x" }],
            "b.test": [{ "type": "reject" }],
        } },
    });
    let (code, printed) = call("import", &document.to_string(), &[]);
    assert_eq!((code, &printed["policy"]), (1, &Value::Null));
    let weaker: Vec<_> = losses(&printed).into_iter().filter(|(effect, _)| effect == "weaker").collect();
    assert_eq!(weaker.len(), 2, "{printed:#}");
}

#[test]
fn what_is_no_policy_of_another_verifier_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    fs::write(&path, "apiVersion: apps/v1\nkind: Deployment\n").unwrap();
    let output = run(&["policy", "import", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it is a `Deployment` of `apps/v1`"), "{}", text(&output.stderr));
}
