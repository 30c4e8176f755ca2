//! One signature: who signs what, where it is logged, and what is wrong with it.

use serde_json::{Value, json};

use crate::{
    Bundle, Certificate, Fault, Identity, Key, KeyKind, Log, START, Sigstore, TimestampStyle, Version,
    base64, rekor::Entry, sha256,
};

/// The type of an envelope's payload: an in-toto statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Who signs.
#[derive(Clone, Debug)]
pub enum Signer {
    /// A managed key: no certificate.
    Key(Key),
    /// A fresh key with a certificate for this identity.
    Keyless(Identity),
}

/// What is signed.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes, whose signature stands for itself: a file, or cosign's simple signing payload.
    Message(Vec<u8>),
    /// An in-toto statement in a DSSE envelope.
    Statement(Vec<u8>),
}

impl Content {
    /// An in-toto statement v1 about the artifact with this SHA-256 (in hex); without a name, as
    /// cosign 3 writes it, when `name` is empty.
    #[must_use]
    pub fn statement(name: &str, sha256: &str, predicate_type: &str, predicate: &Value) -> Self {
        let mut subject = json!({ "digest": { "sha256": sha256 } });
        if !name.is_empty() {
            subject["name"] = json!(name);
        }
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": predicate,
        });
        Self::Statement(statement.to_string().into_bytes())
    }
}

/// Makes signatures of one kind.
#[derive(Clone, Debug)]
pub struct Signing<'a> {
    sigstore: &'a Sigstore,
    signer: Signer,
    at: i64,
    stamped_at: Option<i64>,
    log: Log,
    timestamp: Option<TimestampStyle>,
    faults: Vec<Fault>,
}

impl<'a> Signing<'a> {
    /// Signs as `signer`, at [`START`], into Rekor v1, without a timestamp.
    #[must_use]
    pub fn new(sigstore: &'a Sigstore, signer: Signer) -> Self {
        let (log, timestamp, faults) = (Log::V1, None, Vec::new());
        Self { sigstore, signer, at: START, stamped_at: None, log, timestamp, faults }
    }

    /// Signs for a keyless identity.
    #[must_use]
    pub fn keyless(sigstore: &'a Sigstore, identity: Identity) -> Self {
        Self::new(sigstore, Signer::Keyless(identity))
    }

    /// Signs with a managed key.
    #[must_use]
    pub fn key(sigstore: &'a Sigstore, key: Key) -> Self {
        Self::new(sigstore, Signer::Key(key))
    }

    /// The time of signing, in seconds since 1970.
    #[must_use]
    pub fn at(self, at: i64) -> Self {
        Self { at, ..self }
    }

    /// The time that a timestamp says, where it is another one.
    #[must_use]
    pub fn stamped_at(self, at: i64) -> Self {
        Self { stamped_at: Some(at), ..self }
    }

    /// Where the signature is logged. Rekor v2 has no time, so a timestamp comes with it.
    #[must_use]
    pub fn log(self, log: Log) -> Self {
        let timestamp = self.timestamp.or((log == Log::V2).then_some(TimestampStyle::Plain));
        Self { log, timestamp, ..self }
    }

    /// Adds a timestamp.
    #[must_use]
    pub fn timestamp(self, style: TimestampStyle) -> Self {
        Self { timestamp: Some(style), ..self }
    }

    /// Makes this wrong about the signature.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Signs `content`.
    #[must_use]
    pub fn sign(&self, content: &Content) -> Signature {
        let (key, certificate) = self.holder();
        let message = match content {
            Content::Message(bytes) => bytes.clone(),
            Content::Statement(payload) => encoded(payload),
        };
        let over = if self.has(Fault::Signature) { [&message, &b"!"[..]].concat() } else { message.clone() };
        let bytes = key.sign(&over);
        let mut signature = Signature {
            content: content.clone(),
            bytes,
            key,
            certificate,
            entry: None,
            timestamp: None,
            chain: self.sigstore.chain_pem(),
        };
        if !self.has(Fault::NoLogEntry) {
            signature.entry = self.record(&signature, &message);
        }
        if let Some(style) = self.timestamp.filter(|_| !self.has(Fault::NoTimestamp)) {
            signature.timestamp = Some(self.stamp(&signature.bytes, style));
        }
        signature
    }

