//! Kubernetes' question, whether an object may be admitted, as questions about images; and the
//! verdicts as Kubernetes' answer (`admission.k8s.io/v1`).

mod answer;
mod images;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Digest, Evidence, ImageRef, Policy, Reason, ReasonCode, Request, Staple, Verdict, encoding};

pub use images::Found;

/// The annotation of an object, or of its pod template, that has its images' signatures: JSON,
/// `{"sha256:…": {"bundles": […], "signatures": […], "attestations": […]}}`.
pub const EVIDENCE_ANNOTATION: &str = "portcullis.dev/evidence";

/// An admission review, read.
#[derive(Clone, Debug)]
pub struct Review {
    uid: String,
    namespace: Option<String>,
    images: Vec<Found>,
    staples: BTreeMap<Digest, Staple>,
}

/// Why a body is not a review, or what is refused before any image is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewError {
    /// The review's `uid`, where it could be read: then it is answered with a denial. Without one there
    /// is no review, and the answer is HTTP's 400.
    pub uid: Option<String>,
    /// What is wrong.
    pub reason: Reason,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview {
    api_version: String,
    kind: String,
    request: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest {
    kind: GroupVersionKind,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    object: Option<Value>,
    #[serde(default)]
    old_object: Option<Value>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    group: String,
    kind: String,
}

impl Review {
    /// Reads a review of version 1, and finds the images that its object would newly run.
    ///
    /// An image that the object ran before the update is not asked about again: it was when the object
    /// was created, and a change of the policy must not stop the removal of a finalizer.
    ///
    /// # Errors
    ///
    /// A body that is no review, an object whose kind is not known, one that names more images than the
    /// policy's limit, or stapled evidence that cannot be read or is too large.
    pub fn parse(body: &[u8], policy: &Policy) -> Result<Self, ReviewError> {
        let malformed = |uid: Option<&String>, message: String| ReviewError {
            uid: uid.cloned(),
            reason: Reason::new(ReasonCode::ObjectMalformed, message),
        };
        let review: AdmissionReview = encoding::json(body)
            .map_err(|error| malformed(None, format!("the body is not an AdmissionReview: {error}")))?;
        if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
            let message = format!(
                "the body is a {} of {}, and an AdmissionReview of admission.k8s.io/v1 is expected",
                review.kind, review.api_version
            );
            return Err(malformed(None, message));
        }
        let request = review.request.ok_or_else(|| malformed(None, "the review has no request".into()))?;
        let uid = request.get("uid").and_then(Value::as_str).filter(|uid| !uid.is_empty());
        let uid = uid.ok_or_else(|| malformed(None, "the request has no uid".into()))?.to_owned();
        let request: AdmissionRequest = serde_json::from_value(request)
            .map_err(|error| malformed(Some(&uid), format!("the request cannot be read: {error}")))?;
        let refused = |reason: Reason| ReviewError { uid: Some(uid.clone()), reason };
        let namespace = request.namespace.clone().filter(|namespace| !namespace.is_empty());
        let object = match (request.operation.as_str(), &request.object) {
            // What is going away runs nothing.
            ("DELETE", _) => {
                return Ok(Self { uid, namespace, images: Vec::new(), staples: BTreeMap::new() });
            }
            ("CREATE" | "UPDATE", Some(object)) if object.is_object() => object,
            (operation, _) => {
                return Err(malformed(
                    Some(&uid),
                    format!("a `{operation}` without an object cannot be judged"),
                ));
            }
        };
        let images = Self::images(&request, object, policy).map_err(refused)?;
        let staples = staples(object, policy).map_err(refused)?;
        Ok(Self { uid, namespace, images, staples })
    }

    fn images(request: &AdmissionRequest, object: &Value, policy: &Policy) -> Result<Vec<Found>, Reason> {
        let (group, kind) = (request.kind.group.as_str(), request.kind.kind.as_str());
        let mut images = images::find(group, kind, object, policy)?;
        if request.operation == "UPDATE"
            && let Some(old) = request.old_object.as_ref().filter(|old| old.is_object())
        {
            let old = images::find(group, kind, old, policy)?;
            images.retain(|image| !old.iter().any(|before| before.text == image.text));
        }
        let mut different: Vec<&str> = images.iter().map(|image| image.text.as_str()).collect();
        different.sort_unstable();
        different.dedup();
        let most = policy.document().limits.images;
        if different.len() > most {
            let message =
                format!("the object names {} images, and {most} are judged at most", different.len());
            return Err(Reason::new(ReasonCode::LimitExceeded, message));
        }
        Ok(images)
    }

    /// The questions: one for each different image whose name can be read.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let mut images: Vec<&ImageRef> =
            self.images.iter().filter_map(|found| found.image.as_ref().ok()).collect();
        images.sort();
        images.dedup();
        let request = |image: &ImageRef| Request { image: image.clone(), namespace: self.namespace.clone() };
        images.into_iter().map(request).collect()
    }

    /// The signatures that came with the object.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        for (digest, staple) in &self.staples {
            evidence.staple(*digest, staple.clone());
        }
        evidence
    }

    /// The images that are asked about, each where it is.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.images
    }

    /// The review's identity, which the answer has as well.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The answer, as the JSON of an AdmissionReview. `verdicts` has one for each of
    /// [`Review::requests`]; what has none is denied.
    #[must_use]
    pub fn answer(&self, verdicts: &BTreeMap<ImageRef, Verdict>, policy: &Policy) -> String {
        answer::write(self, verdicts, policy)
    }
}

impl ReviewError {
    /// The denial, as the JSON of an AdmissionReview; nothing where there is no review to answer.
    #[must_use]
    pub fn answer(&self) -> Option<String> {
        self.uid.as_ref().map(|uid| answer::refuse(uid, &self.reason))
    }
}

/// The evidence in the annotations of the object and of its pod template.
fn staples(object: &Value, policy: &Policy) -> Result<BTreeMap<Digest, Staple>, Reason> {
    const PLACES: [&str; 3] = [
        "/metadata/annotations",
        "/spec/template/metadata/annotations",
        "/spec/jobTemplate/spec/template/metadata/annotations",
    ];
    let mut staples = BTreeMap::new();
    for place in PLACES {
        let text =
            object.pointer(place).and_then(|annotations| annotations.get(EVIDENCE_ANNOTATION)?.as_str());
        let Some(text) = text else { continue };
        if text.len() > policy.document().limits.bytes {
            let message = format!("the annotation `{EVIDENCE_ANNOTATION}` is larger than is read");
            return Err(Reason::new(ReasonCode::LimitExceeded, message));
        }
        let found: BTreeMap<Digest, Staple> = serde_json::from_str(text).map_err(|error| {
            let message = format!("the annotation `{EVIDENCE_ANNOTATION}` cannot be read: {error}");
            Reason::new(ReasonCode::ObjectMalformed, message)
        })?;
        staples.extend(found);
    }
    Ok(staples)
}
