//! Where objects name images.

use serde_json::Value;

use crate::{ImageRef, InvalidImage, Policy, Reason, ReasonCode};

/// An image where an object names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The JSON pointer to the name.
    pub pointer: String,
    /// For people: the container's name, and which list it is in.
    pub place: String,
    /// The name as it is written.
    pub text: String,
    /// The name as it is meant.
    pub image: Result<ImageRef, InvalidImage>,
}

/// Kinds of Kubernetes' own, and where their pod's specification is.
const KINDS: [(&str, &str, &str); 9] = [
    ("", "Pod", "/spec"),
    ("", "PodTemplate", "/template/spec"),
    ("", "ReplicationController", "/spec/template/spec"),
    ("apps", "Deployment", "/spec/template/spec"),
    ("apps", "ReplicaSet", "/spec/template/spec"),
    ("apps", "StatefulSet", "/spec/template/spec"),
    ("apps", "DaemonSet", "/spec/template/spec"),
    ("batch", "Job", "/spec/template/spec"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template/spec"),
];

/// What of a pod's specification runs or mounts an image. A volume's image is mounted (Kubernetes 1.31
/// and later), and can be code as well.
const LISTS: [(&str, &str, &str); 4] = [
    ("initContainers", "/image", "init container"),
    ("containers", "/image", "container"),
    ("ephemeralContainers", "/image", "ephemeral container"),
    ("volumes", "/image/reference", "volume"),
];

/// Every image that an object of this kind names.
///
/// # Errors
///
/// The kind is neither one of Kubernetes' own nor one of the policy's, and nothing in it looks like a
/// pod's specification.
pub(super) fn find(group: &str, kind: &str, object: &Value, policy: &Policy) -> Result<Vec<Found>, Reason> {
    let name = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
    let mut found = Vec::new();
    if let Some((.., pointer)) = KINDS.iter().find(|(known, name, _)| (*known, *name) == (group, kind)) {
        if let Some(spec) = object.pointer(pointer) {
            pod(spec, pointer, &mut found);
        }
        return Ok(found);
    }
    if let Some(pointers) = policy.document().kinds.get(&name) {
        for pointer in pointers {
            follow(
                object,
                String::new(),
                pointer.split('/').skip(1).collect::<Vec<_>>().as_slice(),
                &mut found,
            );
        }
        return Ok(found);
    }
    search(object, "", 0, &mut found);
    if found.is_empty() {
        let message = format!(
            "it is not known where a `{name}` names its images: say so under `kinds` in the policy, or leave \
             the kind out of the webhook's rules"
        );
        return Err(Reason::new(ReasonCode::KindUnknown, message));
    }
    Ok(found)
}

fn pod(spec: &Value, at: &str, found: &mut Vec<Found>) {
    for (list, image, what) in LISTS {
        let items = spec.get(list).and_then(Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            let text = item.pointer(image).and_then(Value::as_str);
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                push(text, format!("{at}/{list}/{index}{image}"), format!("{what} `{name}`"), found);
            }
        }
    }
}

/// The pods' specifications anywhere in an object of an unknown kind.
fn search(value: &Value, at: &str, depth: usize, found: &mut Vec<Found>) {
    /// Deeper than any workload that exists, and a bound for the stack.
    const MAX_DEPTH: usize = 16;
    if depth > MAX_DEPTH {
        return;
    }
    let next = depth.saturating_add(1);
    match value {
        Value::Object(members) => {
            if members.get("containers").is_some_and(Value::is_array) {
                pod(value, at, found);
            }
            for (name, member) in members {
                search(member, &format!("{at}/{}", escaped(name)), next, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search(item, &format!("{at}/{index}"), next, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn follow(value: &Value, at: String, rest: &[&str], found: &mut Vec<Found>) {
    let Some((part, rest)) = rest.split_first() else {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            let place = at.clone();
            push(text, at, place, found);
        }
        return;
    };
    match value {
        Value::Array(items) if *part == "*" => {
            for (index, item) in items.iter().enumerate() {
                follow(item, format!("{at}/{index}"), rest, found);
            }
        }
        Value::Object(members) if *part == "*" => {
            for (name, item) in members {
                follow(item, format!("{at}/{}", escaped(name)), rest, found);
            }
        }
        _ => {
            if let Some(item) = value.pointer(&format!("/{part}")) {
                follow(item, format!("{at}/{part}"), rest, found);
            }
        }
    }
}

fn push(text: &str, pointer: String, place: String, found: &mut Vec<Found>) {
    found.push(Found { pointer, place, text: text.to_owned(), image: ImageRef::parse(text) });
}

/// RFC 6901 section 3.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
