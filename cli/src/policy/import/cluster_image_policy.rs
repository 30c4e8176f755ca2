//! sigstore's ClusterImagePolicy (policy-controller's `policy.sigstore.dev`).

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{Draft, Effect, fields::Fields, patterns};

/// In the controller an image that several policies are about needs all of them, and an image that
/// none is about is denied by default: as here.
pub(super) fn convert(source: Value) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    let mut top = Fields::new("", source)?;
    top.ignore(&["apiVersion", "kind", "status"]);
    let mut metadata = top.fields("metadata")?.context("`metadata`: missing")?;
    let name = metadata.text("name")?.unwrap_or_else(|| "policy".into());
    let mut spec = top.fields("spec")?.context("`spec`: missing")?;

    let mut images = Vec::new();
    for (path, item) in spec.list("images")? {
        let mut image = Fields::new(&path, item)?;
        let glob = image.text("glob")?.with_context(|| format!("`{path}.glob`: missing"))?;
        let (pattern, tagged) = patterns::image(&glob);
        if tagged {
            draft.lose(&path, Effect::Stricter, "rules are not about tags: all of them are meant");
        }
        images.push(pattern);
        image.finish(&mut draft, Effect::Stricter, "only `glob` says which images are meant");
    }
    for (path, _) in spec.list("match")? {
        draft.lose(
            &path,
            Effect::Stricter,
            "rules are about images wherever they run, not about kinds and labels",
        );
    }
    let mode = spec.text("mode")?;

    let mut ways = Vec::new();
    let authorities = spec.list("authorities")?;
    for (path, item) in authorities {
        if let Some(requirement) = authority(&mut draft, &name, Fields::new(path, item)?)? {
            ways.push(requirement);
        }
    }
    if let Some(policy) = spec.fields("policy")? {
        let path = policy.path("data");
        draft.lose(&path, Effect::Weaker, "a CUE or Rego program over all authorities has no counterpart");
    }
    spec.finish(&mut draft, Effect::Weaker, "it is not known here");
    if ways.is_empty() {
        bail!("no authority of it can be kept: {}", losses(&draft));
    }
    let require = if ways.len() == 1 { ways.remove(0) } else { json!({ "any": ways }) };
    let mut rule = json!({
        "name": name, "images": images, "require": require,
        // The controller does not look at the name in a signature.
        "signed_name": "any",
    });
    if mode.as_deref() == Some("warn") {
        rule["mode"] = json!("audit");
    }
    draft.rules.push(rule);
    Ok(draft)
}

fn losses(draft: &Draft) -> String {
    let losses = draft.losses.iter().map(|loss| format!("{}: {}", loss.path, loss.reason));
    losses.collect::<Vec<_>>().join("; ")
}

/// One authority: any of its identities, and all of its attestations.
fn authority(draft: &mut Draft, policy: &str, mut fields: Fields) -> anyhow::Result<Option<Value>> {
    let name = fields.text("name")?.unwrap_or_else(|| policy.to_owned());
    if let Some(mut fixed) = fields.fields("static")? {
        let path = fixed.path("action");
        if fixed.text("action")?.as_deref() == Some("pass") {
            draft.lose(&path, Effect::Stricter, "images that always pass need an exemption with an end");
        }
        return Ok(None);
    }
    for source in fields.list("source")? {
        draft.lose(
            &source.0,
            Effect::Stricter,
            "signatures are looked for beside the image (`signatures_in` of a rule)",
        );
    }
    let format = fields.path("signatureFormat");
    if fields.text("signatureFormat")?.is_some() {
        draft.lose(&format, Effect::Nothing, "every format is looked for");
    }
    if fields.fields("rfc3161timestamp")?.is_some() {
        let path = fields.path("rfc3161timestamp");
        draft.lose(&path, Effect::Nothing, "timestamps count where the root names their authority");
    }
    let logged = match fields.fields("ctlog")? {
        None => false,
        Some(mut log) => {
            log.ignore(&["url"]);
            log.finish(
                draft,
                Effect::Stricter,
                "only the public log's keys are built in; name a root of yours",
            );
            true
        }
    };
    let attestations = fields.list("attestations")?;
    let signers = match (fields.fields("key")?, fields.fields("keyless")?) {
        (Some(key), _) => key_signer(draft, &name, key, logged)?,
        (None, Some(keyless)) => keyless_signers(draft, &name, keyless)?,
        (None, None) => Vec::new(),
    };
    let path = fields.path("name");
    fields.finish(draft, Effect::Weaker, "it is not known here");
    if signers.is_empty() {
        draft.lose(&path, Effect::Stricter, "no signer of it can be kept, so it lets nothing run");
        return Ok(None);
    }
    let mut ways = Vec::new();
    for signer in signers {
        ways.push(if attestations.is_empty() {
            json!({ "signature": { "signer": signer } })
        } else {
            let all = attestations.iter().map(|(path, item)| attestation(draft, &signer, path, item.clone()));
            json!({ "all": all.collect::<anyhow::Result<Vec<_>>>()? })
        });
    }
    Ok(Some(if ways.len() == 1 { ways.remove(0) } else { json!({ "any": ways }) }))
}

