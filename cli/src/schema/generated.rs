//! The files in `schemas/` are what the readers' types say.

use std::path::PathBuf;

use portcullis_host_tests::json_schema::Judge;
use schemars::Schema;
use serde_json::{Map, Value};

use super::ALL;

/// The filter's source as it is: its crate is a module and can be built for nothing else.
#[path = "../../../plugins/image-admission/src/config.rs"]
#[expect(dead_code, reason = "what the filter works with")]
pub(super) mod image_admission;
/// The same.
#[path = "../../../plugins/image-kubewarden/src/settings.rs"]
#[expect(dead_code, reason = "what the policy works with")]
pub(super) mod image_kubewarden;

/// What makes the schema `name`.
fn make(name: &str) -> Schema {
    match name {
        "jwt-auth" => portcullis_jwt::schema(),
        "tenant-guard" => portcullis_tenant::schema(),
        "llm-fanout" => portcullis_fanout::schema(),
        "image-admission" => image_admission::schema(),
        "image-kubewarden" => image_kubewarden::schema(),
        "image-policy" => schemars::schema_for!(portcullis_signature::policy::Document),
        "serve" => schemars::schema_for!(crate::gateway::config::Config),
        "suite" => crate::suite::schema::schema(),
        "probe" => schemars::schema_for!(crate::probe::plan::Raw),
        "xds-listener" => schemars::schema_for!(crate::xds::listener::Listener),
        "xds-cluster" => schemars::schema_for!(crate::gateway::config::Cluster),
        "tenants" => schemars::schema_for!(crate::tenants::source::Document),
        "tenants-manifest" => portcullis_tenant::directory::pack::schema(),
        other => panic!("nothing makes the schema `{other}`"),
    }
}

/// The schema as the file has it.
fn text(name: &str) -> String {
    let mut schema = make(name).to_value();
    tidy(&mut schema);
    let root = schema.as_object_mut().unwrap();
    root.insert("title".into(), format!("Portcullis: {name}").into());
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())
}

/// Doc comments become descriptions as people read them: one line, no links of rustdoc, and their
/// last words, ``Default: `x`.``, also as a default for programs. Formats that no standard names go.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(tidy),
        Value::Object(object) => {
            if object.get("format").is_some_and(|format| {
                format.as_str().is_some_and(|format| format.starts_with(['u', 'i']) || format == "double")
            }) {
                object.remove("format");
            }
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            describe(object);
            object.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

fn describe(object: &mut Map<String, Value>) {
    let Some(Value::String(text)) = object.get_mut("description") else { return };
    *text = text
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
        .replace("[`", "`")
        .replace("`]", "`");
    let default = text
        .rsplit_once("Default: `")
        .and_then(|(_, rest)| rest.strip_suffix("`."))
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)));
    if let Some(default) = default {
        object.insert("default".into(), default);
    }
}

#[test]
fn the_files_are_what_the_readers_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let mut stale = Vec::new();
    for schema in ALL {
        let made = text(schema.name);
        if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
            std::fs::write(folder.join(schema.file()), &made).unwrap();
        } else if made != schema.text {
            stale.push(schema.file());
        }
    }
    assert!(
        stale.is_empty(),
        "not what the code reads any more: {}\nwrite them anew: PORTCULLIS_UPDATE=1 cargo test -p portcullis \
         --bin portcullis schema",
        stale.join(", ")
    );
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".schema.json"))
        .collect();
    files.sort();
    let mut known: Vec<_> = ALL.iter().map(|schema| schema.file()).collect();
    known.sort();
    assert_eq!(files, known, "`schemas/` has others");
}

/// Calls `look` with every object schema and variant below `schema`, and where it is.
fn walk(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    let Value::Object(object) = schema else { return };
    for (name, member) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        look(&path, member);
        walk(member, &path, look);
    }
    for (at, variant) in object.get("oneOf").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = format!("{path}<{at}>");
        look(&path, variant);
        walk(variant, &path, look);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(member) = object.get(name) {
            walk(member, &format!("{path}[]"), look);
        }
    }
    for member in object.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        walk(member, path, look);
    }
    for (name, definition) in object.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        walk(definition, name, look);
    }
}

#[test]
fn every_member_says_what_it_means() {
    let mut silent = Vec::new();
    for schema in ALL {
        let document: Value = serde_json::from_str(schema.text).unwrap();
        walk(&document, schema.name, &mut |path, member| {
            // A variant with a name is an object whose one member says the same.
            let described = |member: &Value| {
                member["description"].as_str().is_some_and(|text| text.len() > 5 && text.ends_with('.'))
            };
            if !described(member) && !member["properties"].is_object() && !path.ends_with('>') {
                let variant = path.rsplit_once('>').is_some_and(|(_, rest)| rest.matches('.').count() == 1);
                if !variant {
                    silent.push(format!("{}: {path}", schema.name));
                }
            }
        });
    }
    assert!(silent.is_empty(), "no description, or one that is no sentence:\n{}", silent.join("\n"));
}

#[test]
fn a_default_is_one_that_the_schema_allows() {
    let Some(mut judge) = Judge::start().unwrap() else { return };
    let mut found = 0;
    for schema in ALL {
        let document: Value = serde_json::from_str(schema.text).unwrap();
        walk(&document, schema.name, &mut |path, member| {
            let Some(default) = member.get("default") else { return };
            let mut member = member.clone();
            member["$defs"] = document["$defs"].clone();
            found += 1;
            let faults = judge.faults(&member, std::slice::from_ref(default)).unwrap();
            assert!(faults[0].is_empty(), "{}: {path}: {default}: {faults:?}", schema.name);
        });
    }
    assert!(found > 100, "{found}");
}
