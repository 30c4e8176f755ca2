//! A signature by a key that nobody else vouches for: no log, no timestamp. `sigstore-verify` asks a
//! bundle for at least one of them.

use sigstore_verify::{
    crypto::{self, KeyAlgorithm, SigningScheme},
    types::{Bundle, DerPublicKey, HashAlgorithm, SignatureBytes, SignatureContent, pae},
};

use super::{Subject, failure};
use crate::{Reason, ReasonCode, policy::KeyRule};

/// The payload type of an in-toto statement.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";

pub(super) fn bundle(bundle: &Bundle, subject: Subject<'_>, rule: &KeyRule) -> Result<(), Reason> {
    match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => {
            self::envelope(&envelope.payload_type, envelope.payload.as_bytes(), &envelope.signature.sig, rule)
        }
        SignatureContent::MessageSignature(message) => {
            let Some(digest) = &message.message_digest else {
                return Err(Reason::new(
                    ReasonCode::BundleMalformed,
                    "the bundle has no digest of what it signs",
                ));
            };
            if digest.algorithm != HashAlgorithm::Sha2256 {
                let message = "the bundle's digest is not SHA-256, as an image's is";
                return Err(Reason::new(ReasonCode::BundleUnsupported, message));
            }
            if digest.digest.as_bytes() != subject.digest().as_bytes() {
                let message = format!("the bundle is not about {}", subject.digest());
                return Err(Reason::new(ReasonCode::SubjectDigestMismatch, message));
            }
            match subject {
                Subject::Bytes(bytes) => message_bytes(bytes, &message.signature, rule),
                Subject::Digest(digest) => message_digest(digest.as_bytes(), &message.signature, rule),
            }
        }
        _ => Err(Reason::new(ReasonCode::BundleUnsupported, "the bundle's content is of an unknown kind")),
    }
}

/// Verifies a DSSE envelope (DSSE protocol 1.0.2, "Signature Definition").
pub(super) fn envelope(
    payload_type: &str,
    payload: &[u8],
    signature: &SignatureBytes,
    rule: &KeyRule,
) -> Result<(), Reason> {
    if payload_type != IN_TOTO {
        let message = format!("the envelope's payload is `{payload_type}`; `{IN_TOTO}` is expected");
        return Err(Reason::new(ReasonCode::BundleUnsupported, message));
    }
    message_bytes(&pae(payload_type, payload), signature, rule)
}

/// Verifies a signature over bytes. Cosign signed with SHA-256 whatever the key, later with the hash
/// of the key's size; for P-384 both are tried.
pub(super) fn message_bytes(bytes: &[u8], signature: &SignatureBytes, rule: &KeyRule) -> Result<(), Reason> {
    let algorithm = algorithm(&rule.key)?;
    let verify = |scheme| crypto::verify_signature(&rule.key, bytes, signature, scheme);
    let first = verify(algorithm.default_signing_scheme());
    let second = match (&first, algorithm) {
        (Err(_), KeyAlgorithm::EcdsaP384) => verify(SigningScheme::EcdsaP384Sha256),
        _ => first,
    };
    second.map_err(|error| refused(&error))
}

fn message_digest(digest: &[u8], signature: &SignatureBytes, rule: &KeyRule) -> Result<(), Reason> {
    let algorithm = algorithm(&rule.key)?;
    let scheme = algorithm.resolve_signing_scheme(HashAlgorithm::Sha2256).map_err(|error| refused(&error))?;
    if !scheme.supports_prehashed() {
        let message = "an Ed25519 signature over a manifest needs the manifest, not its digest";
        return Err(Reason::new(ReasonCode::BundleUnsupported, message));
    }
    crypto::verify_signature_prehashed(&rule.key, digest, signature, scheme).map_err(|error| refused(&error))
}

fn algorithm(key: &DerPublicKey) -> Result<KeyAlgorithm, Reason> {
    KeyAlgorithm::from_spki(key).map_err(|error| refused(&error))
}

fn refused(error: &crypto::Error) -> Reason {
    Reason::new(failure::arithmetic(error), format!("the signature does not hold for the key: {error}"))
}
