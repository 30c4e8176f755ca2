//! From the document to a policy: every name exists, every pattern, key, root and time is parsed.

use std::{cell::OnceCell, collections::BTreeMap, rc::Rc};

use sigstore_verify::types::DerPublicKey;

use crate::{
    Digest, ImageRef, Pattern, encoding,
    policy::{
        CertificateRule, ExemptionView, Policy, PolicyError, RuleView, SignerRule,
        document::{
            Builtin, Condition, Document, Exemption, Limits, Log, Requirement, Rule, SignedName, Signer,
            Test, TrustedRootSource,
        },
        signer::{self, KeyRule, Parts},
    },
    provider, time,
    trust::Root,
};

/// Nesting of `all` and `any` in a rule.
const MAX_DEPTH: usize = 8;
/// The root that is there where the document names none.
const DEFAULT_ROOT: &str = "sigstore";
/// The most that `limits` can ask for: what a worker can hold and do.
const MOST: Limits = Limits { signatures: 256, images: 256, platforms: 64, bytes: 33_554_432 };

pub(super) fn resolve(document: Document) -> Result<Policy, PolicyError> {
    // There is no verifying without a policy: this is the one place that all of it comes through.
    provider::install();
    limits(&document.limits)?;
    for (kind, pointers) in &document.kinds {
        if let Some(at) = pointers.iter().position(|pointer| !pointer.starts_with('/')) {
            let reason = "a JSON pointer to an image is expected: `/spec/steps/*/image`";
            return Err(PolicyError::new(format!("kinds.{kind}[{at}]"), reason));
        }
    }
    let roots = roots(&document)?;
    let mut signers = BTreeMap::new();
    for (name, signer) in &document.signers {
        signers.insert(name.clone(), resolve_signer(name, signer, &roots)?);
    }
    let mut rules = Vec::new();
    for (index, rule) in document.rules.iter().enumerate() {
        let path = format!("rules[{index}]");
        if document.rules.iter().take(index).any(|other| other.name == rule.name) {
            return Err(PolicyError::new(format!("{path}.name"), "another rule has this name"));
        }
        requirement(&format!("{path}.require"), &rule.require, &signers, 0)?;
        rules.push(resolve_rule(&path, rule)?);
    }
    let exemptions = document
        .exemptions
        .iter()
        .enumerate()
        .map(|(index, exemption)| resolve_exemption(&format!("exemptions[{index}]"), exemption))
        .collect::<Result<_, _>>()?;
    Ok(Policy { digest: OnceCell::new(), document: Rc::new(document), roots, signers, rules, exemptions })
}

fn limits(limits: &Limits) -> Result<(), PolicyError> {
    let checked = [
        ("signatures", limits.signatures, MOST.signatures),
        ("images", limits.images, MOST.images),
        ("platforms", limits.platforms, MOST.platforms),
        ("bytes", limits.bytes, MOST.bytes),
    ];
    for (name, value, most) in checked {
        if value == 0 || value > most {
            return Err(PolicyError::new(format!("limits.{name}"), format_args!("must be 1 to {most}")));
        }
    }
    Ok(())
}

fn roots(document: &Document) -> Result<BTreeMap<String, Rc<Root>>, PolicyError> {
    let mut roots = BTreeMap::new();
    for (name, source) in &document.roots {
        let root = Root::new(source).map_err(|reason| PolicyError::new(format!("roots.{name}"), reason))?;
        roots.insert(name.clone(), Rc::new(root));
    }
    let needed = document.signers.values().any(|signer| match signer {
        Signer::Key(key) => key.log != Log::None,
        Signer::Keyless(_) | Signer::Github(_) | Signer::Gitlab(_) | Signer::Google(_) => true,
    });
    if roots.is_empty() && needed {
        let builtin = Root::new(&TrustedRootSource::Builtin(Builtin::Sigstore))
            .map_err(|reason| PolicyError::new("roots", reason))?;
        roots.insert(DEFAULT_ROOT.to_owned(), Rc::new(builtin));
    }
    Ok(roots)
}

