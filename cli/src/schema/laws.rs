//! Schema and reader agree: on every member once (`schemas/examples`), and on what becomes of these
//! documents when anything in them is changed.

use std::path::{Path, PathBuf};

use portcullis_host_tests::json_schema::Judge;
use serde_json::{Value, json};

use super::{
    ALL, Schema,
    generated::{image_admission, image_kubewarden},
};
use crate::document;

/// What the reader says.
enum Judged {
    Accepted,
    /// Refused for a member or a type: what a schema knows of.
    Shape(String),
    /// Refused for what it means.
    Sense(String),
}

fn judge(schema: Schema, value: &Value) -> Judged {
    let bytes = value.to_string().into_bytes();
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    let result = match schema.name {
        "jwt-auth" => portcullis_jwt::Policy::from_json(&bytes).map(drop).map_err(|e| shown(&e)),
        "tenant-guard" => portcullis_tenant::Policy::from_json(&bytes).map(drop).map_err(|e| shown(&e)),
        "llm-fanout" => {
            let environment = |_: &str| Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned());
            portcullis_fanout::Policy::from_json(&bytes, &environment).map(drop).map_err(|e| shown(&e))
        }
        "image-admission" => image_admission::Config::parse(&bytes).map(drop),
        "image-kubewarden" => image_kubewarden::Settings::parse(value).map(drop),
        "image-policy" => portcullis_signature::Policy::from_json(&bytes).map(drop).map_err(|e| shown(&e)),
        "serve" => document::parse::<crate::gateway::config::Config>(&bytes).map(drop).map_err(|e| shown(&e)),
        "probe" => document::parse::<crate::probe::plan::Raw>(&bytes).map(drop).map_err(|e| shown(&e)),
        "xds-listener" => {
            document::parse::<crate::xds::listener::Listener>(&bytes).map(drop).map_err(|e| shown(&e))
        }
        "xds-cluster" => {
            document::parse::<crate::gateway::config::Cluster>(&bytes).map(drop).map_err(|e| shown(&e))
        }
        "suite" => crate::suite::shape(&bytes).map_err(|e| shown(&e)),
        "tenants" => portcullis_core::config::read::<crate::tenants::source::Document>(&bytes)
            .map(drop)
            .map_err(|e| shown(&e)),
        "tenants-manifest" => {
            portcullis_tenant::directory::pack::Manifest::read(&bytes).map(drop).map_err(|e| shown(&e))
        }
        other => panic!("nothing reads `{other}`"),
    };
    // The words of serde's own errors.
    const SHAPE: [&str; 5] =
        ["unknown field", "unknown variant", "missing field", "invalid type", "invalid length"];
    match result {
        Ok(()) => Judged::Accepted,
        Err(error) if SHAPE.iter().any(|words| error.contains(words)) => Judged::Shape(error),
        Err(error) => Judged::Sense(error),
    }
}

fn document_of(schema: Schema) -> Value {
    serde_json::from_str(schema.text).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/examples")
}

/// The documents of `schemas/examples` for it.
fn examples(schema: Schema) -> Vec<Value> {
    let path = folder().join(format!("{}.yaml", schema.name));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = format!("# yaml-language-server: $schema=../{}\n", schema.file());
    assert!(bytes.starts_with(line.as_bytes()), "{} does not name its schema", path.display());
    document::parse_all(&bytes).unwrap()
}

#[test]
fn an_example_of_every_member_is_accepted_by_both() {
    let mut validator = Judge::start().unwrap();
    for schema in ALL {
        for example in examples(*schema) {
            if let Some(validator) = &mut validator {
                let faults = validator.faults(&document_of(*schema), std::slice::from_ref(&example)).unwrap();
                assert!(faults[0].is_empty(), "{}:\n{}", schema.name, faults[0].join("\n"));
            }
            match judge(*schema, &example) {
                Judged::Accepted => {}
                Judged::Shape(error) | Judged::Sense(error) => panic!("{}: {error}", schema.name),
            }
        }
    }
}

/// The properties of the schema that no example has, by the schema's own places.
fn missing(schema: Schema) -> Vec<String> {
    let document: Value = serde_json::from_str(schema.text).unwrap();
    let mut properties = Vec::new();
    collect(&document, "", &mut properties);
    let mut seen = std::collections::BTreeSet::new();
    for example in examples(schema) {
        mark(&document, &document, &example, "", &mut seen);
    }
    properties.retain(|property| !seen.contains(property) && !is_elsewhere(schema, property));
    properties
}

/// What an example of another schema has, or none can have.
fn is_elsewhere(schema: Schema, property: &str) -> bool {
    // Whole authorities, with certificates: policies/signature has them in its own tests.
    let authority = property.starts_with("TrustedRootSource.trusted_root")
        || property.starts_with("TrustedRootSource.authority");
    let of_policy = || {
        let policy = document_of(*ALL.iter().find(|schema| schema.name == "image-policy").unwrap());
        let own = document_of(schema);
        let name = property.split(['.', '[']).next().unwrap();
        name == "Document" || own["$defs"][name] == policy["$defs"][name] && own["$defs"][name].is_object()
    };
    authority || matches!(schema.name, "image-admission" | "image-kubewarden") && of_policy()
}

/// Every property below `schema`, as `place.name`.
fn collect(schema: &Value, place: &str, found: &mut Vec<String>) {
    let Value::Object(object) = schema else { return };
    for (name, member) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        found.push(format!("{place}.{name}"));
        collect(member, &format!("{place}.{name}"), found);
    }
    for (name, definition) in object.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        collect(definition, name, found);
    }
    for word in ["oneOf", "anyOf"] {
        for variant in object.get(word).and_then(Value::as_array).into_iter().flatten() {
            collect(variant, place, found);
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(member) = object.get(word) {
            collect(member, &format!("{place}[]"), found);
        }
    }
}

