//! Kyverno's `verifyImages` rules (ClusterPolicy and Policy of `kyverno.io`).

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    Draft, Effect,
    cluster_image_policy::{either, predicate_type},
    fields::Fields,
    patterns,
};

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----";

pub(super) fn convert(source: Value) -> anyhow::Result<Draft> {
    let mut draft = Draft { unmatched_allowed: true, ..Draft::default() };
    let mut top = Fields::new("", source)?;
    top.ignore(&["apiVersion", "status"]);
    let kind = top.text("kind")?;
    let mut metadata = top.fields("metadata")?.context("`metadata`: missing")?;
    let policy = metadata.text("name")?.unwrap_or_else(|| "policy".into());
    let namespace = metadata.text("namespace")?.filter(|_| kind.as_deref() == Some("Policy"));
    let mut spec = top.fields("spec")?.context("`spec`: missing")?;
    spec.ignore(&["background", "webhookTimeoutSeconds", "schemaValidation", "applyRules", "admission"]);
    spec.ignore(&["webhookConfiguration", "emitWarning", "generateExisting", "useServerSideApply"]);
    let action = spec.text("validationFailureAction")?;
    if spec.text("failurePolicy")?.as_deref() == Some("Ignore") {
        let path = spec.path("failurePolicy");
        draft.lose(
            &path,
            Effect::Stricter,
            "what becomes of a review without an answer is the webhook's affair",
        );
    }
    for (path, item) in spec.list("rules")? {
        let mut rule = Fields::new(&path, item)?;
        let name = rule.text("name")?.unwrap_or_else(|| policy.clone());
        let entries = rule.list("verifyImages")?;
        if entries.is_empty() {
            draft.lose(&path, Effect::Weaker, "a rule without `verifyImages` is not about signatures");
            continue;
        }
        let mut namespaces = namespaces(&mut draft, &mut rule)?;
        namespaces.extend(namespace.clone());
        if let Some(exclude) = rule.fields("exclude")? {
            let path = exclude.path("");
            draft.lose(
                path.trim_end_matches('.'),
                Effect::Stricter,
                "rules have no exceptions; an exemption has an end",
            );
        }
        rule.finish(&mut draft, Effect::Stricter, "the rule is there without this condition");
        for (path, entry) in entries {
            let context = Rule { name: &name, namespaces: &namespaces, action: action.as_deref() };
            entry_rule(&mut draft, &context, Fields::new(path, entry)?)?;
        }
    }
    spec.finish(&mut draft, Effect::Weaker, "it is not known here");
    anyhow::ensure!(!draft.rules.is_empty(), "it has no `verifyImages` rule that can be kept");
    Ok(draft)
}

/// What a rule of the policy says of all its entries.
struct Rule<'a> {
    name: &'a str,
    namespaces: &'a [String],
    action: Option<&'a str>,
}

/// The namespaces of `match`; that it is about pods is understood.
fn namespaces(draft: &mut Draft, rule: &mut Fields) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let Some(mut matched) = rule.fields("match")? else { return Ok(found) };
    let mut clauses = matched.list("any")?;
    clauses.extend(matched.list("all")?);
    if let Some(resources) = matched.take("resources") {
        let path = matched.path("resources");
        clauses.push((path.clone(), json!({ "resources": resources })));
    }
    for (path, clause) in clauses {
        let mut clause = Fields::new(&path, clause)?;
        if let Some(mut resources) = clause.fields("resources")? {
            resources.ignore(&["kinds", "operations"]);
            for (_, namespace) in resources.texts("namespaces")? {
                found.extend(patterns::from_wildcards(&namespace).patterns);
            }
            resources.finish(draft, Effect::Stricter, "rules are about images and namespaces only");
        }
        clause.finish(draft, Effect::Stricter, "rules are about images and namespaces only");
    }
    matched.finish(draft, Effect::Stricter, "rules are about images and namespaces only");
    Ok(found)
}