fn resolve_signer(
    name: &str,
    signer: &Signer,
    roots: &BTreeMap<String, Rc<Root>>,
) -> Result<SignerRule, PolicyError> {
    let path = format!("signers.{name}");
    match signer {
        Signer::Key(key) => {
            let path = format!("{path}.key");
            let at = format!("{path}.public_key");
            let blocks = encoding::pem(&key.public_key, "PUBLIC KEY")
                .map_err(|reason| PolicyError::new(&at, reason))?;
            let [der] = blocks.as_slice() else {
                return Err(PolicyError::new(at, "one key is expected; make each key a signer"));
            };
            let public = DerPublicKey::new(der.clone());
            provider::check_key(&public).map_err(|reason| PolicyError::new(at, reason))?;
            let root = match (key.log, &key.root) {
                (Log::None, None) => None,
                (Log::None, Some(_)) => {
                    return Err(PolicyError::new(
                        format!("{path}.root"),
                        "only with `log: required` or `proof`",
                    ));
                }
                (Log::Required | Log::Proof, root) => Some(root_name(&path, root.as_ref(), roots)?),
            };
            let rule = KeyRule { fingerprint: Digest::of(der), key: public, log: key.log, root };
            Ok(SignerRule::Key(Rc::new(rule)))
        }
        Signer::Keyless(keyless) => {
            let path = format!("{path}.keyless");
            let parts = Parts {
                issuer: keyless.issuer.clone(),
                subject: keyless.subject.clone(),
                claims: keyless.claims.iter().map(|(claim, any)| (*claim, any.clone())).collect(),
            };
            certificate(&path, parts, keyless.root.as_ref(), keyless.log, roots)
        }
        Signer::Github(github) => {
            let path = format!("{path}.github");
            let parts = signer::github(github, &format!("{path}.repository"))?;
            certificate(&path, parts, github.root.as_ref(), github.log, roots)
        }
        Signer::Gitlab(gitlab) => {
            let path = format!("{path}.gitlab");
            let parts = signer::gitlab(gitlab, &format!("{path}.project"))?;
            certificate(&path, parts, gitlab.root.as_ref(), gitlab.log, roots)
        }
        Signer::Google(google) => {
            let path = format!("{path}.google");
            certificate(&path, signer::google(google), google.root.as_ref(), google.log, roots)
        }
    }
}

fn certificate(
    path: &str,
    parts: Parts,
    root: Option<&String>,
    log: Log,
    roots: &BTreeMap<String, Rc<Root>>,
) -> Result<SignerRule, PolicyError> {
    if parts.issuer.is_empty() || parts.issuer.contains('*') {
        return Err(PolicyError::new(format!("{path}.issuer"), "an issuer is named exactly, without `*`"));
    }
    let subject = pattern(&format!("{path}.subject"), &parts.subject)?;
    let mut claims = Vec::new();
    for (claim, any) in &parts.claims {
        let at = format!("{path}.claims.{}", claim.name());
        if any.is_empty() {
            return Err(PolicyError::new(at, "no value could match; leave the claim out"));
        }
        claims.push((*claim, patterns(&at, any)?));
    }
    let root = root_name(path, root, roots)?;
    let known = roots.get(&root).is_some_and(|root| root.has_log());
    if log != Log::None && !known {
        return Err(PolicyError::new(
            format!("{path}.log"),
            format_args!(
                "the root `{root}` has no transparency log; `log: none` needs its timestamps instead"
            ),
        ));
    }
    Ok(SignerRule::Certificate(Rc::new(CertificateRule { issuer: parts.issuer, subject, claims, root, log })))
}

fn root_name(
    path: &str,
    named: Option<&String>,
    roots: &BTreeMap<String, Rc<Root>>,
) -> Result<String, PolicyError> {
    let path = format!("{path}.root");
    match (named, roots.len()) {
        (Some(name), _) if roots.contains_key(name) => Ok(name.clone()),
        (Some(name), _) => {
            let names: Vec<_> = roots.keys().map(String::as_str).collect();
            Err(PolicyError::new(path, format_args!("no root `{name}`; there are: {}", names.join(", "))))
        }
        (None, 1) => Ok(roots.keys().next().cloned().unwrap_or_default()),
        (None, _) => Err(PolicyError::new(path, "there are several roots: name one")),
    }
}

fn resolve_rule(path: &str, rule: &Rule) -> Result<RuleView, PolicyError> {
    if rule.images.is_empty() {
        return Err(PolicyError::new(format!("{path}.images"), "no image could match; `**` is all of them"));
    }
    if let SignedName::Remap(remap) = &rule.signed_name {
        for (name, part) in [("from", &remap.from), ("to", &remap.to)] {
            if part.is_empty() || part.ends_with('/') || part.contains('*') {
                let at = format!("{path}.signed_name.remap.{name}");
                return Err(PolicyError::new(
                    at,
                    "whole parts of a name, without `*` and without a slash at the end",
                ));
            }
        }
    }
    let signatures_in = rule
        .signatures_in
        .as_ref()
        .map(|name| {
            let image = ImageRef::parse(name)
                .map_err(|error| PolicyError::new(format!("{path}.signatures_in"), error))?;
            Ok((image.registry().to_owned(), image.repository().to_owned()))
        })
        .transpose()?;
    let signed_after = rule
        .signed_after
        .as_ref()
        .map(|text| {
            time::parse(text).map_err(|reason| PolicyError::new(format!("{path}.signed_after"), reason))
        })
        .transpose()?;
    let max_age = rule
        .max_age
        .as_ref()
        .map(|text| {
            time::duration(text).map_err(|reason| PolicyError::new(format!("{path}.max_age"), reason))
        })
        .transpose()?;
    Ok(RuleView {
        name: rule.name.clone(),
        images: patterns(&format!("{path}.images"), &rule.images)?,
        namespaces: patterns(&format!("{path}.namespaces"), &rule.namespaces)?,
        require: rule.require.clone(),
        signed_name: rule.signed_name.clone(),
        unnamed_bundles: rule.unnamed_bundles,
        signed_after,
        max_age,
        platforms: rule.platforms,
        mode: rule.mode,
        signatures_in,
    })
}