/// Marks the properties through which `value` goes.
fn mark(
    root: &Value,
    schema: &Value,
    value: &Value,
    place: &str,
    seen: &mut std::collections::BTreeSet<String>,
) {
    let Value::Object(object) = schema else { return };
    if let Some(name) = object.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap();
        mark(root, &root["$defs"][name], value, name, seen);
    }
    for word in ["oneOf", "anyOf"] {
        for variant in object.get(word).and_then(Value::as_array).into_iter().flatten() {
            mark(root, variant, value, place, seen);
        }
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match object.get("properties").and_then(|properties| properties.get(name)) {
                    Some(property) => {
                        let place = format!("{place}.{name}");
                        seen.insert(place.clone());
                        mark(root, property, member, &place, seen);
                    }
                    None => {
                        let patterns = object.get("patternProperties").and_then(Value::as_object);
                        let more = object.get("additionalProperties").into_iter();
                        for more in more.chain(patterns.into_iter().flat_map(|patterns| patterns.values())) {
                            mark(root, more, member, &format!("{place}[]"), seen);
                        }
                    }
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                if let Some(items) = object.get("items") {
                    mark(root, items, element, &format!("{place}[]"), seen);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_examples_leave_out_no_member() {
    let mut left_out = Vec::new();
    for schema in ALL {
        left_out.extend(missing(*schema).into_iter().map(|place| format!("{}: {place}", schema.name)));
    }
    assert!(left_out.is_empty(), "in no example:\n{}", left_out.join("\n"));
}

/// Where a reader takes more than it says. Serde reads the members of a map from a list too, in their
/// order; the reader of suites takes every scalar for a text, and looks at times and headers when the
/// check runs. Nobody means to write these, so an editor may object.
fn is_lenient(schema: Schema, change: &str) -> bool {
    let (place, new) = change.rsplit_once(": ").unwrap();
    let scalar = ["true", "7", "-1", "1.5"].contains(&new);
    let later = place.ends_with("/now") || place.contains("headers/");
    new.starts_with('[') || schema.name == "suite" && (scalar || later)
}

/// Every document that differs from `value` in one place: another type, an unknown member, a member
/// less.
fn changed(value: &Value) -> Vec<(String, Value)> {
    let mut pointers = Vec::new();
    pointers_of(value, String::new(), &mut pointers);
    let mut all = Vec::new();
    for pointer in pointers {
        let here = value.pointer(&pointer).unwrap();
        let mut put = |what: &str, new: Value| {
            let mut copy = value.clone();
            *copy.pointer_mut(&pointer).unwrap() = new;
            all.push((format!("{pointer}: {what}"), copy));
        };
        for other in [
            json!(null),
            json!(true),
            json!(7),
            json!(-1),
            json!(1.5),
            json!("text"),
            json!(["text"]),
            json!([]),
            json!({}),
            json!({"text": "text"}),
        ] {
            if other != *here {
                put(&other.to_string(), other);
            }
        }
        match here {
            Value::Object(members) => {
                let mut more = members.clone();
                more.insert("unheard_of".into(), json!("text"));
                put("an unknown member", Value::Object(more));
                for name in members.keys() {
                    let mut less = members.clone();
                    less.remove(name);
                    put(&format!("without {name}"), Value::Object(less));
                    // The same in another case is another member.
                    let mut other = members.clone();
                    let moved = other.remove(name).unwrap();
                    other.insert(name.to_uppercase(), moved);
                    if name.to_uppercase() != *name {
                        put(&format!("{name} in upper case"), Value::Object(other));
                    }
                }
            }
            Value::Array(elements) => {
                let mut more = elements.clone();
                more.extend(elements.first().cloned());
                put("an element twice", Value::Array(more));
            }
            Value::String(text) => {
                put("another text", json!(format!("{text}~")));
                put("an empty text", json!(""));
            }
            _ => {}
        }
    }
    all
}

fn pointers_of(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers_of(member, format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                pointers_of(element, format!("{pointer}/{at}"), found);
            }
        }
        _ => {}
    }
    found.push(pointer);
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_and_the_other_way_round() {
    let Some(mut validator) = Judge::start().unwrap() else { return };
    let mut wrong = Vec::new();
    let (mut accepted, mut refused) = (0_u32, 0_u32);
    for schema in ALL {
        for example in examples(*schema) {
            let (changes, documents): (Vec<_>, Vec<_>) = changed(&example).into_iter().unzip();
            let faults = validator.faults(&document_of(*schema), &documents).unwrap();
            for ((change, document), faults) in changes.into_iter().zip(documents).zip(faults) {
                let valid = faults.is_empty();
                match judge(*schema, &document) {
                    Judged::Accepted if !valid && is_lenient(*schema, &change) => {}
                    Judged::Accepted if !valid => {
                        wrong
                            .push(format!("{}{change}: only the schema refuses it: {faults:?}", schema.name));
                    }
                    Judged::Shape(error) if valid => {
                        wrong.push(format!("{}{change}: only the reader refuses it: {error}", schema.name));
                    }
                    Judged::Accepted => accepted += 1,
                    Judged::Shape(_) => refused += 1,
                    // A schema need not know, and may.
                    Judged::Sense(_) => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {accepted} and {refused}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(accepted > 500 && refused > 5000, "{accepted} {refused}");
}
