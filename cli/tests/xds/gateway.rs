//! Envoys with a bootstrap and nothing else: the whole gateway comes from the folder.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::{Connection, Reply, Request, Upstream},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

use super::{common, plane::Plane};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy")
}

/// `deploy/envoy/ads` as people copy it, but for ports and the issuer's key.
struct Stage {
    scratch: tempfile::TempDir,
    setup: Setup,
    upstream: Upstream,
}

impl Stage {
    fn new() -> Self {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let setup = Setup::new(&Seed::new([3; 32]), "https://login.example.com", "api", now).unwrap();
        let stage =
            Self { scratch: tempfile::tempdir().unwrap(), setup, upstream: Upstream::start().unwrap() };
        for name in ["jwt-auth", "tenant-guard", "listeners/gateway", "clusters/upstream"] {
            let text = fs::read_to_string(deploy().join(format!("ads/policies/{name}.yaml"))).unwrap();
            stage.put(&format!("{name}.yaml"), &stage.local(&text));
        }
        stage
    }

    fn local(&self, text: &str) -> String {
        let jwk = self.setup.keys.ec.jwk();
        text.replace("0.0.0.0:10000", "127.0.0.1:0")
            .replace("127.0.0.1:8080", &self.upstream.address().to_string())
            .replace("replace-me", jwk["kid"].as_str().unwrap())
            .replace("9BTVBLQpisY_nmvjYUR6pQetfbOcSABCKDG47S7i4Y8", jwk["x"].as_str().unwrap())
            .replace("9PdDr2TX9wzkAKioHWBTw0w4uN9S22TkvMIP-O9xHC4", jwk["y"].as_str().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("policies")
    }

    /// Writes a file as a whole.
    fn put(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap()
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder().join(name)).unwrap();
    }

    fn envoy(&self, binary: &Path, plane: &Plane, id: &str) -> Envoy {
        let text = fs::read_to_string(deploy().join("ads/envoy.yaml")).unwrap();
        let text = text
            .replace("{id: gateway,", &format!("{{id: {id},"))
            .replace("port_value: 9901", "port_value: 0")
            .replace("port_value: 18000", &format!("port_value: {}", plane.port));
        let path = self.scratch.path().join(format!("{id}.yaml"));
        fs::write(&path, text).unwrap();
        Envoy::start_file(binary, &path, self.scratch.path()).unwrap()
    }

    fn token(&self) -> String {
        let token = self.setup.token().claim("tenants", json!(["acme"]));
        token.compact(&self.setup.keys.ec).unwrap()
    }

    fn get(&self, envoy: &Envoy, listener: &str, target: &str) -> Reply {
        ask(envoy, listener, &Request::get(target).bearer(&self.token()))
    }
}

fn ask(envoy: &Envoy, listener: &str, request: &Request) -> Reply {
    let address = envoy.listeners().unwrap()[listener];
    Connection::open(address).unwrap().call(request).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + common::PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_envoys_with_a_bootstrap_become_one_gateway_and_follow_every_change() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let stage = Stage::new();
    let plane = Plane::start(&stage.folder(), &[]);
    let fleet = ["blue", "green"].map(|id| stage.envoy(&binary, &plane, id));

    for envoy in &fleet {
        assert_eq!(stage.get(envoy, "gateway", "/t/acme/x").status, 200);
        assert_eq!(stage.get(envoy, "gateway", "/t/globex/x").json().unwrap()["code"], "TENANT_NOT_FOUND");
        let bare = ask(envoy, "gateway", &Request::get("/t/acme/x"));
        assert_eq!(bare.json().unwrap()["code"], "MISSING_TOKEN");
    }
    assert!(stage.upstream.take_seen().iter().all(|seen| seen.all("x-tenant-id") == [b"acme"]));

    // A second way in, to another upstream, in one change.
    let second = Upstream::start().unwrap();
    stage.put("clusters/second.yaml", &format!("address: {}", second.address()));
    stage.put("listeners/api.yaml", "address: 127.0.0.1:0\nfilters: [jwt-auth]\ncluster: second\n");
    for envoy in &fleet {
        until("the second listener", || envoy.listeners().unwrap().contains_key("api"));
        until("its filter", || stage.get(envoy, "api", "/x").status == 200);
        assert_eq!(ask(envoy, "api", &Request::get("/x")).status, 401);
        assert_eq!(stage.get(envoy, "gateway", "/t/acme/x").status, 200);
    }
    assert!(!second.seen().is_empty());
    plane.wait("every Envoy (2) has the change after ");

    // And away with it. The file that goes first is in use until the other one is gone, too.
    stage.remove("clusters/second.yaml");
    plane.wait("still served: CDS second, which the listener `api` names");
    assert_eq!(stage.get(&fleet[0], "api", "/x").status, 200);
    stage.remove("listeners/api.yaml");
    for envoy in &fleet {
        until("no second listener", || !envoy.listeners().unwrap().contains_key("api"));
        until("no second cluster", || {
            !String::from_utf8(envoy.admin("/clusters").unwrap()).unwrap().contains("second::")
        });
        assert_eq!(stage.get(envoy, "gateway", "/t/acme/x").status, 200);
    }
    plane.wait("every Envoy (2) has the change after ");
}

