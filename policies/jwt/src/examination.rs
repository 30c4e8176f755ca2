//! What every check found about one request, for tools that explain a decision and test it.

use alloc::{string::String, vec::Vec};

use portcullis_core::Denial;
use portcullis_crypto::{Algorithm, KeyType};

use crate::{
    check::{Check, Everything},
    jwks::JsonWebKey,
    permit::Permit,
};

/// Every check of a request with what came of it, in the order in which a decision makes them.
///
/// A decision about the same request is [`Examination::permit`], or else the denial of
/// [`Examination::first_failure`].
#[derive(Clone, Debug)]
pub struct Examination {
    findings: Vec<Finding>,
    rule: Option<usize>,
    keys: Vec<VerifiedKey>,
    permit: Option<Permit>,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The issuer whose token it was about, where the rule asks for tokens of several.
    pub issuer: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not; the answer, were it the first.
    Failed(Denial),
    /// It was not made.
    NotReached {
        /// The check that would have given what it needs.
        failed: Check,
    },
}

/// The key that verified a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The key's own `kid`.
    pub kid: Option<String>,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// RFC 7638, SHA-256.
    pub thumbprint: [u8; 32],
}

impl VerifiedKey {
    pub(crate) fn new(issuer: &str, key: &JsonWebKey, algorithm: Algorithm) -> Self {
        Self {
            issuer: issuer.into(),
            kid: key.kid().map(Into::into),
            algorithm,
            key_type: key.key().key_type(),
            thumbprint: key.key().thumbprint(),
        }
    }
}

impl Examination {
    /// Only where no check failed is the `permit` one; `refuse` tells what a denial comes to.
    pub(crate) fn new(
        run: Everything,
        permit: Option<Permit>,
        refuse: impl FnOnce(Denial) -> Option<Permit>,
    ) -> Self {
        let Everything { findings, rule, keys, .. } = run;
        let mut examination = Self { findings, rule, keys, permit: None };
        examination.permit = match examination.first_failure() {
            Some((_, denial)) => refuse(denial.clone()),
            None => permit,
        };
        examination
    }

    /// The checks that apply to the request, each once for each token that the rule asks for.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The checks that failed, with what each would answer.
    pub fn failures(&self) -> impl Iterator<Item = (Check, &Denial)> {
        self.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Failed(denial) => Some((finding.check, denial)),
            Outcome::Passed | Outcome::NotReached { .. } => None,
        })
    }

    /// What a decision answers, where it refuses.
    #[must_use]
    pub fn first_failure(&self) -> Option<(Check, &Denial)> {
        self.failures().next()
    }

    /// The rule that matched, by its index in the configuration.
    #[must_use]
    pub const fn rule(&self) -> Option<usize> {
        self.rule
    }

    /// The keys that verified a signature, one for each such token.
    #[must_use]
    pub fn keys(&self) -> &[VerifiedKey] {
        &self.keys
    }

    /// What a decision permits, where it does. Under a rule that only reports it does so although
    /// checks failed: [`Permit::reported`].
    #[must_use]
    pub const fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}