fn attestation(draft: &mut Draft, signer: &str, path: &str, item: Value) -> anyhow::Result<Value> {
    let mut fields = Fields::new(path, item)?;
    fields.ignore(&["name"]);
    let kind = fields.text("predicateType")?.with_context(|| format!("`{path}.predicateType`: missing"))?;
    if let Some(policy) = fields.fields("policy")? {
        let reason = "a CUE or Rego program has no counterpart; write `conditions` of the attestation";
        let path = policy.path("data");
        if !draft.losses.iter().any(|loss| loss.path == path) {
            draft.lose(&path, Effect::Weaker, reason);
        }
    }
    fields.finish(draft, Effect::Weaker, "it is not known here");
    Ok(json!({ "attestation": { "predicate_type": predicate_type(&kind), "signer": signer } }))
}

/// Cosign's short names for predicate types.
pub(super) fn predicate_type(name: &str) -> &str {
    match name {
        "slsaprovenance" | "slsaprovenance02" => "https://slsa.dev/provenance/v0.2",
        "slsaprovenance1" => "https://slsa.dev/provenance/v1",
        "spdx" | "spdxjson" => "https://spdx.dev/Document",
        "cyclonedx" => "https://cyclonedx.org/bom",
        "link" => "https://in-toto.io/Link/v1",
        "vuln" => "https://cosign.sigstore.dev/attestation/vuln/v1",
        "openvex" => "https://openvex.dev/ns",
        "custom" => "https://cosign.sigstore.dev/attestation/v1",
        uri => uri,
    }
}

fn key_signer(draft: &mut Draft, name: &str, mut key: Fields, logged: bool) -> anyhow::Result<Vec<String>> {
    let data = key.text("data")?;
    if data.is_some() {
        key.finish(draft, Effect::Stricter, "the hash follows from the key");
    } else {
        key.finish(draft, Effect::Stricter, "only keys in the policy itself can be kept: put the PEM here");
    }
    let Some(data) = data else { return Ok(Vec::new()) };
    let mut signer = json!({ "public_key": data });
    if logged {
        signer["log"] = json!("required");
        signer["root"] = json!("sigstore");
    }
    Ok(vec![draft.signer(name, json!({ "key": signer }))])
}

fn keyless_signers(draft: &mut Draft, name: &str, mut keyless: Fields) -> anyhow::Result<Vec<String>> {
    keyless.ignore(&["url"]);
    let root = match keyless.fields("ca-cert")? {
        None => "sigstore".to_owned(),
        Some(mut authority) => {
            let path = authority.path("data");
            let Some(certificates) = authority.text("data")? else {
                draft.lose(&path, Effect::Stricter, "only certificates in the policy itself can be kept");
                return Ok(Vec::new());
            };
            draft.lose(
                &path,
                Effect::Stricter,
                "an authority of one's own also needs `timestamp_authorities`",
            );
            draft.root(name, json!({ "authority": { "certificates": certificates } }))
        }
    };
    let own_root = root != "sigstore";
    if let Some(reference) = keyless.text("trustRootRef")? {
        let path = keyless.path("trustRootRef");
        draft.lose(&path, Effect::Stricter, format!("put the TrustedRoot of `{reference}` under `roots`"));
        return Ok(Vec::new());
    }
    let mut signers = Vec::new();
    for (path, item) in keyless.list("identities")? {
        let mut identity = Fields::new(&path, item)?;
        let issuers = either(draft, &mut identity, "issuer", "issuerRegExp")?;
        let subjects = either(draft, &mut identity, "subject", "subjectRegExp")?;
        identity.finish(draft, Effect::Weaker, "it is not known here");
        for issuer in issuers {
            for subject in &subjects {
                let mut signer = json!({ "issuer": issuer, "subject": subject, "root": root });
                if own_root {
                    signer["log"] = json!("none");
                }
                signers.push(draft.signer(name, json!({ "keyless": signer })));
            }
        }
    }
    keyless.finish(draft, Effect::Stricter, "the log that a certificate is in is always looked at");
    Ok(signers)
}

/// A text, or an expression in its place. An issuer is one text: an expression for it is kept only
/// where it stands for some.
pub(super) fn either(
    draft: &mut Draft,
    fields: &mut Fields,
    name: &str,
    expression: &str,
) -> anyhow::Result<Vec<String>> {
    let path = fields.path(expression);
    if let Some(text) = fields.text(name)? {
        fields.ignore(&[expression]);
        return Ok(vec![text]);
    }
    let Some(regex) = fields.text(expression)? else {
        let path = fields.path(name);
        draft.lose(&path, Effect::Stricter, "an identity needs an issuer and a subject here");
        return Ok(Vec::new());
    };
    let Some(found) = patterns::from_regex(&regex) else {
        draft.lose(&path, Effect::Stricter, format!("`{regex}` has no pattern with `*` and `**`"));
        return Ok(Vec::new());
    };
    if let Some(reason) = found.stricter {
        draft.lose(&path, Effect::Stricter, reason);
    }
    let literal = |text: &&String| name != "issuer" || !text.contains('*');
    let kept: Vec<String> = found.patterns.iter().filter(literal).cloned().collect();
    if kept.len() < found.patterns.len() {
        draft.lose(&path, Effect::Stricter, "an issuer is one text, without wildcards");
    }
    Ok(kept)
}