#[test]
fn a_listener_and_a_cluster_that_envoy_refuses_leave_the_ones_before_in_force() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let stage = Stage::new();
    let plane = Plane::start(&stage.folder(), &["--unchecked"]);
    let envoy = stage.envoy(&binary, &plane, "blue");
    assert_eq!(stage.get(&envoy, "gateway", "/t/acme/x").status, 200);
    let address = envoy.listeners().unwrap()["gateway"];

    // Somebody else has the port.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = stage.read("listeners/gateway.yaml");
    let bad = good.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    stage.put("listeners/gateway.yaml", &bad);
    let line = plane.wait(" refused: ");
    assert!(line.contains("blue LDS gateway") && line.contains("cannot bind"), "{line}");
    assert_eq!(envoy.listeners().unwrap()["gateway"], address);
    assert_eq!(stage.get(&envoy, "gateway", "/t/acme/x").status, 200);

    // A cluster that nobody can vouch for.
    let upstream = stage.read("clusters/upstream.yaml");
    stage.put("clusters/upstream.yaml", &format!("{upstream}tls: {{ca_file: nowhere.pem}}\n"));
    let line = plane.wait(" refused: ");
    assert!(line.contains("blue CDS upstream") && line.contains("nowhere.pem"), "{line}");
    assert_eq!(stage.get(&envoy, "gateway", "/t/acme/x").status, 200);
    assert_eq!(ask(&envoy, "gateway", &Request::get("/t/acme/x")).status, 401);

    // A listener whose filter is not there lets nothing through, now and later.
    stage.put("listeners/open.yaml", "address: 127.0.0.1:0\nfilters: [nobody]\ncluster: upstream\n");
    until("no request passes", || {
        let listeners = envoy.listeners().unwrap();
        listeners.get("open").is_none_or(|_| stage.get(&envoy, "open", "/x").status != 200)
    });

    stage.put("listeners/gateway.yaml", &good.replace("[jwt-auth, tenant-guard]", "[jwt-auth]"));
    stage.put("clusters/upstream.yaml", &upstream);
    until("the mended ones", || stage.get(&envoy, "gateway", "/t/globex/x").status == 200);
}

#[test]
fn what_could_not_work_is_told_and_not_served() {
    let stage = Stage::new();
    let plane = Plane::start(&stage.folder(), &[]);

    for (name, text, reason) in [
        (
            "listeners/a.yaml",
            "address: 127.0.0.1:0\nfilters: []\ncluster: upstream\n",
            "every request would pass",
        ),
        ("listeners/b.yaml", "address: 127.0.0.1:0\nfilters: [nobody]\ncluster: upstream\n", "no sound `"),
        (
            "listeners/c.yaml",
            "address: 127.0.0.1:0\nfilters: [jwt-auth]\ncluster: nobody\n",
            "clusters/nobody.yaml",
        ),
        ("clusters/d.yaml", "address: nowhere\n", "`address`: `nowhere` is not `host:port`"),
        ("clusters/e.yaml", "address: 127.0.0.1:1\ntls: {ca_file: nowhere.pem}\n", "`tls.ca_file`: no file"),
    ] {
        stage.put(name, text);
        let line = plane.wait("not served: ");
        assert!(line.contains(name) && line.contains(reason), "{line}");
        stage.remove(name);
    }
}

/// The setting `name` of the first connection manager in a document, wherever it stands.
fn setting<'d>(document: &'d Value, name: &str) -> Option<&'d Value> {
    match document {
        Value::Object(members) => {
            members.get(name).or_else(|| members.values().find_map(|inner| setting(inner, name)))
        }
        Value::Array(items) => items.iter().find_map(|inner| setting(inner, name)),
        _ => None,
    }
}

#[test]
fn the_served_connection_manager_is_hardened_as_the_files_are() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let stage = Stage::new();
    let plane = Plane::start(&stage.folder(), &[]);
    let envoy = stage.envoy(&binary, &plane, "blue");
    let dump: Value =
        serde_json::from_slice(&envoy.admin("/config_dump?resource=dynamic_listeners").unwrap()).unwrap();
    let text = fs::read_to_string(deploy().join("ecds-grpc.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();

    let names = [
        "per_connection_buffer_limit_bytes",
        "normalize_path",
        "merge_slashes",
        "path_with_escaped_slashes_action",
        "strip_any_host_port",
        "strip_trailing_host_dot",
        "common_http_protocol_options",
        "use_remote_address",
        "request_headers_timeout",
        "stream_idle_timeout",
        "http2_protocol_options",
    ];
    for name in names {
        let expected = setting(&file["static_resources"]["listeners"], name).unwrap();
        assert_eq!(setting(&dump, name), Some(expected), "{name}");
    }
    // Nothing that stands beside them in the file is forgotten.
    let manager = &file["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    for name in manager.as_object().unwrap().keys() {
        let structure = ["@type", "stat_prefix", "http_filters", "route_config"];
        assert!(names.contains(&name.as_str()) || structure.contains(&name.as_str()), "{name}");
    }
}
