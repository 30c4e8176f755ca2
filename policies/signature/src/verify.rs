//! One signature against one trust: the arithmetic, and what it proves. Nothing here asks whether
//! the signer is the right one.

mod failure;
mod issuer;
mod key;
mod legacy;

use std::collections::BTreeMap;

use portcullis_core::UnixTime;
use serde_json::Value;
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult,
    crypto::FulcioCiClaims,
    types::{
        Artifact, Bundle, HashAlgorithm, Sha256Hash, SignatureContent, bundle::VerificationMaterialContent,
    },
};

use crate::{Digest, Reason, ReasonCode, encoding, evidence::Layer, policy::KeyRule, time, trust::Root};

pub(crate) use failure::reason;
pub(crate) use legacy::{attestation, signature};

/// What a signature proves.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) identity: Identity,
    /// The times that trusted parties vouch for. Empty for a key that nobody else vouches for.
    pub(crate) times: Vec<UnixTime>,
    pub(crate) log: LogEvidence,
    pub(crate) content: Content,
}

/// Who made a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The holder of the key with this fingerprint.
    Key(Digest),
    Certificate {
        issuer: String,
        subject: String,
        claims: Box<FulcioCiClaims>,
    },
}

/// How well a signature is known to be in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogEvidence {
    None,
    Promise,
    Proof,
}

/// What was signed.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The bytes of the artifact themselves.
    Artifact,
    /// An image, in the words of a legacy payload.
    Image { name: Option<String>, annotations: BTreeMap<String, String> },
    /// An in-toto statement.
    Statement(Box<Statement>),
}

/// A verified statement whose subject is the artifact.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) predicate_type: String,
    /// The names of the subjects that are the artifact; none as Cosign 3 leaves them.
    pub(crate) subject_names: Vec<String>,
    pub(crate) subject_annotations: BTreeMap<String, String>,
    pub(crate) json: Value,
}

/// Whom to believe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// A key, and a root for its log.
    Key(&'a KeyRule, Option<&'a Root>),
    /// A root's certificate authorities.
    Root(&'a Root),
}

/// What a bundle is said to be about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Digest(Digest),
    Bytes(&'a [u8]),
}

impl<'a> Subject<'a> {
    fn artifact(self) -> Artifact<'a> {
        match self {
            Self::Digest(digest) => Artifact::from_digest(Sha256Hash::new(*digest.as_bytes())),
            Self::Bytes(bytes) => Artifact::from_blob(bytes),
        }
    }

    fn digest(self) -> Digest {
        match self {
            Self::Digest(digest) => digest,
            Self::Bytes(bytes) => Digest::of(bytes),
        }
    }
}

/// Reads a bundle of any version.
pub(crate) fn parse(json: &str) -> Result<Bundle, Reason> {
    let bundle = Bundle::from_json(json).map_err(|error| failure::unreadable(&error))?;
    if let VerificationMaterialContent::X509CertificateChain { certificates } =
        &bundle.verification_material.content
        && certificates.is_empty()
    {
        return Err(Reason::new(ReasonCode::BundleMalformed, "the bundle's certificate chain is empty"));
    }
    Ok(bundle)
}

