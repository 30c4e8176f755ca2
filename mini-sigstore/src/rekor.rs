//! Transparency log entries: Rekor v1 (a promise, a proof and a checkpoint) and Rekor v2 (a proof
//! in a tile log and a checkpoint that witnesses have seen).

use serde_json::{Value, json};

use crate::{
    Fault, Key, base64, hex,
    merkle::{self, Hash},
    note, sha256,
    signing::Signed,
    sigstore::{REKOR, REKOR_2, Sigstore, WITNESSES},
};

/// Rekor v1 counts over all its shards; a proof's index is within one.
const SHARD: usize = 1_000_000;
/// Entries in a log of the test's: enough for proofs with a right border and a deep left.
const TREE: usize = 1_237;

/// Where a signature is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Nowhere.
    None,
    /// Rekor v1: `hashedrekord` 0.0.1, envelopes as `dsse` 0.0.1.
    V1,
    /// Rekor v1 with envelopes as `intoto` 0.0.2, as cosign 1 and npm wrote them.
    V1Intoto,
    /// Rekor v2: `hashedrekord` 0.0.2 for both.
    V2,
}

/// An entry with all that proves it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) version: &'static str,
    pub(crate) body: String,
    pub(crate) log_id: Hash,
    pub(crate) log_index: usize,
    /// Rekor v2 has no time of its own.
    pub(crate) integrated_time: Option<i64>,
    pub(crate) promise: Option<Vec<u8>>,
    pub(crate) proof: Option<Proof>,
}

#[derive(Clone, Debug)]
pub(crate) struct Proof {
    index: usize,
    size: usize,
    root: Hash,
    hashes: Vec<Hash>,
    checkpoint: String,
}

impl Entry {
    /// Logs `signed` at `at`; none when the signature goes nowhere.
    pub(crate) fn write(
        sigstore: &Sigstore,
        log: Log,
        signed: &Signed<'_>,
        at: i64,
        faults: &[Fault],
    ) -> Option<Self> {
        let (kind, version, body) = match log {
            Log::None => return None,
            Log::V2 => ("hashedrekord", "0.0.2", signed.hashed_2()),
            Log::V1 | Log::V1Intoto => match (signed.envelope, log) {
                (None, _) => ("hashedrekord", "0.0.1", signed.hashed_1()),
                (Some(_), Log::V1Intoto) => ("intoto", "0.0.2", signed.intoto_1()),
                (Some(_), _) => ("dsse", "0.0.1", signed.dsse_1()),
            },
        };
        let spec = json!({ "apiVersion": version, "kind": kind, "spec": body });
        // serde_json sorts the keys of a map: with ASCII text this is RFC 8785.
        let body = spec.to_string();
        let services = sigstore.services(faults.contains(&Fault::ForeignLog));
        let (log_id, key) = match log {
            Log::V2 => (sigstore.rekor_2_id(), &services.rekor_2),
            _ => (sigstore.trusted.rekor.id(), &services.rekor),
        };
        let mut entry = Self {
            kind,
            version,
            log_id,
            log_index: 0,
            integrated_time: None,
            promise: None,
            proof: None,
            body,
        };
        let proof = entry.prove(sigstore, log, key, at, faults);
        entry.log_index = proof.index;
        if log != Log::V2 {
            entry.log_index += SHARD;
            entry.integrated_time = Some(at);
            let mut promised = entry.promised();
            if faults.contains(&Fault::Promise) {
                promised["logIndex"] = json!(entry.log_index + 1);
            }
            entry.promise = Some(key.sign(promised.to_string().as_bytes()));
        }
        if !faults.contains(&Fault::NoProof) {
            entry.proof = Some(proof);
        }
        Some(entry)
    }

    /// What a signed entry timestamp is over, and cosign's bundle annotation repeats.
    pub(crate) fn promised(&self) -> Value {
        json!({
            "body": base64(&self.body),
            "integratedTime": self.integrated_time,
            "logIndex": self.log_index,
            "logID": hex(self.log_id),
        })
    }