fn resolve_exemption(path: &str, exemption: &Exemption) -> Result<ExemptionView, PolicyError> {
    if exemption.images.is_empty() {
        return Err(PolicyError::new(format!("{path}.images"), "no image could match"));
    }
    if exemption.reason.trim().is_empty() {
        return Err(PolicyError::new(format!("{path}.reason"), "an exemption says why it is there"));
    }
    let digest = exemption
        .digest
        .as_ref()
        .map(|text| Digest::parse(text).map_err(|error| PolicyError::new(format!("{path}.digest"), error)))
        .transpose()?;
    Ok(ExemptionView {
        images: patterns(&format!("{path}.images"), &exemption.images)?,
        namespaces: patterns(&format!("{path}.namespaces"), &exemption.namespaces)?,
        digest,
        reason: exemption.reason.clone(),
        until: time::parse(&exemption.until)
            .map_err(|reason| PolicyError::new(format!("{path}.until"), reason))?,
        until_text: exemption.until.clone(),
    })
}

fn requirement(
    path: &str,
    requirement: &Requirement,
    signers: &BTreeMap<String, SignerRule>,
    depth: usize,
) -> Result<(), PolicyError> {
    if depth > MAX_DEPTH {
        return Err(PolicyError::new(path, format_args!("nested more than {MAX_DEPTH} deep")));
    }
    let known = |path: String, name: &String| match signers.contains_key(name) {
        true => Ok(()),
        false => Err(PolicyError::new(path, format_args!("no signer `{name}`; `signers` has them by name"))),
    };
    match requirement {
        Requirement::Signature { signer, annotations } => {
            for (key, value) in annotations {
                pattern(&format!("{path}.signature.annotations.{key}"), value)?;
            }
            known(format!("{path}.signature.signer"), signer)
        }
        Requirement::Attestation { predicate_type, signer, conditions } => {
            if predicate_type.is_empty() {
                let at = format!("{path}.attestation.predicate_type");
                return Err(PolicyError::new(at, "the predicate's type as a URI is expected"));
            }
            for (index, condition) in conditions.iter().enumerate() {
                check_condition(&format!("{path}.attestation.conditions[{index}]"), condition)?;
            }
            known(format!("{path}.attestation.signer"), signer)
        }
        Requirement::All(of) | Requirement::Any(of) => {
            let path =
                format!("{path}.{}", if matches!(requirement, Requirement::All(_)) { "all" } else { "any" });
            if of.is_empty() {
                return Err(PolicyError::new(path, "an empty list asks for nothing"));
            }
            let next = depth.saturating_add(1);
            of.iter().enumerate().try_for_each(|(index, part)| {
                self::requirement(&format!("{path}[{index}]"), part, signers, next)
            })
        }
        Requirement::AtLeast { count, signers: of } => {
            if *count == 0 || *count > of.len() {
                let at = format!("{path}.at_least.count");
                return Err(PolicyError::new(
                    at,
                    format_args!("must be 1 to {}, the number of signers", of.len()),
                ));
            }
            for (index, name) in of.iter().enumerate() {
                let at = format!("{path}.at_least.signers[{index}]");
                if of.iter().take(index).any(|other| other == name) {
                    return Err(PolicyError::new(at, format_args!("`{name}` is there twice")));
                }
                known(at, name)?;
            }
            Ok(())
        }
    }
}

fn check_condition(path: &str, condition: &Condition) -> Result<(), PolicyError> {
    if !condition.path.starts_with('/') {
        let at = format!("{path}.path");
        return Err(PolicyError::new(at, "a JSON pointer into the statement is expected: `/predicate/…`"));
    }
    match &condition.is {
        Test::Matches(text) => pattern(&format!("{path}.is.matches"), text).map(|_| ()),
        Test::YoungerThan(text) => time::duration(text)
            .map(|_| ())
            .map_err(|reason| PolicyError::new(format!("{path}.is.younger_than"), reason)),
        Test::OneOf(values) | Test::NoneOf(values) if values.is_empty() => {
            Err(PolicyError::new(format!("{path}.is"), "an empty list"))
        }
        Test::Present
        | Test::Absent
        | Test::Equals(_)
        | Test::OneOf(_)
        | Test::NoneOf(_)
        | Test::AtMost(_)
        | Test::AtLeast(_) => Ok(()),
    }
}

fn patterns(path: &str, texts: &[String]) -> Result<Vec<Pattern>, PolicyError> {
    texts.iter().enumerate().map(|(index, text)| pattern(&format!("{path}[{index}]"), text)).collect()
}

fn pattern(path: &str, text: &str) -> Result<Pattern, PolicyError> {
    Pattern::parse(text).map_err(|error| PolicyError::new(path, format_args!("`{text}`: {error}")))
}
