//! The answer: allowed or not, in words for a developer, with the patch that pins tags.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Found, Review};
use crate::{Class, ImageRef, Outcome, Policy, Reason, ReasonCode, Verdict, encoding};

/// Kubernetes shortens warnings beyond 256 bytes, and ignores those beyond 4096 together.
const WARNING_LENGTH: usize = 250;
const MOST_WARNINGS: usize = 16;
/// The longest message. An API server hands it on whole, and a terminal shows it.
const MESSAGE_LENGTH: usize = 16_384;

pub(super) fn write(review: &Review, verdicts: &BTreeMap<ImageRef, Verdict>, policy: &Policy) -> String {
    let mut denials: Vec<(String, Reason)> = Vec::new();
    let mut transient = false;
    let mut patch = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut audit = Map::new();
    for found in &review.images {
        let judged = match &found.image {
            Ok(image) => verdicts.get(image),
            Err(invalid) => {
                let reason = Reason::new(ReasonCode::ImageReferenceInvalid, invalid.to_string());
                denials.push((described(found), reason));
                continue;
            }
        };
        let Some(verdict) = judged else {
            denials.push((described(found), Reason::new(ReasonCode::InternalError, "it was not judged")));
            transient = true;
            continue;
        };
        audit.insert(found.pointer.clone(), audited(verdict));
        warnings.extend(verdict.warnings.iter().cloned());
        match (verdict.outcome, &verdict.pinned) {
            (Outcome::Allow, Some(pinned)) => {
                patch.push(json!({ "op": "replace", "path": found.pointer, "value": pinned }));
            }
            (Outcome::Allow, None) => {}
            (Outcome::Deny | Outcome::Missing, _) => {
                transient |= verdict.class() == Class::Transient || verdict.outcome == Outcome::Missing;
                denials.push((described(found), verdict.reason.clone()));
            }
        }
    }
    let mut response = json!({ "uid": review.uid, "allowed": denials.is_empty() });
    let mut set = |name: &str, value: Value| {
        if let Some(response) = response.as_object_mut() {
            response.insert(name.to_owned(), value);
        }
    };
    if !denials.is_empty() {
        set("status", status(&denials, transient));
    } else if !patch.is_empty() {
        set("patchType", json!("JSONPatch"));
        set("patch", json!(encoding::encode(Value::Array(patch).to_string().as_bytes())));
    }
    warnings.sort();
    warnings.dedup();
    if !warnings.is_empty() {
        let shown: Vec<_> =
            warnings.iter().take(MOST_WARNINGS).map(|text| shortened(text, WARNING_LENGTH)).collect();
        set("warnings", json!(shown));
    }
    // Values are texts; the API server writes the webhook's name before the keys.
    let images = Value::Object(audit).to_string();
    set("auditAnnotations", json!({ "images": images, "policy": policy.digest().to_string() }));
    envelope(&response)
}

pub(super) fn refuse(uid: &str, reason: &Reason) -> String {
    let status = json!({ "code": 403, "reason": "Forbidden", "message": line(reason) });
    envelope(&json!({ "uid": uid, "allowed": false, "status": status }))
}

fn envelope(response: &Value) -> String {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
        .to_string()
}

fn described(found: &Found) -> String {
    format!("{} ({})", shortened(&found.text, WARNING_LENGTH), found.place)
}

fn audited(verdict: &Verdict) -> Value {
    json!({
        "image": verdict.image,
        "outcome": verdict.outcome,
        "digest": verdict.digest,
        "code": verdict.reason.root_cause().code,
    })
}

/// What a developer reads: for each image the cause and what to do, then the whole tree of the first.
fn status(denials: &[(String, Reason)], transient: bool) -> Value {
    let mut message = match denials {
        [_] => "one image may not run".to_owned(),
        several => format!("{} images may not run", several.len()),
    };
    for (image, reason) in denials {
        message.push_str(&format!(
            "\n* {image}\n  {}\n  {}",
            line(reason.root_cause()),
            advice(reason.root_cause())
        ));
    }
    if let Some((_, reason)) = denials.first().filter(|(_, reason)| !reason.because.is_empty()) {
        message.push_str(&format!("\n\nIn full, for the first of them:\n{reason}"));
    }
    // A controller tries again after 503; what is forbidden stays so.
    let (code, word) = if transient { (503, "ServiceUnavailable") } else { (403, "Forbidden") };
    json!({ "code": code, "reason": word, "message": shortened(&message, MESSAGE_LENGTH) })
}

fn line(reason: &Reason) -> String {
    let about = reason.about.as_ref().map(|about| format!(" [{about}]")).unwrap_or_default();
    format!("{}{about}: {}", reason.code, reason.message)
}

const fn advice(reason: &Reason) -> &'static str {
    match reason.code.class() {
        Class::Missing => "Sign the image where it was built, or wait until its signature has been pushed.",
        Class::Invalid => "What is there is broken or about something else: build and sign the image again.",
        Class::Untrusted => {
            "Have it signed by one of the policy's signers, or ask for the signer to be added."
        }
        Class::Policy => "The policy asks for something else; whoever keeps it can say what.",
        Class::Transient => "Nothing is known about the image at the moment: try again.",
        Class::Good => "",
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(3));
    format!("{}…", text.get(..end).unwrap_or_default())
}
