//! Why: stable codes, the class that says what can be done about each, and the tree that explains.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of reason a code is, which says what a caller may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It holds.
    Good,
    /// Something is not there. Signing the image, or waiting for its signature, mends it.
    Missing,
    /// Something is there and broken: its arithmetic or its form does not hold, and never will.
    Invalid,
    /// It holds, but nobody whom the policy trusts stands behind it.
    Untrusted,
    /// It holds and is trusted, and the policy asks for something else.
    Policy,
    /// Nothing is known at the moment. Never cached, and never an allow.
    Transient,
}

impl Class {
    /// Whether a refusal of this class may be kept: the same evidence gives the same refusal.
    #[must_use]
    pub const fn cacheable(self) -> bool {
        matches!(self, Self::Good | Self::Invalid | Self::Untrusted | Self::Policy)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident, $text:literal, $class:ident;)+) => {
        /// What a [`Reason`] says, as a word that stays. The documentation of each variant is its
        /// meaning for an operator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word, in upper snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The sentence for the docs: what brings this code about.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_start(),)+ }
            }

            /// The class.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }
        }
    };
}

codes! {
    /// A signature, and everything that the policy asks of it, holds.
    Verified, "VERIFIED", Good;
    /// All of what is below holds.
    Satisfied, "SATISFIED", Good;
    /// An exemption of the policy covers the image.
    Exempt, "EXEMPT", Good;
    /// No rule is about the image, and the policy lets such images run.
    Unruled, "UNRULED", Good;

    /// The evidence has not been read yet: there is more to fetch.
    EvidencePending, "EVIDENCE_PENDING", Missing;
    /// The registry has no such image.
    ImageNotFound, "IMAGE_NOT_FOUND", Missing;
    /// There is no signature for the image.
    SignatureMissing, "SIGNATURE_MISSING", Missing;
    /// There is no attestation of the type that the policy asks for.
    AttestationMissing, "ATTESTATION_MISSING", Missing;

    /// The image's name is not a reference.
    ImageReferenceInvalid, "IMAGE_REFERENCE_INVALID", Invalid;
    /// The object under review cannot be read.
    ObjectMalformed, "OBJECT_MALFORMED", Invalid;
    /// What the registry sent does not have the digest that it was asked for by.
    ContentDigestMismatch, "CONTENT_DIGEST_MISMATCH", Invalid;
    /// A manifest, an index or a list of referrers cannot be read.
    ManifestMalformed, "MANIFEST_MALFORMED", Invalid;
    /// The bundle cannot be read, or lacks a part that its version demands.
    BundleMalformed, "BUNDLE_MALFORMED", Invalid;
    /// The bundle is of a version or kind that is not known.
    BundleUnsupported, "BUNDLE_UNSUPPORTED", Invalid;
    /// The signed payload cannot be read or is not about an image.
    PayloadMalformed, "PAYLOAD_MALFORMED", Invalid;
    /// The signature does not match what was signed.
    SignatureInvalid, "SIGNATURE_INVALID", Invalid;
    /// The signature is for another image or artifact.
    SubjectDigestMismatch, "SUBJECT_DIGEST_MISMATCH", Invalid;
    /// The signing certificate cannot be read.
    CertificateMalformed, "CERTIFICATE_MALFORMED", Invalid;
    /// The signature was not made while its certificate was valid.
    CertificateExpired, "CERTIFICATE_EXPIRED", Invalid;
    /// The certificate's timestamp of a transparency log is missing or does not hold.
    SctInvalid, "SCT_INVALID", Invalid;
    /// The proof that the signature is in the log does not hold, or is missing where its format
    /// has one.
    LogProofInvalid, "LOG_PROOF_INVALID", Invalid;
    /// The log's signed size and root do not hold.
    LogCheckpointInvalid, "LOG_CHECKPOINT_INVALID", Invalid;
    /// The log's signed promise is missing or does not hold.
    LogPromiseInvalid, "LOG_PROMISE_INVALID", Invalid;
    /// The log's entry is about another signature.
    LogEntryMismatch, "LOG_ENTRY_MISMATCH", Invalid;
    /// The log's entry cannot be read.
    LogEntryMalformed, "LOG_ENTRY_MALFORMED", Invalid;
    /// The log's time is in the future or outside the certificate's life.
    LogTimeInvalid, "LOG_TIME_INVALID", Invalid;
    /// A timestamp does not hold: it is over something else or broken, or no authority of the
    /// trusted root made it.
    TimestampInvalid, "TIMESTAMP_INVALID", Invalid;
    /// A timestamp is outside the life of the authority that made it.
    TimestampOutsideAuthority, "TIMESTAMP_OUTSIDE_AUTHORITY", Invalid;

    /// The trusted root itself cannot be used.
    TrustRootInvalid, "TRUST_ROOT_INVALID", Untrusted;
    /// The certificate does not come from a certificate authority that is trusted.
    CertificateUntrusted, "CERTIFICATE_UNTRUSTED", Untrusted;
    /// No trusted certificate authority was valid when the signature was made.
    AuthorityNotValid, "AUTHORITY_NOT_VALID", Untrusted;
    /// The signature is in a log that is not trusted.
    LogUnknown, "LOG_UNKNOWN", Untrusted;
    /// No trusted party says when the signature was made.
    TimeUnknown, "TIME_UNKNOWN", Untrusted;
    /// The signature is by a key, and the signer has a certificate; or the other way round.
    KindMismatch, "KIND_MISMATCH", Untrusted;
    /// The certificate was issued to somebody else.
    IdentityMismatch, "IDENTITY_MISMATCH", Untrusted;
    /// The identity was vouched for by another issuer.
    IssuerMismatch, "ISSUER_MISMATCH", Untrusted;
    /// A claim of the certificate about the build is not what the policy asks for.
    ClaimMismatch, "CLAIM_MISMATCH", Untrusted;

    /// No rule is about the image, and what no rule allows is denied.
    NoRule, "NO_RULE", Policy;
    /// It is not known where objects of this kind name their images.
    KindUnknown, "KIND_UNKNOWN", Policy;
    /// The image has a tag only, and the policy asks for a digest.
    TagNotAllowed, "TAG_NOT_ALLOWED", Policy;
    /// The exemption that covers the image has ended.
    ExemptionEnded, "EXEMPTION_ENDED", Policy;
    /// The signature was made for another repository.
    NameMismatch, "NAME_MISMATCH", Policy;
    /// The signature does not say for which repository it was made.
    NameMissing, "NAME_MISSING", Policy;
    /// The signature was made for another tag.
    TagMismatch, "TAG_MISMATCH", Policy;
    /// The signature was made too long ago.
    SignatureTooOld, "SIGNATURE_TOO_OLD", Policy;
    /// The policy demands a transparency log's proof, and the signature has none.
    LogProofRequired, "LOG_PROOF_REQUIRED", Policy;
    /// The signature lacks an annotation, or it has another value.
    AnnotationMismatch, "ANNOTATION_MISMATCH", Policy;
    /// The attestation is verified and says something else than the policy asks for.
    ConditionNotMet, "CONDITION_NOT_MET", Policy;
    /// Too few of the signers signed.
    ThresholdNotMet, "THRESHOLD_NOT_MET", Policy;
    /// Not all of what is below holds.
    NotSatisfied, "NOT_SATISFIED", Policy;
    /// There is more evidence, or there are more images, than the policy's limits allow.
    LimitExceeded, "LIMIT_EXCEEDED", Policy;

    /// The registry cannot be reached or fails.
    RegistryUnavailable, "REGISTRY_UNAVAILABLE", Transient;
    /// The registry did not answer in time.
    RegistryTimeout, "REGISTRY_TIMEOUT", Transient;
    /// The registry allows no more requests for now.
    RegistryRateLimited, "REGISTRY_RATE_LIMITED", Transient;
    /// The registry refuses to let us read.
    RegistryUnauthorized, "REGISTRY_UNAUTHORIZED", Transient;
    /// The registry's answer is larger than is read.
    RegistryOversized, "REGISTRY_OVERSIZED", Transient;
    /// The time that a review may take was over before everything was known.
    DeadlineExceeded, "DEADLINE_EXCEEDED", Transient;
    /// Something in this module failed.
    InternalError, "INTERNAL_ERROR", Transient;
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One node of the explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// What is said.
    pub code: ReasonCode,
    /// In a sentence for a developer: what was found, and what would be right.
    pub message: String,
    /// What it is about: a rule, a signer, or the place of a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
}

