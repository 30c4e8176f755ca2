//! Who signs, resolved: sugar for CI systems becomes patterns over one certificate.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sigstore_verify::{crypto::FulcioCiClaims, types::DerPublicKey};

use crate::{
    Digest, Pattern,
    policy::{Log, PolicyError, document},
};

/// What a certificate of Fulcio says about the build that signed (Fulcio's `oid-info`, extensions
/// 1.3.6.1.4.1.57264.1.9 to .24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The build configuration that asked for the signature, with its reference.
    BuildSignerUri,
    /// The commit of that configuration.
    BuildSignerDigest,
    /// The kind of runner: `github-hosted` or `self-hosted`.
    RunnerEnvironment,
    /// The source repository's address.
    SourceRepositoryUri,
    /// The commit that was built.
    SourceRepositoryDigest,
    /// The git reference that was built.
    SourceRepositoryRef,
    /// The provider's unchanging number of the repository.
    SourceRepositoryIdentifier,
    /// The address of the repository's owner.
    SourceRepositoryOwnerUri,
    /// The provider's unchanging number of the owner.
    SourceRepositoryOwnerIdentifier,
    /// The build configuration that ran, with its reference.
    BuildConfigUri,
    /// The commit of that configuration.
    BuildConfigDigest,
    /// The event that started the build.
    BuildTrigger,
    /// The run.
    RunInvocationUri,
    /// `public`, `private` or `internal`.
    SourceRepositoryVisibilityAtSigning,
    /// The deployment environment.
    DeploymentEnvironment,
    /// The identity token's `sub`.
    TokenSubject,
}

impl Claim {
    /// As it is written in a policy.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The claim's value in a certificate.
    pub(crate) fn of(self, claims: &FulcioCiClaims) -> Option<&str> {
        match self {
            Self::BuildSignerUri => &claims.build_signer_uri,
            Self::BuildSignerDigest => &claims.build_signer_digest,
            Self::RunnerEnvironment => &claims.runner_environment,
            Self::SourceRepositoryUri => &claims.source_repository_uri,
            Self::SourceRepositoryDigest => &claims.source_repository_digest,
            Self::SourceRepositoryRef => &claims.source_repository_ref,
            Self::SourceRepositoryIdentifier => &claims.source_repository_identifier,
            Self::SourceRepositoryOwnerUri => &claims.source_repository_owner_uri,
            Self::SourceRepositoryOwnerIdentifier => &claims.source_repository_owner_identifier,
            Self::BuildConfigUri => &claims.build_config_uri,
            Self::BuildConfigDigest => &claims.build_config_digest,
            Self::BuildTrigger => &claims.build_trigger,
            Self::RunInvocationUri => &claims.run_invocation_uri,
            Self::SourceRepositoryVisibilityAtSigning => &claims.source_repository_visibility_at_signing,
            Self::DeploymentEnvironment => &claims.deployment_environment,
            Self::TokenSubject => &claims.token_subject,
        }
        .as_deref()
    }
}

/// A signer that evidence is held against.
#[derive(Clone, Debug)]
pub(crate) enum SignerRule {
    Key(Rc<KeyRule>),
    Certificate(Rc<CertificateRule>),
}

#[derive(Clone, Debug)]
pub(crate) struct KeyRule {
    pub(crate) key: DerPublicKey,
    pub(crate) fingerprint: Digest,
    pub(crate) log: Log,
    pub(crate) root: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct CertificateRule {
    pub(crate) issuer: String,
    pub(crate) subject: Pattern,
    pub(crate) claims: Vec<(Claim, Vec<Pattern>)>,
    pub(crate) root: String,
    pub(crate) log: Log,
}

const GITHUB: &str = "https://github.com";
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const GOOGLE_ISSUER: &str = "https://accounts.google.com";

/// The certificate that a workflow of GitHub Actions signs with.
pub(crate) fn github(signer: &document::GitHub, path: &str) -> Result<Parts, PolicyError> {
    let server = signer.server.as_deref().unwrap_or(GITHUB);
    let repository = format!("{server}/{}", signer.repository);
    let mut parts = Parts::new(signer.issuer.as_deref().unwrap_or(GITHUB_ISSUER));
    parts.subject = match &signer.signer_workflow {
        Some(workflow) => format!("{server}/{workflow}"),
        None => format!("{repository}/.github/workflows/*@**"),
    };
    parts.one(Claim::SourceRepositoryUri, repository.clone());
    if let Some(workflow) = &signer.workflow {
        parts.one(Claim::BuildConfigUri, format!("{repository}/{workflow}@**"));
    }
    parts.common(&signer.reference, &signer.triggers, &signer.runner, &signer.environment);
    part_count(path, &signer.repository, 2)?;
    Ok(parts)
}

/// The certificate that a pipeline of GitLab CI signs with.
pub(crate) fn gitlab(signer: &document::GitLab, path: &str) -> Result<Parts, PolicyError> {
    let server = signer.server.as_deref().unwrap_or(GITLAB);
    let project = format!("{server}/{}", signer.project);
    let mut parts = Parts::new(server);
    let pipeline = signer.pipeline.as_deref().unwrap_or("**");
    parts.subject = format!("{project}//{pipeline}@**");
    parts.one(Claim::SourceRepositoryUri, project);
    parts.common(&signer.reference, &signer.triggers, &signer.runner, &signer.environment);
    part_count(path, &signer.project, 2)?;
    Ok(parts)
}

/// The certificate that a Google account signs with.
pub(crate) fn google(signer: &document::Google) -> Parts {
    let mut parts = Parts::new(GOOGLE_ISSUER);
    parts.subject = signer.email.clone();
    parts
}

/// `acme` alone would be read as an owner with any repository.
fn part_count(path: &str, name: &str, least: usize) -> Result<(), PolicyError> {
    if name.split('/').count() < least || name.split('/').any(str::is_empty) {
        return Err(PolicyError::new(path, format!("`{name}` is not `owner/name`")));
    }
    Ok(())
}

/// The text form of what a certificate must have.
pub(crate) struct Parts {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) claims: Vec<(Claim, Vec<String>)>,
}

impl Parts {
    fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), subject: String::new(), claims: Vec::new() }
    }

    fn one(&mut self, claim: Claim, pattern: String) {
        self.claims.push((claim, vec![pattern]));
    }

    fn common(
        &mut self,
        reference: &Option<String>,
        triggers: &[String],
        runner: &Option<String>,
        environment: &Option<String>,
    ) {
        let single = [
            (Claim::SourceRepositoryRef, reference),
            (Claim::RunnerEnvironment, runner),
            (Claim::DeploymentEnvironment, environment),
        ];
        for (claim, pattern) in single {
            if let Some(pattern) = pattern {
                self.one(claim, pattern.clone());
            }
        }
        if !triggers.is_empty() {
            self.claims.push((Claim::BuildTrigger, triggers.to_vec()));
        }
    }
}
