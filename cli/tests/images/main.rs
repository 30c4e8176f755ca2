//! `portcullis verify-image` against a real registry with images that are signed in every layout,
//! and against registries that fail.

mod bundle;
#[path = "../common/mod.rs"]
mod common;
mod failing;
mod stapled;
mod world;

use portcullis_mini_sigstore::{
    Content, Fault, Identity, Image, KeyKind, Layout, Log, Signing, TimestampStyle, Upload, Version,
    simple_signing,
};
use serde_json::{Value, json};

use world::{World, identity};

#[test]
fn an_image_that_is_signed_in_any_layout_may_run() {
    let world = World::start();
    let key = || Signing::key(&world.sigstore, world.key());
    let keyless = || Signing::keyless(&world.sigstore, identity());
    let stamped = || keyless().timestamp(TimestampStyle::Plain);
    let signature = |signer: &str| json!({ "signature": { "signer": signer } });
    let attested =
        json!({ "attestation": { "predicate_type": "https://slsa.dev/provenance/v1", "signer": "release" } });

    let legacy = |name: &str, signing: Signing<'_>| {
        let image = Image::new(name);
        let made = signing.sign(&image.simple_signing(&world.name(name)));
        world.push(name, "1.0", &image, &[Upload::legacy(&image, &[made])]);
    };
    legacy("legacy-key", key().log(Log::None));
    legacy("legacy-key-logged", key());
    legacy("legacy-keyless", keyless());
    legacy("legacy-keyless-stamped", stamped());

    let bundle = |name: &str, signing: Signing<'_>, version, content: &dyn Fn(&Image) -> Content| {
        let image = Image::new(name);
        let made = signing.sign(&content(&image)).bundle(version);
        world.push(name, "1.0", &image, &[Upload::bundles(&image, &[made], Layout::FallbackTag)]);
    };
    let statement: &dyn Fn(&Image) -> Content = &Image::statement;
    let manifest: &dyn Fn(&Image) -> Content = &|image| Content::Message(image.manifest.bytes.clone());
    for (name, version) in [("v01", Version::V0_1), ("v02", Version::V0_2), ("v03", Version::V0_3)] {
        bundle(&format!("bundle-{name}"), keyless(), version, statement);
        bundle(&format!("message-{name}"), keyless(), version, manifest);
    }
    bundle("bundle-key", key(), Version::V0_3, statement);
    bundle("bundle-rekor2", keyless().log(Log::V2), Version::V0_3, statement);
    bundle("message-rekor2", keyless().log(Log::V2), Version::V0_3, manifest);
    bundle(
        "bundle-sha384",
        keyless().log(Log::V2).timestamp(TimestampStyle::Sha384),
        Version::V0_3,
        statement,
    );
    bundle(
        "bundle-fraction",
        keyless().log(Log::V2).timestamp(TimestampStyle::Fraction(".123456")),
        Version::V0_3,
        statement,
    );
    bundle("bundle-unlogged", stamped().log(Log::None), Version::V0_3, statement);

    let provenance =
        |image: &Image| Content::statement("", &image.hex(), "https://slsa.dev/provenance/v1", &json!({}));
    let image = Image::new("att");
    let made = keyless().attest_legacy(&provenance(&image));
    world.push("attested-legacy", "1.0", &image, &[Upload::legacy(&image, &[made])]);
    let image = Image::new("att-dsse");
    let made = keyless().log(Log::V1Intoto).attest_legacy(&provenance(&image));
    world.push("attested-intoto", "1.0", &image, &[Upload::legacy(&image, &[made])]);
    bundle("attested-bundle", keyless().log(Log::V2), Version::V0_3, &provenance);

    for (name, require) in [
        ("legacy-key", signature("key")),
        ("legacy-key-logged", signature("logged_key")),
        ("legacy-keyless", signature("release")),
        ("legacy-keyless-stamped", signature("release")),
        ("bundle-v01", signature("release")),
        ("bundle-v02", signature("release")),
        ("bundle-v03", signature("release")),
        ("message-v01", signature("release")),
        ("message-v02", signature("release")),
        ("message-v03", signature("release")),
        ("bundle-key", signature("key")),
        ("bundle-rekor2", signature("release")),
        ("message-rekor2", signature("release")),
        ("bundle-sha384", signature("release")),
        ("bundle-fraction", signature("release")),
        ("bundle-unlogged", signature("unlogged")),
        ("attested-legacy", attested.clone()),
        ("attested-intoto", attested.clone()),
        ("attested-bundle", attested),
    ] {
        let (code, verdict) = world.verify(&format!("{name}:1.0"), &world.rule(require));
        assert_eq!(code, 0, "{name}: {verdict:#}");
        assert_eq!(verdict["outcome"], "allow");
    }
}

