//! Real images with legacy Cosign signatures: the verdict on each, and why.
//!
//! They are read from `$PORTCULLIS_VECTORS/container-image-signatures`.

mod common;

use common::images;
use portcullis_core::UnixTime;
use portcullis_signature::{ImageRef, Outcome, Policy, ReasonCode, Request, Verdict, decide};
use serde_json::{Value, json};

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
const SAMPLE: &str = "192.168.64.2:5000/cosign-signed-single-sample";

/// The verdict on the image in `folder`, named `name`, by a policy of one rule over the two keys.
fn verdict(folder: &str, name: &str, rule: &Value) -> Option<Verdict> {
    let (one, two) = (images::text("cosign.pub")?, images::text("cosign2.pub")?);
    let image = images::image(folder)?;
    let mut document = json!({
        "signers": {
            "one": { "key": { "public_key": one } },
            "one_again": { "key": { "public_key": one } },
            "one_logged": { "key": { "public_key": one, "log": "required" } },
            "two": { "key": { "public_key": two } },
            "two_logged": { "key": { "public_key": two, "log": "required" } },
            "two_proven": { "key": { "public_key": two, "log": "proof" } },
        },
        "rules": [{ "name": "all", "images": ["**"] }],
    });
    document["rules"][0].as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    let policy = Policy::from_json(document.to_string().as_bytes()).unwrap();
    let request = Request::new(ImageRef::parse(name).unwrap().pinned(image.digest));
    Some(decide(&request, &image.evidence, &policy, NOW))
}

fn check(folder: &str, name: &str, rule: &Value, expected: ReasonCode) {
    let Some(verdict) = verdict(folder, name, rule) else { return };
    let found = if verdict.outcome == Outcome::Allow {
        ReasonCode::Verified
    } else {
        verdict.reason.root_cause().code
    };
    assert_eq!(found, expected, "{folder}: {}", verdict.reason);
    assert!(!verdict.unfinished);
}

#[test]
fn each_image_is_judged_by_the_key_that_signed_it() {
    let one = json!({ "require": { "signature": { "signer": "one" } } });
    let two = json!({ "require": { "signature": { "signer": "two" } } });
    check("dir-img-cosign-valid", SAMPLE, &one, ReasonCode::Verified);
    check("dir-img-cosign-valid", SAMPLE, &two, ReasonCode::SignatureInvalid);
    check("dir-img-cosign-valid-2", SAMPLE, &one, ReasonCode::Verified);
    check("dir-img-cosign-valid-2", SAMPLE, &two, ReasonCode::SignatureInvalid);
    check("dir-img-cosign-mixed", SAMPLE, &one, ReasonCode::Verified);
    check("dir-img-cosign-modified-manifest", SAMPLE, &one, ReasonCode::SubjectDigestMismatch);
    check("dir-img-cosign-no-manifest", SAMPLE, &one, ReasonCode::Verified);
}

#[test]
fn two_signatures_by_one_key_are_one_signer() {
    let twice = json!({ "require": { "at_least": { "count": 2, "signers": ["one", "one_again"] } } });
    check("dir-img-cosign-valid-2", SAMPLE, &twice, ReasonCode::ThresholdNotMet);
    let both = json!({ "require": { "at_least": { "count": 2, "signers": ["one", "two"] } } });
    check("dir-img-cosign-valid-2", SAMPLE, &both, ReasonCode::SignatureInvalid);
    let either = json!({ "require": { "at_least": { "count": 1, "signers": ["one", "two"] } } });
    check("dir-img-cosign-valid-2", SAMPLE, &either, ReasonCode::Verified);
}

#[test]
fn a_log_that_is_asked_for_must_have_promised() {
    let image = "192.168.64.2:5000/cosign-signed/key-1";
    let rule = |signer: &str| json!({ "require": { "signature": { "signer": signer } } });
    check("dir-img-cosign-key-rekor-valid", image, &rule("two"), ReasonCode::Verified);
    check("dir-img-cosign-key-rekor-valid", image, &rule("two_logged"), ReasonCode::Verified);
    check("dir-img-cosign-key-rekor-valid", image, &rule("two_proven"), ReasonCode::LogProofRequired);
    check("dir-img-cosign-valid", SAMPLE, &rule("one_logged"), ReasonCode::LogProofRequired);
    let since =
        |time: &str| json!({ "require": { "signature": { "signer": "two_logged" } }, "signed_after": time });
    let folder = "dir-img-cosign-key-rekor-valid";
    check(folder, image, &since("2023-01-20T00:00:00Z"), ReasonCode::Verified);
    check(folder, image, &since("2023-01-21T00:00:00Z"), ReasonCode::SignatureTooOld);
    let unlogged =
        json!({ "require": { "signature": { "signer": "two" } }, "signed_after": "2020-01-01T00:00:00Z" });
    check(folder, image, &unlogged, ReasonCode::TimeUnknown);
}

#[test]
fn the_name_in_a_signature_must_be_the_one_that_is_asked_for() {
    let one = json!({ "require": { "signature": { "signer": "one" } } });
    check("dir-img-cosign-valid", "192.168.64.2:5000/other", &one, ReasonCode::NameMismatch);
    check("dir-img-cosign-valid", "cosign-signed-single-sample", &one, ReasonCode::NameMismatch);
    let remap = json!({
        "require": { "signature": { "signer": "one" } },
        "signed_name": { "remap": { "from": "mirror.example/lab", "to": "192.168.64.2:5000" } },
    });
    check(
        "dir-img-cosign-valid",
        "mirror.example/lab/cosign-signed-single-sample",
        &remap,
        ReasonCode::Verified,
    );
    check(
        "dir-img-cosign-valid",
        "mirror.example/cosign-signed-single-sample",
        &remap,
        ReasonCode::NameMismatch,
    );
    let any = json!({ "require": { "signature": { "signer": "one" } }, "signed_name": "any" });
    check("dir-img-cosign-valid", "elsewhere.example/app", &any, ReasonCode::Verified);
}

#[test]
fn a_signature_for_one_tag_is_not_one_for_another() {
    let exact = json!({ "require": { "signature": { "signer": "one" } }, "signed_name": "exact" });
    let image = "192.168.64.2:5000/skopeo-signed";
    check("dir-img-cosign-valid-with-tag", &format!("{image}:tag"), &exact, ReasonCode::Verified);
    check("dir-img-cosign-valid-with-tag", &format!("{image}:other"), &exact, ReasonCode::TagMismatch);
    check("dir-img-cosign-valid", &format!("{SAMPLE}:tag"), &exact, ReasonCode::TagMismatch);
}
