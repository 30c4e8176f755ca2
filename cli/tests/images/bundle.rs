//! `portcullis bundle` with a real registry: what is pushed is signed, is accepted by `verify-image`,
//! and comes back as it was through a client of somebody else.

use std::{fs, path::Path, process::Command};

use portcullis_host_tests::{
    envoy::{self, Envoy, config},
    loopback::Request,
};
use portcullis_mini_sigstore::registry::{Registry, Transport};
use serde_json::{Value, json};

use crate::{common, world::judge};

fn bundle(arguments: &[&str]) -> String {
    let output = common::portcullis()
        .arg("bundle")
        .args(arguments)
        .env("DOCKER_CONFIG", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    common::text(&output.stdout)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(path).unwrap()));
        }
    }
    found
}

/// Debian's skopeo.
fn skopeo(arguments: &[&str]) -> String {
    if Command::new("skopeo").arg("--version").output().is_err() {
        for call in [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "skopeo"]] {
            let installed =
                Command::new("apt-get").args(["-o", "DPkg::Lock::Timeout=300"]).args(call).output();
            let installed = installed.expect("skopeo is not there, nor apt-get to install it");
            assert!(
                installed.status.success(),
                "apt-get install skopeo: {}",
                common::text(&installed.stderr)
            );
        }
    }
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", common::text(&output.stderr));
    common::text(&output.stdout)
}

/// Envoy runs the module that a client of somebody else has pulled into the layout `pulled`.
fn starts_in_envoy(folder: &Path, pulled: &Path) {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let blobs = files(&pulled.join("blobs"));
    let (_, wasm) = blobs.iter().find(|(_, bytes)| bytes.starts_with(b"\0asm")).unwrap();
    let path = folder.join("pulled.wasm");
    fs::write(&path, wasm).unwrap();
    let policy = json!({
        "issuers": [{
            "name": "main", "issuer": "https://issuer.example", "audiences": ["api"], "algorithms": ["ES256"],
            "jwks": {"inline": {"keys": [{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "one",
                "x": "9BTVBLQpisY_nmvjYUR6pQetfbOcSABCKDG47S7i4Y8",
                "y": "9PdDr2TX9wzkAKioHWBTw0w4uN9S22TkvMIP-O9xHC4",
            }]}},
        }],
        "rules": [{"path": {"exact": "/open"}, "require": "none"}, {"path": {"prefix": "/"}, "require": {"any": ["main"]}}],
    });
    let listener = config::Listener::new("gateway").filter(config::wasm("jwt-auth", &path, &policy));
    let envoy = Envoy::start(&binary, &config::Bootstrap::new().listener(listener).into_value()).unwrap();
    let call = |path: &str| envoy.connect("gateway").unwrap().call(&Request::get(path)).unwrap();
    assert_eq!((call("/open").status, call("/closed").status), (200, 401));
    assert_eq!(call("/closed").json().unwrap()["code"], "MISSING_TOKEN");
}

/// A new key and its public half.
fn key(path: &Path) -> String {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().expect("openssl makes the test's key");
        assert!(output.status.success(), "{}", common::text(&output.stderr));
        common::text(&output.stdout)
    };
    let file = path.to_str().unwrap();
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]);
    openssl(&["pkey", "-in", file, "-pubout"])
}

/// Nothing that was built here says where: another folder, home or user would make other bytes.
fn assert_names_no_folder(files: &[(String, Vec<u8>)]) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_str().unwrap().to_owned();
    let home = std::env::home_dir().map(|home| format!("{}/", home.display()));
    let folders: Vec<_> =
        [workspace, "/.cargo/".into(), "/.rustup/".into()].into_iter().chain(home).collect();
    for (name, bytes) in files {
        for folder in &folders {
            let found = bytes.windows(folder.len()).any(|part| part == folder.as_bytes());
            assert!(!found, "`{folder}` is in {name}");
        }
    }
}

