//! Legacy Cosign: a payload in a layer, its signature and what proves it in annotations.
//!
//! What a key alone proves is verified here. A certificate, a log's promise and a timestamp are
//! rewritten as a bundle of version 0.1, and verified as one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::SignatureBytes;

use super::{Content, Fact, Identity, LogEvidence, Subject, Trust, annotation, key, statement};
use crate::{Digest, Reason, ReasonCode, encoding, evidence::Layer};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// `critical.type` of a payload (containers/image, "atomic container signature" and Cosign's
/// signature specification).
const PAYLOAD_TYPE: &str = "cosign container image signature";

/// The simple signing payload.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Critical {
    identity: NamedIdentity,
    image: NamedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct NamedIdentity {
    #[serde(rename = "docker-reference")]
    name: String,
}

#[derive(Deserialize)]
struct NamedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// What the log wrote: Cosign's form of a promise.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogEntry {
    signed_entry_timestamp: String,
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// Verifies a layer of a `.sig` manifest about the image with `digest`.
pub(crate) fn signature(layer: &Layer, digest: Digest, trust: Trust<'_>) -> Result<Fact, Reason> {
    let payload: Payload = encoding::json(&layer.payload.0).map_err(|error| {
        Reason::new(ReasonCode::PayloadMalformed, format!("the payload is not a simple signing one: {error}"))
    })?;
    // Cosign checks only the digest of these three.
    if payload.critical.kind != PAYLOAD_TYPE {
        let message = format!("the payload is a `{}`; `{PAYLOAD_TYPE}` is expected", payload.critical.kind);
        return Err(Reason::new(ReasonCode::PayloadMalformed, message));
    }
    if payload.critical.image.digest != digest.to_string() {
        let message =
            format!("the signature is for {}, and the image is {digest}", payload.critical.image.digest);
        return Err(Reason::new(ReasonCode::SubjectDigestMismatch, message));
    }
    let encoded = annotation(layer, SIGNATURE).unwrap_or_default();
    let signature = encoding::decode(encoded).ok().filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        Reason::new(ReasonCode::SignatureInvalid, format!("the annotation `{SIGNATURE}` is not base64"))
    })?;
    let content = json!({ "messageSignature": {
        "messageDigest": {
            "algorithm": "SHA2_256",
            "digest": encoding::encode(Digest::of(&layer.payload.0).as_bytes()),
        },
        "signature": encoded,
    }});
    let mut fact = verify(layer, &content, Subject::Bytes(&layer.payload.0), trust, |rule| {
        key::message_bytes(&layer.payload.0, &SignatureBytes::from_bytes(&signature), rule)
    })?;
    let name = Some(payload.critical.identity.name).filter(|name| !name.is_empty());
    let optional = payload.optional.unwrap_or_default();
    let mut annotations = BTreeMap::new();
    annotations.extend(optional.into_iter().filter_map(|(key, value)| match value {
        Value::String(text) => Some((key, text)),
        _ => None,
    }));
    fact.content = Content::Image { name, annotations };
    Ok(fact)
}

/// The DSSE envelope of a legacy attestation.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// Verifies a layer of an `.att` manifest about the image with `digest`.
pub(crate) fn attestation(layer: &Layer, digest: Digest, trust: Trust<'_>) -> Result<Fact, Reason> {
    let malformed =
        |what: &str| Reason::new(ReasonCode::PayloadMalformed, format!("the attestation's envelope {what}"));
    let envelope: Envelope =
        encoding::json(&layer.payload.0).map_err(|_| malformed("is not a DSSE envelope"))?;
    let [signature] = envelope.signatures.as_slice() else {
        return Err(malformed("must have exactly one signature"));
    };
    let payload =
        encoding::decode(&envelope.payload).map_err(|_| malformed("has a payload that is not base64"))?;
    let bytes =
        encoding::decode(&signature.sig).map_err(|_| malformed("has a signature that is not base64"))?;
    let content = json!({ "dsseEnvelope": {
        "payloadType": envelope.payload_type,
        "payload": envelope.payload,
        "signatures": [{ "sig": signature.sig }],
    }});
    let mut fact = verify(layer, &content, Subject::Digest(digest), trust, |rule| {
        key::envelope(&envelope.payload_type, &payload, &SignatureBytes::from_bytes(&bytes), rule)
    })?;
    fact.content = Content::Statement(Box::new(statement(&payload, digest)?));
    Ok(fact)
}