fn entry_rule(draft: &mut Draft, rule: &Rule<'_>, mut entry: Fields) -> anyhow::Result<()> {
    entry.ignore(&["useCache", "imageRegistryCredentials", "required", "type"]);
    let mut images = Vec::new();
    for (path, reference) in entry.texts("imageReferences")? {
        let (name, tagged) = patterns::image(&reference);
        if tagged {
            draft.lose(&path, Effect::Stricter, "rules are not about tags: all of them are meant");
        }
        // A question mark becomes a star: more images must be signed.
        images.extend(patterns::from_wildcards(&name).patterns);
    }
    for (path, _) in entry.texts("skipImageReferences")? {
        draft.lose(&path, Effect::Stricter, "rules have no exceptions; an exemption has an end");
    }
    let pins = entry.flag("mutateDigest")?.unwrap_or(true);
    if entry.flag("verifyDigest")?.unwrap_or(true) && !pins {
        draft.tags_refused = true;
    }
    let elsewhere = entry.text("repository")?;
    let action = entry.text("failureAction")?;
    let annotations = annotations(draft, &mut entry)?;

    let mut all = Vec::new();
    let attestors = entry.list("attestors")?;
    for (path, set) in attestors {
        all.push(attestor_set(draft, rule.name, Fields::new(path, set)?, None, &annotations)?);
    }
    for (path, item) in entry.list("attestations")? {
        let mut attestation = Fields::new(&path, item)?;
        let kind = attestation.text("predicateType")?.or(attestation.text("type")?);
        let kind = kind.with_context(|| format!("`{path}.type`: missing"))?;
        let reason = "conditions over JMESPath have no counterpart; write `conditions` of the attestation";
        for (path, _) in attestation.list("conditions")? {
            draft.lose(&path, Effect::Weaker, reason);
        }
        for (path, set) in attestation.list("attestors")? {
            let kind = Some(predicate_type(&kind));
            all.push(attestor_set(draft, rule.name, Fields::new(path, set)?, kind, &Value::Null)?);
        }
        attestation.finish(draft, Effect::Weaker, "it is not known here");
    }
    entry.finish(draft, Effect::Weaker, "it is not known here");
    let all: Option<Vec<_>> = all.into_iter().collect();
    let Some(mut all) = all.filter(|all| !all.is_empty()) else {
        draft.lose(
            rule.name,
            Effect::Weaker,
            "a set of attestors cannot be kept, and the rule not without it",
        );
        return Ok(());
    };
    let require = if all.len() == 1 { all.remove(0) } else { json!({ "all": all }) };
    let mut made = json!({
        "name": rule.name, "images": images, "require": require,
        // Kyverno does not look at the name in a signature.
        "signed_name": "any",
    });
    if !rule.namespaces.is_empty() {
        made["namespaces"] = json!(rule.namespaces);
    }
    if action.as_deref().or(rule.action).unwrap_or("Audit").eq_ignore_ascii_case("audit") {
        made["mode"] = json!("audit");
    }
    if let Some(repository) = elsewhere {
        made["signatures_in"] = json!(repository);
    }
    draft.rules.push(made);
    Ok(())
}

fn annotations(_draft: &mut Draft, fields: &mut Fields) -> anyhow::Result<Value> {
    let path = fields.path("annotations");
    match fields.take("annotations") {
        None => Ok(Value::Null),
        Some(Value::Object(map)) => Ok(map
            .into_iter()
            .map(|(name, value)| {
                let text = value.as_str().with_context(|| format!("`{path}.{name}`: a text is expected"))?;
                Ok((name, json!(patterns::from_wildcards(text).patterns[0])))
            })
            .collect::<anyhow::Result<serde_json::Map<_, _>>>()?
            .into()),
        Some(_) => anyhow::bail!("`{path}`: a mapping is expected"),
    }
}

/// `count` of `entries`, all of them where there is no count. None where it cannot be kept.
fn attestor_set(
    draft: &mut Draft,
    name: &str,
    mut set: Fields,
    kind: Option<&str>,
    annotations: &Value,
) -> anyhow::Result<Option<Value>> {
    let path = set.path("count");
    let count = set.take("count").and_then(|count| count.as_u64());
    let mut ways = Vec::new();
    let mut signers = Vec::new();
    let mut dropped = 0_usize;
    for (path, item) in set.list("entries")? {
        let mut entry = Fields::new(&path, item)?;
        if let Some(inner) = entry.take("attestor") {
            let inner = Fields::new(entry.path("attestor"), inner)?;
            ways.extend(attestor_set(draft, name, inner, kind, annotations)?);
            continue;
        }
        let found = self::entry(draft, name, &mut entry)?;
        let mut own = self::annotations(draft, &mut entry)?;
        if own.is_null() {
            own = annotations.clone();
        }
        entry.finish(draft, Effect::Stricter, "it is not known here");
        if found.is_empty() {
            dropped += 1;
        }
        for alternatives in found {
            let requirement = |signer: &String| match kind {
                Some(kind) => json!({ "attestation": { "predicate_type": kind, "signer": signer } }),
                None if own.is_null() => json!({ "signature": { "signer": signer } }),
                None => json!({ "signature": { "signer": signer, "annotations": own } }),
            };
            let mut each: Vec<_> = alternatives.iter().map(requirement).collect();
            ways.push(if each.len() == 1 { each.remove(0) } else { json!({ "any": each }) });
            signers.push(alternatives);
        }
    }
    set.finish(draft, Effect::Stricter, "it is not known here");
    let total = ways.len() + dropped;
    let wanted = count.map_or(total, |count| usize::try_from(count).unwrap_or(usize::MAX));
    if ways.is_empty() || wanted > ways.len() {
        return Ok(None);
    }
    let plain = kind.is_none() && annotations.is_null();
    Ok(Some(match wanted {
        1 if ways.len() == 1 => ways.remove(0),
        1 => json!({ "any": ways }),
        _ if wanted == ways.len() => json!({ "all": ways }),
        _ if plain && signers.len() == ways.len() && signers.iter().all(|one| one.len() == 1) => {
            json!({ "at_least": { "count": wanted, "signers": signers.concat() } })
        }
        _ => {
            draft.lose(
                &path,
                Effect::Stricter,
                "a count over such entries has no counterpart: all are asked for",
            );
            json!({ "all": ways })
        }
    }))
}

