//! A bundle about any artifact, by one of a policy's signers: what is left of the question where
//! there is no image.

use portcullis_core::UnixTime;

use crate::{
    Digest, Policy, Reason, ReasonCode,
    decide::when,
    judge,
    policy::SignerRule,
    verify::{self, Subject, Trust},
};

/// What a bundle is said to be about.
#[derive(Clone, Copy, Debug)]
pub enum Artifact<'a> {
    /// The artifact's SHA-256 digest.
    Digest(Digest),
    /// The artifact itself. Ed25519 signatures over it need it whole.
    Bytes(&'a [u8]),
}

/// Verifies a Sigstore bundle about `artifact` by the signer called `signer` in `policy`. For a
/// statement, the artifact must be one of its subjects; what the statement says is not judged.
///
/// # Errors
///
/// The reason why it does not count.
pub fn verify_bundle(
    bundle: &str,
    artifact: Artifact<'_>,
    signer: &str,
    policy: &Policy,
    now: UnixTime,
) -> Result<Reason, Reason> {
    let rule = policy.signer(signer).ok_or_else(|| {
        Reason::new(ReasonCode::InternalError, format!("the policy has no signer `{signer}`"))
    })?;
    let missing = || Reason::new(ReasonCode::TrustRootInvalid, "the signer's root is not there");
    let root = |name: &str| policy.root(name).ok_or_else(missing);
    let trust = match rule {
        SignerRule::Key(rule) => {
            Trust::Key(rule, rule.root.as_deref().map(root).transpose()?.map(AsRef::as_ref))
        }
        SignerRule::Certificate(rule) => Trust::Root(root(&rule.root)?),
    };
    let subject = match artifact {
        Artifact::Digest(digest) => Subject::Digest(digest),
        Artifact::Bytes(bytes) => Subject::Bytes(bytes),
    };
    let fact = verify::bundle(&verify::parse(bundle)?, subject, trust)?;
    judge::signed_by(&fact, rule, now)?;
    let message = format!("signed by {}{}", judge::who(&fact.identity), when(&fact));
    Ok(Reason::new(ReasonCode::Verified, message).about(format!("signer `{signer}`")))
}
