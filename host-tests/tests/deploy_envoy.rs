//! Every file of `deploy/envoy` as people copy it: Envoy accepts it with the built module beside
//! it, and the gateway that it describes refuses a request without a token. And the webhook of
//! `deploy/kubernetes`, over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_host_tests::envoy::{self, Envoy};
use portcullis_host_tests::loopback::{Reply, Request};
use serde_json::{Value, json};

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

/// `deploy/kubernetes/envoy.yaml` with the folders of the cluster in `folder`.
fn webhook(folder: &Path) -> PathBuf {
    copy_files(&deploy().join("../kubernetes"), folder);
    fs::write(folder.join("image-admission.wasm"), portcullis_modules::IMAGE_ADMISSION.wasm).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let here = folder.to_str().unwrap();
    for name in ["envoy.yaml", "certificate.yaml"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let text = text
            .replace("{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}")
            .replace("{address: 0.0.0.0, port_value: 8443}", "{address: 127.0.0.1, port_value: 0}")
            .replace("/etc/ssl/certs/ca-certificates.crt", &format!("{here}/tls.crt"));
        let text = ["/etc/portcullis", "/etc/tls", "/modules"]
            .iter()
            .fold(text, |text, folder| text.replace(folder, here));
        fs::write(folder.join(name), text).unwrap();
    }
    folder.join("envoy.yaml")
}

#[test]
fn the_webhook_of_kubernetes_answers_reviews_over_tls() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = webhook(folder.path());
    envoy::validate(&binary, &file, folder.path()).unwrap();
    let envoy = Envoy::start_file(&binary, &file, folder.path()).unwrap();

    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop", "operation": "CREATE",
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app" },
                "spec": { "containers": [{ "name": "app", "image": "docker.io/library/nginx:1" }] },
            },
        },
    });
    // TLS as the API server speaks it, with the certificate that it was given.
    let call = "import ssl, sys, urllib.request as r\n\
        print(r.urlopen(r.Request(sys.argv[1], sys.argv[3].encode()), context=ssl.create_default_context(cafile=sys.argv[2])).read().decode())";
    let url = format!("https://localhost:{}/validate", envoy.address("webhook").port());
    let output = Command::new("python3")
        .args(["-c", call, &url, folder.path().join("tls.crt").to_str().unwrap(), &review.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u1"), &json!(false)));
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("NO_RULE") && message.contains("docker.io/library/nginx:1"), "{message}");
}