/// The signers of an entry: each element counts once, and is met by any of its names.
fn entry(draft: &mut Draft, name: &str, entry: &mut Fields) -> anyhow::Result<Vec<Vec<String>>> {
    if let Some(keys) = entry.fields("keys")? {
        return key_entry(draft, name, keys);
    }
    if let Some(mut keyless) = entry.fields("keyless")? {
        let root = match keyless.text("roots")? {
            None => "sigstore".to_owned(),
            Some(certificates) => {
                let path = keyless.path("roots");
                draft.lose(
                    &path,
                    Effect::Stricter,
                    "an authority of one's own also needs `timestamp_authorities`",
                );
                draft.root(name, json!({ "authority": { "certificates": certificates } }))
            }
        };
        let log = logged(draft, &mut keyless)?;
        let issuers = either(draft, &mut keyless, "issuer", "issuerRegExp")?;
        let subjects = either(draft, &mut keyless, "subject", "subjectRegExp")?;
        if let Some(extensions) = keyless.fields("additionalExtensions")? {
            extensions.finish(draft, Effect::Weaker, "write it as one of the signer's `claims`");
        }
        keyless.finish(draft, Effect::Stricter, "the log that a certificate is in is always looked at");
        let log = if log && root == "sigstore" { "required" } else { "none" };
        let mut names = Vec::new();
        for issuer in issuers {
            for subject in subjects.iter().flat_map(|text| patterns::from_wildcards(text).patterns) {
                let signer = json!({ "issuer": issuer, "subject": subject, "root": root, "log": log });
                names.push(draft.signer(name, json!({ "keyless": signer })));
            }
        }
        return Ok(if names.is_empty() { Vec::new() } else { vec![names] });
    }
    let path = entry.path("certificates");
    if entry.take("certificates").is_some() {
        draft.lose(
            &path,
            Effect::Stricter,
            "a certificate without an identity is no signer here: use its key",
        );
    }
    Ok(Vec::new())
}

/// Several keys in one text are as many entries.
fn key_entry(draft: &mut Draft, name: &str, mut keys: Fields) -> anyhow::Result<Vec<Vec<String>>> {
    let path = keys.path("publicKeys");
    let text = keys.text("publicKeys")?.unwrap_or_default();
    let log = logged(draft, &mut keys)?;
    keys.finish(draft, Effect::Stricter, "only keys in the policy itself can be kept, with their own hash");
    let blocks: Vec<_> = text.split(PUBLIC_KEY).skip(1).map(|rest| format!("{PUBLIC_KEY}{rest}")).collect();
    if blocks.is_empty() {
        draft.lose(&path, Effect::Stricter, "only keys in the policy itself can be kept: put the PEM here");
    }
    Ok(blocks
        .into_iter()
        .map(|block| {
            let mut signer = json!({ "public_key": format!("{}\n", block.trim_end()) });
            if log {
                signer["log"] = json!("required");
                signer["root"] = json!("sigstore");
            }
            vec![draft.signer(name, json!({ "key": signer }))]
        })
        .collect())
}

/// Whether Rekor's word is asked for: it is, unless the policy says that it is not.
fn logged(draft: &mut Draft, fields: &mut Fields) -> anyhow::Result<bool> {
    if let Some(mut log) = fields.fields("ctlog")? {
        log.ignore(&["url"]);
        log.finish(draft, Effect::Stricter, "the log that a certificate is in is always looked at");
    }
    let Some(mut rekor) = fields.fields("rekor")? else { return Ok(true) };
    rekor.ignore(&["url"]);
    let ignored = rekor.flag("ignoreTlog")?.unwrap_or(false);
    rekor.finish(draft, Effect::Stricter, "only the public log's keys are built in; name a root of yours");
    Ok(!ignored)
}
