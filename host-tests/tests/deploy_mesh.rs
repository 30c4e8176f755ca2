//! Every file of `deploy/istio` and `deploy/envoy-gateway`: the objects that kubectl renders are what
//! the official schemas allow, and the modules take the configurations in them.

#[path = "deploy_mesh/schema.rs"]
mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_host::{Engine, Module, Plugin, Process, Worker};
use portcullis_host_tests::kubectl::{self, kubectl_unless_skipped};
use serde_json::{Value, json};

fn deploy(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(folder)
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// The objects in the files of a folder, without kustomize's own.
fn objects(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let documents = files.iter().flat_map(|file| documents(&fs::read_to_string(file).unwrap()));
    documents.filter(|object| object["kind"].is_string() && object["kind"] != "Kustomization").collect()
}

/// What people apply with `-k`.
const OVERLAYS: [&str; 2] = ["gateway", "sidecar"];

fn rendered(kubectl: &Path, overlay: &str) -> Vec<Value> {
    documents(&kubectl::rendered(kubectl, &deploy("istio").join(overlay)).unwrap())
}

/// Every object that people apply: both overlays as they are rendered, and Envoy Gateway's.
fn applied(kubectl: &Path) -> Vec<Value> {
    let mut all = objects(&deploy("envoy-gateway"));
    for overlay in OVERLAYS {
        all.extend(rendered(kubectl, overlay));
    }
    all
}

/// The plugin's name and its configuration in each object that has one.
fn plugins(object: &Value) -> Vec<(&str, &Value)> {
    match object["kind"].as_str() {
        Some("WasmPlugin") => {
            vec![(object["spec"]["pluginName"].as_str().unwrap(), &object["spec"]["pluginConfig"])]
        }
        Some("EnvoyExtensionPolicy") => {
            let filters = object["spec"]["wasm"].as_array().unwrap();
            filters.iter().map(|filter| (filter["rootID"].as_str().unwrap(), &filter["config"])).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_object_is_what_its_official_schema_allows() {
    let Some(kubectl) = kubectl_unless_skipped() else { return };
    let Some(schemas) = schema::official().unwrap() else { return };
    let mut checked = 0;
    for object in applied(&kubectl) {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        match schemas.check(&object) {
            Some(faults) => {
                assert_eq!(faults, Vec::<String>::new(), "{name}");
                checked += 1;
            }
            // Their definitions are not among the vectors.
            None => assert!(
                ["ServiceEntry", "DestinationRule", "ClientTrafficPolicy"]
                    .contains(&object["kind"].as_str().unwrap()),
                "{name} has no schema"
            ),
        }
    }
    // Two overlays of five objects with a schema, and one extension policy.
    assert_eq!(checked, 11);
}

#[test]
fn an_object_that_is_wrong_is_not_allowed() {
    let Some(schemas) = schema::official().unwrap() else { return };
    let plugin =
        objects(&deploy("istio/base")).into_iter().find(|object| object["kind"] == "WasmPlugin").unwrap();
    for (pointer, value, expected) in [
        ("/spec/failStrategy", json!("FAIL_SHUT"), "spec.failStrategy: `\"FAIL_SHUT\"` is none of"),
        ("/spec/priority", json!("20"), "spec.priority: "),
        ("/spec/sha256", json!("sha256:00"), "spec.sha256: "),
        ("/spec/url", json!(""), "spec.url: "),
        ("/spec/match/0/mod", json!("SERVER"), "spec.match[0].mod: unknown"),
        ("/spec/failstrategy", json!("FAIL_CLOSE"), "spec.failstrategy: unknown"),
    ] {
        let mut wrong = plugin.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[member] = value;
        let faults = schemas.check(&wrong).unwrap();
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{pointer}: {faults:?}");
    }
    let mut without_url = plugin;
    without_url["spec"].as_object_mut().unwrap().remove("url");
    assert_eq!(schemas.check(&without_url).unwrap(), ["spec: `url` is missing"]);
}

#[test]
fn the_modules_take_every_configuration() {
    let Some(kubectl) = kubectl_unless_skipped() else { return };
    let engine = Engine::new().unwrap();
    let mut modules = std::collections::BTreeMap::new();
    let mut taken = 0;
    for object in applied(&kubectl) {
        for (name, config) in plugins(&object) {
            let module = modules.entry(name.to_owned()).or_insert_with(|| {
                Module::compile(
                    &engine,
                    portcullis_modules::by_name(name).expect("a plugin of the bundle").wasm,
                )
                .unwrap()
            });
            let plugin = Plugin::new(name).configuration(config.to_string());
            Worker::new(&Process::new()).add(module, plugin).unwrap();
            taken += 1;
        }
    }
    assert_eq!(taken, 6);
}

#[test]
fn every_plugin_fails_closed_runs_in_order_and_is_selected() {
    let Some(kubectl) = kubectl_unless_skipped() else { return };
    for overlay in OVERLAYS {
        let objects = rendered(&kubectl, overlay);
        let mut priorities = Vec::new();
        for object in &objects {
            let (kind, spec) = (object["kind"].as_str().unwrap(), &object["spec"]);
            assert!(object["metadata"]["namespace"].is_string(), "{kind} has no namespace");
            match kind {
                "WasmPlugin" => {
                    assert_eq!(spec["failStrategy"], "FAIL_CLOSE");
                    assert_eq!(
                        (&spec["phase"], &spec["match"]),
                        (&json!("AUTHN"), &json!([{"mode": "SERVER"}]))
                    );
                    assert!(spec["selector"]["matchLabels"].is_object(), "{overlay}: everywhere");
                    priorities.push((spec["pluginName"].clone(), spec["priority"].as_i64().unwrap()));
                }
                "AuthorizationPolicy" | "Telemetry" => assert!(spec["selector"]["matchLabels"].is_object()),
                "EnvoyFilter" => assert!(spec["workloadSelector"]["labels"].is_object()),
                _ => {}
            }
        }
        priorities.sort_by_key(|(_, priority)| -priority);
        let order: Vec<_> = priorities.iter().map(|(name, _)| name.as_str().unwrap()).collect();
        assert_eq!(order, ["jwt-auth", "tenant-guard"], "{overlay}");
    }
    for object in objects(&deploy("envoy-gateway")) {
        for filter in object["spec"]["wasm"].as_array().into_iter().flatten() {
            assert_eq!(filter["failOpen"], false);
        }
    }
}
