//! The image filter in the real Envoy: conformance cases, signed images in a registry on loopback, and a
//! registry that does not answer.

#[path = "../../policies/signature/tests/common/conformance.rs"]
mod conformance;
#[path = "../../policies/signature/tests/common/registry.rs"]
mod registry;
#[path = "image_admission/stage.rs"]
mod stage;
#[path = "image_admission/webhook.rs"]
mod webhook;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::loopback::{Answer, Service};
use portcullis_mini_sigstore::{Identity, Image, Layout, Log, Signing, Sigstore, Upload, Version};
use registry::Registry;
use serde_json::{Value, json};
use webhook::Webhook;

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
        "limits": { "deadline_ms": 3000 },
    })
}

fn push(registry: &mut Registry, name: &str) -> Image {
    let (image, at) = (Image::new(name), format!("{HOST}/acme/{name}"));
    registry.push(&at, &Upload::image(&image, "1"));
    let identity = Identity::github("acme/app", ".github/workflows/release.yml", "refs/tags/v1");
    let signature = Signing::keyless(&sigstore(), identity).log(Log::V2).sign(&image.statement());
    registry.push(&at, &Upload::bundles(&image, &[signature.bundle(Version::V0_3)], Layout::Referrers));
    image
}

fn serve(registry: Arc<Mutex<Registry>>, delay: Duration) -> Result<Service> {
    Service::start(move |seen| {
        let (status, body) = stage::respond(&registry.lock().unwrap(), HOST, &seen.target);
        Answer { body, ..Answer::status(status) }.after(delay)
    })
}

#[test]
fn every_conformance_case_is_judged_in_v8_as_it_must_be() -> Result<()> {
    let Some(cases) = stage::cases() else { return Ok(()) };
    let Some(webhook) = Webhook::start(&cases.configuration, None)? else { return Ok(()) };
    for (name, review, expected) in &cases.reviews {
        stage::check(name, &webhook.ask(review)?, expected)?;
    }
    Ok(())
}

#[test]
fn signed_images_run_and_others_do_not() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    let image = push(&mut registry, "app");
    registry.push(&format!("{HOST}/acme/bare"), &Upload::image(&Image::new("bare"), "1"));
    let service = serve(Arc::new(Mutex::new(registry)), Duration::ZERO)?;
    let Some(webhook) = Webhook::start(&configuration(), Some(service.address()))? else { return Ok(()) };
    let app = format!("{HOST}/acme/app:1");
    let answer = webhook.ask(&stage::review(std::slice::from_ref(&app), None))?;
    ensure!(answer["response"]["allowed"] == true, "{answer:#}");
    let pinned = format!("{app}@{}", image.digest());
    assert_eq!(stage::patch(&answer)?, [("/spec/containers/0/image".to_owned(), pinned)].into());
    let answer = webhook.ask(&stage::review(&[app, format!("{HOST}/acme/bare:1")], None))?;
    let message = answer["response"]["status"]["message"].as_str().context("no message")?;
    assert_eq!(answer["response"]["allowed"], false);
    assert!(message.contains("SIGNATURE_MISSING") && message.contains("acme/bare:1"), "{message}");
    Ok(())
}

#[test]
fn reads_of_twenty_images_are_parallel_and_others_are_served_meanwhile() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(700);
    let mut registry = Registry::new(Layout::Referrers);
    let images: Vec<String> = (0..20)
        .map(|number| {
            push(&mut registry, &format!("app{number}"));
            format!("{HOST}/acme/app{number}:1")
        })
        .collect();
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let (record, registry) = (Arc::clone(&arrivals), Mutex::new(registry));
    let service = Service::start(move |seen| {
        record.lock().unwrap().push(Instant::now());
        let (status, body) = stage::respond(&registry.lock().unwrap(), HOST, &seen.target);
        Answer { body, ..Answer::status(status) }.after(DELAY)
    })?;
    let mut configuration = configuration();
    configuration["limits"]["deadline_ms"] = json!(25_000);
    let Some(webhook) = Webhook::start(&configuration, Some(service.address()))? else { return Ok(()) };
    let start = Instant::now();
    let answer = thread::scope(|scope| -> Result<Value> {
        let twenty = scope.spawn(|| webhook.ask(&stage::review(&images, None)));
        // The only worker answers others all the while.
        let mut served = 0;
        while !twenty.is_finished() {
            let other = webhook.ask(&stage::review(&["other.example/x".to_owned()], None))?;
            assert_eq!(other["response"]["allowed"], false);
            served += usize::from(!twenty.is_finished());
        }
        println!("{served} other reviews were answered meanwhile");
        assert!(served >= 20, "{served} other reviews were answered meanwhile");
        twenty.join().unwrap()
    })?;
    ensure!(answer["response"]["allowed"] == true, "{answer:#}");
    assert_eq!(stage::patch(&answer)?.len(), 20);
    let arrivals = arrivals.lock().unwrap();
    println!("{} reads of {DELAY:?} took {:?}", arrivals.len(), start.elapsed());
    assert!(arrivals.len() >= 120, "{} reads", arrivals.len());
    // What arrives before the first answer can have been given waits for no answer.
    let first = arrivals[0];
    let at_once = arrivals.iter().filter(|arrival| arrival.duration_since(first) < DELAY).count();
    assert!(at_once >= 20, "{at_once} reads came before the first was answered");
    Ok(())
}

#[test]
fn a_registry_that_does_not_answer_ends_in_a_denial_and_holds_nobody_up() -> Result<()> {
    let registry = Arc::new(Mutex::new(Registry::new(Layout::Referrers)));
    let service = serve(registry, Duration::from_secs(20))?;
    let Some(webhook) = Webhook::start(&configuration(), Some(service.address()))? else { return Ok(()) };
    thread::scope(|scope| -> Result<()> {
        let slow = scope.spawn(|| webhook.ask(&stage::review(&[format!("{HOST}/acme/app:1")], None)));
        let other = webhook.ask(&stage::review(&["other.example/x".to_owned()], None))?;
        assert_eq!(other["response"]["allowed"], false);
        assert!(!slow.is_finished(), "the other was answered while the registry was waited for");
        let answer = slow.join().unwrap()?;
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["code"], 503);
        let message = answer["response"]["status"]["message"].as_str().context("no message")?;
        assert!(message.contains("REGISTRY_TIMEOUT") || message.contains("DEADLINE_EXCEEDED"), "{message}");
        Ok(())
    })
}
