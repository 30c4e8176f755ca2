//! The checks of a decision: one list, and two ways to run it.
//!
//! [`Check`] is the list in its documented order. A judge asks a [`Run`] for every check; what the
//! run does after a failure is all that a decision and an examination differ in.

use core::{convert::Infallible, fmt};

use portcullis_core::{Code, Denial};

use crate::{examination::Outcome, policy::Need};

macro_rules! checks {
    ($($variant:ident $name:literal [$($code:ident),*] $doc:literal)*) => {
        /// One check of a request. The order is that in which they run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $doc] $variant,)*
        }

        impl Check {
            /// Every check in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name: lower snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The codes that it refuses with.
            #[must_use]
            pub const fn codes(self) -> &'static [Code] {
                match self { $(Self::$variant => &[$(Code::$code,)*],)* }
            }

            /// The sentence for people: what holds where it passes.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

checks! {
    Request "request" [RequestAmbiguous]
        "The request can be read in one way only."
    Rule "rule" [NoRuleMatched]
        "A rule matches the host, the method and the path."
    Token "token" [MultipleTokens, MissingToken, MalformedToken, RequestAmbiguous]
        "There is exactly one token where the rule's issuers look for it."
    Size "size" [TokenTooLarge]
        "The token is not longer than the limit."
    Form "form" [MalformedToken]
        "The token is three segments of canonical base64url."
    Header "header" [MalformedToken]
        "The header is strict JSON and its registered members have their types."
    Claims "claims" [MalformedToken]
        "The payload is strict JSON and the registered claims have their types."
    Issuer "issuer" [IssuerMismatch]
        "`iss` is an issuer that the rule accepts in this place."
    Extensions "extensions" [CriticalHeaderUnknown]
        "The header demands no extension: no `crit`, `b64` or `zip`."
    Algorithm "algorithm" [AlgorithmNotAllowed]
        "`alg` is one of the issuer's algorithms."
    Type "type" [TypeMismatch]
        "`typ` is one of the issuer's types, and the payload is not another token."
    Key "key" [KeysUnavailable, KidNotFound, KeyUnusable]
        "The issuer's key set has a key that may verify this token."
    Signature "signature" [SignatureInvalid, InternalError]
        "The signature was made with that key."
    Audience "audience" [AudienceMismatch]
        "`aud` names one of the issuer's audiences."
    Expiry "expiry" [MissingClaim, TokenExpired]
        "The time is before `exp`."
    Start "start" [TokenNotYetValid]
        "The time is not before `nbf` or `iat`."
    Lifetime "lifetime" [MissingClaim, LifetimeTooLong]
        "The token does not live longer than the issuer's maximum."
    RequiredClaims "required_claims" [MissingClaim]
        "Every claim that the issuer requires is there."
    ClaimValues "claim_values" [MissingClaim, ClaimMismatch, RequestAmbiguous]
        "Every condition that the issuer has for claims holds."
    Scopes "scopes" [InsufficientScope]
        "Every scope that the rule asks for is granted."
    RuleClaims "rule_claims" [InsufficientClaims, RequestAmbiguous]
        "Every condition that the rule has for claims holds."
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a check does not pass.
pub(crate) enum Refusal {
    Deny(Denial),
    Need(alloc::boxed::Box<Need>),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Deny(denial)
    }
}

impl Refusal {
    /// The same refusal with its denial changed by `change`.
    pub(crate) fn map(self, change: impl FnOnce(Denial) -> Denial) -> Self {
        match self {
            Self::Deny(denial) => Self::Deny(change(denial)),
            Self::Need(need) => {
                let Need { issuer, missing, kid, otherwise } = *need;
                Self::Need(Need { issuer, missing, kid, otherwise: change(otherwise) }.into())
            }
        }
    }
}

/// What a check gave, or why it was not made.
pub(crate) type Reached<T, R> = Result<T, <R as Run>::Lost>;
/// The same, or the end of the run.
pub(crate) type Ran<T, R> = Result<Reached<T, R>, <R as Run>::Stop>;

/// A way to run the checks.
pub(crate) trait Run {
    /// Stands for what a failed check would have given.
    type Lost: Copy;
    /// Ends the run.
    type Stop;

    /// Makes `check` with what the checks before gave; `answer` is not asked where that was lost.
    fn check<I, T>(
        &mut self,
        check: Check,
        input: Result<I, Self::Lost>,
        answer: impl FnOnce(I) -> Result<T, Refusal>,
    ) -> Ran<T, Self>;

    /// Tells what was found on the way; asked for only where somebody wants to know.
    fn note(&mut self, note: impl FnOnce() -> Note);
}

/// What an examination shows beside the outcomes.
pub(crate) enum Note {
    /// The rule that matched, by its index.
    Rule(usize),
    /// The checks that follow are about the token of this issuer, of which the rule wants one.
    TokenOf(alloc::string::String),
    /// A signature was verified.
    Verified(crate::examination::VerifiedKey),
}

/// Ends at the first check that fails: a decision.
pub(crate) struct UntilFailure;

impl Run for UntilFailure {
    type Lost = Infallible;
    type Stop = Refusal;

    fn check<I, T>(
        &mut self,
        _: Check,
        Ok(input): Result<I, Infallible>,
        answer: impl FnOnce(I) -> Result<T, Refusal>,
    ) -> Result<Result<T, Infallible>, Refusal> {
        answer(input).map(Ok)
    }

    fn note(&mut self, _: impl FnOnce() -> Note) {}
}

/// Makes every check that can be made, and remembers what came of each: an examination.
#[derive(Default)]
pub(crate) struct Everything {
    pub(crate) findings: alloc::vec::Vec<crate::examination::Finding>,
    pub(crate) rule: Option<usize>,
    pub(crate) keys: alloc::vec::Vec<crate::examination::VerifiedKey>,
    token_of: Option<alloc::string::String>,
}

impl Everything {
    fn found(&mut self, check: Check, outcome: Outcome) {
        let issuer = self.token_of.clone();
        self.findings.push(crate::examination::Finding { check, issuer, outcome });
    }
}

impl Run for Everything {
    /// The check that failed.
    type Lost = Check;
    type Stop = Infallible;

    fn check<I, T>(
        &mut self,
        check: Check,
        input: Result<I, Check>,
        answer: impl FnOnce(I) -> Result<T, Refusal>,
    ) -> Result<Result<T, Check>, Infallible> {
        let answer = match input {
            Ok(input) => answer(input),
            Err(failed) => {
                self.found(check, Outcome::NotReached { failed });
                return Ok(Err(failed));
            }
        };
        let (outcome, reached) = match answer {
            Ok(value) => (Outcome::Passed, Ok(value)),
            Err(Refusal::Deny(denial)) => (Outcome::Failed(denial), Err(check)),
            Err(Refusal::Need(need)) => (Outcome::Failed(need.otherwise), Err(check)),
        };
        self.found(check, outcome);
        Ok(reached)
    }

    fn note(&mut self, note: impl FnOnce() -> Note) {
        match note() {
            Note::Rule(index) => self.rule = Some(index),
            Note::TokenOf(issuer) => self.token_of = Some(issuer),
            Note::Verified(key) => self.keys.push(key),
        }
    }
}

/// Both, or the first that was lost.
pub(crate) fn both<A, B, L>(a: Result<A, L>, b: Result<B, L>) -> Result<(A, B), L> {
    Ok((a?, b?))
}

/// A reference to what was reached.
pub(crate) fn of<T, L: Copy>(reached: &Result<T, L>) -> Result<&T, L> {
    reached.as_ref().map_err(|lost| *lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_code() {
        for (at, check) in Check::ALL.iter().enumerate() {
            assert!(check.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(!check.codes().is_empty());
            assert!(Check::ALL.iter().take(at).all(|other| other.as_str() != check.as_str()));
        }
    }
}
