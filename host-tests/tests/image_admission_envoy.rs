//! The image filter in the real Envoy: conformance cases, signed images in a registry on loopback, and a
//! registry that does not answer.

#[path = "../../policies/signature/tests/common/conformance.rs"]
mod conformance;
#[path = "../../policies/signature/tests/common/registry.rs"]
mod registry;
#[path = "image_admission/stage.rs"]
mod stage;

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Answer, Connection, Request, Service},
};
use portcullis_mini_sigstore::{Identity, Image, Layout, Log, Signing, Sigstore, Upload, Version};
use registry::Registry;
use serde_json::{Value, json};

const HOST: &str = "r.example";

/// Envoy with the filter; the folder has the module that Envoy reads.
struct Webhook {
    envoy: Envoy,
    _folder: tempfile::TempDir,
}

impl Webhook {
    /// Nothing where tests in Envoy are skipped.
    fn start(configuration: &Value, registry: Option<&Service>) -> Result<Option<Self>> {
        let Some(binary) = envoy::binary_unless_skipped() else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("image-admission.wasm");
        fs::write(&module, portcullis_modules::IMAGE_ADMISSION.wasm)?;
        let mut filter = wasm("image-admission", &module, configuration);
        // The body is read while the headers are held.
        filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
        let mut bootstrap =
            Bootstrap::new().listener(Listener::new("webhook").filter(filter).direct(500, "passed"));
        if let Some(registry) = registry {
            bootstrap = bootstrap.cluster("registry", registry.address());
        }
        let envoy = Envoy::start(&binary, &bootstrap.into_value())?;
        Ok(Some(Self { envoy, _folder: folder }))
    }

    fn ask(&self, review: &Value) -> Result<Value> {
        let request = Request::new("POST", "/validate")
            .header("host", "webhook")
            .header("content-type", "application/json")
            .body(review.to_string());
        let reply = Connection::open(self.envoy.address("webhook"))?.call(&request)?;
        ensure!(reply.status == 200, "answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        reply.json()
    }
}

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
    let Some(webhook) = Webhook::start(&configuration(), Some(&service))? else { return Ok(()) };
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
fn reads_of_twenty_images_are_parallel() -> Result<()> {
    let mut registry = Registry::new(Layout::Referrers);
    let images: Vec<String> = (0..20)
        .map(|number| {
            push(&mut registry, &format!("app{number}"));
            format!("{HOST}/acme/app{number}:1")
        })
        .collect();
    let service = serve(Arc::new(Mutex::new(registry)), Duration::from_millis(100))?;
    let mut configuration = configuration();
    configuration["limits"]["deadline_ms"] = json!(25_000);
    let Some(webhook) = Webhook::start(&configuration, Some(&service))? else { return Ok(()) };
    let start = Instant::now();
    let answer = webhook.ask(&stage::review(&images, None))?;
    ensure!(answer["response"]["allowed"] == true, "{answer:#}");
    assert_eq!(stage::patch(&answer)?.len(), 20);
    let reads = service.seen().len();
    // One after the other they would take a tenth of a second each. The time is shown, not judged.
    println!("{reads} reads of 100 ms took {:?}", start.elapsed());
    assert!(reads >= 120, "{reads} reads");
    Ok(())
}

#[test]
fn a_registry_that_does_not_answer_ends_in_a_denial_and_holds_nobody_up() -> Result<()> {
    let registry = Arc::new(Mutex::new(Registry::new(Layout::Referrers)));
    let service = serve(registry, Duration::from_secs(20))?;
    let Some(webhook) = Webhook::start(&configuration(), Some(&service))? else { return Ok(()) };
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
