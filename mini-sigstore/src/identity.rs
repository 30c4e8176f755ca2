//! Whom a keyless certificate names: the subject alternative name, the issuer and the claims of
//! the CI system that Fulcio copies from the token.

/// A subject alternative name, as Fulcio writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A person.
    Email(String),
    /// A workload: a workflow file at a ref, a SPIFFE ID.
    Uri(String),
    /// A user name of an issuer that has no email (`otherName` 1.3.6.1.4.1.57264.1.7).
    Other(String),
}

/// What a certificate says about its holder.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The subject alternative name.
    pub name: Name,
    /// The OIDC issuer; none leaves both issuer extensions out.
    pub issuer: Option<String>,
    /// Another issuer in the old, raw extension (arc 1) than in the new one (arc 8): a forgery.
    pub raw_issuer: Option<String>,
    /// Fulcio's claims by the last arc of 1.3.6.1.4.1.57264.1: 2 to 6 are raw text, 9 and above
    /// DER UTF8Strings.
    pub claims: Vec<(u8, String)>,
}

impl Identity {
    /// A person with a mail address.
    #[must_use]
    pub fn email(address: &str, issuer: &str) -> Self {
        Self {
            name: Name::Email(address.to_owned()),
            issuer: Some(issuer.to_owned()),
            raw_issuer: None,
            claims: Vec::new(),
        }
    }

    /// A workload with a URI.
    #[must_use]
    pub fn uri(uri: &str, issuer: &str) -> Self {
        Self { name: Name::Uri(uri.to_owned()), ..Self::email("", issuer) }
    }

    /// A GitHub Actions run: `repository` is `owner/name`, `workflow` a path in it such as
    /// `.github/workflows/release.yml`, `git_ref` such as `refs/heads/main`.
    #[must_use]
    pub fn github(repository: &str, workflow: &str, git_ref: &str) -> Self {
        const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
        let (owner, _) = repository.split_once('/').unwrap_or((repository, ""));
        let source = format!("https://github.com/{repository}");
        let builder = format!("{source}/{workflow}@{git_ref}");
        let claims = [
            (2, "push".to_owned()),
            (3, SHA.to_owned()),
            (4, "release".to_owned()),
            (5, repository.to_owned()),
            (6, git_ref.to_owned()),
            (9, builder.clone()),
            (10, SHA.to_owned()),
            (11, "github-hosted".to_owned()),
            (12, source.clone()),
            (13, SHA.to_owned()),
            (14, git_ref.to_owned()),
            (15, "101".to_owned()),
            (16, format!("https://github.com/{owner}")),
            (17, "202".to_owned()),
            (18, builder.clone()),
            (19, SHA.to_owned()),
            (20, "push".to_owned()),
            (21, format!("{source}/actions/runs/303/attempts/1")),
            (22, "public".to_owned()),
        ];
        Self { claims: claims.into(), ..Self::uri(&builder, "https://token.actions.githubusercontent.com") }
    }

    /// A GitLab CI job of `project` (`group/name`) at `git_ref`.
    #[must_use]
    pub fn gitlab(project: &str, git_ref: &str) -> Self {
        const SHA: &str = "fedcba9876543210fedcba9876543210fedcba98";
        let (group, _) = project.split_once('/').unwrap_or((project, ""));
        let source = format!("https://gitlab.com/{project}");
        let builder = format!("{source}//.gitlab-ci.yml@{git_ref}");
        let claims = [
            (9, builder.clone()),
            (10, SHA.to_owned()),
            (11, "gitlab-hosted".to_owned()),
            (12, source.clone()),
            (13, SHA.to_owned()),
            (14, git_ref.to_owned()),
            (15, "404".to_owned()),
            (16, format!("https://gitlab.com/{group}")),
            (17, "505".to_owned()),
            (18, builder.clone()),
            (19, SHA.to_owned()),
            (20, "push".to_owned()),
            (21, format!("{source}/-/jobs/606")),
            (22, "private".to_owned()),
        ];
        Self { claims: claims.into(), ..Self::uri(&builder, "https://gitlab.com") }
    }

    /// The same identity with another value for one claim.
    #[must_use]
    pub fn claim(mut self, arc: u8, value: &str) -> Self {
        self.claims.retain(|(existing, _)| *existing != arc);
        self.claims.push((arc, value.to_owned()));
        self
    }
}