/// Whether the bundle says that it is about `subject`. What it says is not believed until it is
/// verified; a bundle about something else is refused for that, and what `sigstore-verify` finds
/// to differ afterwards is what the log says.
fn about(bundle: &Bundle, subject: Subject<'_>) -> Result<(), Reason> {
    match &bundle.content {
        SignatureContent::MessageSignature(message) => match &message.message_digest {
            Some(digest)
                if digest.algorithm == HashAlgorithm::Sha2256
                    && digest.digest.as_bytes() != subject.digest().as_bytes() =>
            {
                let message = format!("the bundle is not about {}", subject.digest());
                Err(Reason::new(ReasonCode::SubjectDigestMismatch, message))
            }
            _ => Ok(()),
        },
        SignatureContent::DsseEnvelope(envelope) => {
            statement(envelope.payload.as_bytes(), subject.digest()).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Whether the root knows every log that the bundle names: `sigstore-verify` says only that the log's
/// signature does not hold.
fn known_logs(bundle: &Bundle, root: &Root) -> Result<(), Reason> {
    let entries = bundle.verification_material.tlog_entries.iter();
    let mut unknown = entries.map(|entry| entry.log_id.key_id.as_bytes()).filter(|id| !root.knows_log(id));
    match unknown.next() {
        Some(id) if root.has_log() => {
            let message = format!("the log {} is not in the trusted root", encoding::encode(id));
            Err(Reason::new(ReasonCode::LogUnknown, message))
        }
        _ => Ok(()),
    }
}

/// Verifies a bundle about `subject`.
pub(crate) fn bundle(bundle: &Bundle, subject: Subject<'_>, trust: Trust<'_>) -> Result<Fact, Reason> {
    about(bundle, subject)?;
    let has_key = matches!(bundle.verification_material.content, VerificationMaterialContent::PublicKey(_));
    let result = match trust {
        Trust::Root(_) if has_key => {
            let message = "the bundle was signed with a key, and a certificate is asked for";
            return Err(Reason::new(ReasonCode::KindMismatch, message));
        }
        Trust::Key(..) if !has_key => {
            let message = "the bundle was signed with a certificate, and a key is asked for";
            return Err(Reason::new(ReasonCode::KindMismatch, message));
        }
        Trust::Key(rule, None) => {
            key::bundle(bundle, subject, rule)?;
            return Ok(Fact {
                identity: Identity::Key(rule.fingerprint),
                times: Vec::new(),
                log: LogEvidence::None,
                content: content(bundle, subject)?,
            });
        }
        Trust::Key(rule, Some(root)) => {
            known_logs(bundle, root)?;
            let policy = PublicKeyVerificationPolicy::new(rule.key.clone());
            root.verifier.verify(subject.artifact(), bundle, &policy)
        }
        Trust::Root(root) => {
            known_logs(bundle, root)?;
            root.verifier.verify(subject.artifact(), bundle, &certificate_policy(bundle, root))
        }
    }
    .map_err(|error| reason(&error))?;
    let identity = match trust {
        Trust::Key(rule, _) => Identity::Key(rule.fingerprint),
        Trust::Root(_) => certificate(&result, bundle)?,
    };
    Ok(Fact {
        identity,
        times: result.verified_timestamps().iter().copied().map(time::unix).collect(),
        log: log_evidence(bundle, &result),
        content: content(bundle, subject)?,
    })
}

/// What the bundle has is verified: where it has log entries and the root has logs, they must hold.
/// Whether that is enough is the signer's rule to say.
fn certificate_policy(bundle: &Bundle, root: &Root) -> VerificationPolicy {
    let mut policy = VerificationPolicy::any_identity();
    if bundle.verification_material.tlog_entries.is_empty() || !root.has_log() {
        policy = policy.skip_tlog_unsafe();
    }
    if !root.has_ct {
        policy = policy.skip_sct();
    }
    policy
}

fn certificate(result: &VerificationResult, bundle: &Bundle) -> Result<Identity, Reason> {
    let malformed = |what: &str| {
        Reason::new(ReasonCode::CertificateMalformed, format!("the signing certificate has no {what}"))
    };
    if !result.certificate_verified() {
        return Err(Reason::new(ReasonCode::CertificateUntrusted, "the certificate was not verified"));
    }
    let subject = result.identity().ok_or_else(|| malformed("subject that is an e-mail address or a URI"))?;
    let issuer = result.issuer().ok_or_else(|| malformed("OIDC issuer"))?;
    let der = bundle.signing_certificate().ok_or_else(|| malformed("bytes"))?;
    if !issuer::is_the_only_one(issuer, der.as_bytes()) {
        let message = format!("the signing certificate names another OIDC issuer beside `{issuer}`");
        return Err(Reason::new(ReasonCode::CertificateMalformed, message));
    }
    let info = result.certificate().ok_or_else(|| malformed("contents"))?;
    Ok(Identity::Certificate {
        issuer: issuer.to_owned(),
        subject: subject.as_str().to_owned(),
        claims: Box::new(info.ci_claims.clone()),
    })
}

fn log_evidence(bundle: &Bundle, result: &VerificationResult) -> LogEvidence {
    let entries = &bundle.verification_material.tlog_entries;
    if !result.tlog_verified() {
        LogEvidence::None
    } else if entries.iter().any(|entry| entry.inclusion_proof.is_some()) {
        LogEvidence::Proof
    } else if entries.iter().any(|entry| entry.inclusion_promise.is_some()) {
        LogEvidence::Promise
    } else {
        LogEvidence::None
    }
}

/// What a verified bundle is about.
fn content(bundle: &Bundle, subject: Subject<'_>) -> Result<Content, Reason> {
    match &bundle.content {
        SignatureContent::MessageSignature(_) => Ok(Content::Artifact),
        SignatureContent::DsseEnvelope(envelope) => statement(envelope.payload.as_bytes(), subject.digest())
            .map(|statement| Content::Statement(Box::new(statement))),
        _ => Err(Reason::new(ReasonCode::BundleUnsupported, "the bundle's content is of an unknown kind")),
    }
}

const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

/// Reads an in-toto statement that is about `digest` (in-toto attestation, "Statement").
fn statement(payload: &[u8], digest: Digest) -> Result<Statement, Reason> {
    let malformed =
        |what: &str| Reason::new(ReasonCode::PayloadMalformed, format!("the signed statement {what}"));
    let json: Value = encoding::json(payload).map_err(|_| malformed("is not JSON"))?;
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    if !text("_type").is_some_and(|kind| STATEMENTS.contains(&kind)) {
        return Err(malformed("is not an in-toto statement of version 0.1 or 1"));
    }
    let predicate_type = text("predicateType").ok_or_else(|| malformed("has no predicate type"))?.to_owned();
    let subjects =
        json.get("subject").and_then(Value::as_array).ok_or_else(|| malformed("has no subject"))?;
    let hex = digest.to_hex();
    let about = |subject: &&Value| {
        subject.pointer("/digest/sha256").and_then(Value::as_str).is_some_and(|value| value == hex)
    };
    let found: Vec<&Value> = subjects.iter().filter(about).collect();
    if found.is_empty() {
        let message = format!("the signed statement is not about {digest}");
        return Err(Reason::new(ReasonCode::SubjectDigestMismatch, message));
    }
    let annotations = found.iter().filter_map(|subject| subject.get("annotations")?.as_object());
    let annotations = annotations.flatten();
    let mut subject_annotations = BTreeMap::new();
    subject_annotations
        .extend(annotations.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))));
    let names = found.iter().filter_map(|subject| subject.get("name")?.as_str());
    let subject_names = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(Statement { predicate_type, subject_names, subject_annotations, json })
}

/// A layer's annotation, as the legacy formats name them.
fn annotation<'a>(layer: &'a Layer, name: &str) -> Option<&'a str> {
    layer.annotations.get(name).map(String::as_str)
}
