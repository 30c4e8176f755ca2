//! Images in every layout, honest and not: the verdict on each, and why.

mod common;

use std::time::Duration;

use common::registry::{Registry, failing};
use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{
    Content, Fault, Identity, Image, KeyKind, Layout, Log, START, Signature, Signing, Sigstore,
    TimestampStyle, Upload, Version, simple_signing,
};
use portcullis_signature::{
    Class, Dossier, Evidence, Facts, ImageRef, Outcome, Policy, ReasonCode, Request, Staple, Verdict, decide,
    plan,
};
use serde_json::{Value, json};

const NAME: &str = "r.example/acme/app";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn now() -> UnixTime {
    UnixTime::from_secs(START).saturating_add(Duration::from_secs(86_400))
}

fn sigstore() -> Sigstore {
    Sigstore::new([7; 32])
}

fn github() -> Identity {
    Identity::github("acme/app", ".github/workflows/release.yml", "refs/tags/v1")
}

/// A policy over the test's instance, whose only rule has these members.
fn policy(rule: &Value) -> Policy {
    let sigstore = sigstore();
    let key = |name: &str| json!({ "key": { "public_key": sigstore.key(name, KeyKind::P256).public_pem() } });
    let mut document = json!({
        "roots": { "test": { "trusted_root": sigstore.trusted_root() } },
        "signers": {
            "alice": key("alice"), "bob": key("bob"), "carol": key("carol"),
            "logged": { "key": {
                "public_key": sigstore.key("alice", KeyKind::P256).public_pem(), "log": "proof", "root": "test",
            } },
            "ci": { "github": {
                "repository": "acme/app", "workflow": ".github/workflows/release.yml", "ref": "refs/tags/v*",
                "triggers": ["push"], "runner": "github-hosted",
            } },
            "unlogged": { "keyless": { "issuer": ISSUER, "subject": "**", "log": "none" } },
            "anybody": { "keyless": { "issuer": ISSUER, "subject": "https://github.com/acme/**" } },
            "release": { "keyless": { "issuer": ISSUER, "subject": "https://github.com/acme/app/**" } },
        },
        "rules": [{ "name": "all", "images": ["r.example/**"], "require": { "signature": { "signer": "ci" } } }],
    });
    document["rules"][0].as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    Policy::from_json(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn require(signer: &str) -> Value {
    json!({ "require": { "signature": { "signer": signer } } })
}

fn request(text: &str) -> Request {
    Request { image: ImageRef::parse(text).unwrap(), namespace: Some("shop".into()) }
}

/// The verdict on `text`, with everything read that is asked for.
fn verdict(registry: &Registry, policy: &Policy, text: &str) -> Verdict {
    let request = request(text);
    let mut evidence = Evidence::default();
    let rounds = registry.read_all(&request, policy, &mut evidence);
    assert!(rounds <= 4, "{rounds} rounds of reads");
    let verdict = decide(&request, &evidence, policy, now());
    // What is recorded decides the same.
    let recorded = Evidence::from_json(evidence.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(decide(&request, &recorded, policy, now()), verdict);
    verdict
}

fn cause(verdict: &Verdict) -> ReasonCode {
    match verdict.outcome {
        Outcome::Allow => ReasonCode::Verified,
        Outcome::Deny | Outcome::Missing => verdict.reason.root_cause().code,
    }
}

#[track_caller]
fn check(registry: &Registry, policy: &Policy, text: &str, expected: ReasonCode) -> Verdict {
    let verdict = verdict(registry, policy, text);
    assert_eq!(cause(&verdict), expected, "{text}\n{}", verdict.reason);
    verdict
}

/// A registry with the image `marker` under `NAME:1` and nothing that signs it.
fn pushed(layout: Layout, marker: &str) -> (Registry, Image) {
    let (mut registry, image) = (Registry::new(layout), Image::new(marker));
    registry.push(NAME, &Upload::image(&image, "1"));
    (registry, image)
}

fn tagged() -> String {
    format!("{NAME}:1")
}

fn bundled(image: &Image, signatures: &[Signature], layout: Layout) -> Upload {
    let bundles: Vec<_> = signatures.iter().map(|signature| signature.bundle(Version::V0_3)).collect();
    Upload::bundles(image, &bundles, layout)
}

#[test]
fn a_signed_image_runs_in_every_layout_and_is_pinned() {
    let sigstore = sigstore();
    for log in [Log::V1, Log::V2] {
        for layout in [Layout::Referrers, Layout::FallbackTag] {
            let (mut registry, image) = pushed(layout, "a");
            let signature = Signing::keyless(&sigstore, github()).log(log).sign(&image.statement());
            registry.push(NAME, &bundled(&image, &[signature], layout));
            let verdict = check(&registry, &policy(&json!({})), &tagged(), ReasonCode::Verified);
            assert_eq!(verdict.pinned, Some(format!("{NAME}:1@{}", image.digest())));
            assert_eq!(verdict.digest.map(|digest| digest.to_string()), Some(image.digest()));
        }
    }
    let (mut registry, image) = pushed(Layout::FallbackTag, "b");
    let signature = Signing::keyless(&sigstore, github()).sign(&image.simple_signing(NAME));
    registry.push(NAME, &Upload::legacy(&image, &[signature]));
    check(&registry, &policy(&json!({})), &tagged(), ReasonCode::Verified);
}

#[test]
fn a_registry_that_answers_an_empty_list_is_read_by_the_fallback_tag() {
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    registry.hides_referrers = true;
    let signature = Signing::keyless(&sigstore(), github()).sign(&image.statement());
    registry.push(NAME, &bundled(&image, &[signature], Layout::FallbackTag));
    check(&registry, &policy(&json!({})), &tagged(), ReasonCode::Verified);
}

#[test]
fn each_key_signs_in_both_generations() {
    let sigstore = sigstore();
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
        let key = sigstore.key("k", kind);
        let mut document = policy(&json!({})).document().clone();
        let signer = json!({ "key": { "public_key": key.public_pem() } });
        document.signers.insert("ci".into(), serde_json::from_value(signer).unwrap());
        let policy = Policy::new(document).unwrap();
        let (mut legacy, image) = pushed(Layout::FallbackTag, "a");
        let signature = Signing::key(&sigstore, key.clone()).log(Log::None).sign(&image.simple_signing(NAME));
        legacy.push(NAME, &Upload::legacy(&image, &[signature]));
        check(&legacy, &policy, &tagged(), ReasonCode::Verified);
        let (mut modern, image) = pushed(Layout::Referrers, "a");
        let signature = Signing::key(&sigstore, key).log(Log::None).sign(&image.statement());
        modern.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
        check(&modern, &policy, &tagged(), ReasonCode::Verified);
    }
}

#[test]
fn an_image_that_nobody_signed_does_not_run() {
    let (registry, image) = pushed(Layout::Referrers, "a");
    let policy = policy(&json!({}));
    check(&registry, &policy, &tagged(), ReasonCode::SignatureMissing);
    check(&registry, &policy, &format!("{NAME}:2"), ReasonCode::ImageNotFound);
    check(&registry, &policy, &format!("{NAME}@{}", image.digest()), ReasonCode::SignatureMissing);
}

#[test]
fn each_fault_of_a_bundle_is_refused_for_what_it_is() {
    let cases = [
        (Fault::Signature, Log::V1, ReasonCode::SignatureInvalid),
        (Fault::Signature, Log::V2, ReasonCode::SignatureInvalid),
        (Fault::ExpiredCertificate, Log::V1, ReasonCode::CertificateExpired),
        (Fault::ExpiredCertificate, Log::V2, ReasonCode::CertificateExpired),
        (Fault::ForeignAuthority, Log::V1, ReasonCode::CertificateUntrusted),
        (Fault::NoSct, Log::V1, ReasonCode::SctInvalid),
        (Fault::ForeignSct, Log::V1, ReasonCode::SctInvalid),
        (Fault::NotForCodeSigning, Log::V1, ReasonCode::CertificateUntrusted),
        (Fault::ForeignLog, Log::V1, ReasonCode::LogPromiseInvalid),
        (Fault::ForeignLog, Log::V2, ReasonCode::LogCheckpointInvalid),
        (Fault::Promise, Log::V1, ReasonCode::LogPromiseInvalid),
        (Fault::Proof, Log::V1, ReasonCode::LogProofInvalid),
        (Fault::Proof, Log::V2, ReasonCode::LogProofInvalid),
        (Fault::OtherTree, Log::V2, ReasonCode::LogProofInvalid),
        (Fault::OtherArtifactInLog, Log::V2, ReasonCode::LogEntryMismatch),
        (Fault::OtherSignatureInLog, Log::V1, ReasonCode::LogEntryMismatch),
        (Fault::OtherKeyInLog, Log::V1, ReasonCode::LogEntryMismatch),
        (Fault::OtherKeyInLog, Log::V2, ReasonCode::LogEntryMismatch),
        (Fault::NoLogEntry, Log::V2, ReasonCode::LogProofRequired),
        (Fault::NoProof, Log::V1, ReasonCode::LogProofInvalid),
        (Fault::ForeignTimestampAuthority, Log::V2, ReasonCode::TimestampInvalid),
        (Fault::TimestampOfOther, Log::V2, ReasonCode::TimestampInvalid),
        (Fault::NoTimestamp, Log::V2, ReasonCode::TimeUnknown),
    ];
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    for (fault, log, expected) in cases {
        let (mut registry, image) = pushed(Layout::Referrers, "a");
        let signature = Signing::keyless(&sigstore, github()).log(log).fault(fault).sign(&image.statement());
        registry.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
        let verdict = verdict(&registry, &policy, &tagged());
        assert_eq!(cause(&verdict), expected, "{fault:?} {log:?}\n{}", verdict.reason);
    }
}

#[test]
fn each_fault_of_a_legacy_signature_is_refused_for_what_it_is() {
    let cases = [
        (Fault::Signature, ReasonCode::SignatureInvalid),
        (Fault::ExpiredCertificate, ReasonCode::CertificateExpired),
        (Fault::ForeignAuthority, ReasonCode::CertificateUntrusted),
        (Fault::NoSct, ReasonCode::SctInvalid),
        (Fault::ForeignLog, ReasonCode::LogPromiseInvalid),
        (Fault::Promise, ReasonCode::LogPromiseInvalid),
        (Fault::OtherArtifactInLog, ReasonCode::LogEntryMismatch),
        (Fault::OtherSignatureInLog, ReasonCode::LogEntryMismatch),
        (Fault::OtherKeyInLog, ReasonCode::LogEntryMismatch),
        (Fault::NoLogEntry, ReasonCode::TimeUnknown),
    ];
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    for (fault, expected) in cases {
        let (mut registry, image) = pushed(Layout::FallbackTag, "a");
        let signature = Signing::keyless(&sigstore, github()).fault(fault).sign(&image.simple_signing(NAME));
        registry.push(NAME, &Upload::legacy(&image, &[signature]));
        let verdict = verdict(&registry, &policy, &tagged());
        assert_eq!(cause(&verdict), expected, "{fault:?}\n{}", verdict.reason);
    }
}

#[test]
fn a_signature_of_another_image_signs_nothing_here() {
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let other = Signing::keyless(&sigstore, github()).sign(&Image::new("b").statement());
    registry.push(NAME, &bundled(&image, &[other], Layout::Referrers));
    check(&registry, &policy, &tagged(), ReasonCode::SubjectDigestMismatch);
    // Replaced in place: the tag means an unsigned image now.
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let signature = Signing::keyless(&sigstore, github()).sign(&image.statement());
    registry.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
    registry.push(NAME, &Upload::image(&Image::new("evil"), "1"));
    check(&registry, &policy, &tagged(), ReasonCode::SignatureMissing);
}

#[test]
fn a_signed_image_of_another_repository_does_not_pass_as_this_one() {
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    let (mut registry, image) = pushed(Layout::FallbackTag, "a");
    let signature = Signing::keyless(&sigstore, github()).sign(&image.simple_signing("r.example/acme/other"));
    registry.push(NAME, &Upload::legacy(&image, &[signature]));
    check(&registry, &policy, &tagged(), ReasonCode::NameMismatch);
    let named = Content::statement(
        "r.example/acme/other",
        &image.hex(),
        "https://sigstore.dev/cosign/sign/v1",
        &json!({}),
    );
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    registry.push(
        NAME,
        &bundled(&image, &[Signing::keyless(&sigstore, github()).sign(&named)], Layout::Referrers),
    );
    check(&registry, &policy, &tagged(), ReasonCode::NameMismatch);
}

#[test]
fn a_bundle_without_a_name_counts_unless_the_rule_says_otherwise() {
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let signature = Signing::keyless(&sigstore(), github()).sign(&image.statement());
    registry.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
    check(&registry, &policy(&json!({ "unnamed_bundles": "deny" })), &tagged(), ReasonCode::NameMissing);
}

#[test]
fn an_identity_that_only_resembles_the_signer_is_refused() {
    let release = ".github/workflows/release.yml";
    let cases = [
        (Identity::github("acme/app", release, "refs/tags/v1"), ReasonCode::Verified),
        (Identity::github("acme/app", release, "refs/heads/main"), ReasonCode::ClaimMismatch),
        (
            Identity::github("acme/app", ".github/workflows/test.yml", "refs/tags/v1"),
            ReasonCode::ClaimMismatch,
        ),
        (Identity::github("acme/app2", release, "refs/tags/v1"), ReasonCode::IdentityMismatch),
        (Identity::github("acme/appx/app", release, "refs/tags/v1"), ReasonCode::IdentityMismatch),
        (Identity::github("evil/acme", release, "refs/tags/v1"), ReasonCode::IdentityMismatch),
        (github().claim(11, "self-hosted"), ReasonCode::ClaimMismatch),
        (github().claim(20, "pull_request_target"), ReasonCode::ClaimMismatch),
        (github().claim(12, "https://github.com/evil/app"), ReasonCode::ClaimMismatch),
        (Identity { issuer: Some("https://evil.example".into()), ..github() }, ReasonCode::IssuerMismatch),
        (
            Identity::uri(
                "https://evil.example/?https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1",
                ISSUER,
            ),
            ReasonCode::IdentityMismatch,
        ),
        (Identity { issuer: None, ..github() }, ReasonCode::CertificateMalformed),
    ];
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    for (identity, expected) in cases {
        let (mut registry, image) = pushed(Layout::Referrers, "a");
        let signature = Signing::keyless(&sigstore, identity.clone()).sign(&image.statement());
        registry.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
        let verdict = verdict(&registry, &policy, &tagged());
        assert_eq!(cause(&verdict), expected, "{:?}\n{}", identity.name, verdict.reason);
    }
}

#[test]
fn a_threshold_counts_people_and_not_signatures() {
    let sigstore = sigstore();
    let by = |name: &str, image: &Image| {
        let key = sigstore.key(name, KeyKind::P256);
        Signing::key(&sigstore, key).log(Log::None).sign(&image.statement())
    };
    let two =
        policy(&json!({ "require": { "at_least": { "count": 2, "signers": ["alice", "bob", "carol"] } } }));
    let image = Image::new("a");
    for (names, expected) in [
        (&["alice", "carol"][..], ReasonCode::Verified),
        (&["alice", "bob", "carol"], ReasonCode::Verified),
        (&["alice"], ReasonCode::SignatureInvalid),
        (&["alice", "alice"], ReasonCode::SignatureInvalid),
        (&["alice", "mallory"], ReasonCode::SignatureInvalid),
    ] {
        let (mut registry, _) = pushed(Layout::Referrers, "a");
        let signatures: Vec<_> = names.iter().map(|name| by(name, &image)).collect();
        registry.push(NAME, &bundled(&image, &signatures, Layout::Referrers));
        let verdict = check(&registry, &two, &tagged(), expected);
        let failed = verdict.reason.with_code(ReasonCode::ThresholdNotMet).count();
        assert_eq!(failed, usize::from(expected != ReasonCode::Verified));
    }
    // One person whom two patterns fit is one person.
    let overlapping =
        policy(&json!({ "require": { "at_least": { "count": 2, "signers": ["anybody", "release"] } } }));
    let (mut registry, _) = pushed(Layout::Referrers, "a");
    let signatures =
        [github(), github()].map(|identity| Signing::keyless(&sigstore, identity).sign(&image.statement()));
    registry.push(NAME, &bundled(&image, &signatures, Layout::Referrers));
    let refused = check(&registry, &overlapping, &tagged(), ReasonCode::ThresholdNotMet);
    assert!(refused.reason.root_cause().message.contains("the same identity counts once"));
    let other = Identity::github("acme/tools", ".github/workflows/release.yml", "refs/tags/v1");
    let signatures =
        [github(), other].map(|identity| Signing::keyless(&sigstore, identity).sign(&image.statement()));
    registry.push(NAME, &bundled(&image, &signatures, Layout::Referrers));
    check(&registry, &overlapping, &tagged(), ReasonCode::Verified);
}

#[test]
fn all_and_any_nest() {
    let sigstore = sigstore();
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let alice =
        Signing::key(&sigstore, sigstore.key("alice", KeyKind::P256)).log(Log::None).sign(&image.statement());
    let ci = Signing::keyless(&sigstore, github()).sign(&image.statement());
    registry.push(NAME, &bundled(&image, &[alice, ci], Layout::Referrers));
    let leaf = |signer: &str| json!({ "signature": { "signer": signer } });
    let rule = |require: Value| policy(&json!({ "require": require }));
    let all = rule(json!({ "all": [leaf("ci"), { "any": [leaf("bob"), leaf("alice")] }] }));
    check(&registry, &all, &tagged(), ReasonCode::Verified);
    let not = rule(json!({ "all": [leaf("ci"), { "any": [leaf("bob"), leaf("carol")] }] }));
    check(&registry, &not, &tagged(), ReasonCode::SignatureInvalid);
}

#[test]
fn an_attestation_is_judged_by_what_is_verified_in_it() {
    const SLSA: &str = "https://slsa.dev/provenance/v1";
    let sigstore = sigstore();
    let builder = "https://github.com/actions/runner/github-hosted";
    let rule = |conditions: Value| {
        policy(&json!({ "require": {
            "attestation": { "predicate_type": SLSA, "signer": "ci", "conditions": conditions },
        } }))
    };
    let image = Image::new("a");
    let predicate = json!({
        "runDetails": { "builder": { "id": builder }, "metadata": { "finishedOn": "2026-01-01T00:00:00Z" } },
        "scan": [{ "severity": 3.5 }, { "severity": 1 }],
    });
    let statement = Content::statement(NAME, &image.hex(), SLSA, &predicate);
    let id = "/predicate/runDetails/builder/id";
    let finished = "/predicate/runDetails/metadata/finishedOn";
    let cases = [
        (json!([]), ReasonCode::Verified),
        (json!([{ "path": id, "is": { "equals": builder } }]), ReasonCode::Verified),
        (json!([{ "path": id, "is": { "matches": "https://github.com/actions/**" } }]), ReasonCode::Verified),
        (json!([{ "path": id, "is": { "equals": "evil" } }]), ReasonCode::ConditionNotMet),
        (
            json!([{ "path": id, "is": { "matches": "https://github.com/action" } }]),
            ReasonCode::ConditionNotMet,
        ),
        (json!([{ "path": "/predicate/x", "is": "present" }]), ReasonCode::ConditionNotMet),
        (json!([{ "path": "/predicate/x", "is": "absent" }]), ReasonCode::Verified),
        (json!([{ "path": "/predicate/x/*/y", "is": { "equals": 1 } }]), ReasonCode::ConditionNotMet),
        (json!([{ "path": "/predicate/scan/*/severity", "is": { "at_most": 4 } }]), ReasonCode::Verified),
        (
            json!([{ "path": "/predicate/scan/*/severity", "is": { "at_most": 3 } }]),
            ReasonCode::ConditionNotMet,
        ),
        (json!([{ "path": "/predicate/scan/0/severity", "is": { "at_least": 3 } }]), ReasonCode::Verified),
        (json!([{ "path": finished, "is": { "younger_than": "2d" } }]), ReasonCode::Verified),
        (json!([{ "path": finished, "is": { "younger_than": "12h" } }]), ReasonCode::ConditionNotMet),
    ];
    for legacy in [false, true] {
        let (mut registry, _) = pushed(Layout::Referrers, "a");
        let signing = Signing::keyless(&sigstore, github());
        if legacy {
            registry.push(NAME, &Upload::legacy(&image, &[signing.attest_legacy(&statement)]));
        } else {
            registry.push(NAME, &bundled(&image, &[signing.sign(&statement)], Layout::Referrers));
        }
        for (conditions, expected) in &cases {
            check(&registry, &rule(conditions.clone()), &tagged(), *expected);
        }
        // An attestation is not a signature, whoever made it.
        check(&registry, &policy(&json!({})), &tagged(), ReasonCode::SignatureMissing);
        let other = policy(&json!({ "require": {
            "attestation": { "predicate_type": "https://cosign.sigstore.dev/attestation/vuln/v1", "signer": "ci" },
        } }));
        check(&registry, &other, &tagged(), ReasonCode::AttestationMissing);
    }
}

#[test]
fn annotations_must_match() {
    let sigstore = sigstore();
    let (mut registry, image) = pushed(Layout::FallbackTag, "a");
    let payload = simple_signing(NAME, &image.digest(), &json!({ "env": "prod", "build": 7 }));
    registry.push(NAME, &Upload::legacy(&image, &[Signing::keyless(&sigstore, github()).sign(&payload)]));
    let rule = |annotations: Value| {
        policy(&json!({ "require": { "signature": { "signer": "ci", "annotations": annotations } } }))
    };
    check(&registry, &rule(json!({ "env": "prod" })), &tagged(), ReasonCode::Verified);
    check(&registry, &rule(json!({ "env": "pro*" })), &tagged(), ReasonCode::Verified);
    check(&registry, &rule(json!({ "env": "pro" })), &tagged(), ReasonCode::AnnotationMismatch);
    check(&registry, &rule(json!({ "team": "*" })), &tagged(), ReasonCode::AnnotationMismatch);
}

#[test]
fn an_old_signature_and_one_from_the_future_do_not_count() {
    let sigstore = sigstore();
    let day = 86_400;
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let signature =
        |at: i64| Signing::keyless(&sigstore, github()).at(at).log(Log::V2).sign(&image.statement());
    registry.push(NAME, &bundled(&image, &[signature(START - 30 * day)], Layout::Referrers));
    check(&registry, &policy(&json!({ "max_age": "40d" })), &tagged(), ReasonCode::Verified);
    check(&registry, &policy(&json!({ "max_age": "20d" })), &tagged(), ReasonCode::SignatureTooOld);
    let (mut registry, _) = pushed(Layout::Referrers, "a");
    registry.push(NAME, &bundled(&image, &[signature(START + 2 * day)], Layout::Referrers));
    check(&registry, &policy(&json!({})), &tagged(), ReasonCode::LogTimeInvalid);
}

#[test]
fn timestamps_of_every_honest_form_tell_when() {
    let sigstore = sigstore();
    for style in [
        TimestampStyle::Plain,
        TimestampStyle::Fraction(".25"),
        TimestampStyle::Sha384,
        TimestampStyle::Sha512Imprint,
        TimestampStyle::WithCertificate,
    ] {
        let (mut registry, image) = pushed(Layout::Referrers, "a");
        let signing = Signing::keyless(&sigstore, github()).log(Log::V2).timestamp(style);
        registry.push(NAME, &bundled(&image, &[signing.sign(&image.statement())], Layout::Referrers));
        let verdict = verdict(&registry, &policy(&json!({})), &tagged());
        assert_eq!(cause(&verdict), ReasonCode::Verified, "{style:?}\n{}", verdict.reason);
    }
}

#[test]
fn an_index_is_signed_as_a_whole_or_platform_by_platform() {
    let sigstore = sigstore();
    let (amd, arm) = (Image::new("amd"), Image::new("arm"));
    let index = Image::index(vec![amd.clone(), arm.clone()]);
    let mut registry = Registry::new(Layout::Referrers);
    registry.push(NAME, &Upload::image(&index, "1"));
    let sign = |image: &Image| {
        bundled(image, &[Signing::keyless(&sigstore, github()).sign(&image.statement())], Layout::Referrers)
    };
    registry.push(NAME, &sign(&index));
    let each = policy(&json!({ "platforms": "each" }));
    check(&registry, &policy(&json!({})), &tagged(), ReasonCode::Verified);
    check(&registry, &each, &tagged(), ReasonCode::SignatureMissing);
    registry.push(NAME, &sign(&amd));
    check(&registry, &each, &tagged(), ReasonCode::SignatureMissing);
    registry.push(NAME, &sign(&arm));
    check(&registry, &each, &tagged(), ReasonCode::Verified);
    check(&registry, &each, &format!("{NAME}@{}", index.digest()), ReasonCode::Verified);
}

#[test]
fn a_registry_that_lies_or_fails_allows_nothing() {
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let signature = Signing::keyless(&sigstore, github()).sign(&image.statement());
    let upload = bundled(&image, &[signature], Layout::Referrers);
    registry.push(NAME, &upload);
    let bundle = upload.blobs.first().unwrap();
    registry.corrupt(NAME, &bundle.digest(), b"{}");
    check(&registry, &policy, &tagged(), ReasonCode::ContentDigestMismatch);
    // Whatever fails, and however: a refusal that is not kept.
    for code in
        [ReasonCode::RegistryTimeout, ReasonCode::RegistryRateLimited, ReasonCode::RegistryUnavailable]
    {
        let request = request(&tagged());
        for failing_round in 0..4 {
            let mut evidence = Evidence::default();
            for round in 0..6 {
                for read in plan(&request, &policy, &evidence) {
                    let answer = if round == failing_round { failing(code) } else { registry.answer(&read) };
                    evidence.record(read, answer);
                }
            }
            let verdict = decide(&request, &evidence, &policy, now());
            assert_eq!(verdict.outcome, Outcome::Deny, "{code} {failing_round}");
            if failing_round < 3 {
                assert_eq!(verdict.class(), Class::Transient, "{code} {failing_round}: {}", verdict.reason);
            }
        }
    }
}

#[test]
fn nothing_is_allowed_before_all_is_read() {
    let (registry, _) = pushed(Layout::Referrers, "a");
    let (request, policy) = (request(&tagged()), policy(&json!({})));
    let mut evidence = Evidence::default();
    let verdict = decide(&request, &evidence, &policy, now());
    assert_eq!((verdict.outcome, verdict.reason.code), (Outcome::Missing, ReasonCode::EvidencePending));
    for read in plan(&request, &policy, &evidence) {
        let answer = registry.answer(&read);
        evidence.record(read, answer);
    }
    assert_eq!(decide(&request, &evidence, &policy, now()).outcome, Outcome::Missing);
}

#[test]
fn stapled_evidence_needs_no_registry_and_is_bound_to_its_digest() {
    let (sigstore, policy) = (sigstore(), policy(&json!({})));
    let image = Image::new("a");
    let bundle = Signing::keyless(&sigstore, github()).sign(&image.statement()).bundle(Version::V0_3).json();
    let pinned = request(&format!("{NAME}@{}", image.digest()));
    let digest = pinned.image.digest().unwrap();
    let mut evidence = Evidence::default();
    evidence.staple(digest, Staple { bundles: vec![bundle.clone()], ..Staple::default() });
    assert!(plan(&pinned, &policy, &evidence).is_empty());
    assert_eq!(decide(&pinned, &evidence, &policy, now()).outcome, Outcome::Allow);
    let other = request(&format!("{NAME}@{}", Image::new("b").digest()));
    let mut evidence = Evidence::default();
    evidence.staple(other.image.digest().unwrap(), Staple { bundles: vec![bundle], ..Staple::default() });
    let verdict = decide(&other, &evidence, &policy, now());
    assert_eq!(cause(&verdict), ReasonCode::SubjectDigestMismatch);
}

#[test]
fn what_no_rule_is_about_is_denied_and_exemptions_end() {
    let policy = |extra: Value| {
        let mut document = json!({
            "signers": {},
            "exemptions": [{
                "images": ["r.example/legacy/*"], "namespaces": ["shop"], "reason": "being replaced",
                "until": "2026-01-03T00:00:00Z",
            }],
        });
        document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Policy::from_json(document.to_string().as_bytes()).unwrap()
    };
    let decide = |policy: &Policy, text: &str, now: UnixTime| {
        decide(&request(text), &Evidence::default(), policy, now)
    };
    let strict = policy(json!({}));
    assert_eq!(cause(&decide(&strict, "r.example/new/app", now())), ReasonCode::NoRule);
    let exempt = decide(&strict, "r.example/legacy/app", now());
    assert_eq!((exempt.outcome, exempt.reason.code), (Outcome::Allow, ReasonCode::Exempt));
    assert_eq!(exempt.warnings.len(), 1);
    let later = now().saturating_add(Duration::from_secs(2 * 86_400));
    assert_eq!(cause(&decide(&strict, "r.example/legacy/app", later)), ReasonCode::ExemptionEnded);
    let elsewhere = Request { namespace: Some("other".into()), ..request("r.example/legacy/app") };
    let verdict = portcullis_signature::decide(&elsewhere, &Evidence::default(), &strict, now());
    assert_eq!(cause(&verdict), ReasonCode::NoRule);
    let lenient = policy(json!({ "unmatched": "allow" }));
    assert_eq!(decide(&lenient, "r.example/new/app", now()).outcome, Outcome::Allow);
}

#[test]
fn a_rule_that_audits_warns_and_one_that_enforces_denies() {
    let (registry, _) = pushed(Layout::Referrers, "a");
    let audit = verdict(&registry, &policy(&json!({ "mode": "audit" })), &tagged());
    assert_eq!(audit.outcome, Outcome::Allow);
    assert!(
        audit.warnings.iter().any(|warning| warning.contains("SIGNATURE_MISSING")),
        "{:?}",
        audit.warnings
    );
}

#[test]
fn a_tag_is_refused_where_it_is_not_pinned() {
    let mut document = policy(&json!({})).document().clone();
    document.tags = portcullis_signature::policy::Tags::Refuse;
    let policy = Policy::new(document).unwrap();
    let (registry, _) = pushed(Layout::Referrers, "a");
    check(&registry, &policy, &tagged(), ReasonCode::TagNotAllowed);
    assert!(plan(&request(&tagged()), &policy, &Evidence::default()).is_empty());
}

#[test]
fn verification_goes_one_signature_at_a_time_and_is_not_done_twice() {
    let sigstore = sigstore();
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let wrong = Signing::keyless(&sigstore, Identity::github("evil/app", "w.yml", "refs/heads/x"));
    let signatures =
        [wrong.sign(&image.statement()), Signing::keyless(&sigstore, github()).sign(&image.statement())];
    registry.push(NAME, &bundled(&image, &signatures, Layout::Referrers));
    let (request, policy) = (request(&tagged()), policy(&json!({})));
    let mut evidence = Evidence::default();
    registry.read_all(&request, &policy, &mut evidence);
    let mut facts = Facts::default();
    let evidence = Dossier::new(&request, &policy, &evidence);
    assert!(facts.judge(&request, &evidence, &policy, now()).unfinished);
    let mut steps = 0;
    while facts.judge(&request, &evidence, &policy, now()).unfinished {
        assert!(facts.verify_next(&request, &evidence, &policy));
        steps += 1;
        assert_eq!(facts.len(), steps);
    }
    assert!(steps <= 2);
    assert_eq!(facts.judge(&request, &evidence, &policy, now()).outcome, Outcome::Allow);
    // The same facts under a stricter clock are judged anew.
    let before = UnixTime::from_secs(START - 1);
    assert_eq!(facts.judge(&request, &evidence, &policy, before).outcome, Outcome::Deny);
}

#[test]
fn a_managed_key_with_a_log_must_prove_it() {
    let sigstore = sigstore();
    let alice = sigstore.key("alice", KeyKind::P256);
    for (log, expected) in [
        (Log::V1, ReasonCode::Verified),
        (Log::V2, ReasonCode::Verified),
        (Log::None, ReasonCode::LogProofInvalid),
    ] {
        let (mut registry, image) = pushed(Layout::Referrers, "a");
        let signature = Signing::key(&sigstore, alice.clone()).log(log).sign(&image.statement());
        registry.push(NAME, &bundled(&image, &[signature], Layout::Referrers));
        check(&registry, &policy(&require("logged")), &tagged(), expected);
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_with_a_timestamp() {
    let sigstore = sigstore();
    let root = sigstore.trusted_root();
    let pem = |chain: &Value| -> String {
        let certificates = chain["certificates"].as_array().unwrap().iter();
        certificates
            .map(|certificate| {
                let base64 = certificate["rawBytes"].as_str().unwrap();
                format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
            })
            .collect()
    };
    let document = json!({
        "roots": { "own": { "authority": {
            "certificates": pem(&root["certificateAuthorities"][0]["certChain"]),
            "timestamp_authorities": [pem(&root["timestampAuthorities"][0]["certChain"])],
        } } },
        "signers": { "ci": { "keyless": { "issuer": ISSUER, "subject": "https://github.com/acme/app/**", "log": "none" } } },
        "rules": [{ "name": "all", "images": ["**"], "require": { "signature": { "signer": "ci" } } }],
    });
    let policy = Policy::from_json(document.to_string().as_bytes()).unwrap();
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let signing = Signing::keyless(&sigstore, github()).log(Log::None).timestamp(TimestampStyle::Plain);
    registry.push(NAME, &bundled(&image, &[signing.sign(&image.statement())], Layout::Referrers));
    check(&registry, &policy, &tagged(), ReasonCode::Verified);
    let (mut registry, image) = pushed(Layout::Referrers, "a");
    let untimed = Signing::keyless(&sigstore, github()).log(Log::None);
    registry.push(NAME, &bundled(&image, &[untimed.sign(&image.statement())], Layout::Referrers));
    check(&registry, &policy, &tagged(), ReasonCode::TimeUnknown);
}

#[test]
fn a_certificate_that_names_two_issuers_is_believed_by_nobody() {
    let sigstore = sigstore();
    let image = Image::new("a");
    let policy = policy(&require("ci"));
    let digest = portcullis_signature::Digest::parse(&image.digest()).unwrap();
    let judge = |raw: Option<&str>| {
        let identity = Identity { raw_issuer: raw.map(str::to_owned), ..github() };
        let bundle = Signing::keyless(&sigstore, identity).sign(&image.statement()).bundle(Version::V0_3);
        let artifact = portcullis_signature::Artifact::Digest(digest);
        let (Ok(reason) | Err(reason)) =
            portcullis_signature::verify_bundle(&bundle.json(), artifact, "ci", &policy, now());
        reason.code
    };
    assert_eq!(judge(None), ReasonCode::Verified);
    assert_eq!(judge(Some("https://issuer.example")), ReasonCode::CertificateMalformed);
    assert_eq!(judge(Some("")), ReasonCode::CertificateMalformed);
}
