//! The checks, each over one part of the document.

use portcullis_signature::policy::{
    Document, Exemption, GitHub, GitLab, Google, Keyless, Log, Mode, Rule, SignedName, Signer, Unmatched,
};

use super::{
    Finding, Severity,
    breadth::{Example, example, repository, subject},
};

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GOOGLE: &str = "https://accounts.google.com";
/// An image that nobody's rules are about.
const STRANGE_IMAGE: &str = "registry.evil.test/miner";

/// Every finding, the worst first.
pub(super) fn all(document: &Document) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, signer) in &document.signers {
        signer_findings(&format!("signers.{name}"), signer, &mut findings);
    }
    for (index, rule) in document.rules.iter().enumerate() {
        rule_findings(&format!("rules[{index}]"), rule, &mut findings);
    }
    for (index, exemption) in document.exemptions.iter().enumerate() {
        exemption_findings(&format!("exemptions[{index}]"), exemption, &mut findings);
    }
    if document.unmatched == Unmatched::Allow {
        findings.push(Finding {
            severity: Severity::Warning,
            path: "unmatched".into(),
            message: "an image that no rule is about runs, unsigned".into(),
            lets_in: Some(Example::new([("image", STRANGE_IMAGE.into())])),
        });
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.path.cmp(&b.path)));
    findings
}

fn signer_findings(path: &str, signer: &Signer, findings: &mut Vec<Finding>) {
    let log = match signer {
        Signer::Key(_) => return,
        Signer::Keyless(keyless) => {
            keyless_findings(&format!("{path}.keyless"), keyless, findings);
            keyless.log
        }
        Signer::Github(github) => {
            github_findings(&format!("{path}.github"), github, findings);
            github.log
        }
        Signer::Gitlab(gitlab) => {
            gitlab_findings(&format!("{path}.gitlab"), gitlab, findings);
            gitlab.log
        }
        Signer::Google(google) => {
            google_findings(&format!("{path}.google"), google, findings);
            google.log
        }
    };
    if log == Log::None {
        findings.push(Finding {
            severity: Severity::Note,
            path: path.into(),
            message: "no transparency log is asked for: nobody can see what is signed in this name".into(),
            lets_in: None,
        });
    }
}

fn keyless_findings(path: &str, keyless: &Keyless, findings: &mut Vec<Finding>) {
    // Claims bind an identity too: what they leave open is not ours to say.
    let Some((severity, message)) = subject(&keyless.subject).filter(|_| keyless.claims.is_empty()) else {
        return;
    };
    let lets_in = example(&keyless.subject)
        .map(|text| Example::new([("issuer", keyless.issuer.clone()), ("subject", text)]));
    findings.push(Finding { severity, path: format!("{path}.subject"), message: message.into(), lets_in });
}

fn github_findings(path: &str, github: &GitHub, findings: &mut Vec<Finding>) {
    let server = github.server.as_deref().unwrap_or("https://github.com");
    let issuer = github.issuer.as_deref().unwrap_or(GITHUB);
    let build = Build {
        issuer,
        repository: &github.repository,
        file: github.workflow.as_deref().or(github.signer_workflow.as_deref()),
        reference: github.reference.as_deref(),
        separator: "/",
        server,
        usual: ".github/workflows/evil.yml",
    };
    build.findings(path, ["repository", "workflow", "ref"], findings);
}

fn gitlab_findings(path: &str, gitlab: &GitLab, findings: &mut Vec<Finding>) {
    let server = gitlab.server.as_deref().unwrap_or("https://gitlab.com");
    let build = Build {
        issuer: server,
        repository: &gitlab.project,
        file: gitlab.pipeline.as_deref(),
        reference: gitlab.reference.as_deref(),
        separator: "//",
        server,
        usual: "evil.yml",
    };
    build.findings(path, ["project", "pipeline", "ref"], findings);
}

/// A signer that is a build, by the parts that GitHub and GitLab have in common.
struct Build<'a> {
    issuer: &'a str,
    server: &'a str,
    repository: &'a str,
    /// Between the repository and the file, in the certificate's subject.
    separator: &'static str,
    file: Option<&'a str>,
    /// The file of a stranger, where any will do.
    usual: &'static str,
    reference: Option<&'a str>,
}

