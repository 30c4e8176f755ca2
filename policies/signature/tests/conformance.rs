//! Sigstore's own conformance cases: each is accepted or refused as its folder's name says, and
//! refused for the reason that it is about.
//!
//! The cases are read from `$PORTCULLIS_VECTORS/sigstore-conformance`.

mod common;

use std::{env, fs};

use common::conformance::{self, Case};
use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{Fault, Identity, Image, Signing, Sigstore, Version};
use portcullis_signature::{Artifact, Digest, Policy, ReasonCode, verify_bundle};
use serde_json::{Value, json};

/// After every signature of the cases.
const SECONDS: i64 = 1_795_000_000;
const NOW: UnixTime = UnixTime::from_secs(SECONDS);

fn code(case: &Case, artifact: Artifact<'_>) -> ReasonCode {
    let policy = match Policy::from_json(case.policy.to_string().as_bytes()) {
        Ok(policy) => policy,
        // A broken root is refused when the policy is loaded.
        Err(error) if error.path().starts_with("roots") => return ReasonCode::TrustRootInvalid,
        Err(error) => panic!("{}: {error}", case.name),
    };
    match verify_bundle(&case.bundle, artifact, "signer", &policy, NOW) {
        Ok(reason) | Err(reason) => reason.code,
    }
}

#[test]
fn every_case_is_judged_for_the_reason_that_it_is_about() {
    let Some(cases) = conformance::cases() else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        for artifact in [Artifact::Bytes(&case.artifact), Artifact::Digest(Digest::of(&case.artifact))] {
            let found = code(case, artifact);
            if found != case.expected {
                wrong.push(format!("{}: {found}, and {} is expected", case.name, case.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 45, "{} cases are there", cases.len());
}

/// A few cases of our own, for where the folder is not there.
fn own_cases() -> Vec<Value> {
    let sigstore = Sigstore::new([4; 32]);
    let image = Image::new("a");
    let identity = Identity::github("acme/app", ".github/workflows/release.yml", "refs/tags/v1");
    let policy = json!({
        "roots": { "root": { "trusted_root": sigstore.trusted_root() } },
        "signers": { "signer": { "github": { "repository": "acme/app" } } },
        "rules": [{ "name": "all", "images": ["**"], "require": { "signature": { "signer": "signer" } } }],
    });
    let cases = [(None, ReasonCode::Verified), (Some(Fault::Signature), ReasonCode::SignatureInvalid)];
    let case = |(fault, expected): &(Option<Fault>, ReasonCode)| {
        let signing = Signing::keyless(&sigstore, identity.clone());
        let signing = fault.map_or_else(|| signing.clone(), |fault| signing.clone().fault(fault));
        json!({
            "name": format!("own {fault:?}"),
            "bundle": signing.sign(&image.statement()).bundle(Version::V0_3).json(),
            "digest": image.digest(),
            "policy": policy,
            "expected": expected.as_str(),
            "image": format!("r.example/acme/app@{}", image.digest()),
        })
    };
    cases.iter().map(case).collect()
}

/// Other hosts of the policy run the same cases: `PORTCULLIS_CASES` names the file for them.
#[test]
fn the_cases_are_written_for_other_hosts() {
    let mut all = own_cases();
    for case in &all {
        let policy = Policy::from_json(case["policy"].to_string().as_bytes()).unwrap();
        let digest = Digest::parse(case["digest"].as_str().unwrap()).unwrap();
        let result =
            verify_bundle(case["bundle"].as_str().unwrap(), Artifact::Digest(digest), "signer", &policy, NOW);
        let (Ok(reason) | Err(reason)) = result;
        assert_eq!(reason.code.as_str(), case["expected"]);
    }
    let Some(file) = env::var_os("PORTCULLIS_CASES") else { return };
    all.extend(conformance::cases().unwrap_or_default().iter().map(|case| {
        json!({
            "name": case.name,
            "bundle": case.bundle,
            "digest": Digest::of(&case.artifact).to_string(),
            "policy": case.policy,
            "expected": case.expected.as_str(),
        })
    }));
    fs::write(file, json!({ "now": SECONDS, "cases": all }).to_string()).unwrap();
}
