//! What a module is made of, as CycloneDX 1.5 (ECMA-424). No serial number and no time: the same
//! module has the same document.

use portcullis_modules::Module;
use serde_json::{Value, json};

/// The document's media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The document of `module`, whose SHA-256 is `hash` in hex.
pub(super) fn document(module: &Module, hash: &str) -> Value {
    let components: Vec<Value> = module.crates.lines().filter_map(component).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application",
            "bom-ref": module.name,
            "name": module.name,
            "version": env!("CARGO_PKG_VERSION"),
            "hashes": [{"alg": "SHA-256", "content": hash}],
            "licenses": [{"expression": "Apache-2.0"}],
        }},
        "components": components,
    })
}

fn component(line: &str) -> Option<Value> {
    let mut words = line.splitn(3, ' ');
    let (name, version, licence) = (words.next()?, words.next()?, words.next()?);
    let mut component = json!({
        "type": "library",
        "bom-ref": format!("{name}@{version}"),
        "name": name,
        "version": version,
        "licenses": [{"expression": licence.replace('/', " OR ")}],
    });
    // The project's own crates are in no registry.
    if !name.starts_with("portcullis-") {
        component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
    }
    Some(component)
}
