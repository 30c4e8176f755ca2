//! The conformance cases as policies: signer `signer`, root `root`.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use portcullis_signature::ReasonCode;
use serde_json::{Value, json};

/// The identity that signs where a case does not say (the cases' README).
const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// P-256, of nobody.
const OTHER_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFNLqFhf4fiN6o/glAuYnq2jYUeL0
vRuLu/z39pmbVwS9ff5AYnlwaP9sxREajdLY9ynM6G1sy6AAmb7Z63TsLg==
-----END PUBLIC KEY-----
";

/// A case.
pub struct Case {
    pub name: String,
    pub bundle: String,
    pub artifact: Vec<u8>,
    pub policy: Value,
    pub expected: ReasonCode,
}

/// Each case that is refused, and the reason that it is about.
pub const REFUSED: &[(&str, ReasonCode)] = &[
    ("bundle-empty-certificate-chain_fail", ReasonCode::BundleMalformed),
    ("bundle-from-wrong-instance_fail", ReasonCode::LogUnknown),
    ("bundle-invalid-base64-signature_fail", ReasonCode::BundleMalformed),
    ("bundle-malformed-json_fail", ReasonCode::BundleMalformed),
    ("bundle-unknown-version_fail", ReasonCode::BundleUnsupported),
    ("checkpoint-wrong-roothash_fail", ReasonCode::LogCheckpointInvalid),
    ("dsse-invalid-sig_fail", ReasonCode::SignatureInvalid),
    ("dsse-mismatch-envelope_fail", ReasonCode::LogEntryMismatch),
    ("inclusion-proof-corrupted-hash_fail", ReasonCode::LogProofInvalid),
    ("intoto-expired-certificate_fail", ReasonCode::CertificateExpired),
    ("intoto-missing-inclusion-proof_fail", ReasonCode::LogProofInvalid),
    ("intoto-tsa-timestamp-outside-cert-validity_fail", ReasonCode::CertificateExpired),
    ("invalid-checkpoint-signature_fail", ReasonCode::LogCheckpointInvalid),
    ("invalid-inclusion-proof_fail", ReasonCode::LogProofInvalid),
    ("managed-key-no-key_fail", ReasonCode::KindMismatch),
    ("managed-key-wrong-key_fail", ReasonCode::SignatureInvalid),
    ("rekor2-checkpoint-missing-log-signature_fail", ReasonCode::LogCheckpointInvalid),
    ("rekor2-checkpoint-missing-root-hash_fail", ReasonCode::LogCheckpointInvalid),
    ("rekor2-checkpoint-missing-size_fail", ReasonCode::LogCheckpointInvalid),
    ("rekor2-dsse-invalid-sig_fail", ReasonCode::SignatureInvalid),
    ("rekor2-dsse-mismatch-sig_fail", ReasonCode::LogEntryMismatch),
    ("rekor2-no-inclusion-proof_fail", ReasonCode::LogProofInvalid),
    ("rekor2-timestamp-outside-trust-root-tsa-validity_fail", ReasonCode::TimestampOutsideAuthority),
    ("rekor2-timestamp-payload-mismatch_fail", ReasonCode::TimestampInvalid),
    ("rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail", ReasonCode::TimestampInvalid),
    ("rekor2-timestamp-with-incorrect-time_fail", ReasonCode::CertificateExpired),
    ("set-invalid-signature_fail", ReasonCode::LogPromiseInvalid),
    ("signature-mismatch_fail", ReasonCode::SignatureInvalid),
    ("trust-root-tlog-missing-validity-start_fail", ReasonCode::TrustRootInvalid),
    ("wrong-hashedrekord-artifact_fail", ReasonCode::LogEntryMismatch),
    ("wrong-hashedrekord-entry_fail", ReasonCode::LogEntryMismatch),
];

/// Every case of the folder, or nothing with a line that says so.
pub fn cases() -> Option<Vec<Case>> {
    let Some(folder) = env::var_os("PORTCULLIS_VECTORS") else {
        println!("not run: sigstore-conformance; PORTCULLIS_VECTORS names no folder");
        return None;
    };
    let folder = Path::new(&folder).join("sigstore-conformance");
    let mut names: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    Some(names.iter().map(|path| case(&folder, path)).collect())
}

fn case(folder: &Path, path: &Path) -> Case {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let text = |file: &str| fs::read_to_string(path.join(file)).ok();
    let artifact =
        fs::read(path.join("artifact")).unwrap_or_else(|_| fs::read(folder.join("a.txt")).unwrap());
    let root = match text("trusted_root.json") {
        Some(json) => json!({ "trusted_root": serde_json::from_str::<Value>(&json).unwrap() }),
        None => json!({ "builtin": "sigstore" }),
    };
    // The case's own wrong key is not one at all, so it never gets as far as being wrong.
    let key = text("key.pub").map(|key| match name.as_str() {
        "managed-key-wrong-key_fail" => OTHER_KEY.to_owned(),
        _ => key,
    });
    let signer = match key {
        Some(key) => json!({ "key": { "public_key": key, "log": "required" } }),
        None => json!({ "keyless": {
            "issuer": text("issuer").as_deref().map_or(ISSUER, str::trim),
            "subject": text("identity").as_deref().map_or(IDENTITY, str::trim),
        }}),
    };
    let policy = json!({ "roots": { "root": root }, "signers": { "signer": signer } });
    let bundle = text("bundle.sigstore.json").unwrap();
    let bundle = match name.as_str() {
        // The case's timestamp has line breaks within its base64: it never gets as far as its time.
        "rekor2-timestamp-with-incorrect-time_fail" => unbroken(&bundle),
        // The case's proof has no checkpoint: it never gets as far as the proof. This one has, and is
        // the proof of another entry.
        "invalid-inclusion-proof_fail" => with_proof_of(
            &bundle,
            &fs::read_to_string(folder.join("happy-path-v0.3/bundle.sigstore.json")).unwrap(),
        ),
        _ => bundle,
    };
    let refused = REFUSED.iter().find(|(known, _)| *known == name);
    assert_eq!(refused.is_some(), name.ends_with("_fail"), "{name} has no reason in REFUSED");
    let expected = refused.map_or(ReasonCode::Verified, |(_, code)| *code);
    Case { bundle, artifact, policy, expected, name }
}

fn with_proof_of(bundle: &str, other: &str) -> String {
    let path = "/verificationMaterial/tlogEntries/0/inclusionProof";
    let mut bundle: Value = serde_json::from_str(bundle).unwrap();
    let other: Value = serde_json::from_str(other).unwrap();
    *bundle.pointer_mut(path).unwrap() = other.pointer(path).unwrap().clone();
    bundle.to_string()
}

fn unbroken(bundle: &str) -> String {
    let mut bundle: Value = serde_json::from_str(bundle).unwrap();
    let path = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let token = bundle.pointer_mut(path).unwrap();
    *token = token.as_str().unwrap().replace(char::is_whitespace, "").into();
    bundle.to_string()
}