    fn prove(&self, sigstore: &Sigstore, log: Log, key: &Key, at: i64, faults: &[Fault]) -> Proof {
        let own = merkle::leaf(self.body.as_bytes());
        let index = usize::from(u16::from_be_bytes([own[0], own[1]])) % TREE;
        let mut leaves: Vec<_> = (0..TREE).map(|number| merkle::leaf(&number.to_be_bytes())).collect();
        leaves[index] = own;
        let mut hashes = merkle::path(&leaves, index);
        if faults.contains(&Fault::Proof) {
            hashes[0][0] ^= 1;
        }
        if faults.contains(&Fault::OtherTree) {
            leaves[index] = merkle::leaf(b"another entry");
        }
        let root = merkle::root(&leaves);
        let checkpoint = if log == Log::V2 {
            let text = note::checkpoint(REKOR_2, TREE, &root);
            let line = note::log_line(&text, REKOR_2, &self.log_id, key);
            let seen = WITNESSES.iter().zip(&sigstore.trusted.witnesses);
            let witnesses: String =
                seen.map(|(name, key)| note::witness_line(&text, name, key, at)).collect();
            format!("{text}\n{line}{witnesses}")
        } else {
            let text = note::checkpoint(&format!("{REKOR} - 2605736670972794746"), TREE, &root);
            format!("{text}\n{}", note::log_line(&text, REKOR, &self.log_id, key))
        };
        Proof { index, size: TREE, root, hashes, checkpoint }
    }

    /// The entry in a bundle: protobuf's JSON, in which 64-bit numbers are strings.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "logIndex": self.log_index.to_string(),
            "logId": { "keyId": base64(self.log_id) },
            "kindVersion": { "kind": self.kind, "version": self.version },
            "canonicalizedBody": base64(&self.body),
        });
        if let Some(time) = self.integrated_time {
            document["integratedTime"] = json!(time.to_string());
        }
        if let Some(promise) = &self.promise {
            document["inclusionPromise"] = json!({ "signedEntryTimestamp": base64(promise) });
        }
        if let Some(Proof { index, size, root, hashes, checkpoint }) = &self.proof {
            document["inclusionProof"] = json!({
                "logIndex": index.to_string(),
                "treeSize": size.to_string(),
                "rootHash": base64(root),
                "hashes": hashes.iter().map(base64).collect::<Vec<_>>(),
                "checkpoint": { "envelope": checkpoint },
            });
        }
        document
    }
}

impl Signed<'_> {
    fn hashed_1(&self) -> Value {
        json!({
            "data": { "hash": { "algorithm": "sha256", "value": hex(sha256(self.message)) } },
            "signature": {
                "content": base64(self.signature),
                "publicKey": { "content": base64(self.verifier_pem()) },
            },
        })
    }

    /// Rekor v2 logs an envelope as the record of its pre-authentication encoding.
    fn hashed_2(&self) -> Value {
        let (algorithm, digest) = self.key.digest(self.message);
        let raw = base64(self.verifier_der());
        let mut verifier = json!({ "keyDetails": self.key.details() });
        if self.certificate.is_some() {
            verifier["x509Certificate"] = json!({ "rawBytes": raw });
        } else {
            verifier["publicKey"] = json!({ "rawBytes": raw });
        }
        json!({
            "hashedRekordV002": {
                "data": { "algorithm": algorithm, "digest": base64(digest) },
                "signature": { "content": base64(self.signature), "verifier": verifier },
            },
        })
    }

    fn dsse_1(&self) -> Value {
        let (envelope, payload) = self.envelope.unwrap_or_default();
        json!({
            "envelopeHash": { "algorithm": "sha256", "value": hex(sha256(envelope)) },
            "payloadHash": { "algorithm": "sha256", "value": hex(sha256(payload)) },
            "signatures": [{
                "signature": base64(self.signature),
                "verifier": base64(self.verifier_pem()),
            }],
        })
    }

    /// The signature is base64 twice there: Rekor hashed the envelope's text.
    fn intoto_1(&self) -> Value {
        let (envelope, payload) = self.envelope.unwrap_or_default();
        json!({
            "content": {
                "envelope": {
                    "payloadType": "application/vnd.in-toto+json",
                    "signatures": [{
                        "publicKey": base64(self.verifier_pem()),
                        "sig": base64(base64(self.signature)),
                    }],
                },
                "hash": { "algorithm": "sha256", "value": hex(sha256(envelope)) },
                "payloadHash": { "algorithm": "sha256", "value": hex(sha256(payload)) },
            },
        })
    }
}
