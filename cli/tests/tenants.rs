//! `portcullis tenants` as people call it.

mod common;

use std::{fs, path::Path};

use common::{run, text};

fn list(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn files(folder: &str) -> usize {
    fs::read_dir(Path::new(folder).join("parts")).unwrap().count()
}

#[test]
fn a_list_is_packed_checked_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let lines: String = (0..3000)
        .map(|n| {
            format!(
                "{{\"id\": \"org_{n}\", \"slugs\": [\"t{n}\"], \"fields\": {{\"f\": \"{}\"}}}}\n",
                "x".repeat(300)
            )
        })
        .collect();
    let first = list(folder.path(), "first.ndjson", &lines);
    let packed = run(&["tenants", "pack", &first, "--out", &out, "--version", "7", "--format", "json"]);
    let said: serde_json::Value = serde_json::from_slice(&packed.stdout).unwrap();
    assert_eq!((said["version"].as_u64(), said["tenants"].as_u64()), (Some(7), Some(3000)));
    let parts = said["parts"].as_u64().unwrap();
    assert!(parts >= 4 && said["parts_written"].as_u64() == Some(parts), "{said}");
    let checked = run(&["tenants", "check", &out]);
    assert_eq!(
        text(&checked.stdout),
        format!("ok: {out}: version 7, 3000 tenants with 3000 slugs and domains and 0 members\n")
    );

    // One tenant is suspended: one part changes, and the edition before stays whole.
    let changed = lines.replacen("{\"id\": \"org_7\",", "{\"id\": \"org_7\", \"state\": \"suspended\",", 1);
    let second = list(folder.path(), "second.ndjson", &changed);
    let refused = run(&["tenants", "pack", &second, "--out", &out, "--version", "7"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("version 7 is not above 7"), "{}", text(&refused.stderr));
    let packed = run(&["tenants", "pack", &second, "--out", &out, "--format", "json"]);
    let said: serde_json::Value = serde_json::from_slice(&packed.stdout).unwrap();
    assert_eq!(said["parts_written"].as_u64(), Some(1), "{said}");
    assert_eq!(files(&out) as u64, parts + 1);
    let shown = run(&["tenants", "show", &out, "t7"]);
    let entry: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (entry["found_by"].as_str(), entry["id"].as_str(), entry["state"].as_str()),
        (Some("slug"), Some("org_7"), Some("suspended"))
    );
    assert_eq!(run(&["tenants", "show", &out, "T7"]).status.code(), Some(1));

    // A part with another byte is found out.
    let part = fs::read_dir(Path::new(&out).join("parts")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&part).unwrap();
    bytes[40] ^= 1;
    for file in fs::read_dir(Path::new(&out).join("parts")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let checked = run(&["tenants", "check", &out]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(text(&checked.stderr).contains("the parts are not those that the manifest names"));
}

#[test]
fn a_list_that_means_two_things_is_refused_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    for (content, reason) in [
        (r#"{"tenants": [{"id": "a"}, {"id": "A"}]}"#, "`tenants[1].id`: `A` is the id of tenants[0]"),
        (r#"{"tenants": [{"id": "a", "slugs": ["www"]}]}"#, "`tenants[0].slugs[0]`: `www` is reserved"),
        ("{\"id\": \"a\"}\n{\"id\": \"b\", \"stat\": 1}\n", "line 2: `stat`: unknown field"),
        ("<html>", "expected value"),
    ] {
        let path = list(folder.path(), "list", content);
        let refused = run(&["tenants", "check", &path]);
        assert_eq!(refused.status.code(), Some(2), "{content}");
        assert!(text(&refused.stderr).contains(reason), "{}", text(&refused.stderr));
    }
}
