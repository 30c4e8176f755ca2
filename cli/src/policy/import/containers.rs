//! The containers project's `policy.json` (containers-policy.json(5)): Podman, CRI-O, OpenShift.

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Draft, Effect, fields::Fields};

/// What a list of requirements comes to.
enum Demand {
    Accept,
    Reject,
    Signed(Vec<Value>, Value),
}

pub(super) fn convert(source: Value) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    let mut top = Fields::new("", source)?;
    let default = top.list("default")?;
    let default = demand(&mut draft, "default", "", default)?;
    let mut transports = top.fields("transports")?.unwrap_or(Fields::new("transports", json!({}))?);
    let docker = transports.take("docker").unwrap_or(json!({}));
    transports.finish(&mut draft, Effect::Nothing, "only images of registries come to an admission");
    top.finish(&mut draft, Effect::Weaker, "it is not known here");
    let scopes = docker.as_object().context("`transports.docker`: a mapping is expected")?;

    draft.unmatched_allowed = matches!(default, Demand::Accept);
    for (scope, list) in scopes {
        let path = format!("transports.docker.\"{scope}\"");
        let list = list.as_array().with_context(|| format!("`{path}`: a list is expected"))?;
        let list = list.iter().enumerate().map(|(i, item)| (format!("{path}[{i}]"), item.clone())).collect();
        if scopes.keys().any(|other| *other != *scope && contains(other, scope)) {
            draft.lose(
                &path,
                Effect::Stricter,
                "the wider scope's demands hold here too: all rules about an image do",
            );
        }
        match demand(&mut draft, &path, scope, list)? {
            Demand::Signed(all, name) => rule(&mut draft, &path, scope, all, &name),
            Demand::Accept if draft.unmatched_allowed => {}
            Demand::Accept => {
                draft.lose(&path, Effect::Stricter, "images that always pass need an exemption with an end");
            }
            Demand::Reject if draft.unmatched_allowed => {
                draft.lose(
                    &path,
                    Effect::Weaker,
                    "a rule cannot deny alone: give it a signer, or let `unmatched` deny",
                );
            }
            Demand::Reject => {}
        }
    }
    if let Demand::Signed(all, name) = default {
        rule(&mut draft, "default", "", all, &name);
    }
    Ok(draft)
}

/// Whether the scope `wide` is about everything that `narrow` is about.
fn contains(wide: &str, narrow: &str) -> bool {
    wide.is_empty() || narrow.strip_prefix(wide).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
}

fn rule(draft: &mut Draft, path: &str, scope: &str, mut all: Vec<Value>, name: &Value) {
    let (scope, tagged) = super::patterns::image(scope);
    if tagged {
        draft.lose(path, Effect::Stricter, "rules are not about tags: all of them are meant");
    }
    let images = match scope.as_str() {
        "" => vec!["**".to_owned()],
        scope if scope.starts_with("*.") => vec![format!("{scope}/**")],
        scope if scope.contains('/') => vec![scope.to_owned(), format!("{scope}/**")],
        scope => vec![format!("{scope}/**")],
    };
    let require = if all.len() == 1 { all.remove(0) } else { json!({ "all": all }) };
    let label = if scope.is_empty() { "default" } else { &scope };
    draft.rules.push(json!({
        "name": label, "images": images, "require": require, "signed_name": name,
        // Every signature there names what it is about.
        "unnamed_bundles": "deny",
    }));
}

fn demand(draft: &mut Draft, path: &str, scope: &str, list: Vec<(String, Value)>) -> anyhow::Result<Demand> {
    if list.is_empty() {
        bail!("`{path}`: a list of requirements must not be empty");
    }
    let (mut all, mut name) = (Vec::new(), Value::Null);
    for (path, item) in list {
        let mut fields = Fields::new(&path, item)?;
        match fields.text("type")?.as_deref() {
            // All of a list must hold, so this one adds nothing to others.
            Some("insecureAcceptAnything") => {}
            Some("reject") => return Ok(Demand::Reject),
            Some("sigstoreSigned") => {
                let identity = fields.take("signedIdentity");
                all.push(signed(draft, scope, &path, fields)?);
                let found = signed_name(draft, scope, &path, identity)?;
                if !name.is_null() && name != found {
                    draft.lose(&path, Effect::Stricter, "one rule has one `signed_name`: the first is used");
                } else {
                    name = found;
                }
            }
            Some("signedBy") => {
                draft.lose(&path, Effect::Weaker, "OpenPGP signatures (`signedBy`) are not verified");
            }
            other => bail!("`{path}.type`: `{}` is not known", other.unwrap_or_default()),
        }
    }
    Ok(if all.is_empty() { Demand::Accept } else { Demand::Signed(all, name) })
}

