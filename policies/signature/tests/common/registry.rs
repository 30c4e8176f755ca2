//! A registry in memory.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::collections::BTreeMap;

use portcullis_mini_sigstore::{Layout, Upload};
use portcullis_signature::{Answer, Base64, Digest, Evidence, Policy, Read, ReasonCode, Request, What, plan};
use serde_json::{Value, json};

/// Everything under `host/repository`.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tags: BTreeMap<(String, String), Vec<u8>>,
    contents: BTreeMap<(String, Digest), Vec<u8>>,
    referrers: BTreeMap<(String, Digest), Vec<Value>>,
    /// Whether it has the referrers API; without it the answer is 404.
    pub has_referrers: bool,
    /// Whether the referrers API answers an empty list whatever there is.
    pub hides_referrers: bool,
}

impl Registry {
    pub fn new(layout: Layout) -> Self {
        Self { has_referrers: layout == Layout::Referrers, ..Self::default() }
    }

    /// Pushes to `name`, which is `host/repository`.
    pub fn push(&mut self, name: &str, upload: &Upload) {
        for blob in &upload.blobs {
            self.contents.insert((name.to_owned(), Digest::of(&blob.bytes)), blob.bytes.clone());
        }
        for (under, manifest) in &upload.manifests {
            let digest = Digest::of(&manifest.bytes);
            self.contents.insert((name.to_owned(), digest), manifest.bytes.clone());
            if Digest::parse(under).is_err() {
                self.tags.insert((name.to_owned(), under.clone()), manifest.bytes.clone());
            }
            let document: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            if let Some(subject) = document.pointer("/subject/digest").and_then(Value::as_str) {
                let mut descriptor = manifest.descriptor();
                descriptor["artifactType"] = document["artifactType"].clone();
                let key = (name.to_owned(), Digest::parse(subject).unwrap());
                self.referrers.entry(key).or_default().push(descriptor);
            }
        }
    }

    /// Puts other bytes where a digest's are.
    pub fn corrupt(&mut self, name: &str, digest: &str, bytes: &[u8]) {
        self.contents.insert((name.to_owned(), Digest::parse(digest).unwrap()), bytes.to_vec());
    }

    pub fn answer(&self, read: &Read) -> Answer {
        let name = format!("{}/{}", read.registry, read.repository);
        let found = match &read.what {
            What::Tag(tag) => self.tags.get(&(name, tag.clone())).cloned(),
            What::Manifest(digest) | What::Blob(digest) => self.contents.get(&(name, *digest)).cloned(),
            What::Referrers(_) if !self.has_referrers => None,
            What::Referrers(digest) => {
                let listed = self.referrers.get(&(name, *digest)).cloned().unwrap_or_default();
                let listed = if self.hides_referrers { Vec::new() } else { listed };
                Some(json!({ "schemaVersion": 2, "manifests": listed }).to_string().into_bytes())
            }
        };
        found.map_or(Answer::Absent, |bytes| Answer::Found(Base64(bytes)))
    }

    /// Makes all reads of the plan, round by round; also how many rounds there were.
    pub fn read_all(&self, request: &Request, policy: &Policy, evidence: &mut Evidence) -> usize {
        for round in 0.. {
            let reads = plan(request, policy, evidence);
            if reads.is_empty() {
                return round;
            }
            for read in reads {
                let answer = self.answer(&read);
                evidence.record(read, answer);
            }
            assert!(round < 8, "the plan does not end");
        }
        0
    }
}

/// A registry that fails every read of this kind.
pub fn failing(code: ReasonCode) -> Answer {
    Answer::Failed { code, detail: "as the test wants it".into() }
}
