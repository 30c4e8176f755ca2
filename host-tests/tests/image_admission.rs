//! The image filter in the wasmtime host: Sigstore's conformance cases, signed images in a registry in
//! memory, and registries that fail.

#[path = "../../policies/signature/tests/common/conformance.rs"]
mod conformance;
#[path = "../../policies/signature/tests/common/registry.rs"]
mod registry;
#[path = "image_admission/stage.rs"]
mod stage;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_host::{CallResponse, OutgoingCall};
use portcullis_mini_sigstore::{Identity, Image, Layout, Log, Signing, Sigstore, Upload, Version};
use registry::Registry;
use serde_json::{Value, json};
use stage::Stage;

const HOST: &str = "r.example";

fn sigstore() -> Sigstore {
    Sigstore::new([9; 32])
}

fn configuration() -> Value {
    json!({
        "policy": {
            "roots": { "test": { "trusted_root": sigstore().trusted_root() } },
            "signers": { "ci": { "github": { "repository": "acme/app" } } },
            "rules": [{ "name": "all", "images": ["r.example/**"], "require": { "signature": { "signer": "ci" } } }],
        },
        "hosts": { HOST: { "cluster": "registry" } },
    })
}

fn github(repository: &str) -> Identity {
    Identity::github(repository, ".github/workflows/release.yml", "refs/tags/v1")
}

/// Pushes an image signed for `identity` to `HOST/acme/<name>`, under the tag 1.
fn push(registry: &mut Registry, name: &str, identity: Identity) -> Image {
    let (image, at) = (Image::new(name), format!("{HOST}/acme/{name}"));
    registry.push(&at, &Upload::image(&image, "1"));
    let signature = Signing::keyless(&sigstore(), identity).log(Log::V2).sign(&image.statement());
    registry.push(&at, &Upload::bundles(&image, &[signature.bundle(Version::V0_3)], Layout::Referrers));
    image
}

fn cause(answer: &Value, index: usize) -> String {
    let images: Value =
        serde_json::from_str(answer["response"]["auditAnnotations"]["images"].as_str().unwrap_or("{}"))
            .unwrap();
    images[format!("/spec/containers/{index}/image")]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_conformance_case_is_judged_as_it_must_be() -> Result<()> {
    let Some(cases) = stage::cases() else { return Ok(()) };
    for host_arithmetic in [true, false] {
        let mut stage = Stage::with(&cases.configuration, host_arithmetic)?;
        for (name, review, expected) in &cases.reviews {
            let (answer, rounds) = stage.judge(review, &|_| None)?;
            stage::check(name, &answer, expected)?;
            assert_eq!(rounds, 0, "{name}: stapled evidence needs no registry");
        }
    }
    let broken = conformance::cases().context("no cases")?;
    let broken = broken.iter().find(|case| case.expected.to_string() == "TRUST_ROOT_INVALID");
    let configuration = json!({ "policy": broken.context("no case with a broken root")?.policy });
    ensure!(Stage::new(&configuration).is_err(), "a broken root was accepted");
    Ok(())
}

#[test]
fn a_signed_image_is_read_in_four_rounds_and_pinned() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    let image = push(&mut registry, "app", github("acme/app"));
    let mut stage = Stage::new(&configuration())?;
    let review = stage::review(&[format!("{HOST}/acme/app:1")], None);
    let (answer, rounds) = stage.judge(&review, &stage::serving(&registry))?;
    assert_eq!(answer["response"]["allowed"], true, "{answer:#}");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    let pinned = format!("{HOST}/acme/app:1@{}", image.digest());
    assert_eq!(stage::patch(&answer)?, [("/spec/containers/0/image".to_owned(), pinned)].into());
    assert_eq!(rounds, 4);
    // Once more: only the tag is read.
    let (answer, rounds) = stage.judge(&review, &stage::serving(&registry))?;
    assert_eq!((answer["response"]["allowed"].clone(), rounds), (json!(true), 1));
    // The tag means another image now, which nobody signed.
    registry.push(&format!("{HOST}/acme/app"), &Upload::image(&Image::new("evil"), "1"));
    let (answer, _) = stage.judge(&review, &stage::serving(&registry))?;
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(cause(&answer, 0), "SIGNATURE_MISSING");
    Ok(())
}

