//! A registry with a Sigstore instance, and the command that judges its images.

use std::{fs, slice};

use portcullis_mini_sigstore::{
    Identity, Image, Key, KeyKind, Sigstore, Upload,
    registry::{Registry, Transport},
};
use serde_json::{Value, json};

use crate::common;

/// Who signs releases.
pub(crate) fn identity() -> Identity {
    Identity::github("acme/shop", ".github/workflows/release.yml", "refs/heads/main")
}

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) sigstore: Sigstore,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::start(folder.path(), Transport::Http).unwrap();
        Self { registry, sigstore: Sigstore::new([9; 32]), folder }
    }

    pub(crate) fn key(&self) -> Key {
        self.sigstore.key("release", KeyKind::P256)
    }

    /// An image's name in the registry.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/acme/{image}", self.registry.host())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn push(&self, name: &str, tag: &str, image: &Image, evidence: &[Upload]) {
        for upload in slice::from_ref(&Upload::image(image, tag)).iter().chain(evidence) {
            self.registry.push(&format!("acme/{name}"), upload).unwrap();
        }
    }

    /// A policy of one rule.
    pub(crate) fn rule(&self, require: Value) -> Value {
        policy(&self.sigstore, &self.key(), require)
    }

    pub(crate) fn verify(&self, image: &str, policy: &Value) -> (i32, Value) {
        self.verify_with(image, policy, &[])
    }

    /// The exit code and the verdict.
    pub(crate) fn verify_with(&self, image: &str, policy: &Value, more: &[&str]) -> (i32, Value) {
        let path = self.path("policy.json");
        fs::write(&path, policy.to_string()).unwrap();
        judge(&self.name(image), &path, &[&["--plain-http"], more].concat())
    }
}

pub(crate) fn policy(sigstore: &Sigstore, key: &Key, require: Value) -> Value {
    let github = json!({ "repository": "acme/shop", "workflow": ".github/workflows/release.yml", "ref": "refs/heads/main" });
    let mut unlogged = github.clone();
    unlogged["log"] = json!("none");
    let mut document = json!({
        "roots": { "test": { "trusted_root": sigstore.trusted_root() } },
        "signers": {
            "release": { "github": github },
            "unlogged": { "github": unlogged },
            "key": { "key": { "public_key": key.public_pem() } },
            "logged_key": { "key": { "public_key": key.public_pem(), "log": "required", "root": "test" } },
        },
        "rules": [{ "name": "all", "images": ["**"] }],
    });
    document["rules"][0]["require"] = require;
    document
}

/// Runs the command on `image`.
pub(crate) fn judge(image: &str, policy: &str, more: &[&str]) -> (i32, Value) {
    let arguments = [&["verify-image", image, "--policy", policy, "--format", "json"], more].concat();
    let output = common::portcullis().args(&arguments).env("DOCKER_CONFIG", "/nonexistent").output().unwrap();
    let verdict = serde_json::from_slice(&output.stdout);
    let verdict = verdict.unwrap_or_else(|error| panic!("{error}: {}", common::text(&output.stderr)));
    (output.status.code().unwrap(), verdict)
}
