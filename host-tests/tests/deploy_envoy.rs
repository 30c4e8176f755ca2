//! Every file of `deploy/envoy` as people copy it: Envoy accepts it with the built module beside
//! it, and the gateway that it describes refuses a request without a token.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_host_tests::envoy::{self, Envoy};
use portcullis_host_tests::loopback::{Reply, Request};

/// A copy of `deploy/envoy` with the modules where the files say they are.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_files(&deploy(), folder.path());
    for module in portcullis_modules::ALL {
        fs::write(folder.path().join(format!("{}.wasm", module.name)), module.wasm).unwrap();
    }
    folder
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy")
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_files(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The files below `folder` that describe a whole Envoy.
fn gateways(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut gateways(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && fs::read_to_string(&path).unwrap().contains("static_resources:")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Starts the file as it is but for its ports, which may be taken here.
fn start(binary: &Path, folder: &Path, file: &str) -> Envoy {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    let replaced = text
        .replace("{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}")
        .replace("{address: 0.0.0.0, port_value: 10000}", "{address: 127.0.0.1, port_value: 0}");
    assert_eq!(replaced.matches("port_value: 0}").count(), 2, "`{file}` has other ports");
    fs::write(&path, replaced).unwrap();
    Envoy::start_file(binary, &path, folder).unwrap()
}

fn call(envoy: &Envoy, target: &str) -> Reply {
    envoy.connect("gateway").unwrap().call(&Request::get(target)).unwrap()
}

fn assert_missing_token(reply: &Reply) {
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json().unwrap()["code"], "MISSING_TOKEN");
    assert!(reply.one("www-authenticate").unwrap().starts_with("Bearer"));
}

#[test]
fn envoy_accepts_every_file() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let files = gateways(folder.path());
    assert!(files.len() >= 7, "{files:?}");

    for file in files {
        envoy::validate(&binary, &file, folder.path()).unwrap();
    }
}

#[test]
fn a_file_whose_filter_configuration_is_wrong_is_not_accepted() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let file = folder.path().join("jwt-auth.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""algorithms": ["RS256","#));
    fs::write(&file, text.replace(r#""algorithms": ["RS256","#, r#""algorithms": ["none","#)).unwrap();

    assert!(envoy::validate(&binary, &file, folder.path()).is_err());
}

#[test]
fn the_static_gateway_asks_for_a_token_and_leaves_the_health_check_open() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let envoy = start(&binary, folder.path(), "jwt-auth.yaml");

    assert_missing_token(&call(&envoy, "/orders"));
    assert_missing_token(&call(&envoy, "/healthz/../orders"));
    // Past the filter there is no upstream here.
    let open = call(&envoy, "/healthz");
    assert!(open.status != 401 && !open.body.starts_with(b"{"), "{open:?}");
}

#[test]
fn the_gateway_with_remote_keys_asks_for_a_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let envoy = start(&binary, folder.path(), "jwt-auth-remote.yaml");

    assert_missing_token(&call(&envoy, "/orders"));
}

#[test]
fn the_gateway_in_front_of_a_model_asks_for_a_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let envoy = start(&binary, folder.path(), "llm-fanout.yaml");

    assert_missing_token(&call(&envoy, "/v1/chat/completions"));
}

#[test]
fn the_gateway_with_a_discovered_filter_asks_for_a_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let envoy = start(&binary, folder.path(), "ecds/envoy.yaml");

    assert_missing_token(&call(&envoy, "/orders"));
    assert_eq!(envoy.stat("extension_config_discovery.http_filter.jwt-auth.config_reload").unwrap(), 1);
}
