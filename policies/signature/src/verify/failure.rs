//! What `sigstore-verify` says, as a reason. Its errors are matched by kind. Where it has folded two
//! kinds into one, their texts tell: the version is pinned, and the conformance cases hold each.

use sigstore_verify::{
    CertificateError, Error, TimestampError, TransparencyLogError, bundle::Error as Shape, crypto, types,
};

use crate::{Reason, ReasonCode};

/// The reason that an error of `sigstore-verify` is.
pub(crate) fn reason(error: &Error) -> Reason {
    Reason::new(code(error), error.to_string())
}

/// The reason why a bundle could not even be read.
pub(super) fn unreadable(error: &types::Error) -> Reason {
    let text = error.to_string();
    let code = if text.contains("Invalid media type") {
        ReasonCode::BundleUnsupported
    } else if text.contains("Invalid checkpoint") {
        ReasonCode::LogCheckpointInvalid
    } else {
        ReasonCode::BundleMalformed
    };
    Reason::new(code, format!("the bundle cannot be read: {text}"))
}

fn code(error: &Error) -> ReasonCode {
    match error {
        Error::IdentityMismatch { .. } => ReasonCode::IdentityMismatch,
        Error::IssuerMismatch { .. } => ReasonCode::IssuerMismatch,
        Error::SignatureInvalid(_) => ReasonCode::SignatureInvalid,
        // That the bundle itself is about the artifact was seen before: what differs is the log's entry.
        Error::ArtifactMismatch(_) => ReasonCode::LogEntryMismatch,
        Error::UnsupportedArtifact(_) | Error::UnsupportedBundle(_) => ReasonCode::BundleUnsupported,
        Error::Certificate(error) => certificate(error),
        Error::TransparencyLog(error) => log(error),
        Error::Timestamp(error) => timestamp(error),
        Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
            ReasonCode::TrustRootInvalid
        }
        Error::Bundle(error) => shape(error),
        Error::Types(types::Error::InvalidCheckpoint(_)) => ReasonCode::LogCheckpointInvalid,
        Error::Crypto(error) => arithmetic(error),
        Error::InvalidBundle(_) | Error::Types(_) => ReasonCode::BundleMalformed,
        _ => ReasonCode::InternalError,
    }
}

fn certificate(error: &CertificateError) -> ReasonCode {
    match error {
        CertificateError::ChainInvalid(text)
            if text.contains("CertExpired") || text.contains("CertNotValidYet") =>
        {
            ReasonCode::CertificateExpired
        }
        CertificateError::Malformed(_) => ReasonCode::CertificateMalformed,
        CertificateError::NoValidAuthority { .. } => ReasonCode::AuthorityNotValid,
        CertificateError::NotYetValid { .. } | CertificateError::Expired { .. } => {
            ReasonCode::CertificateExpired
        }
        CertificateError::Sct(_) => ReasonCode::SctInvalid,
        _ => ReasonCode::CertificateUntrusted,
    }
}

const fn log(error: &TransparencyLogError) -> ReasonCode {
    match error {
        TransparencyLogError::UnknownLog { .. } => ReasonCode::LogUnknown,
        TransparencyLogError::InclusionProof(_) => ReasonCode::LogProofInvalid,
        TransparencyLogError::Checkpoint(_) => ReasonCode::LogCheckpointInvalid,
        TransparencyLogError::InclusionPromise(_) => ReasonCode::LogPromiseInvalid,
        TransparencyLogError::EntryMismatch(_) => ReasonCode::LogEntryMismatch,
        TransparencyLogError::IntegratedTime(_) => ReasonCode::LogTimeInvalid,
        _ => ReasonCode::LogEntryMalformed,
    }
}

const fn timestamp(error: &TimestampError) -> ReasonCode {
    match error {
        TimestampError::OutsideAuthorityValidity { .. } => ReasonCode::TimestampOutsideAuthority,
        TimestampError::NoVerifiedTimestamp(_) => ReasonCode::TimeUnknown,
        _ => ReasonCode::TimestampInvalid,
    }
}

const fn shape(error: &Shape) -> ReasonCode {
    match error {
        Shape::UnsupportedMediaType(_) | Shape::UnsupportedVerificationMaterial => {
            ReasonCode::BundleUnsupported
        }
        Shape::MissingInclusionPromise(_) => ReasonCode::LogPromiseInvalid,
        Shape::MissingInclusionProof(_) | Shape::LogIndexOutOfRange { .. } => ReasonCode::LogProofInvalid,
        Shape::MissingCheckpoint | Shape::CheckpointRootMismatch => ReasonCode::LogCheckpointInvalid,
        Shape::MissingSigningTimeEvidence | Shape::MissingTimestamp => ReasonCode::TimeUnknown,
        _ => ReasonCode::BundleMalformed,
    }
}

pub(super) const fn arithmetic(error: &crypto::Error) -> ReasonCode {
    match error {
        crypto::Error::Verification(_) => ReasonCode::SignatureInvalid,
        crypto::Error::Checkpoint(_) => ReasonCode::LogCheckpointInvalid,
        crypto::Error::InvalidCertificate(_) => ReasonCode::CertificateMalformed,
        crypto::Error::UnsupportedAlgorithm(_) => ReasonCode::BundleUnsupported,
        _ => ReasonCode::BundleMalformed,
    }
}