#[test]
fn a_bundle_is_the_same_byte_for_byte_and_its_checksums_hold() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("dist");
    let path = out.to_str().unwrap();
    bundle(&["--out", path]);
    let first = files(&out);
    bundle(&["--out", path]);
    let again = files(&out);
    assert_eq!(first.len(), again.len());
    assert!(first.iter().all(|file| again.contains(file)), "a second run wrote something else");
    fs::remove_dir_all(&out).unwrap();
    bundle(&["--out", path]);
    assert!(files(&out).iter().all(|file| first.contains(file)), "a fresh folder has something else");

    let sums =
        Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out).output();
    assert!(sums.unwrap().status.success());
    let bill: Value = serde_json::from_slice(&fs::read(out.join("jwt-auth.cdx.json")).unwrap()).unwrap();
    let names: Vec<_> =
        bill["components"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"p256") && names.contains(&"portcullis-jwt"), "{names:?}");
    assert!(!names.contains(&"serde_derive") && !names.contains(&"wasmtime"), "{names:?}");
    assert_names_no_folder(&first);
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("oci")).unwrap();
    fs::write(folder.path().join("oci/index.json"), "mine").unwrap();

    let output = common::run(&["bundle", "--out", folder.path().to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(2));
    assert!(common::text(&output.stderr).contains("oci/index.json`: the file there is not from a bundle"));
    assert_eq!(fs::read(folder.path().join("oci/index.json")).unwrap(), b"mine");
}

#[test]
fn a_pushed_bundle_lives_by_its_own_policy_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), Transport::Http).unwrap();
    let (ours, theirs) = (key(&folder.path().join("ours.key")), key(&folder.path().join("theirs.key")));
    let out = folder.path().join("dist");
    let target = format!("{}/portcullis:1.0", registry.host());
    let key = folder.path().join("ours.key");

    let said = bundle(&[
        "--out",
        out.to_str().unwrap(),
        "--push",
        &target,
        "--plain-http",
        "--sign-key",
        key.to_str().unwrap(),
    ]);

    let index: Value = serde_json::from_slice(&fs::read(out.join("oci/index.json")).unwrap()).unwrap();
    let listed = index["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), 10, "each plugin and its bill of materials");
    for module in ["jwt-auth", "tenant-guard", "image-admission", "llm-fanout", "image-kubewarden"] {
        let name = format!("{}/portcullis/{module}:1.0", registry.host());
        let entry = listed
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == module)
            .unwrap();
        // The digest in the layout is the one in the registry, and the one that was printed.
        assert!(said.contains(&format!("{name}@{}", entry["digest"].as_str().unwrap())), "{said}");
        for (public_key, expected) in [(&ours, 0), (&theirs, 1)] {
            let policy = folder.path().join("policy.json");
            let document = json!({
                "signers": {"release": {"key": {"public_key": public_key}}},
                "rules": [{"name": "bundle", "images": ["**"], "require": {"signature": {"signer": "release"}}}],
            });
            fs::write(&policy, document.to_string()).unwrap();
            let (code, verdict) = judge(&name, policy.to_str().unwrap(), &["--plain-http"]);
            assert_eq!(code, expected, "{module}: {verdict}");
        }
        let pulled = folder.path().join(module);
        let to = format!("oci:{}:{module}", pulled.display());
        skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{name}"), &to]);
        let wasm = fs::read(out.join(format!("{module}.wasm"))).unwrap();
        assert!(files(&pulled.join("blobs")).iter().any(|(_, bytes)| *bytes == wasm), "{module}");
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
        let manifest: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.module.wasm.config.v1+json");
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.module.wasm.content.layer.v1+wasm");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    }

    starts_in_envoy(folder.path(), &folder.path().join("jwt-auth"));

    // Once more: nothing changes, and what is there is not sent again.
    let again = bundle(&["--push", &target, "--plain-http", "--sign-key", key.to_str().unwrap()]);
    assert_eq!(again.lines().count(), listed.len() / 2);
}

#[test]
fn a_key_of_another_kind_is_refused_with_the_way_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.key");
    fs::write(&file, "not a key").unwrap();

    let output = common::run(&[
        "bundle",
        "--push",
        "127.0.0.1:1/x:1",
        "--plain-http",
        "--sign-key",
        file.to_str().unwrap(),
    ]);

    assert_eq!(output.status.code(), Some(2));
    assert!(common::text(&output.stderr).contains("openssl genpkey"));
}
