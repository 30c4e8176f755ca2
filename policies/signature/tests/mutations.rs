//! Mutants of good bundles: none makes the module stop, and none is accepted that says anything else
//! than the original, or by anybody else.
//!
//! `PORTCULLIS_MUTANTS` is how many there are of each bundle; the long run has 20,000.

mod common;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
};

use portcullis_core::UnixTime;
use portcullis_mini_sigstore::{
    Identity, Image, KeyKind, Log, START, Signing, Sigstore, TimestampStyle, Version,
};
use portcullis_signature::{Artifact, Base64, Digest, Policy, verify_bundle};
use serde_json::{Value, json};

const NOW: UnixTime = UnixTime::from_secs(START + 86_400);

/// A small generator (Marsaglia's xorshift): the same mutants every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }
}

/// Every place in a document.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                pointers(member, &format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    serde_json::from_value::<Base64>(json!(text)).ok().map(|bytes| bytes.0)
}

fn mutate(original: &Value, other: &Value, random: &mut Random) -> String {
    let mut document = original.clone();
    let mut all = Vec::new();
    pointers(&document, "", &mut all);
    let place = all[random.below(all.len())].clone();
    match random.below(8) {
        // A bit of the text.
        0 => {
            let mut bytes = document.to_string().into_bytes();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        // A cut.
        1 => {
            let text = document.to_string();
            let at = text.floor_char_boundary(random.below(text.len()));
            return text[..at].to_owned();
        }
        // Something is missing.
        2 => {
            if let Some((parent, name)) = place.rsplit_once('/') {
                match document.pointer_mut(parent) {
                    Some(Value::Object(members)) => drop(members.remove(name)),
                    Some(Value::Array(items)) => items.clear(),
                    _ => {}
                }
            }
        }
        // Something is of another bundle.
        3 => {
            if let (Some(slot), Some(value)) = (document.pointer_mut(&place), other.pointer(&place)) {
                *slot = value.clone();
            }
        }
        // Something is twice.
        4 => {
            if let Some(Value::Array(items)) = document.pointer_mut(&place) {
                let again = items.first().cloned();
                items.extend(again);
            }
        }
        // Something is of another kind.
        5 => {
            let values = [
                json!(null),
                json!(0),
                json!(-1),
                json!("9223372036854775807"),
                json!([]),
                json!({}),
                json!(""),
            ];
            let value = values[random.below(values.len())].clone();
            if let Some(slot) = document.pointer_mut(&place) {
                *slot = value;
            }
        }
        // A bit of some bytes, or of a text.
        _ => {
            if let Some(slot) = document.pointer_mut(&place)
                && let Some(text) = slot.as_str()
            {
                let decoded = base64(text);
                let mut bytes = decoded.clone().unwrap_or_else(|| text.as_bytes().to_vec());
                if !bytes.is_empty() {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                *slot = match decoded {
                    Some(_) => serde_json::to_value(Base64(bytes)).unwrap(),
                    None => json!(String::from_utf8_lossy(&bytes)),
                };
            }
        }
    }
    document.to_string()
}

/// What a bundle says and who says it: its payload or digest, its signature, its certificate.
fn meaning(bundle: &Value) -> Vec<Option<Vec<u8>>> {
    [
        "/dsseEnvelope/payload",
        "/dsseEnvelope/signatures/0/sig",
        "/messageSignature/messageDigest/digest",
        "/messageSignature/signature",
        "/verificationMaterial/certificate/rawBytes",
        "/verificationMaterial/x509CertificateChain/certificates/0/rawBytes",
        "/verificationMaterial/tlogEntries/0/canonicalizedBody",
    ]
    .iter()
    .map(|place| bundle.pointer(place).and_then(Value::as_str).and_then(base64))
    .collect()
}

#[test]
fn no_mutant_of_a_good_bundle_is_believed() {
    let count: usize = env::var("PORTCULLIS_MUTANTS").map_or(60, |text| text.parse().unwrap());
    let sigstore = Sigstore::new([3; 32]);
    let (image, other_image) = (Image::new("a"), Image::new("b"));
    let identity = || Identity::github("acme/app", ".github/workflows/release.yml", "refs/tags/v1");
    let key = sigstore.key("alice", KeyKind::P256);
    let signings = [
        Signing::keyless(&sigstore, identity()),
        Signing::keyless(&sigstore, identity()).log(Log::V1Intoto),
        Signing::keyless(&sigstore, identity()).log(Log::V2),
        Signing::keyless(&sigstore, identity()).log(Log::V2).timestamp(TimestampStyle::Sha384),
        Signing::keyless(&sigstore, identity()).log(Log::V2).timestamp(TimestampStyle::Fraction(".123456")),
        Signing::key(&sigstore, key.clone()).log(Log::V1),
    ];
    let document = json!({
        "roots": { "test": { "trusted_root": sigstore.trusted_root() } },
        "signers": {
            "ci": { "github": { "repository": "acme/app" } },
            "key": { "key": { "public_key": key.public_pem(), "log": "proof" } },
        },
    });
    let policy = Policy::from_json(document.to_string().as_bytes()).unwrap();
    let digest = Digest::parse(&image.digest()).unwrap();
    let mut random = Random(0x5eed);
    let (mut accepted, mut refused) = (0_usize, 0_usize);
    for (number, signing) in signings.iter().enumerate() {
        let signer = if number == 5 { "key" } else { "ci" };
        for version in [Version::V0_2, Version::V0_3] {
            let original = signing.sign(&image.statement()).bundle(version).document;
            let other = signing.sign(&other_image.statement()).bundle(version).document;
            let verify = |text: &str| verify_bundle(text, Artifact::Digest(digest), signer, &policy, NOW);
            verify(&original.to_string()).unwrap_or_else(|reason| panic!("{number}: {reason}"));
            for _ in 0..count {
                let mutant = mutate(&original, &other, &mut random);
                let result = panic::catch_unwind(AssertUnwindSafe(|| verify(&mutant).is_ok()));
                match result {
                    Ok(true) => {
                        accepted += 1;
                        let mutant: Value = serde_json::from_str(&mutant).unwrap();
                        assert_eq!(meaning(&mutant), meaning(&original), "{mutant}");
                    }
                    Ok(false) => refused += 1,
                    Err(_) => panic!("a mutant made the module stop: {mutant}"),
                }
            }
        }
    }
    println!("{refused} mutants refused, {accepted} accepted that say the same");
    assert!(refused > accepted);
}