fn signed(draft: &mut Draft, scope: &str, path: &str, mut fields: Fields) -> anyhow::Result<Value> {
    let name = if scope.is_empty() { "default" } else { scope };
    let keys = pems(&mut fields, "key", "PUBLIC KEY")?;
    let logs = pems(&mut fields, "rekorPublicKey", "PUBLIC KEY")?;
    let fulcio = fields.fields("fulcio")?;
    let pki = fields.path("pki");
    if fields.take("pki").is_some() {
        draft.lose(
            &pki,
            Effect::Weaker,
            "a certificate authority without a log or timestamps proves no time",
        );
    }
    fields.finish(draft, Effect::Weaker, "it is not known here");

    let mut signers = Vec::new();
    for key in keys {
        let mut signer = json!({ "public_key": key });
        if !logs.is_empty() {
            signer["root"] = json!(draft.root(name, trusted_root(&logs, None)?));
            signer["log"] = json!("required");
        }
        signers.push(draft.signer(name, json!({ "key": signer })));
    }
    if let Some(mut fulcio) = fulcio {
        let issuer = fulcio.text("oidcIssuer")?.context("`oidcIssuer` of `fulcio`: missing")?;
        let subject = fulcio.text("subjectEmail")?.context("`subjectEmail` of `fulcio`: missing")?;
        let authority = pems(&mut fulcio, "ca", "CERTIFICATE")?.concat();
        fulcio.finish(draft, Effect::Weaker, "it is not known here");
        let root = draft.root(name, trusted_root(&logs, Some(&authority))?);
        signers.push(
            draft.signer(name, json!({ "keyless": { "issuer": issuer, "subject": subject, "root": root } })),
        );
    }
    let mut ways: Vec<_> =
        signers.iter().map(|signer| json!({ "signature": { "signer": signer } })).collect();
    match ways.len() {
        0 => bail!("`{path}`: no key and no `fulcio`"),
        1 => Ok(ways.remove(0)),
        _ => Ok(json!({ "any": ways })),
    }
}

/// `<name>Path`, `<name>Paths`, `<name>Data`, `<name>Datas`: PEM, one text for each block.
fn pems(fields: &mut Fields, name: &str, label: &str) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut paths: Vec<_> = fields.text(&format!("{name}Path"))?.into_iter().collect();
    paths.extend(fields.texts(&format!("{name}Paths"))?.into_iter().map(|(_, path)| path));
    for path in paths {
        texts.push(std::fs::read_to_string(&path).with_context(|| format!("read the key `{path}`"))?);
    }
    let mut data: Vec<_> = fields.text(&format!("{name}Data"))?.into_iter().collect();
    data.extend(fields.texts(&format!("{name}Datas"))?.into_iter().map(|(_, text)| text));
    for text in data {
        let bytes =
            STANDARD.decode(text.trim()).with_context(|| format!("`{}`: base64", fields.path(name)))?;
        texts.push(String::from_utf8(bytes).with_context(|| format!("`{}`: PEM", fields.path(name)))?);
    }
    let begin = format!("-----BEGIN {label}-----");
    Ok(texts
        .iter()
        .flat_map(|text| text.split(&begin).skip(1))
        .map(|rest| format!("{begin}{}\n", rest.trim_end()))
        .collect())
}

/// A TrustedRoot of the log keys and an authority, valid always: each certificate's own life bounds it.
fn trusted_root(logs: &[String], authority: Option<&str>) -> anyhow::Result<Value> {
    let always = json!({ "start": "1970-01-01T00:00:00Z" });
    let der = |pem: &str| -> anyhow::Result<Vec<u8>> {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        STANDARD.decode(body).context("a PEM block is not base64")
    };
    let mut tlogs = Vec::new();
    for log in logs {
        let key = der(log)?;
        tlogs.push(json!({
            "baseUrl": "", "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(&key), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": always,
            },
            "logId": { "keyId": STANDARD.encode(Sha256::digest(&key)) },
        }));
    }
    let mut authorities = Vec::new();
    if let Some(authority) = authority {
        let blocks =
            authority.split_inclusive("-----END CERTIFICATE-----").filter(|block| block.contains("BEGIN"));
        let certificates: Vec<_> = blocks
            .map(|block| Ok(json!({ "rawBytes": STANDARD.encode(der(block)?) })))
            .collect::<anyhow::Result<_>>()?;
        authorities.push(json!({
            "subject": {}, "uri": "", "certChain": { "certificates": certificates }, "validFor": always,
        }));
    }
    Ok(json!({ "trusted_root": {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": tlogs, "ctlogs": [], "certificateAuthorities": authorities, "timestampAuthorities": [],
    } }))
}

fn signed_name(draft: &mut Draft, scope: &str, path: &str, identity: Option<Value>) -> anyhow::Result<Value> {
    let Some(identity) = identity else { return Ok(json!("exact")) };
    let mut fields = Fields::new(format!("{path}.signedIdentity"), identity)?;
    let kind = fields.text("type")?.unwrap_or_default();
    let name = match kind.as_str() {
        "matchExact" | "matchRepoDigestOrExact" => json!("exact"),
        "matchRepository" => json!("repository"),
        "remapIdentity" => {
            let from = fields.text("prefix")?.context("`prefix`: missing")?;
            let to = fields.text("signedPrefix")?.context("`signedPrefix`: missing")?;
            json!({ "remap": { "from": from, "to": to } })
        }
        "exactRepository" if scope.contains('/') => {
            let to = fields.text("dockerRepository")?.context("`dockerRepository`: missing")?;
            json!({ "remap": { "from": scope, "to": to } })
        }
        _ => {
            draft.lose(
                path,
                Effect::Stricter,
                format!("`{kind}` has no counterpart: the image's own name is asked for"),
            );
            fields.ignore(&["dockerReference", "dockerRepository"]);
            json!("exact")
        }
    };
    fields.finish(draft, Effect::Stricter, "it is not known here");
    Ok(name)
}
