//! One instance: its services, and a second set of services of the same names that nobody trusts.

use serde_json::Value;

use crate::{
    Certificate, Fault, Identity, Key, KeyKind, StampingCertificate, TimestampStyle, certificate::Authority,
    note, root, sct, timestamp::Stamping,
};

/// 2026-01-01T00:00:00Z, where tests begin (in seconds since 1970).
pub const START: i64 = 1_767_225_600;

pub(crate) const REKOR: &str = "rekor.sigstore.test";
pub(crate) const REKOR_2: &str = "log2026-1.rekor.sigstore.test";
pub(crate) const WITNESSES: [&str; 2] = ["witness.sigstore.test", "witness.elsewhere.test/two"];

/// A Sigstore instance.
#[derive(Clone, Debug)]
pub struct Sigstore {
    pub(crate) seed: [u8; 32],
    pub(crate) trusted: Services,
    pub(crate) foreign: Services,
}

/// What an instance runs.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    pub(crate) authority: Authority,
    pub(crate) certificate_log: Key,
    pub(crate) rekor: Key,
    pub(crate) rekor_2: Key,
    pub(crate) witnesses: [Key; 2],
    pub(crate) stamping: Stamping,
}

impl Services {
    fn derive(seed: &[u8; 32], prefix: &str) -> Self {
        let key = |name: &str, kind| Key::derive(seed, &format!("{prefix}/{name}"), kind);
        Self {
            authority: Authority::derive(seed, prefix),
            certificate_log: key("certificate-log", KeyKind::P256),
            rekor: key("rekor", KeyKind::P256),
            rekor_2: key("rekor-2", KeyKind::Ed25519),
            witnesses: [key("witness-1", KeyKind::Ed25519), key("witness-2", KeyKind::Ed25519)],
            stamping: Stamping::derive(seed, prefix),
        }
    }
}

impl Sigstore {
    /// The instance of this seed. Another seed is another instance: nothing of the one is trusted
    /// by the other.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let [trusted, foreign] = ["trusted", "foreign"].map(|prefix| Services::derive(&seed, prefix));
        Self { seed, trusted, foreign }
    }

    /// The same instance, whose timestamp authority has this certificate.
    #[must_use]
    pub fn stamping(mut self, certificate: StampingCertificate) -> Self {
        self.trusted.stamping = self.trusted.stamping.certified(certificate);
        self
    }

    /// What a verifier must trust to accept this instance: a `TrustedRoot` v0.1 document.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        root::document(&self.trusted)
    }

    /// A managed key of this name, for signatures without certificates.
    #[must_use]
    pub fn key(&self, name: &str, kind: KeyKind) -> Key {
        Key::derive(&self.seed, &format!("managed/{name}"), kind)
    }

    /// The root and the intermediate certificate, as PEM in the order of cosign's chain
    /// annotation: the intermediate first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let authority = &self.trusted.authority;
        [&authority.intermediate, &authority.root].map(Certificate::pem).concat()
    }

    /// A certificate for `key`, valid for ten minutes from `at`.
    #[must_use]
    pub fn issue(&self, key: &Key, identity: &Identity, at: i64, faults: &[Fault]) -> Certificate {
        let issuer = self.services(faults.contains(&Fault::ForeignAuthority));
        let signer = self.services(faults.contains(&Fault::ForeignSct));
        let log = sct::Log { id: self.trusted.certificate_log.id(), key: &signer.certificate_log };
        issuer.authority.issue(key, identity, at, &log, faults)
    }

    /// A timestamp of `message`.
    #[must_use]
    pub fn stamp(&self, message: &[u8], at: i64, style: TimestampStyle, faults: &[Fault]) -> Vec<u8> {
        let authority = self.services(faults.contains(&Fault::ForeignTimestampAuthority));
        if faults.contains(&Fault::TimestampOfOther) {
            return authority.stamping.stamp(&[message, b"!"].concat(), at, style);
        }
        authority.stamping.stamp(message, at, style)
    }

    pub(crate) fn services(&self, foreign: bool) -> &Services {
        if foreign { &self.foreign } else { &self.trusted }
    }

    /// Rekor v2's log ID: the key's, as its notes name it.
    pub(crate) fn rekor_2_id(&self) -> [u8; 32] {
        note::log_id(REKOR_2, &self.trusted.rekor_2)
    }
}