    /// A timestamp of `message`, as this signing makes them.
    pub(crate) fn stamp(&self, message: &[u8], style: TimestampStyle) -> Vec<u8> {
        self.sigstore.stamp(message, self.stamped_at.unwrap_or(self.at), style, &self.faults)
    }

    /// Signs `statement` as cosign 2 attests: there the timestamp is of the whole envelope, since
    /// the attestation's annotation has no signature.
    #[must_use]
    pub fn attest_legacy(&self, content: &Content) -> Signature {
        let mut signature = self.sign(content);
        if let Some(style) = self.timestamp.filter(|_| !self.has(Fault::NoTimestamp)) {
            signature.timestamp = Some(self.stamp(signature.envelope().to_string().as_bytes(), style));
        }
        signature
    }

    fn holder(&self) -> (Key, Option<Certificate>) {
        match &self.signer {
            Signer::Key(key) => (key.clone(), None),
            Signer::Keyless(identity) => {
                let from = if self.has(Fault::ExpiredCertificate) { self.at - 4_200 } else { self.at };
                let key = self.fresh(&format!("ephemeral/{identity:?}/{}", self.at));
                let certificate = self.sigstore.issue(&key, identity, from, &self.faults);
                (key, Some(certificate))
            }
        }
    }

    fn fresh(&self, name: &str) -> Key {
        Key::derive(&self.sigstore.seed, name, KeyKind::P256)
    }

    fn record(&self, signature: &Signature, message: &[u8]) -> Option<Entry> {
        let envelope = signature.envelope().to_string();
        let payload = match &signature.content {
            Content::Message(_) => None,
            Content::Statement(payload) => Some((envelope.as_bytes(), payload.as_slice())),
        };
        let other_message = [message, b"!"].concat();
        let other_payload = payload.map(|(_, payload)| [payload, b" "].concat());
        let other_key = self.fresh("another signer");
        let other_certificate = match &self.signer {
            Signer::Keyless(identity) => Some(self.sigstore.issue(&other_key, identity, self.at, &[])),
            Signer::Key(_) => None,
        };
        let other_signature = other_key.sign(&other_message);
        let mut signed = Signed {
            message,
            envelope: payload,
            signature: &signature.bytes,
            key: &signature.key,
            certificate: signature.certificate.as_ref(),
        };
        if self.has(Fault::OtherArtifactInLog) {
            signed.message = &other_message;
            signed.envelope = payload.zip(other_payload.as_deref()).map(|((text, _), other)| (text, other));
        }
        if self.has(Fault::OtherSignatureInLog) {
            signed.signature = &other_signature;
        }
        if self.has(Fault::OtherKeyInLog) {
            signed.key = &other_key;
            signed.certificate = other_certificate.as_ref();
        }
        Entry::write(self.sigstore, self.log, &signed, self.at, &self.faults)
    }
}

/// What an entry is about.
pub(crate) struct Signed<'a> {
    /// The bytes under the signature.
    pub(crate) message: &'a [u8],
    /// The envelope's text and its payload.
    pub(crate) envelope: Option<(&'a [u8], &'a [u8])>,
    pub(crate) signature: &'a [u8],
    pub(crate) key: &'a Key,
    pub(crate) certificate: Option<&'a Certificate>,
}

impl Signed<'_> {
    pub(crate) fn verifier_pem(&self) -> String {
        self.certificate.map_or_else(|| self.key.public_pem(), Certificate::pem)
    }

    pub(crate) fn verifier_der(&self) -> Vec<u8> {
        self.certificate.map_or_else(|| self.key.public_der(), |certificate| certificate.der().to_vec())
    }
}

