//! `portcullis xds` with the real Envoy: a fleet follows a folder, and what it refuses is shown with
//! Envoy's own reason while the version before stays in force.

mod common;
#[path = "xds/gateway.rs"]
mod gateway;
#[path = "xds/plane.rs"]
mod plane;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use plane::Plane;

use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::Request,
};

/// `deploy/envoy/ecds-grpc.yaml` with the ports of this test and another id.
fn start(binary: &Path, folder: &Path, plane: &Plane, id: &str) -> Envoy {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy/ecds-grpc.yaml"));
    let replaced = text
        .unwrap()
        .replace("{id: gateway,", &format!("{{id: {id},"))
        .replace("port_value: 9901", "port_value: 0")
        .replace("{address: 0.0.0.0, port_value: 10000}", "{address: 127.0.0.1, port_value: 0}")
        .replace("port_value: 18000", &format!("port_value: {}", plane.port));
    let path: PathBuf = folder.join(format!("{id}.yaml"));
    fs::write(&path, replaced).unwrap();
    Envoy::start_file(binary, &path, folder).unwrap()
}

fn policy(open: &str) -> String {
    format!(
        r#"{{"issuers": [{{"name": "main", "issuer": "https://issuer.example", "audiences": ["api"],
            "algorithms": ["ES256"],
            "jwks": {{"inline": {{"keys": [{{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
              "x": "9BTVBLQpisY_nmvjYUR6pQetfbOcSABCKDG47S7i4Y8",
              "y": "9PdDr2TX9wzkAKioHWBTw0w4uN9S22TkvMIP-O9xHC4"}}]}}}}}}],
          "rules": [{{"path": {{"exact": "{open}"}}, "require": "none"}},
                    {{"path": {{"prefix": "/"}}, "require": {{"any": ["main"]}}}}]}}"#
    )
}

fn put(folder: &Path, text: &str) {
    fs::write(folder.join("jwt-auth.new"), text).unwrap();
    fs::rename(folder.join("jwt-auth.new"), folder.join("jwt-auth.json")).unwrap();
}

/// Whether a request on `path` gets past the filter, where there is no upstream.
fn passes(envoy: &Envoy, path: &str) -> bool {
    match envoy.connect("gateway").unwrap().call(&Request::get(path)).unwrap().status {
        503 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

fn until_passes(envoy: &Envoy, path: &str) {
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while !passes(envoy, path) {
        assert!(std::time::Instant::now() < deadline, "{path} is never open");
        thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_fleet_follows_a_folder_and_a_refused_version_is_shown_with_its_reason() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("policies");
    fs::create_dir(&folder).unwrap();
    put(&folder, &policy("/one"));
    let plane = Plane::start(&folder, &["--unchecked"]);
    let fleet = ["blue", "green"].map(|id| start(&binary, scratch.path(), &plane, id));
    for envoy in &fleet {
        until_passes(envoy, "/one");
        assert!(!passes(envoy, "/two"));
    }

    put(&folder, &policy("/two"));
    let mut taken: Vec<String> = (0..2)
        .map(|_| {
            let line = plane.wait(" taken after ");
            line.split(' ').next().unwrap().to_owned()
        })
        .collect();
    for envoy in &fleet {
        until_passes(envoy, "/two");
        assert!(!passes(envoy, "/one"));
    }
    plane.wait("every Envoy (2) has the change after ");
    taken.sort_unstable();
    assert!(taken.iter().all(|node| ["blue", "green"].contains(&node.as_str())), "{taken:?}");

    put(&folder, &policy("/three").replace("audiences", "audience"));
    let refused = plane.wait(" refused: ");
    assert!(refused.contains("jwt-auth"), "{refused}");
    plane.wait(" refused: ");
    for envoy in &fleet {
        assert!(passes(envoy, "/two") && !passes(envoy, "/three"));
    }

    put(&folder, &policy("/four"));
    for envoy in &fleet {
        until_passes(envoy, "/four");
    }
    drop(fleet);
    plane.wait("is gone");
}

#[test]
fn what_the_module_refuses_is_told_with_its_place_and_not_served() {
    let scratch = tempfile::tempdir().unwrap();
    put(scratch.path(), &policy("/one"));
    let plane = Plane::start(scratch.path(), &[]);

    put(scratch.path(), &policy("/two").replace("audiences", "audience"));

    let line = plane.wait("not served: ");
    assert!(line.contains("jwt-auth.json") && line.contains("issuers[0]"), "{line}");
}

#[test]
fn it_listens_on_this_machine_only_and_needs_something_to_serve() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_str().unwrap();
    let output = common::run(&["xds", "--folder", folder, "--listen", "0.0.0.0:18000"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(common::text(&output.stderr).contains("loopback only"));
    let output = common::run(&["xds", "--folder", folder]);
    assert_eq!(output.status.code(), Some(2));
    assert!(common::text(&output.stderr).contains("there is no <plugin>.yaml"));
}
