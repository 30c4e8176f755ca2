//! What `kubectl apply -k` makes of an overlay, as far as the overlays here go: resources of a base,
//! a namespace, and JSON patches (RFC 6902, `add`) by kind. Anything else is an error, so that a file
//! that needs more is noticed.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The objects of the kustomization in `folder`.
pub fn render(folder: &Path) -> Result<Vec<Value>> {
    let file = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
    let kustomization: Value = serde_saphyr::from_str(&text)?;
    for (member, _) in kustomization.as_object().context("no object")? {
        let known = ["apiVersion", "kind", "namespace", "resources", "patches"];
        ensure!(known.contains(&member.as_str()), "`{member}`: this test cannot render it");
    }
    let mut objects = Vec::new();
    for resource in kustomization["resources"].as_array().context("no resources")? {
        let path = folder.join(resource.as_str().context("a resource has no path")?);
        if path.is_dir() {
            objects.extend(render(&path)?);
        } else {
            let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
            objects.extend(serde_saphyr::from_multiple::<Value>(&text)?);
        }
    }
    for patch in kustomization["patches"].as_array().into_iter().flatten() {
        let kinds = patch["target"]["kind"].as_str().context("a patch without a kind")?;
        let path = folder.join(patch["path"].as_str().context("a patch without a path")?);
        let operations: Vec<Value> = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        let mut applied = 0;
        let of_kind = |object: &&mut Value| kinds.split('|').any(|kind| object["kind"] == kind);
        for object in objects.iter_mut().filter(of_kind) {
            operations.iter().try_for_each(|operation| add(object, operation))?;
            applied += 1;
        }
        ensure!(applied > 0, "`{kinds}`: the patch applies to nothing");
    }
    if let Some(namespace) = kustomization.get("namespace") {
        for object in &mut objects {
            object["metadata"]["namespace"] = namespace.clone();
        }
    }
    Ok(objects)
}

fn add(object: &mut Value, operation: &Value) -> Result<()> {
    ensure!(operation["op"] == "add", "only `add` is rendered");
    let pointer = operation["path"].as_str().context("an operation without a path")?;
    let (parent, member) = pointer.rsplit_once('/').context("no pointer")?;
    match object.pointer_mut(parent) {
        Some(Value::Object(parent)) => parent.insert(member.to_owned(), operation["value"].clone()),
        _ => bail!("`{pointer}`: there is no such place"),
    };
    Ok(())
}
