//! Wycheproof's JWS vectors, natively and in wasm, with the crates' arithmetic and the host's.

use anyhow::{Context as _, Result, ensure};
use portcullis_core::Denial;
use portcullis_crypto::{Algorithm, Software};
use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::vectors;
use portcullis_jwt::{
    jwks::{KeySet, Limits, Origin},
    verify_jws,
};
use serde_json::{Value, json};

/// Vectors that a strict verifier must answer otherwise than they are marked.
const WAIVED: &[(u64, &str)] = &[
    (346, "the key says PS256, the signature is PS384"),
    (350, "the key says PS256, the signature is PS384"),
    (347, "the key's algorithm `ES521` does not exist"),
    (351, "the key's algorithm `ES521` does not exist"),
    (367, "byte-identical to 357, which is valid"),
    (370, "byte-identical to 357, which is valid"),
    (372, "marked valid, but a `?` was inserted"),
    (373, "marked valid, but a `?` was inserted"),
];

struct Vector {
    id: u64,
    set: String,
    jws: String,
    valid: bool,
}

fn load(file: &str, token: &str) -> Result<Option<Vec<Vector>>> {
    let Some(document) = vectors::json(file)? else { return Ok(None) };
    let mut all = Vec::new();
    for group in document["testGroups"].as_array().context("no groups")? {
        let key = [&group["public"], &group["private"]].into_iter().find(|key| !key.is_null());
        let key = key.context("a group without a key")?;
        let set = if key["keys"].is_array() { key.clone() } else { json!({ "keys": [key] }) };
        for test in group["tests"].as_array().context("no tests")? {
            all.push(Vector {
                id: test["tcId"].as_u64().context("no id")?,
                set: set.to_string(),
                jws: match &test[token] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                },
                valid: test["result"] == "valid",
            });
        }
    }
    Ok(Some(all))
}

/// The ids whose answer is not the one that they are marked with.
fn surprises(vectors: &[Vector], mut verifies: impl FnMut(&Vector) -> Result<bool>) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for vector in vectors {
        if verifies(vector)? != vector.valid {
            ids.push(vector.id);
        }
    }
    Ok(ids)
}

fn natively(vector: &Vector) -> Result<bool> {
    let verify = |set: &KeySet| -> Result<Vec<u8>, Denial> {
        verify_jws(vector.jws.as_bytes(), set, Algorithm::ALL, &Software)
    };
    // A key that cannot be used verifies nothing.
    Ok(KeySet::parse(vector.set.as_bytes(), Origin::Inline, &Limits::default())
        .is_ok_and(|set| verify(&set).is_ok()))
}

struct InWasm(Worker);

impl InWasm {
    fn new(process: &Process) -> Result<Self> {
        let module = Module::compile(&Engine::new()?, portcullis_modules::VECTORS.wasm)?;
        let mut worker = Worker::new(process);
        worker.add(&module, Plugin::new("vectors"))?;
        Ok(Self(worker))
    }

    fn verifies(&mut self, vector: &Vector) -> Result<bool> {
        let stream = self.0.open(StreamInfo::new());
        let headers = [(":method", "GET"), (":path", "/"), ("x-jwks", &vector.set), ("x-jws", &vector.jws)];
        let outcome = self.0.request_headers(stream, headers, true);
        self.0.close(stream);
        ensure!(outcome.trap().is_none(), "{} trapped", vector.id);
        ensure!(outcome.is_forward() || outcome.reply().is_some(), "{} was not judged", vector.id);
        Ok(outcome.is_forward())
    }
}

fn check(mut verifies: impl FnMut(&Vector) -> Result<bool>) -> Result<()> {
    let Some(signed) = load("wycheproof/json_web_signature_test.json", "jws")? else { return Ok(()) };
    assert_eq!(signed.len(), 401);
    let waived: std::collections::BTreeSet<u64> = WAIVED.iter().map(|(id, _)| *id).collect();
    let found: std::collections::BTreeSet<u64> = surprises(&signed, &mut verifies)?.into_iter().collect();
    // Equal, not a subset: a waiver that is no longer needed must go.
    assert_eq!(found, waived);
    let Some(encrypted) = load("wycheproof/json_web_encryption_test.json", "jwe")? else { return Ok(()) };
    assert_eq!(encrypted.len(), 139);
    for vector in &encrypted {
        assert!(!verifies(vector)?, "the JWE {} was taken for a JWS", vector.id);
    }
    Ok(())
}

#[test]
fn the_native_policy_passes_all_vectors() -> Result<()> {
    check(natively)
}

#[test]
fn the_module_passes_all_vectors_with_its_own_arithmetic() -> Result<()> {
    let process = Process::builder()
        .clock(VirtualClock::at_unix_seconds(1_767_225_600))
        .without_foreign_function("verify_signature")
        .build();
    let mut module = InWasm::new(&process)?;
    check(|vector| module.verifies(vector))
}

#[test]
fn the_module_passes_all_vectors_with_the_hosts_arithmetic() -> Result<()> {
    let process = Process::builder().clock(VirtualClock::at_unix_seconds(1_767_225_600)).recording().build();
    let mut module = InWasm::new(&process)?;
    check(|vector| module.verifies(vector))?;
    let asked = process.host_calls().get("proxy_call_foreign_function").copied().unwrap_or_default();
    assert!(asked > 100 || vectors::json("wycheproof/json_web_signature_test.json")?.is_none(), "{asked}");
    Ok(())
}
