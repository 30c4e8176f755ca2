//! The structural schemas of custom resource definitions, as the API server applies them: unknown
//! members, types, required ones, enumerations, patterns, bounds, alternatives. Rules in CEL
//! (`x-kubernetes-validations`) are not evaluated.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use portcullis_host_tests::vectors;
use regex_automata::{
    Input,
    dfa::{Automaton as _, dense},
    nfa::thompson,
    util::syntax,
};
use serde_json::Value;

const FILES: [&str; 5] = [
    "istio-WasmPlugin",
    "istio-Telemetry",
    "istio-AuthorizationPolicy",
    "istio-EnvoyFilter",
    "envoy-gateway-EnvoyExtensionPolicy",
];

/// The schemas by group, version and kind.
pub struct Schemas(BTreeMap<(String, String), Value>);

/// The projects' own definitions; `None` where there are no vectors.
pub fn official() -> Result<Option<Schemas>> {
    let mut schemas = BTreeMap::new();
    for file in FILES {
        let Some(text) = vectors::text(&format!("crds/{file}.yaml"))? else { return Ok(None) };
        let crd: Value = serde_saphyr::from_str(&text).context(file)?;
        let spec = &crd["spec"];
        let kind = spec["names"]["kind"].as_str().context("a definition without a kind")?;
        let group = spec["group"].as_str().context("a definition without a group")?;
        for version in spec["versions"].as_array().context("a definition without versions")? {
            let name = version["name"].as_str().context("a version without a name")?;
            let schema = version["schema"]["openAPIV3Schema"].clone();
            schemas.insert((format!("{group}/{name}"), kind.to_owned()), schema);
        }
    }
    Ok(Some(Schemas(schemas)))
}

impl Schemas {
    /// What is wrong with `object`; `None` where there is no schema of its kind.
    pub fn check(&self, object: &Value) -> Option<Vec<String>> {
        let text = |member: &str| object[member].as_str().unwrap_or_default().to_owned();
        let schema = self.0.get(&(text("apiVersion"), text("kind")))?;
        let mut faults = Vec::new();
        for (member, value) in object.as_object()? {
            match (member.as_str(), &schema["properties"][member]) {
                ("apiVersion" | "kind" | "metadata", _) => {}
                (_, Value::Null) => faults.push(format!("{member}: unknown")),
                (_, schema) => check(value, schema, member, &mut faults),
            }
        }
        Some(faults)
    }
}

fn check(value: &Value, schema: &Value, path: &str, faults: &mut Vec<String>) {
    let mut fault = |reason: String| faults.push(format!("{path}: {reason}"));
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !of_type {
        return fault(format!("`{value}` is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        fault(format!("`{value}` is none of {allowed:?}"));
    }
    let bounded = |size: Option<f64>, least: &str, most: &str| {
        let Some(size) = size else { return true };
        schema[least].as_f64().is_none_or(|least| size >= least)
            && schema[most].as_f64().is_none_or(|most| size <= most)
    };
    let count = |count: Option<usize>| count.map(|count| count as f64);
    if !bounded(count(value.as_str().map(str::len)), "minLength", "maxLength")
        || !bounded(count(value.as_array().map(Vec::len)), "minItems", "maxItems")
        || !bounded(count(value.as_object().map(serde_json::Map::len)), "minProperties", "maxProperties")
        || !bounded(value.as_f64(), "minimum", "maximum")
    {
        fault(format!("`{value}` is out of bounds"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !matches(pattern, text)
    {
        fault(format!("`{text}` is not `{pattern}`"));
    }
    for (keyword, fits) in [("anyOf", 1..usize::MAX), ("oneOf", 1..2)] {
        if let Some(alternatives) = schema[keyword].as_array() {
            let matching = alternatives.iter().filter(|schema| holds(value, schema)).count();
            if !fits.contains(&matching) {
                fault(format!("{matching} of the alternatives in {keyword} hold"));
            }
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        if !holds(value, part) {
            fault("not all of allOf hold".into());
        }
    }
    if schema.get("not").is_some_and(|schema| holds(value, schema)) {
        fault("what must not hold does".into());
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            fault(format!("`{name}` is missing"));
        }
    }
    for (member, value) in value.as_object().into_iter().flatten() {
        let place = format!("{path}.{member}");
        match (schema["properties"].get(member), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                check(value, schema, &place, faults);
            }
            // A part of an alternative speaks of some members only.
            (None, _) if schema["type"].is_null() => {}
            (None, _) if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            (None, _) => faults.push(format!("{place}: unknown")),
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{path}[{at}]"), faults);
    }
}

/// Go's expressions are ASCII where it matters here.
fn matches(pattern: &str, text: &str) -> bool {
    let dfa = dense::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build(pattern)
        .expect("a pattern of the definition");
    dfa.try_search_fwd(&Input::new(text)).expect("a search without limits").is_some()
}

fn holds(value: &Value, schema: &Value) -> bool {
    let mut faults = Vec::new();
    check(value, schema, "", &mut faults);
    faults.is_empty()
}
