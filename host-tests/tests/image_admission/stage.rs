//! What the tests of the image filter share: reviews, policies over conformance cases, and the filter
//! in the wasmtime host with a registry in memory behind it.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_host::{
    CallResponse, Engine, Module, Outcome, OutgoingCall, Plugin, Process, StreamId, StreamInfo, VirtualClock,
    Worker,
};
use portcullis_signature::{Answer, Digest, Read, What};
use serde_json::{Value, json};

use crate::registry::Registry;

/// After every signature of the conformance cases and of the tests' own.
pub const NOW: u64 = 1_795_000_000;

/// A review of a pod with these images, and this evidence in its annotations.
pub fn review(images: &[String], evidence: Option<&Value>) -> Value {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(index, image)| json!({ "name": format!("c{index}"), "image": image }))
        .collect();
    let mut metadata = json!({ "name": "app" });
    if let Some(evidence) = evidence {
        metadata["annotations"] = json!({ "portcullis.dev/evidence": evidence.to_string() });
    }
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop",
            "operation": "CREATE",
            "object": { "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": containers } },
            "oldObject": null,
        },
    })
}

/// The configuration under which every conformance case can be asked about: a root, a signer and a
/// rule for each. The one whose root is broken is left out.
#[derive(Debug, Default)]
pub struct Cases {
    pub configuration: Value,
    pub reviews: Vec<(String, Value, String)>,
}

/// Reads a case's bundle far enough to know what it claims to be.
fn predicate_type(bundle: &str) -> Option<String> {
    use portcullis_signature::Base64;
    let bundle: Value = serde_json::from_str(bundle).ok()?;
    let payload: Base64 = serde_json::from_value(bundle.pointer("/dsseEnvelope/payload")?.clone()).ok()?;
    let statement: Value = serde_json::from_slice(&payload.0).ok()?;
    Some(statement.get("predicateType")?.as_str()?.to_owned())
}

/// Every conformance case as a review of a pod whose image is the case's artifact.
pub fn cases() -> Option<Cases> {
    let mut policy = json!({ "roots": {}, "signers": {}, "rules": [] });
    let mut reviews = Vec::new();
    let mut roots: Vec<Value> = Vec::new();
    for case in crate::conformance::cases()? {
        if case.name == "trust-root-tlog-missing-validity-start_fail" {
            continue;
        }
        let root = case.policy["roots"]["root"].clone();
        let number = roots.iter().position(|known| *known == root).unwrap_or_else(|| {
            roots.push(root);
            roots.len() - 1
        });
        let mut signer = case.policy["signers"]["signer"].clone();
        for kind in ["key", "keyless"] {
            if let Some(members) = signer.get_mut(kind) {
                members["root"] = json!(format!("r{number}"));
            }
        }
        policy["signers"][&case.name] = signer;
        let require = match predicate_type(&case.bundle) {
            Some(kind) => json!({ "attestation": { "predicate_type": kind, "signer": case.name } }),
            None => json!({ "signature": { "signer": case.name } }),
        };
        let name = format!("conformance.example/{}", case.name.replace('_', "-").to_lowercase());
        policy["rules"].as_array_mut()?.push(json!({
            "name": case.name, "images": [name], "require": require, "signed_name": "any",
        }));
        let digest = Digest::of(&case.artifact).to_string();
        let evidence = json!({ digest.clone(): { "bundles": [case.bundle] } });
        let review = review(&[format!("{name}@{digest}")], Some(&evidence));
        reviews.push((case.name, review, case.expected.to_string()));
    }
    for (number, root) in roots.into_iter().enumerate() {
        policy["roots"][format!("r{number}")] = root;
    }
    Some(Cases { configuration: json!({ "policy": policy }), reviews })
}

/// Whether the answer is the case's: allowed, or refused with its code as the cause.
pub fn check(name: &str, answer: &Value, expected: &str) -> Result<()> {
    let response = &answer["response"];
    let audited: Value =
        serde_json::from_str(response["auditAnnotations"]["images"].as_str().unwrap_or("{}"))?;
    let code = audited["/spec/containers/0/image"]["code"].as_str().unwrap_or("no code").to_owned();
    let allowed = response["allowed"] == true;
    ensure!(allowed == (expected == "VERIFIED"), "{name}: allowed {allowed}: {response:#}");
    // What holds has no cause of a refusal.
    ensure!(allowed || code == expected, "{name}: {code}, and {expected} is expected: {response:#}");
    ensure!(
        allowed || response["status"]["message"].as_str().is_some_and(|text| text.contains(expected)),
        "{name}: the message does not say {expected}: {response:#}"
    );
    Ok(())
}

/// How the registry of a test answers a call.
pub type Script<'s> = dyn Fn(&OutgoingCall) -> Option<CallResponse> + 's;

/// The filter in the wasmtime host.
pub struct Stage {
    pub clock: VirtualClock,
    pub process: Process,
    pub worker: Worker,
}

impl Stage {
    pub fn new(configuration: &Value) -> Result<Self> {
        Self::with(configuration, true)
    }

