//! Every configuration that people may copy fits its schema: those in `deploy/`, and the pieces of
//! JSON and YAML in the documentation.

use std::path::{Path, PathBuf};

use portcullis_host_tests::json_schema::Judge;
use serde_json::{Map, Value};

use super::ALL;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema(name: &str) -> Value {
    let schema = ALL.iter().find(|schema| schema.name == name);
    serde_json::from_str(schema.unwrap_or_else(|| panic!("no schema `{name}`")).text).unwrap()
}

fn faults(judge: &mut Judge, schema: &Value, document: &Value) -> Vec<String> {
    judge.faults(schema, std::slice::from_ref(document)).unwrap().remove(0)
}

/// The files with one of `extensions` below `folder`.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path.extension().is_some_and(|own| extensions.iter().any(|wanted| *wanted == own)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every configuration of a plugin of ours in an object of Envoy, Istio, Envoy Gateway or serve.
fn embedded(value: &Value, found: &mut Vec<(String, Value)>) {
    if let Value::Array(all) = value {
        all.iter().for_each(|one| embedded(one, found));
    }
    let Value::Object(object) = value else { return };
    let name = |members: &[&str]| {
        let name = members.iter().find_map(|member| object.get(*member)?.as_str())?;
        ALL.iter().find(|schema| schema.name == name).map(|schema| schema.name.to_owned())
    };
    // Envoy's PluginConfig, with a StringValue or a Struct.
    if let (Some(name), Some(given)) = (name(&["root_id", "name"]), object.get("configuration")) {
        found.push((name, text_or_value(&given["value"])));
    }
    // Istio's WasmPlugin, whose `pluginName` is free, and Envoy Gateway's.
    if let (Some(name), Some(given)) = (name(&["pluginName"]), object.get("pluginConfig")) {
        found.push((name, given.clone()));
    }
    if let (Some(name), Some(given)) = (name(&["name", "rootID"]), object.get("config")) {
        found.push((name, given.clone()));
    }
    object.values().for_each(|member| embedded(member, found));
}

/// What a file is whole, by its place.
fn by_place(path: &Path) -> Option<&'static str> {
    [
        ("kubernetes/policy.yaml", "image-policy"),
        ("ads/policies/jwt-auth.yaml", "jwt-auth"),
        ("ads/policies/tenant-guard.yaml", "tenant-guard"),
        ("listeners/gateway.yaml", "xds-listener"),
        ("clusters/upstream.yaml", "xds-cluster"),
    ]
    .into_iter()
    .find_map(|(end, name)| path.ends_with(end).then_some(name))
}

fn text_or_value(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    }
}

#[test]
fn every_configuration_in_deploy_fits() {
    let Some(mut judge) = Judge::start().unwrap() else { return };
    let mut checked = Vec::new();
    for path in files(&root().join("deploy"), &["yaml", "json"]) {
        let Ok(documents) = crate::document::parse_all(&std::fs::read(&path).unwrap()) else {
            panic!("{} is not YAML", path.display())
        };
        let mut found = Vec::new();
        for document in &documents {
            embedded(document, &mut found);
            if let Some(name) = by_place(&path) {
                found.push((name.into(), document.clone()));
            }
        }
        for (name, configuration) in found {
            let faults = faults(&mut judge, &schema(&name), &configuration);
            assert!(faults.is_empty(), "{}, {name}:\n{}", path.display(), faults.join("\n"));
            checked.push((path.clone(), name));
        }
    }
    for folder in ["envoy", "istio", "envoy-gateway", "kubernetes"] {
        let within = root().join("deploy").join(folder);
        assert!(checked.iter().any(|(path, _)| path.starts_with(&within)), "nothing in `{folder}`");
    }
    assert!(checked.len() >= 22, "{checked:?}");
}

/// Pieces of JSON and YAML in the documentation that are no configuration of ours, by a text that
/// each begins with.
const OTHERS: &[(&str, &str)] = &[
    ("{\n  \"model\": ", "a request to a model"),
    ("{\"model\": ", "a request to a model"),
    ("{\"messages\": ", "a request to a model"),
    ("{\"id\": \"fanout-", "an answer"),
    ("rate_limits:", "Envoy's own"),
    ("- run: ", "a step of a pipeline"),
    ("# yaml-language-server: ", "a comment"),
];

/// The pieces of JSON and YAML in a text, with their lines.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut start = None;
    let mut offset = 0;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let fence = line.trim_end();
        match start {
            None if fence == "```json" || fence == "```yaml" => start = Some((at + 2, offset + line.len())),
            Some((first, begin)) if fence == "```" => {
                pieces.push((first, &text[begin..offset]));
                start = None;
            }
            _ => {}
        }
        offset += line.len();
    }
    pieces
}

/// The object that a piece is; members without their braces are one too.
fn object(piece: &str) -> Option<Map<String, Value>> {
    let read = |text: &str| crate::document::parse_all(text.as_bytes()).ok()?.into_iter().next();
    match read(piece).or_else(|| read(&format!("{{{piece}}}")))? {
        Value::Object(object) => Some(object),
        // A list of rules, say: each is one.
        _ => None,
    }
}

/// The schemas that a piece may be of: whole documents, and parts of one.
fn candidates(object: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for schema in ALL {
        let document: Value = serde_json::from_str(schema.text).unwrap();
        let knows = |part: &Value| {
            let properties = part["properties"].as_object();
            properties.is_some_and(|own| object.keys().all(|name| own.contains_key(name)))
        };
        if knows(&document) {
            let mut whole = document.clone();
            // A piece leaves out what it is not about.
            whole.as_object_mut().unwrap().remove("required");
            found.push((schema.name.to_owned(), whole));
        }
        for (name, definition) in document["$defs"].as_object().into_iter().flatten() {
            if knows(definition) {
                let mut part = definition.clone();
                part["$defs"] = document["$defs"].clone();
                found.push((format!("{} {name}", schema.name), part));
            }
        }
    }
    found
}

#[test]
fn every_piece_in_the_documentation_fits() {
    let Some(mut judge) = Judge::start().unwrap() else { return };
    let mut documents = files(&root().join("docs"), &["md"]);
    documents.push(root().join("README.md"));
    let mut wrong = Vec::new();
    let (mut checked, mut left_out) = (0, std::collections::BTreeSet::new());
    for path in documents {
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, piece) in pieces(&text) {
            let place = format!("{}:{line}", path.file_name().unwrap().display());
            if let Some((begin, _)) = OTHERS.iter().find(|(begin, _)| piece.trim_start().starts_with(begin)) {
                left_out.insert(*begin);
                continue;
            }
            // A piece is one object, or one on each line.
            let objects = match object(piece) {
                Some(object) => Some(vec![object]),
                None => piece.lines().map(object).collect(),
            };
            let Some(objects) = objects else {
                wrong.push(format!("{place}: neither an object nor known: {piece}"));
                continue;
            };
            for object in objects {
                let value = Value::Object(object.clone());
                let mut tried = Vec::new();
                for (name, part) in candidates(&object) {
                    tried.push((name, faults(&mut judge, &part, &value)));
                }
                if tried.iter().any(|(_, faults)| faults.is_empty()) {
                    checked += 1;
                } else {
                    wrong.push(format!("{place}: {tried:?}\n{piece}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let idle: Vec<_> = OTHERS.iter().filter(|(begin, _)| !left_out.contains(begin)).collect();
    assert!(idle.is_empty(), "in no document: {idle:?}");
    assert!(checked >= 15, "{checked}");
}