#[test]
fn twenty_images_take_as_many_rounds_as_one() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    let names: Vec<String> = (0..20).map(|number| format!("app{number}")).collect();
    let images: Vec<String> = names
        .iter()
        .map(|name| {
            push(&mut registry, name, github("acme/app"));
            format!("{HOST}/acme/{name}:1")
        })
        .collect();
    let mut stage = Stage::new(&configuration())?;
    let (answer, rounds) = stage.judge(&stage::review(&images, None), &stage::serving(&registry))?;
    assert_eq!((answer["response"]["allowed"].clone(), rounds), (json!(true), 4), "{answer:#}");
    assert_eq!(stage::patch(&answer)?.len(), 20);
    Ok(())
}

#[test]
fn the_message_says_what_is_wrong_with_each_image() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    push(&mut registry, "good", github("acme/app"));
    push(&mut registry, "evil", github("evil/app"));
    registry.push(&format!("{HOST}/acme/bare"), &Upload::image(&Image::new("bare"), "1"));
    let mut stage = Stage::new(&configuration())?;
    let images = ["good:1", "evil:1", "bare:1", "gone:1"].map(|name| format!("{HOST}/acme/{name}"));
    let images = [&images[..], &["other.example/x".to_owned(), "Not An Image".to_owned()]].concat();
    let (answer, _) = stage.judge(&stage::review(&images, None), &stage::serving(&registry))?;
    let response = &answer["response"];
    assert_eq!((response["allowed"].clone(), response["status"]["code"].clone()), (json!(false), json!(403)));
    assert!(response.get("patch").is_none(), "a denial patches nothing");
    let message = response["status"]["message"].as_str().context("no message")?;
    for expected in [
        "5 images may not run",
        "r.example/acme/evil:1 (container `c1`)",
        "IDENTITY_MISMATCH",
        "SIGNATURE_MISSING",
        "IMAGE_NOT_FOUND",
        "NO_RULE",
        "IMAGE_REFERENCE_INVALID",
    ] {
        assert!(message.contains(expected), "{expected} is not in: {message}");
    }
    Ok(())
}

#[test]
fn a_registry_that_fails_ends_in_a_denial_that_can_be_tried_again() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    push(&mut registry, "app", github("acme/app"));
    let review = stage::review(&[format!("{HOST}/acme/app:1")], None);
    let huge = vec![b' '; 5 << 20];
    let scripts: [(&str, Box<stage::Script<'_>>); 6] = [
        ("REGISTRY_UNAVAILABLE", Box::new(|_: &OutgoingCall| Some(CallResponse::no_connection()))),
        ("REGISTRY_TIMEOUT", Box::new(|_: &OutgoingCall| Some(CallResponse::timeout()))),
        ("REGISTRY_RATE_LIMITED", Box::new(|_: &OutgoingCall| Some(CallResponse::new(429, "")))),
        ("REGISTRY_UNAUTHORIZED", Box::new(|_: &OutgoingCall| Some(CallResponse::new(403, "")))),
        ("REGISTRY_OVERSIZED", Box::new(|_: &OutgoingCall| Some(CallResponse::new(200, huge.clone())))),
        // Never an answer: the deadline ends it.
        ("DEADLINE_EXCEEDED", Box::new(|_: &OutgoingCall| None)),
    ];
    for (expected, script) in &scripts {
        let mut stage = Stage::new(&configuration())?;
        let (answer, _) = stage.judge(&review, script)?;
        assert_eq!(answer["response"]["allowed"], false, "{expected}");
        assert_eq!(answer["response"]["status"]["code"], 503, "{expected}: {answer:#}");
        assert_eq!(cause(&answer, 0), *expected);
        // It is not remembered against the image.
        let (answer, _) = stage.judge(&review, &stage::serving(&registry))?;
        assert_eq!(answer["response"]["allowed"], true, "{expected}");
    }
    Ok(())
}