fn verify(
    layer: &Layer,
    content: &Value,
    subject: Subject<'_>,
    trust: Trust<'_>,
    by_key: impl Fn(&crate::policy::KeyRule) -> Result<(), Reason>,
) -> Result<Fact, Reason> {
    let certificate = annotation(layer, CERTIFICATE);
    match trust {
        Trust::Key(..) if certificate.is_some() => {
            let message = "the signature was made with a certificate, and a key is asked for";
            return Err(Reason::new(ReasonCode::KindMismatch, message));
        }
        Trust::Root(_) if certificate.is_none() => {
            let message = "the signature was made with a key, and a certificate is asked for";
            return Err(Reason::new(ReasonCode::KindMismatch, message));
        }
        Trust::Key(rule, root) => {
            by_key(rule)?;
            if root.is_none() || annotation(layer, BUNDLE).is_none() {
                // No log's word: whether one is needed is the signer's rule to say.
                return Ok(Fact {
                    identity: Identity::Key(rule.fingerprint),
                    times: Vec::new(),
                    log: LogEvidence::None,
                    content: Content::Artifact,
                });
            }
        }
        Trust::Root(_) => {}
    }
    let json = rewritten(layer, certificate, content)?;
    let bundle = super::parse(&json.to_string())?;
    super::bundle(&bundle, subject, trust)
}

/// The layer as a bundle. Version 0.1 is the one that a promise alone is enough for; without a
/// promise it is one that lives on its timestamp.
fn rewritten(layer: &Layer, certificate: Option<&str>, content: &Value) -> Result<Value, Reason> {
    let material = |what: &str, reason: &str| {
        Reason::new(ReasonCode::CertificateMalformed, format!("the annotation `{what}`: {reason}"))
    };
    let mut verification = json!({});
    match certificate {
        Some(leaf) => {
            let mut chain =
                encoding::pem(leaf, "CERTIFICATE").map_err(|reason| material(CERTIFICATE, reason))?;
            chain.truncate(1);
            if let Some(rest) = annotation(layer, CHAIN).filter(|text| !text.trim().is_empty()) {
                chain.extend(encoding::pem(rest, "CERTIFICATE").map_err(|reason| material(CHAIN, reason))?);
            }
            let certificates: Vec<Value> =
                chain.iter().map(|der| json!({ "rawBytes": encoding::encode(der) })).collect();
            insert(&mut verification, "x509CertificateChain", json!({ "certificates": certificates }));
        }
        None => insert(&mut verification, "publicKey", json!({ "hint": "" })),
    }
    let log = annotation(layer, BUNDLE);
    if let Some(log) = log {
        insert(&mut verification, "tlogEntries", json!([entry(log)?]));
    }
    // A legacy attestation's timestamp is over its envelope, and a bundle's is over the signature: it
    // cannot be moved. Its log's promise says when.
    let is_envelope = content.get("dsseEnvelope").is_some();
    if let (Some(timestamp), false) = (annotation(layer, TIMESTAMP), is_envelope && log.is_some()) {
        let token = timestamp_token(timestamp)?;
        let timestamps = json!({ "rfc3161Timestamps": [{ "signedTimestamp": token }] });
        insert(&mut verification, "timestampVerificationData", timestamps);
    }
    let version = if log.is_some() { "0.1" } else { "0.2" };
    let mut bundle = json!({
        "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
        "verificationMaterial": verification,
    });
    if let (Some(bundle), Some(content)) = (bundle.as_object_mut(), content.as_object()) {
        bundle.extend(content.clone());
    }
    Ok(bundle)
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn entry(text: &str) -> Result<Value, Reason> {
    let malformed =
        |what: &str| Reason::new(ReasonCode::LogEntryMalformed, format!("the annotation `{BUNDLE}` {what}"));
    let entry: LogEntry = serde_json::from_str(text).map_err(|_| malformed("is not a log's entry"))?;
    let id =
        Digest::from_hex(&entry.payload.log_id).map_err(|_| malformed("has a log ID that is not SHA-256"))?;
    let body =
        encoding::decode(&entry.payload.body).map_err(|_| malformed("has a body that is not base64"))?;
    let body: Value = encoding::json(&body).map_err(|_| malformed("has a body that is not JSON"))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(kind), Some(version)) = (text("kind"), text("apiVersion")) else {
        return Err(malformed("has a body without a kind and a version"));
    };
    Ok(json!({
        "logIndex": entry.payload.log_index.to_string(),
        "logId": { "keyId": encoding::encode(id.as_bytes()) },
        "kindVersion": { "kind": kind, "version": version },
        "integratedTime": entry.payload.integrated_time.to_string(),
        "inclusionPromise": { "signedEntryTimestamp": entry.signed_entry_timestamp },
        "canonicalizedBody": entry.payload.body,
    }))
}

fn timestamp_token(text: &str) -> Result<String, Reason> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Timestamp {
        #[serde(rename = "SignedRFC3161Timestamp")]
        signed: String,
    }
    serde_json::from_str::<Timestamp>(text).map(|timestamp| timestamp.signed).map_err(|_| {
        Reason::new(ReasonCode::TimestampInvalid, format!("the annotation `{TIMESTAMP}` is not a timestamp"))
    })
}