    /// With the host's arithmetic, or without it.
    pub fn with(configuration: &Value, host_arithmetic: bool) -> Result<Self> {
        let clock = VirtualClock::at_unix_seconds(NOW);
        let builder = Process::builder().clock(clock.clone()).seed(1).cluster("registry");
        let process = match host_arithmetic {
            true => builder.build(),
            false => builder.without_foreign_function("verify_signature").build(),
        };
        let mut worker = Worker::new(&process);
        let plugin = Plugin::new("image-admission")
            .configuration(configuration.to_string())
            .allow_on_headers_stop_iteration();
        worker.add(&module()?, plugin)?;
        Ok(Self { clock, process, worker })
    }

    /// Opens a stream and sends the review; the answer may follow.
    pub fn send(&mut self, review: &Value) -> Result<(StreamId, Option<Value>)> {
        let stream = self.worker.open(StreamInfo::new());
        let headers = [
            (":method", &b"POST"[..]),
            (":path", b"/validate"),
            (":authority", b"webhook"),
            (":scheme", b"https"),
        ];
        let outcome = self.worker.request_headers(stream, headers.to_vec(), false);
        ensure!(matches!(outcome, Outcome::Pause), "the headers are not held: {outcome:?}");
        let outcome = self.worker.request_body(stream, review.to_string().into_bytes(), true);
        Ok((stream, answer(&outcome)?))
    }

    /// The answer to a review, with every call answered by `script` in rounds: all calls that are under
    /// way are answered together. Also the number of rounds.
    pub fn judge(&mut self, review: &Value, script: &Script<'_>) -> Result<(Value, usize)> {
        let (stream, mut found) = self.send(review)?;
        let mut rounds = 0;
        for _ in 0..2_000 {
            if let Some(answer) = found {
                self.worker.close(stream);
                return Ok((answer, rounds));
            }
            let calls = self.worker.take_calls();
            rounds += usize::from(!calls.is_empty());
            let mut events = Vec::new();
            for call in calls {
                if let Some(response) = script(&call) {
                    events.extend(self.worker.complete_call(call.id, Ok(response)));
                }
            }
            self.clock.advance(Duration::from_millis(5));
            events.extend(self.worker.poll());
            found = reply(stream, &events)?;
        }
        bail!("the review is not answered")
    }
}

/// The reply to `stream` among events.
pub fn reply(stream: StreamId, events: &[portcullis_host::Event]) -> Result<Option<Value>> {
    for event in events {
        if event.stream == stream
            && let Some(found) = answer(&event.outcome)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn answer(outcome: &Outcome) -> Result<Option<Value>> {
    if let Some(trap) = outcome.trap() {
        bail!("the module trapped: {trap}");
    }
    outcome
        .reply()
        .map(|reply| serde_json::from_slice(&reply.body).context("the reply is not JSON"))
        .transpose()
}

/// Compiled once in this test binary.
fn module() -> Result<Module> {
    static MODULE: std::sync::OnceLock<Module> = std::sync::OnceLock::new();
    if let Some(module) = MODULE.get() {
        return Ok(module.clone());
    }
    let module = Module::compile(&Engine::new()?, portcullis_modules::IMAGE_ADMISSION.wasm)?;
    Ok(MODULE.get_or_init(|| module).clone())
}

/// The read that a request to a registry at `host` makes.
pub fn read(host: &str, path: &str) -> Option<Read> {
    let rest = path.strip_prefix("/v2/")?;
    let (name, kind, reference) = ["/manifests/", "/blobs/", "/referrers/"]
        .iter()
        .find_map(|kind| rest.rsplit_once(kind).map(|(name, reference)| (name, *kind, reference)))?;
    let what = match (kind, Digest::parse(reference)) {
        ("/manifests/", Ok(digest)) => What::Manifest(digest),
        ("/manifests/", Err(_)) => What::Tag(reference.to_owned()),
        ("/blobs/", Ok(digest)) => What::Blob(digest),
        ("/referrers/", Ok(digest)) => What::Referrers(digest),
        _ => return None,
    };
    Some(Read { registry: host.to_owned(), repository: name.to_owned(), what })
}

/// What the registry answers to a request: status and body.
pub fn respond(registry: &Registry, host: &str, path: &str) -> (u16, Vec<u8>) {
    match read(host, path).map(|read| registry.answer(&read)) {
        Some(Answer::Found(body)) => (200, body.0),
        Some(Answer::Absent | Answer::Failed { .. }) => (404, b"{}".to_vec()),
        None => (400, b"{}".to_vec()),
    }
}

/// A script that is the registry.
pub fn serving<'r>(registry: &'r Registry) -> impl Fn(&OutgoingCall) -> Option<CallResponse> + 'r {
    |call| {
        let text = |name: &str| call.headers.text(name).unwrap_or_default().to_owned();
        let (status, body) = respond(registry, &text(":authority"), &text(":path"));
        Some(CallResponse::new(status, body))
    }
}

/// A map from image to pinned image, out of the answer's patch.
pub fn patch(answer: &Value) -> Result<BTreeMap<String, String>> {
    use portcullis_signature::Base64;
    let patch: Base64 = serde_json::from_value(answer["response"]["patch"].clone())?;
    let operations: Vec<Value> = serde_json::from_slice(&patch.0)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(operations.iter().map(|operation| (text(&operation["path"]), text(&operation["value"]))).collect())
}