#[test]
fn a_registry_that_asks_for_a_token_is_given_one() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    push(&mut registry, "app", github("acme/app"));
    let mut configuration = configuration();
    configuration["hosts"]["auth.example"] = json!({ "cluster": "registry" });
    configuration["registries"] = json!({ HOST: {
        "credentials": { "username": "u", "password": "p" }, "token_hosts": ["auth.example"],
    } });
    let serve = stage::serving(&registry);
    let script = |call: &OutgoingCall| {
        let text = |name: &str| call.headers.text(name).unwrap_or_default().to_owned();
        match (text(":authority").as_str(), text("authorization").as_str()) {
            ("auth.example", "Basic dTpw") => Some(CallResponse::new(200, r#"{"token":"T"}"#)),
            (HOST, "Bearer T") => serve(call),
            _ => Some(CallResponse::new(401, "").header(
                "www-authenticate",
                r#"Bearer realm="https://auth.example/token",service="r.example""#,
            )),
        }
    };
    let mut stage = Stage::new(&configuration)?;
    let (answer, _) = stage.judge(&stage::review(&[format!("{HOST}/acme/app:1")], None), &script)?;
    assert_eq!(answer["response"]["allowed"], true, "{answer:#}");
    Ok(())
}

#[test]
fn five_images_are_verified_callback_by_callback() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    let images: Vec<String> = (0..5)
        .map(|number| {
            let image = push(&mut registry, &format!("app{number}"), github("acme/app"));
            format!("{HOST}/acme/app{number}@{}", image.digest())
        })
        .collect();
    let mut stage = Stage::new(&configuration())?;
    let (stream, answer) = stage.send(&stage::review(&images, None))?;
    assert!(answer.is_none());
    let serve = stage::serving(&registry);
    let mut calls = stage.worker.take_calls();
    let mut found = None;
    while !calls.is_empty() {
        for call in calls {
            let events = stage.worker.complete_call(call.id, Ok(serve(&call).context("no answer")?));
            found = stage::reply(stream, &events)?.or(found);
        }
        calls = stage.worker.take_calls();
    }
    // What the answers' callbacks left takes one tick each, and a request in between is served.
    let mut ticks = 0;
    while found.is_none() {
        let (probe, _) = stage.send(&stage::review(&["other.example/x".to_owned()], None))?;
        stage.worker.close(probe);
        stage.clock.advance(Duration::from_millis(2));
        found = stage::reply(stream, &stage.worker.poll())?;
        ticks += 1;
        ensure!(ticks < 50, "the review is not answered");
    }
    assert_eq!(found.context("no answer")?["response"]["allowed"], true);
    Ok(())
}

#[test]
fn what_is_no_review_is_answered_and_harms_nobody() -> Result<()> {
    let mut stage = Stage::new(&configuration())?;
    for body in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview" }),
    ] {
        let (_, answer) = stage.send(&body)?;
        assert!(answer.context("no answer")?.get("error").is_some());
    }
    let mut unknown = stage::review(&[], None);
    unknown["request"]["kind"] = json!({ "group": "x.example", "version": "v1", "kind": "Thing" });
    let (_, answer) = stage.send(&unknown)?;
    let answer = answer.context("no answer")?;
    assert_eq!(answer["response"]["allowed"], false);
    assert!(
        answer["response"]["status"]["message"].as_str().is_some_and(|text| text.contains("KIND_UNKNOWN"))
    );
    let mut delete = stage::review(&[], None);
    delete["request"]["operation"] = json!("DELETE");
    delete["request"]["object"] = json!(null);
    let (_, answer) = stage.send(&delete)?;
    assert_eq!(answer.context("no answer")?["response"]["allowed"], true);
    Ok(())
}
