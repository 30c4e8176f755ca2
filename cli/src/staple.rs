//! `portcullis staple`: an object that brings the evidence for its images along.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use portcullis_signature::{
    Digest, Evidence, ImageRef, Outcome, Policy, ReasonCode, Staple, Verdict, decide,
    review::{EVIDENCE_ANNOTATION, Review},
    staples,
};
use serde_json::{Value, json};

use crate::{
    document,
    output::Answer,
    verify_image::{Access, gather, now, print_verdict, read_policy},
};

/// All annotations of an object together may have this many bytes (Kubernetes' API conventions).
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Write evidence into a manifest, so that its images are admitted without a registry.
///
/// Verifies every image that the manifest names, as the admission filter would, pins each to the
/// digest that was verified, and adds the signatures: as an annotation of the pod template, or as a
/// ConfigMap for the filter's configuration.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis staple deployment.yaml --policy images.yaml | kubectl apply -f -
  portcullis staple deployment.yaml --policy images.yaml --config-map image-evidence

The manifest may have several YAML documents; the result is JSON, one object or a List, which kubectl
reads like YAML. Evidence is for a digest: for another image it is worth nothing, so whoever changes the
image staples again. It does not age: what a policy's `max_age` refuses is refused with it too.

Exit codes: 0 written, 1 an image may not run (nothing is written), 2 it could not be found out.")]
pub(crate) struct Arguments {
    /// The manifest, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    manifest: PathBuf,
    /// The policy, YAML or JSON
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Write a ConfigMap of this name with the evidence instead of annotations; the manifest stays
    #[arg(long, value_name = "NAME")]
    config_map: Option<String>,
    /// The namespace, where the manifest names none
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    access: Access,
}

/// The evidence for each image: its own, and its platforms' where they must be signed.
type Found = BTreeMap<ImageRef, BTreeMap<Digest, Staple>>;

/// An object with what it asks.
struct Asked {
    object: Value,
    /// None for a kind that names no image.
    review: Option<Review>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let policy = read_policy(&arguments.policy)?;
    let shown = arguments.manifest.display().to_string();
    let objects = document::parse_all(&document::read(&arguments.manifest)?).context(shown.clone())?;
    let mut asked = Vec::new();
    for object in objects {
        let review = review(&object, &policy, &arguments.namespace).context(shown.clone())?;
        asked.push(Asked { object, review });
    }
    let requests: Vec<_> = asked.iter().flat_map(|one| &one.review).flat_map(Review::requests).collect();
    let mut evidence = Evidence::default();
    gather(&requests, &policy, &mut evidence, arguments.access.registry(&policy)?)?;

    let now = now()?;
    let mut verdicts = BTreeMap::new();
    let mut refused = false;
    for request in &requests {
        let verdict = decide(request, &evidence, &policy, now);
        if verdict.outcome != Outcome::Allow {
            print_verdict(&verdict);
            refused = true;
        }
        verdicts.insert(request.image.clone(), verdict);
    }
    if refused {
        return Ok(Answer::No);
    }
    let found: Found = requests
        .iter()
        .map(|request| (request.image.clone(), staples(request, &policy, &evidence)))
        .collect();
    let result = match &arguments.config_map {
        Some(name) => config_map(name, &arguments.namespace, &found)?,
        None => {
            let stapled = asked.into_iter().map(|one| staple(one, &verdicts, &found));
            list(stapled.collect::<anyhow::Result<Vec<_>>>()?)
        }
    };
    anstream::println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(Answer::Yes)
}

/// The review that an API server would send for a new object.
fn review(object: &Value, policy: &Policy, namespace: &str) -> anyhow::Result<Option<Review>> {
    let text = |name: &str| object[name].as_str().with_context(|| format!("`{name}`: missing"));
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
    let body = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "staple", "operation": "CREATE", "namespace": namespace, "object": object,
            "kind": { "group": group, "version": version, "kind": kind },
        },
    });
    match Review::parse(body.to_string().as_bytes(), policy) {
        Ok(review) => Ok(Some(review)),
        // A service, a role: a webhook would not be asked about it.
        Err(error) if error.reason.code == ReasonCode::KindUnknown => Ok(None),
        Err(error) => bail!("{kind}: {}: {}", error.reason.code, error.reason.message),
    }
}

/// The object with its images pinned and its evidence beside them.
fn staple(
    Asked { mut object, review }: Asked,
    verdicts: &BTreeMap<ImageRef, Verdict>,
    found: &Found,
) -> anyhow::Result<Value> {
    let Some(review) = review else { return Ok(object) };
    let mut own = BTreeMap::new();
    for image in review.found() {
        let reference = match &image.image {
            Ok(reference) => reference,
            Err(error) => bail!("{}: `{}`: {error}", image.place, image.text),
        };
        let verdict = verdicts.get(reference).context("an image was not judged")?;
        if let (Some(pinned), Some(place)) = (&verdict.pinned, object.pointer_mut(&image.pointer)) {
            *place = json!(pinned);
        }
        own.extend(found.get(reference).into_iter().flatten());
    }
    if own.is_empty() {
        return Ok(object);
    }
    let text = serde_json::to_string(&own)?;
    ensure!(
        text.len() <= MAX_ANNOTATIONS,
        "the evidence has {} bytes, and an object's annotations {MAX_ANNOTATIONS} at most: use --config-map",
        text.len()
    );
    let template = ["/spec/jobTemplate/spec/template", "/spec/template", "/template"]
        .into_iter()
        .find(|place| object.pointer(place).is_some_and(Value::is_object))
        .unwrap_or_default();
    let place = object.pointer_mut(template).context("the object is no mapping")?;
    place["metadata"]["annotations"][EVIDENCE_ANNOTATION] = json!(text);
    Ok(object)
}

fn config_map(name: &str, namespace: &str, found: &Found) -> anyhow::Result<Value> {
    let all: BTreeMap<_, _> = found.values().flatten().collect();
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace },
        "data": { "evidence.json": serde_json::to_string(&all)? },
    }))
}

fn list(mut objects: Vec<Value>) -> Value {
    if objects.len() == 1 {
        return objects.remove(0);
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": objects })
}
