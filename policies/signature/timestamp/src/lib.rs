//! RFC 3161 timestamps, verified against one authority.
//!
//! `sigstore-verify` calls this crate in the place of the published one of the same name, which
//! reads a token's time as a `GeneralizedTime` of X.509: in whole seconds. RFC 3161 section 2.4.2
//! allows a fraction, authorities send it, and it is signed, so it cannot be left out beforehand.
//!
//! A token counts where all of this holds:
//!
//! * it is DER to the last byte, was granted, and has exactly one signer;
//! * its signer is the authority's own certificate: certificates in the token are not looked at;
//! * the signed attributes name the content's type and its digest, once each, and the signature
//!   over them holds for the certificate's key;
//! * the imprint is the SHA-256, SHA-384 or SHA-512 of the bytes that are said to be stamped;
//! * no extension of it is critical (none is known here);
//! * the certificate's chain ends in the authority's root, is for time stamping, and is valid at
//!   the time that was signed, to the fraction;
//! * that time is in the authority's window.
//!
//! # What this crate does not do
//!
//! It asks no authority for a token, checks no revocation, and leaves out of account how accurate
//! an authority says that its clock is, as the other verifiers of Sigstore do.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod chain;
mod info;
mod read;
mod time;
mod token;

use jiff::Timestamp;
pub use sigstore_types::TsaAuthority;
use sigstore_types::{HashAlgorithm, SignatureBytes, TimestampToken};
use x509_cert::{Certificate, der::Decode as _, spki::AlgorithmIdentifierRef};

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not a token in DER, or one of a form that is not taken.
    #[error("the timestamp cannot be read: {0}")]
    Malformed(String),
    /// It is of other bytes.
    #[error("the timestamp is of another signature")]
    Imprint,
    /// This authority did not sign it.
    #[error("the timestamp's signature does not hold: {0}")]
    Signature(String),
    /// The authority's certificate does not stand for it.
    #[error("the timestamp authority's certificate does not stand for it: {0}")]
    Certificate(String),
    /// It is the authority's, but from outside the time in which the authority counts.
    #[error("timestamp {time} is outside the validity period of the timestamp authority that signed it")]
    TimestampOutsideValidity {
        /// The time that was signed.
        time: Timestamp,
    },
}

impl From<der::Error> for Error {
    fn from(error: der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The time that `authority` signed in `token`, a timestamp of `signature`: a TimeStampResp or the
/// ContentInfo in it.
///
/// # Errors
///
/// The first of the conditions above that does not hold.
pub fn verify_timestamp_for_authority(
    token: &TimestampToken,
    signature: &SignatureBytes,
    authority: &TsaAuthority,
) -> Result<Timestamp, Error> {
    let token = token::read(token.as_bytes())?;
    let info = info::read(token.info)?;
    if digest(info.algorithm, signature.as_bytes()) != info.imprint {
        return Err(Error::Imprint);
    }
    let leaf = Certificate::from_der(authority.leaf.as_bytes())
        .map_err(|error| Error::Certificate(error.to_string()))?;
    token.signed_by(&leaf)?;
    chain::verify(authority, info.time)?;
    match authority.valid_for {
        Some(window) if !window.contains(info.time) => {
            Err(Error::TimestampOutsideValidity { time: info.time })
        }
        _ => Ok(info.time),
    }
}

fn digest(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        HashAlgorithm::Sha2384 => sigstore_crypto::sha384(bytes).as_bytes().to_vec(),
        HashAlgorithm::Sha2512 => sigstore_crypto::sha512(bytes).as_bytes().to_vec(),
        _ => sigstore_crypto::sha256(bytes).as_bytes().to_vec(),
    }
}

/// The hash of an algorithm identifier: without parameters, or with the null ones that RFC 5754
/// section 2 tells readers to take.
fn hash(algorithm: AlgorithmIdentifierRef<'_>) -> Result<HashAlgorithm, Error> {
    /// RFC 5754 section 2.
    const HASHES: [(&str, HashAlgorithm); 3] = [
        ("2.16.840.1.101.3.4.2.1", HashAlgorithm::Sha2256),
        ("2.16.840.1.101.3.4.2.2", HashAlgorithm::Sha2384),
        ("2.16.840.1.101.3.4.2.3", HashAlgorithm::Sha2512),
    ];
    let plain = algorithm.parameters.is_none_or(der::asn1::AnyRef::is_null);
    HASHES
        .iter()
        .find(|(name, _)| plain && der::asn1::ObjectIdentifier::new_unwrap(name) == algorithm.oid)
        .map(|(_, hash)| *hash)
        .ok_or_else(|| Error::Malformed(format!("its hash is {}, not SHA-256, -384 or -512", algorithm.oid)))
}