/// The codes of everything in the tree that does not hold and follows from nothing else.
fn leaves(reason: &Value) -> Vec<String> {
    let below: Vec<_> = reason["because"].as_array().into_iter().flatten().flat_map(leaves).collect();
    if below.is_empty() { vec![reason["code"].as_str().unwrap().to_owned()] } else { below }
}

/// What is wrong with the refusal of `name`, which must follow from `expected`.
fn wrong(world: &World, name: &str, rule: &Value, expected: &str) -> Option<String> {
    let (code, verdict) = world.verify(name, rule);
    let found = leaves(&verdict["reason"]);
    let right = code == 1 && verdict["outcome"] == "deny" && found.iter().any(|code| code == expected);
    (!right).then(|| format!("{name}: {expected}, not exit {code} with {found:?}"))
}

fn refused(world: &World, name: &str, rule: &Value, expected: &str) {
    assert_eq!(wrong(world, name, rule, expected), None);
}

#[test]
fn a_forgery_of_any_kind_may_not_run() {
    let world = World::start();
    let mut all = Vec::new();
    let release = world.rule(json!({ "signature": { "signer": "release" } }));
    for (fault, log, expected) in [
        (Fault::Signature, Log::V1, "SIGNATURE_INVALID"),
        (Fault::ExpiredCertificate, Log::V1, "CERTIFICATE_EXPIRED"),
        (Fault::ExpiredCertificate, Log::V2, "CERTIFICATE_EXPIRED"),
        (Fault::ForeignAuthority, Log::V1, "CERTIFICATE_UNTRUSTED"),
        (Fault::NoSct, Log::V1, "SCT_INVALID"),
        (Fault::ForeignSct, Log::V1, "SCT_INVALID"),
        (Fault::NotForCodeSigning, Log::V1, "CERTIFICATE_UNTRUSTED"),
        (Fault::ForeignLog, Log::V1, "LOG_PROMISE_INVALID"),
        (Fault::ForeignLog, Log::V2, "LOG_CHECKPOINT_INVALID"),
        (Fault::Promise, Log::V1, "LOG_PROMISE_INVALID"),
        (Fault::Proof, Log::V1, "LOG_PROOF_INVALID"),
        (Fault::Proof, Log::V2, "LOG_PROOF_INVALID"),
        (Fault::OtherTree, Log::V2, "LOG_PROOF_INVALID"),
        (Fault::OtherArtifactInLog, Log::V1, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherArtifactInLog, Log::V2, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherSignatureInLog, Log::V1, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherKeyInLog, Log::V1, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherKeyInLog, Log::V2, "LOG_ENTRY_MISMATCH"),
        (Fault::NoLogEntry, Log::V1, "TIME_UNKNOWN"),
        (Fault::NoProof, Log::V1, "LOG_PROOF_INVALID"),
        (Fault::ForeignTimestampAuthority, Log::V2, "TIMESTAMP_INVALID"),
        (Fault::TimestampOfOther, Log::V2, "TIMESTAMP_INVALID"),
        (Fault::NoTimestamp, Log::V2, "TIME_UNKNOWN"),
    ] {
        let name = format!("{fault:?}-{log:?}").to_lowercase();
        let image = Image::new(&name);
        let signing = Signing::keyless(&world.sigstore, identity()).log(log).fault(fault);
        let bundle = signing.sign(&image.statement()).bundle(Version::V0_3);
        world.push(&name, "1.0", &image, &[Upload::bundles(&image, &[bundle], Layout::FallbackTag)]);
        all.extend(wrong(&world, &format!("{name}:1.0"), &release, expected));
    }
    for (fault, expected) in [
        (Fault::Signature, "SIGNATURE_INVALID"),
        (Fault::ExpiredCertificate, "CERTIFICATE_EXPIRED"),
        (Fault::ForeignAuthority, "CERTIFICATE_UNTRUSTED"),
        (Fault::ForeignLog, "LOG_PROMISE_INVALID"),
        (Fault::Promise, "LOG_PROMISE_INVALID"),
        (Fault::OtherArtifactInLog, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherSignatureInLog, "LOG_ENTRY_MISMATCH"),
        (Fault::OtherKeyInLog, "LOG_ENTRY_MISMATCH"),
        (Fault::NoLogEntry, "TIME_UNKNOWN"),
    ] {
        let name = format!("legacy-{fault:?}").to_lowercase();
        let image = Image::new(&name);
        let signing = Signing::keyless(&world.sigstore, identity()).fault(fault);
        let signature = signing.sign(&image.simple_signing(&world.name(&name)));
        world.push(&name, "1.0", &image, &[Upload::legacy(&image, &[signature])]);
        all.extend(wrong(&world, &format!("{name}:1.0"), &release, expected));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_signature_of_somebody_else_or_of_something_else_does_not_count() {
    let world = World::start();
    let release = world.rule(json!({ "signature": { "signer": "release" } }));
    let key = world.rule(json!({ "signature": { "signer": "key" } }));

    let unsigned = Image::new("unsigned");
    world.push("unsigned", "1.0", &unsigned, &[]);
    refused(&world, "unsigned:1.0", &release, "SIGNATURE_MISSING");

    let image = Image::new("by-a-stranger");
    let stranger = Signing::key(&world.sigstore, world.sigstore.key("stranger", KeyKind::P256));
    let signature = stranger.sign(&image.simple_signing(&world.name("stranger")));
    world.push("stranger", "1.0", &image, &[Upload::legacy(&image, &[signature])]);
    refused(&world, "stranger:1.0", &key, "SIGNATURE_INVALID");

    let other = Identity::github("acme/other", ".github/workflows/release.yml", "refs/heads/main");
    let image = Image::new("by-another-repository");
    let bundle = Signing::keyless(&world.sigstore, other).sign(&image.statement()).bundle(Version::V0_3);
    world.push("identity", "1.0", &image, &[Upload::bundles(&image, &[bundle], Layout::FallbackTag)]);
    let (code, verdict) = world.verify("identity:1.0", &release);
    assert_eq!(code, 1, "{verdict:#}");

    // Signed, and pushed to another repository: whoever can push there passes it off as that one's.
    let image = Image::new("other-repository");
    let signature =
        Signing::keyless(&world.sigstore, identity()).sign(&image.simple_signing(&world.name("tools")));
    for name in ["tools", "shop"] {
        world.push(name, "1.0", &image, &[Upload::legacy(&image, std::slice::from_ref(&signature))]);
    }
    assert_eq!(world.verify("tools:1.0", &release).0, 0);
    refused(&world, "shop:1.0", &release, "NAME_MISMATCH");

    // Signed as 1.0, and tagged as 2.0 as well: an old image under a new name.
    let image = Image::new("re-tagged");
    let payload = simple_signing(&format!("{}:1.0", world.name("tags")), &image.digest(), &Value::Null);
    let signature = Signing::keyless(&world.sigstore, identity()).sign(&payload);
    for tag in ["1.0", "2.0"] {
        world.push("tags", tag, &image, &[Upload::legacy(&image, std::slice::from_ref(&signature))]);
    }
    let mut exact = release.clone();
    exact["rules"][0]["signed_name"] = json!("exact");
    assert_eq!(world.verify("tags:1.0", &exact).0, 0);
    refused(&world, "tags:2.0", &exact, "TAG_MISMATCH");

    // The evidence of a signed image under the tags of another: its digest says otherwise.
    let (signed, swapped) = (Image::new("signed"), Image::new("swapped"));
    let signature =
        Signing::keyless(&world.sigstore, identity()).sign(&signed.simple_signing(&world.name("swap")));
    let bundle =
        Signing::keyless(&world.sigstore, identity()).sign(&signed.statement()).bundle(Version::V0_3);
    let evidence =
        [Upload::legacy(&swapped, &[signature]), Upload::bundles(&swapped, &[bundle], Layout::FallbackTag)];
    world.push("swap", "1.0", &swapped, &evidence);
    refused(&world, "swap:1.0", &release, "SUBJECT_DIGEST_MISMATCH");
}

#[test]
fn a_tag_that_is_moved_takes_no_signature_with_it() {
    let world = World::start();
    let release = world.rule(json!({ "signature": { "signer": "release" } }));
    let good = Image::new("good");
    let bundle = Signing::keyless(&world.sigstore, identity()).sign(&good.statement()).bundle(Version::V0_3);
    let good_evidence = Upload::bundles(&good, &[bundle], Layout::FallbackTag);
    world.push("app", "1.0", &good, std::slice::from_ref(&good_evidence));
    let (code, verdict) = world.verify("app:1.0", &release);
    assert_eq!(code, 0, "{verdict:#}");
    assert_eq!(verdict["pinned"], format!("{}:1.0@{}", world.name("app"), good.digest()));

    world.push("app", "1.0", &Image::new("bad"), &[]);
    refused(&world, "app:1.0", &release, "SIGNATURE_MISSING");
    // Pinned to what was verified, it still runs.
    assert_eq!(world.verify(&format!("app:1.0@{}", good.digest()), &release).0, 0);

    // The registry itself replaces bytes: those of the signature, and those that the tag stands for.
    let stored = good_evidence.blobs[0].digest();
    world.registry.corrupt(&stored, b"{}").unwrap();
    refused(&world, &format!("app@{}", good.digest()), &release, "CONTENT_DIGEST_MISMATCH");
    world.push("app", "1.0", &good, &[]);
    world.registry.corrupt(&good.digest(), &Image::new("worse").manifest.bytes).unwrap();
    refused(&world, "app:1.0", &release, "SIGNATURE_MISSING");
}

#[test]
fn an_index_and_its_platforms_are_signed_as_the_rule_says() {
    let world = World::start();
    let index = Image::index(vec![Image::new("amd64"), Image::new("arm64")]);
    let sign = |image: &Image| {
        let bundle =
            Signing::keyless(&world.sigstore, identity()).sign(&image.statement()).bundle(Version::V0_3);
        Upload::bundles(image, &[bundle], Layout::FallbackTag)
    };
    world.push("multi", "1.0", &index, &[sign(&index), sign(&index.children[0])]);
    let mut rule = world.rule(json!({ "signature": { "signer": "release" } }));
    assert_eq!(world.verify("multi:1.0", &rule).0, 0);
    rule["rules"][0]["platforms"] = json!("each");
    refused(&world, "multi:1.0", &rule, "SIGNATURE_MISSING");
    world.push("multi", "1.0", &index, &[sign(&index.children[1])]);
    let (code, verdict) = world.verify("multi:1.0", &rule);
    assert_eq!(code, 0, "{verdict:#}");
}

#[test]
fn what_was_recorded_decides_again_without_a_registry() {
    let world = World::start();
    let rule = world.rule(json!({ "signature": { "signer": "release" } }));
    let image = Image::new("recorded");
    let signature =
        Signing::keyless(&world.sigstore, identity()).sign(&image.simple_signing(&world.name("app")));
    world.push("app", "1.0", &image, &[Upload::legacy(&image, &[signature])]);
    let evidence = world.path("evidence.json");
    let (code, online) = world.verify_with("app:1.0", &rule, &["--record", &evidence]);
    assert_eq!(code, 0, "{online:#}");
    let name = world.name("app:1.0");
    drop(world.registry);

    let policy = world.folder.path().join("policy.json").display().to_string();
    let offline = |image: &str, format: &str| {
        common::run(&["verify-image", image, "--policy", &policy, "--offline", &evidence, "--format", format])
    };
    let output = offline(&name, "json");
    assert_eq!(output.status.code(), Some(0), "{}", common::text(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), online);

    let output = offline(&name, "text");
    let text = common::text(&output.stdout);
    assert!(text.starts_with(&format!("may run: {name}\npinned: {name}@{}\n", image.digest())), "{text}");
    assert!(text.contains("+ VERIFIED"), "{text}");

    let output = offline(&name.replace("1.0", "2.0"), "text");
    assert_eq!(output.status.code(), Some(2));
    let error = common::text(&output.stderr);
    assert!(error.contains("not complete") && error.contains("manifests/2.0"), "{error}");
}