impl Reason {
    /// A reason that follows from nothing else.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), about: None, because: Vec::new() }
    }

    /// The same reason, about `about`.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// The same reason, following from `because`.
    #[must_use]
    pub fn because(mut self, because: Vec<Self>) -> Self {
        self.because = because;
        self
    }

    /// Whether it says that something holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.code.class() == Class::Good
    }

    /// The reason at the root of a refusal: down the first branch that does not hold.
    #[must_use]
    pub fn root_cause(&self) -> &Self {
        let mut cause = self;
        while let Some(below) = cause.because.iter().find(|reason| !reason.holds()) {
            cause = below;
        }
        cause
    }

    /// Every reason of the tree with this code.
    pub fn with_code(&self, code: ReasonCode) -> impl Iterator<Item = &Self> {
        self.walk().filter(move |reason| reason.code == code)
    }

    /// This reason and all below it, depth first.
    pub fn walk(&self) -> impl Iterator<Item = &Self> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let reason = stack.pop()?;
            stack.extend(reason.because.iter().rev());
            Some(reason)
        })
    }
}

impl fmt::Display for Reason {
    /// The tree, one reason a line, each level indented by two spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn write(reason: &Reason, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mark = if reason.holds() { "+" } else { "-" };
            write!(f, "{:indent$}{mark} {}", "", reason.code, indent = depth.saturating_mul(2))?;
            if let Some(about) = &reason.about {
                write!(f, " [{about}]")?;
            }
            write!(f, ": {}", reason.message)?;
            for below in &reason.because {
                f.write_str("\n")?;
                write(below, depth.saturating_add(1), f)?;
            }
            Ok(())
        }
        write(self, 0, f)
    }
}
