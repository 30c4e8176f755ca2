//! The cases: each way to make a good signature, and each fault in each generation of the log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_mini_sigstore::{
    Content, Fault, Identity, KeyKind, Log, Signing, Sigstore, TimestampStyle, TokenFault, Version,
};
use serde_json::{Value, json};

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const NAME: &str = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main";
const ARTIFACT: &[u8] = b"an artifact\n";

/// A bundle with what is expected of it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) good: bool,
    bundle: Value,
    key: Option<String>,
}

pub(crate) fn sigstore() -> Sigstore {
    Sigstore::new([7; 32])
}

/// Faults that a judge of bundles can see, in an entry of `log`.
fn visible(fault: Fault, log: Log) -> bool {
    match fault {
        // Rekor v2 promises nothing; without a timestamp there is only the log's time.
        Fault::Promise => log == Log::V1,
        Fault::ForeignTimestampAuthority | Fault::TimestampOfOther | Fault::NoTimestamp => log == Log::V2,
        _ => true,
    }
}

const FAULTS: [Fault; 18] = [
    Fault::Signature,
    Fault::ExpiredCertificate,
    Fault::ForeignAuthority,
    Fault::NoSct,
    Fault::ForeignSct,
    Fault::NotForCodeSigning,
    Fault::ForeignLog,
    Fault::Promise,
    Fault::Proof,
    Fault::OtherTree,
    Fault::OtherArtifactInLog,
    Fault::OtherSignatureInLog,
    Fault::OtherKeyInLog,
    Fault::NoLogEntry,
    Fault::NoProof,
    Fault::ForeignTimestampAuthority,
    Fault::TimestampOfOther,
    Fault::NoTimestamp,
];

pub(crate) fn all() -> Vec<Case> {
    let sigstore = sigstore();
    let identity = Identity::github("acme/shop", ".github/workflows/release.yml", "refs/heads/main");
    let message = Content::Message(ARTIFACT.to_vec());
    let digest = "e7ba4b1a9fcb1d7c5c3d3f4c0b1f7a0b5d0a1f6a2c9c8b7a6d5e4f3a2b1c0d9e";
    let statement = Content::statement("", digest, "https://sigstore.dev/cosign/sign/v1", &json!({}));
    let keyless = || Signing::keyless(&sigstore, identity.clone());
    let mut cases = Vec::new();
    let mut add = |name: String, good: bool, signing: &Signing<'_>, content: &Content, version| {
        let bundle = signing.sign(content).bundle(version).document;
        let key = name.contains("managed").then(|| sigstore.key("release", KeyKind::P256).public_pem());
        cases.push(Case { name, good, bundle, key });
    };

    for (what, content) in [("message", &message), ("statement", &statement)] {
        for version in [Version::V0_1, Version::V0_2, Version::V0_3] {
            add(format!("{what} in {version:?}"), true, &keyless(), content, version);
        }
        for log in [Log::V1, Log::V2] {
            for style in [
                TimestampStyle::Plain,
                TimestampStyle::Fraction(".25"),
                TimestampStyle::Fraction(".123456"),
                TimestampStyle::Sha384,
                TimestampStyle::Sha512Imprint,
                TimestampStyle::WithCertificate,
            ] {
                let name = format!("{what} in {log:?} with a {style:?} timestamp").to_lowercase();
                add(name, true, &keyless().log(log).timestamp(style), content, Version::V0_3);
            }
            for fault in TokenFault::ALL.into_iter().filter(|_| log == Log::V2) {
                let signing = keyless().log(log).timestamp(TimestampStyle::Forged(fault));
                let name = format!("{what} in {log:?} with the timestamp {fault:?}");
                add(name, false, &signing, content, Version::V0_3);
            }
            for fault in FAULTS.into_iter().filter(|&fault| visible(fault, log)) {
                let signing = keyless().log(log).fault(fault);
                add(format!("{what} in {log:?} with {fault:?}"), false, &signing, content, Version::V0_3);
            }
            let managed = Signing::key(&sigstore, sigstore.key("release", KeyKind::P256)).log(log);
            add(format!("{what} in {log:?} by a managed key"), true, &managed, content, Version::V0_3);
            let other = Signing::key(&sigstore, sigstore.key("other", KeyKind::P256)).log(log);
            add(format!("{what} in {log:?} by another managed key"), false, &other, content, Version::V0_3);
        }
    }
    let intoto = keyless().log(Log::V1Intoto);
    add("statement in intoto".to_owned(), true, &intoto, &statement, Version::V0_2);
    let someone = Signing::keyless(&sigstore, Identity::github("acme/shop", "other.yml", "refs/heads/main"));
    add("another workflow".to_owned(), false, &someone, &message, Version::V0_3);
    let other_artifact = Content::Message(b"another artifact".to_vec());
    add("another artifact".to_owned(), false, &keyless(), &other_artifact, Version::V0_3);
    let elsewhere = Signing::keyless(&sigstore, Identity::uri(NAME, "https://issuer.test"));
    add("another issuer".to_owned(), false, &elsewhere, &message, Version::V0_3);
    cases
}

/// What the scripts read.
pub(crate) fn document(cases: &[Case]) -> Value {
    let cases: Vec<_> = cases
        .iter()
        .map(|case| {
            json!({
                "case": case.name, "bundle": case.bundle, "artifact": STANDARD.encode(ARTIFACT),
                "name": NAME, "issuer": ISSUER, "key": case.key,
            })
        })
        .collect();
    json!({ "trustedRoot": sigstore().trusted_root(), "cases": cases })
}
