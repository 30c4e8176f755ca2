//! One call of `validate`: Kubewarden's `ValidationRequest` in, its `ValidationResponse` out.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_core::UnixTime;
use portcullis_signature::{ImageRef, Outcome, Policy, Verdict, decide, review::Review};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    reads::{self, Host},
    settings::{RegistryAccess, Settings},
};

#[derive(Deserialize)]
struct ValidationRequest {
    request: Value,
    settings: Value,
}

/// Judges the request. Whatever cannot be read is refused.
pub(crate) fn validate(payload: &[u8], host: Host<'_>) -> Value {
    let call: ValidationRequest = match serde_json::from_slice(payload) {
        Ok(call) => call,
        Err(error) => return refused(&format!("not a ValidationRequest: {error}"), 400),
    };
    let settings = match Settings::parse(&call.settings) {
        Ok(settings) => settings,
        Err(message) => return refused(&message, 500),
    };
    let review =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": call.request });
    let review = match Review::parse(review.to_string().as_bytes(), &settings.policy) {
        Ok(review) => review,
        Err(error) => return refused(&format!("{}: {}", error.reason.code, error.reason.message), 403),
    };
    let verdicts = judge(&review, &settings, host);
    answer(&review, &verdicts, &settings.policy, call.request)
}

fn judge(review: &Review, settings: &Settings, host: Host<'_>) -> BTreeMap<ImageRef, Verdict> {
    let asked = review.requests();
    let mut requests = asked.clone();
    let mut evidence = review.evidence();
    for (digest, staple) in &settings.evidence {
        evidence.staple(*digest, staple.clone());
    }
    if settings.registry == RegistryAccess::Host {
        reads::gather(&mut requests, &settings.policy, &mut evidence, host);
    }
    let now = now();
    let judged = asked.iter().zip(&requests).map(|(asked, request)| {
        let mut verdict = decide(request, &evidence, &settings.policy, now);
        // The host's word for the tag's digest: it is pinned as what the tag was verified to be.
        if verdict.outcome == Outcome::Allow
            && asked.image.digest().is_none()
            && request.image.digest().is_some()
        {
            verdict.pinned = Some(request.image.to_string());
        }
        (asked.image.clone(), verdict)
    });
    judged.collect()
}

/// Kubernetes' answer in Kubewarden's form: a mutated object instead of a patch.
fn answer(review: &Review, verdicts: &BTreeMap<ImageRef, Verdict>, policy: &Policy, request: Value) -> Value {
    let text = review.answer(verdicts, policy);
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let response = document.get("response").cloned().unwrap_or_default();
    let accepted = response.get("allowed").and_then(Value::as_bool) == Some(true);
    let status = |name: &str| response.pointer(&format!("/status/{name}")).cloned().unwrap_or_default();
    json!({
        "accepted": accepted,
        "message": status("message"),
        "code": status("code"),
        "warnings": response.get("warnings"),
        "audit_annotations": response.get("auditAnnotations"),
        "mutated_object": if accepted { mutated(review, verdicts, request) } else { None },
    })
}

/// The object with its tags pinned, where there is any.
fn mutated(review: &Review, verdicts: &BTreeMap<ImageRef, Verdict>, mut request: Value) -> Option<Value> {
    let mut object = request.get_mut("object")?.take();
    let mut changed = false;
    for found in review.found() {
        let image = found.image.as_ref().ok()?;
        let Some(pinned) = verdicts.get(image).and_then(|verdict| verdict.pinned.as_ref()) else { continue };
        if let Some(place) = object.pointer_mut(&found.pointer) {
            *place = json!(pinned);
            changed = true;
        }
    }
    changed.then_some(object)
}

fn refused(message: &str, code: u16) -> Value {
    json!({ "accepted": false, "message": message, "code": code })
}

/// A clock before 1970 refuses: every certificate is then of the future.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_nanos(i128::try_from(since.as_nanos()).unwrap_or_default())
}
