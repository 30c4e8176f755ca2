//! A request that waits for keys, or was refused, goes nowhere while its body and trailers arrive:
//! also where Envoy is told to read on behind held headers (`allow_on_headers_stop_iteration`).

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Answer, Connection, Endpoint, Upstream},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

struct Scene {
    envoy: Envoy,
    upstream: Upstream,
    _issuer: Endpoint,
    _folder: tempfile::TempDir,
}

/// A gateway whose issuer takes half a second for its keys.
fn scene(binary: &Path, setup: &Setup, reads_on: bool) -> Result<Scene> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("jwt-auth.wasm");
    fs::write(&module, portcullis_modules::JWT_AUTH.wasm)?;
    let issuer = Endpoint::start(Answer::json(&setup.jwks()).after(Duration::from_millis(500)))?;
    let upstream = Upstream::start()?;
    let mut configuration = setup.jwt_auth_config();
    configuration["issuers"][0]["jwks"] = json!({"remote": {
        "uri": format!("http://{}/jwks", issuer.address()), "cluster": "idp", "allow_insecure_http": true}});
    let mut filter = wasm("jwt-auth", &module, &configuration);
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = Value::Bool(reads_on);
    let bootstrap = Bootstrap::new()
        .cluster("upstream", upstream.address())
        .cluster("idp", issuer.address())
        .listener(Listener::new("gateway").filter(filter).to_cluster("upstream"));
    let envoy = Envoy::start(binary, &bootstrap.into_value())?;
    Ok(Scene { envoy, upstream, _issuer: issuer, _folder: folder })
}

/// A request in HTTP/1.1 whose headers, body and trailers are sent one after the other.
fn pieces(token: &str, kind: &str) -> [Vec<u8>; 2] {
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: gateway\r\nx-sub: mallory\r\nauthorization: Bearer {token}\r\n"
    );
    let (more, rest) = match kind {
        "no body" => ("content-length: 0", ""),
        "a body" => ("content-length: 5", "hello"),
        "chunks" => ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        _ => ("transfer-encoding: chunked\r\ntrailer: x-sub", "0\r\nx-sub: mallory\r\n\r\n"),
    };
    [format!("{head}{more}\r\n\r\n").into_bytes(), rest.as_bytes().to_vec()]
}

fn send(scene: &Scene, token: &str, kind: &str) -> Result<u16> {
    let mut connection = Connection::open(scene.envoy.address("gateway"))?;
    let [head, rest] = pieces(token, kind);
    connection.send(&head)?;
    thread::sleep(Duration::from_millis(50));
    connection.send(&rest)?;
    Ok(connection.reply(false)?.status)
}

#[test]
fn nothing_gets_past_a_request_that_waits() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([8; 32]), "https://issuer", "api", now)?;
    let good = setup.token().compact(&setup.keys.ec)?;
    let forged = setup.token().compact(&setup.keys.mallory_ec.renamed("ec-1"))?;
    let unknown = setup.token().compact(&setup.keys.mallory_ec)?;
    for reads_on in [false, true] {
        for kind in ["no body", "a body", "chunks", "trailers"] {
            let scene = scene(&binary, &setup, reads_on)?;
            let what = format!("{kind}, allow_on_headers_stop_iteration: {reads_on}");
            // The first waits for the set, the second for another look at it, the third for none.
            for token in [&forged, &unknown, &unknown] {
                let status = send(&scene, token, kind)?;
                ensure!(matches!(status, 401 | 503), "a bad token got {status}: {what}");
                ensure!(scene.upstream.seen().is_empty(), "a bad token reached the upstream: {what}");
            }
            let status = send(&scene, &good, kind)?;
            ensure!(status == 200, "a good token got {status}: {what}");
            let seen = scene.upstream.take_seen();
            ensure!(seen.len() == 1 && seen[0].all("x-sub") == [b"alice"], "{seen:?}: {what}");
        }
        // Cold, with a body: the good one waits and goes on, whole.
        let scene = scene(&binary, &setup, reads_on)?;
        ensure!(send(&scene, &good, "chunks")? == 200, "cold, reads on: {reads_on}");
        let seen = scene.upstream.take_seen();
        ensure!(seen.len() == 1 && seen[0].all("x-sub") == [b"alice"], "{seen:?}");
    }
    Ok(())
}
