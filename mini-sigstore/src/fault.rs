//! The ways in which a signature can be wrong.

/// One thing that is wrong with a signature; everything else about it stays right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The signature is made over other bytes.
    Signature,
    /// An hour after the certificate ended: log and timestamp authority say so.
    ExpiredCertificate,
    /// An authority outside the trusted root, of the same name, issued the certificate.
    ForeignAuthority,
    /// The certificate has no signed certificate timestamp.
    NoSct,
    /// A certificate log outside the trusted root, under the trusted one's ID, signed it.
    ForeignSct,
    /// The certificate is not for code signing.
    NotForCodeSigning,
    /// Another log's key, under the trusted one's ID, signed the entry and the checkpoint.
    ForeignLog,
    /// The entry's promise (Rekor v1) is signed over another entry.
    Promise,
    /// One hash of the inclusion proof is another.
    Proof,
    /// The checkpoint is of a tree without the entry.
    OtherTree,
    /// The entry is about another artifact (CVE-2022-36056).
    OtherArtifactInLog,
    /// The entry is about another signature.
    OtherSignatureInLog,
    /// The entry is about another key or certificate (GHSA-whqx-f9j3-ch6m).
    OtherKeyInLog,
    /// There is no log entry.
    NoLogEntry,
    /// There is a promise, but no inclusion proof.
    NoProof,
    /// A timestamp authority outside the trusted root, of the same name, signed the timestamp.
    ForeignTimestampAuthority,
    /// The timestamp is of another signature.
    TimestampOfOther,
    /// There is no timestamp although one was asked for.
    NoTimestamp,
}
