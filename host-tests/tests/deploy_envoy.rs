//! Every file of `deploy/envoy` as people copy it: Envoy accepts it with the built module beside
//! it, and the gateway that it describes lets a good token through and no other. And the webhook of
//! `deploy/kubernetes`, over TLS. The tenants' files have a corpus of their own (`tests/tenant.rs`).

#[path = "deploy_envoy/directory.rs"]
mod directory;
#[path = "deploy_envoy/edge.rs"]
mod edge;
#[path = "deploy_envoy/scene.rs"]
mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::{Answer, Endpoint, Relay, Reply},
};
use scene::{Scene, assert_refused, call, certificate, copy, copy_files, deploy, files, with_token};
use serde_json::{Value, json};

/// The files below `folder` that describe a whole Envoy.
fn gateways(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in files(folder) {
        if path.is_dir() {
            found.append(&mut gateways(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && fs::read_to_string(&path).unwrap().contains("static_resources:")
        {
            found.push(path);
        }
    }
    found
}

fn assert_missing_token(reply: &Reply) {
    assert_refused(reply, 401, "MISSING_TOKEN");
    assert!(reply.one("www-authenticate").unwrap().starts_with("Bearer"));
}

/// Without a token, with a good one and with a forged one.
fn assert_guards(scene: &Scene, envoy: &Envoy) {
    assert_missing_token(&call(envoy, "/orders"));
    let claims = json!({"sub": "alice"});
    assert_refused(&with_token(envoy, "/orders", &scene.forged(&claims)), 401, "SIGNATURE_INVALID");
    assert!(scene.upstream.take_seen().is_empty());
    assert_eq!(with_token(envoy, "/orders", &scene.token(&claims)).status, 200);
    assert_eq!(scene.upstream.take_seen()[0].all("x-sub"), [b"alice"]);
}

#[test]
fn envoy_accepts_every_file() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let folder = copy();
    let files = gateways(folder.path());
    assert!(files.len() >= 9, "{files:?}");

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
    let scene = Scene::load("jwt-auth.yaml");
    let envoy = scene.start(&binary);

    assert_guards(&scene, &envoy);
    assert_missing_token(&call(&envoy, "/healthz/../orders"));
    assert_eq!(call(&envoy, "/healthz").status, 200);
}

#[test]
fn the_gateway_with_remote_keys_fetches_them_over_tls() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let (certificate, key) = certificate("login.example.com");
    let scene = Scene::load("jwt-auth-remote.yaml");
    let issuer = Endpoint::start(Answer::json(&scene.setup.jwks())).unwrap();
    let server = Relay::ending(&certificate, &key, issuer.address()).unwrap();
    let authority = scene.folder.path().join("authority.pem");
    fs::write(&authority, certificate).unwrap();
    let scene = scene
        .replace(
            "{address: login.example.com, port_value: 443}",
            &format!("{{address: 127.0.0.1, port_value: {}}}", server.address().port()),
        )
        .replace("/etc/ssl/certs/ca-certificates.crt", authority.to_str().unwrap());
    let envoy = scene.start(&binary);

    assert_guards(&scene, &envoy);
}

#[test]
fn the_gateway_in_front_of_a_model_asks_for_a_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let envoy = Scene::load("llm-fanout.yaml").start(&binary);

    assert_missing_token(&call(&envoy, "/v1/chat/completions"));
}

#[test]
fn the_gateway_with_a_discovered_filter_asks_for_a_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scene = Scene::load("ecds/envoy.yaml");
    let envoy = scene.start(&binary);

    assert_guards(&scene, &envoy);
    assert_eq!(envoy.stat("extension_config_discovery.http_filter.jwt-auth.config_reload").unwrap(), 1);
}

/// `deploy/kubernetes/envoy.yaml` with the folders of the cluster in `folder`.
fn webhook(folder: &Path) -> PathBuf {
    copy_files(&deploy().join("../kubernetes"), folder);
    fs::write(folder.join("image-admission.wasm"), portcullis_modules::IMAGE_ADMISSION.wasm).unwrap();
    let (certificate, key) = certificate("localhost");
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key).unwrap();
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