/// The pre-authentication encoding of DSSE v1.
fn encoded(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A signature with everything that goes with it, to be written in one of the forms.
#[derive(Clone, Debug)]
pub struct Signature {
    content: Content,
    bytes: Vec<u8>,
    key: Key,
    certificate: Option<Certificate>,
    entry: Option<Entry>,
    timestamp: Option<Vec<u8>>,
    chain: String,
}

impl Signature {
    /// The signature's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same signature with this timestamp (a TimeStampResp).
    #[must_use]
    pub fn stamped(self, timestamp: Vec<u8>) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// The certificate of a keyless signature.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The DSSE envelope. Of a message there is none: null.
    #[must_use]
    pub fn envelope(&self) -> Value {
        let Content::Statement(payload) = &self.content else { return Value::Null };
        json!({
            "payloadType": IN_TOTO,
            "payload": base64(payload),
            "signatures": [{ "sig": base64(&self.bytes), "keyid": "" }],
        })
    }

    /// The signature as a Sigstore bundle.
    #[must_use]
    pub fn bundle(&self, version: Version) -> Bundle {
        let mut material = json!({});
        match (&self.certificate, version) {
            (None, _) => material["publicKey"] = json!({ "hint": self.key.hint() }),
            (Some(certificate), Version::V0_3) => {
                material["certificate"] = json!({ "rawBytes": base64(certificate.der()) });
            }
            (Some(certificate), Version::V0_1 | Version::V0_2) => {
                let leaf = json!({ "rawBytes": base64(certificate.der()) });
                material["x509CertificateChain"] = json!({ "certificates": [leaf] });
            }
        }
        material["tlogEntries"] = self.entry.iter().map(Entry::document).collect();
        if let Some(timestamp) = &self.timestamp {
            material["timestampVerificationData"] =
                json!({ "rfc3161Timestamps": [{ "signedTimestamp": base64(timestamp) }] });
        }
        let mut document = json!({ "mediaType": version.media_type(), "verificationMaterial": material });
        match &self.content {
            Content::Message(bytes) => {
                document["messageSignature"] = json!({
                    "messageDigest": { "algorithm": "SHA2_256", "digest": base64(sha256(bytes)) },
                    "signature": base64(&self.bytes),
                });
            }
            Content::Statement(_) => document["dsseEnvelope"] = self.envelope(),
        }
        Bundle::new(version, document, self.predicate_type())
    }

    /// The annotations that cosign 1 and 2 put on the layer of a signature.
    #[must_use]
    pub fn annotations(&self) -> Value {
        let mut annotations = json!({
            "dev.cosignproject.cosign/signature": match self.content {
                Content::Message(_) => base64(&self.bytes),
                Content::Statement(_) => String::new(),
            },
        });
        if let Some(certificate) = &self.certificate {
            annotations["dev.sigstore.cosign/certificate"] = json!(certificate.pem());
            annotations["dev.sigstore.cosign/chain"] = json!(self.chain);
        }
        if let Some(entry) = &self.entry
            && let Some(promise) = &entry.promise
        {
            let bundle = json!({ "SignedEntryTimestamp": base64(promise), "Payload": entry.promised() });
            annotations["dev.sigstore.cosign/bundle"] = json!(bundle.to_string());
        }
        if let Some(timestamp) = &self.timestamp {
            let stamp = json!({ "SignedRFC3161Timestamp": base64(timestamp) });
            annotations["dev.sigstore.cosign/rfc3161timestamp"] = json!(stamp.to_string());
        }
        if let Some(kind) = self.predicate_type() {
            annotations["predicateType"] = json!(kind);
        }
        annotations
    }

    /// What was signed: the payload of a simple signing, or the envelope of a statement.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        match &self.content {
            Content::Message(bytes) => bytes.clone(),
            Content::Statement(_) => self.envelope().to_string().into_bytes(),
        }
    }

    /// Whether the content is a statement.
    #[must_use]
    pub fn is_statement(&self) -> bool {
        matches!(self.content, Content::Statement(_))
    }

    fn predicate_type(&self) -> Option<String> {
        let Content::Statement(payload) = &self.content else { return None };
        let statement: Value = serde_json::from_slice(payload).ok()?;
        Some(statement.get("predicateType")?.as_str()?.to_owned())
    }
}