impl Build<'_> {
    fn findings(
        &self,
        path: &str,
        [repository_name, file_name, ref_name]: [&str; 3],
        findings: &mut Vec<Finding>,
    ) {
        let mut add = |severity, name: &str, message: &str| {
            findings.push(Finding {
                severity,
                path: format!("{path}.{name}"),
                message: message.into(),
                lets_in: self.example(),
            });
        };
        if let Some((severity, message)) = repository(self.repository) {
            add(severity, repository_name, message);
        }
        if self.file.is_none_or(|file| file.contains('*')) {
            let message = "any build file of the repository may sign: whoever can push one gets in";
            add(Severity::Warning, file_name, message);
        }
        match self.reference {
            None | Some("*" | "**" | "refs/**") => {
                let message = "any branch or tag may sign, also one that nobody has reviewed";
                add(Severity::Warning, ref_name, message);
            }
            Some(reference) if reference.contains('*') => {
                let message = "every branch or tag of this form may sign: protect all of them";
                add(Severity::Note, ref_name, message);
            }
            Some(_) => {}
        }
    }

    /// The subject of a build that gets in.
    fn example(&self) -> Option<Example> {
        let filled = |pattern: &str| example(pattern).unwrap_or_else(|| pattern.to_owned());
        let file = self.file.map_or_else(|| self.usual.to_owned(), filled);
        let reference = match self.reference {
            None | Some("*" | "**") => "refs/heads/evil".to_owned(),
            Some(reference) => filled(reference),
        };
        // A bare star for `owner/repository` matches no slash, and so nothing.
        let repository = filled(self.repository);
        let subject = format!("{}/{repository}{}{file}@{reference}", self.server, self.separator);
        repository.contains('/').then(|| Example::new([("issuer", self.issuer.into()), ("subject", subject)]))
    }
}

fn google_findings(path: &str, google: &Google, findings: &mut Vec<Finding>) {
    let Some((severity, message)) = subject(&google.email) else { return };
    let lets_in =
        example(&google.email).map(|text| Example::new([("issuer", GOOGLE.into()), ("subject", text)]));
    findings.push(Finding { severity, path: format!("{path}.email"), message: message.into(), lets_in });
}

fn rule_findings(path: &str, rule: &Rule, findings: &mut Vec<Finding>) {
    let mut add = |severity, name: &str, message: &str, lets_in| {
        findings.push(Finding { severity, path: format!("{path}.{name}"), message: message.into(), lets_in });
    };
    if rule.signed_name == SignedName::Any {
        let image = rule.images.first().map(|image| example(image).unwrap_or_else(|| image.clone()));
        let lets_in = image.map(|image| {
            Example::new([("image", image), ("signed for", "any other repository of the same signer".into())])
        });
        let message = "the name in a signature is not looked at: another image of the same signer passes";
        add(Severity::Warning, "signed_name", message, lets_in);
    }
    if rule.mode == Mode::Audit {
        let message = "the rule only warns: what fails it runs all the same";
        let image = rule.images.first().map(|image| example(image).unwrap_or_else(|| image.clone()));
        add(Severity::Note, "mode", message, image.map(|image| Example::new([("image", image)])));
    }
}

fn exemption_findings(path: &str, exemption: &Exemption, findings: &mut Vec<Finding>) {
    for (index, image) in exemption.images.iter().enumerate() {
        let Some(text) = example(image).filter(|_| exemption.digest.is_none()) else { continue };
        // `registry/owner/…`: a wildcard before the second slash is in a name that others can have.
        let before = image.split('*').next().unwrap_or_default();
        let severity = if before.matches('/').count() < 2 { Severity::Error } else { Severity::Warning };
        findings.push(Finding {
            severity,
            path: format!("{path}.images[{index}]"),
            message: "every image of this form runs unsigned: name repositories, or a digest".into(),
            lets_in: Some(Example::new([("image", text)])),
        });
    }
}
