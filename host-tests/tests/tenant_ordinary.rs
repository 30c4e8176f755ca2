//! The files of `deploy/envoy` for tenants before an upstream with ordinary answers: each leaves byte
//! for byte as it came, with the file as it is and with a guard on every tenant's route.
#![allow(missing_docs, reason = "tests")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::{Answer, Connection, Reply, Request, Seen, Service, http2},
    tenant::World,
};
use serde_json::{Value, json};

/// A file, and what an honest client of it sends.
struct Product {
    file: &'static str,
    host: &'static str,
    /// What stands before the path.
    prefix: &'static str,
    header: Option<(&'static str, &'static str)>,
    claims: Value,
    tenant: &'static str,
}

fn products() -> [Product; 4] {
    let organizations = json!({"organizations": [{"id": "acme"}, {"id": "initech"}]});
    [
        Product {
            file: "tenant-path.yaml",
            host: "api.example.com",
            prefix: "/t/acme",
            header: None,
            claims: json!({"tenants": ["acme"]}),
            tenant: "acme",
        },
        Product {
            file: "tenant-subdomain.yaml",
            host: "acme.app.example.com",
            prefix: "",
            header: None,
            claims: json!({"org_id": "org_Acme01"}),
            tenant: "org_Acme01",
        },
        Product {
            file: "tenant-header.yaml",
            host: "metrics.example.com",
            prefix: "/api/v1",
            header: Some(("x-scope-orgid", "acme")),
            claims: json!({"tenant_id": "acme"}),
            tenant: "acme",
        },
        Product {
            file: "tenant-organizations.yaml",
            host: "app.example.com",
            prefix: "",
            header: Some(("x-organization", "acme")),
            claims: organizations,
            tenant: "acme",
        },
    ]
}

/// `world` with this guard on the routes that serve tenants.
fn guarded(world: &mut World, release: &str, tunnels: &str) -> Result<()> {
    let routes = world.tenant_guard["routes"].as_array_mut().context("no routes")?;
    let mut count = 0;
    for route in
        routes.iter_mut().filter(|route| matches!(route["class"].as_str(), Some("tenant" | "universal")))
    {
        route["guard"] = json!("all");
        count += 1;
    }
    ensure!(count > 0, "no route serves tenants");
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    world.tenant_guard["guards"] = json!({"all": {
        "fields": {"keys": ["tenant_id"]},
        "canaries": {"prefix": "canary_", "secret": secret},
        "echo": {"presence": "if_present"},
        "release": release, "tunnels": tunnels, "unscanned": ["text/*", "image/*"],
    }});
    Ok(())
}

fn start(binary: &Path, world: &World, upstream: SocketAddr, folder: &Path) -> Result<Envoy> {
    let modules = [portcullis_modules::JWT_AUTH.wasm, portcullis_modules::TENANT_GUARD.wasm];
    for (name, wasm) in ["jwt-auth.wasm", "tenant-guard.wasm"].into_iter().zip(modules) {
        fs::write(folder.join(name), wasm)?;
    }
    let file = folder.join(world.file);
    fs::write(&file, world.bootstrap(upstream.port())?)?;
    Envoy::start_file(binary, &file, folder)
}

/// What RFC 1952 makes of no bytes at all, so nothing has to be compressed here.
const GZIP: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe{[";

/// Answers as ordinary services do: compressed or in part where the client asks for that.
fn ordinary(seen: &Seen, tenant: &str) -> Answer {
    let wants = |name: &str, what: &[u8]| seen.all(name).iter().any(|value| find(value, what));
    let own = json!({"id": 1, "tenant_id": tenant, "text": "é \"quoted\" \u{1f600}\n"}).to_string();
    let json = |body: &str| Answer::status(200).body("application/json", body);
    let tail = seen.target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match tail {
        "list" if wants("accept-encoding", b"gzip") => Answer::status(200)
            .header("content-encoding", "gzip")
            .header("vary", "accept-encoding")
            .body("application/json", GZIP),
        "list" => json(&format!(" [ {own} ,\n{own}]\n")).header("etag", "\"1\"").header("x-total", "2"),
        "page" => {
            json(&format!("{{\"data\":[{own}],\"next\":null,\"tenant_id\":\"{tenant}\"}}")).cut([1, 9, 30])
        }
        "lines" => {
            Answer::status(200).body("application/x-ndjson", format!("{own}\n{own}\r\n\n{own}")).cut([20])
        }
        "events" => Answer::status(200)
            .body(
                "text/event-stream",
                format!(": hello\n\nid: 1\ndata: {own}\n\nretry: 5\n\ndata: [DONE]\n\n"),
            )
            .cut([3, 40]),
        "none" => Answer::status(204),
        "same" => Answer::status(304).header("etag", "\"1\""),
        "empty" => Answer::status(200),
        "moved" => Answer::status(302).header("location", "/elsewhere"),
        "missing" => Answer { status: 404, ..json("{\"error\":\"there is nothing here\"}") },
        "broken" => Answer { status: 500, ..json("{\"error\":null}") },
        "problem" => Answer {
            status: 422,
            ..Answer::status(422).body("application/problem+json", "{\"title\":\"no\"}")
        },
        "table" => Answer::status(200).body("text/csv; charset=utf-8", "a,b\r\n1,\"{2\"\r\n"),
        "image" if wants("range", b"bytes=") => Answer {
            status: 206,
            ..Answer::status(206).body("image/png", &PNG[..4]).header("content-range", "bytes 0-3/20")
        },
        "image" => Answer::status(200).body("image/png", PNG).header("accept-ranges", "bytes"),
        _ => Answer::status(501),
    }
}

fn find(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

const PATHS: [&str; 15] = [
    "list",
    "page",
    "lines",
    "events",
    "none",
    "same",
    "empty",
    "moved",
    "missing",
    "broken",
    "problem",
    "table",
    "image",
    "list?page=2",
    "events?last=1",
];

/// Headers of an answer that are not the proxy's: those it adds, and those of the connection.
fn told(headers: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    const PROXYS: [&str; 8] = [
        "date",
        "server",
        "connection",
        "transfer-encoding",
        "x-envoy-upstream-service-time",
        "cache-control",
        // The body's length is compared itself.
        "content-length",
        "x-request-id",
    ];
    let mut told: Vec<_> = headers.into_iter().filter(|(name, _)| !PROXYS.contains(&name.as_str())).collect();
    told.sort();
    told
}

fn same(reply: &Reply, sent: &Answer, is_head: bool) -> Result<()> {
    ensure!(
        reply.status == sent.status,
        "{} instead of {}: {}",
        reply.status,
        sent.status,
        String::from_utf8_lossy(&reply.body)
    );
    let body = if is_head { &[][..] } else { &sent.body };
    ensure!(reply.body == body, "another body: {}", String::from_utf8_lossy(&reply.body));
    let came = told(reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    let expected = told(sent.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
    ensure!(came == expected, "other headers: {came:?}, not {expected:?}");
    Ok(())
}

#[test]
fn no_ordinary_answer_of_the_examples_is_touched() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let (mut objections, mut compared) = (Vec::new(), 0);
    for (product, more) in products().into_iter().zip(["hold", "sever", "observe", "hold"]) {
        let sent = Arc::new(Mutex::new(None));
        let (record, tenant) = (Arc::clone(&sent), product.tenant);
        let upstream = Service::start(move |seen| {
            let answer = ordinary(seen, tenant);
            *record.lock().expect("nobody panics with it") = Some(answer.clone());
            answer
        })?;
        for release in [None, Some("verified_prefix"), Some(more)] {
            let folder = tempfile::tempdir()?;
            let mut world = World::load(product.file, now)?;
            if let Some(release) = release {
                guarded(&mut world, release, "refuse")?;
            }
            let envoy = start(&binary, &world, upstream.address(), folder.path())?;
            let token = world.token(&product.claims)?;
            for (path, method, version) in PATHS.iter().flat_map(|path| {
                [("GET", 1), ("GET", 2), ("HEAD", 1)].map(|(method, version)| (path, method, version))
            }) {
                let mut request = Request::new(method, format!("{}/{path}", product.prefix))
                    .header("host", product.host)
                    .header("accept-encoding", "gzip, br")
                    .bearer(&token);
                if *path == "image" {
                    request = request.header("range", "bytes=0-3");
                }
                if let Some((name, value)) = product.header {
                    request = request.header(name, value);
                }
                let address = envoy.address("gateway");
                let reply = if version == 2 {
                    http2(address, &request)
                } else {
                    Connection::open(address)?.call(&request)
                };
                let sent = sent.lock().expect("nobody panics with it").take();
                let judged = reply.and_then(|reply| {
                    let sent = sent.with_context(|| {
                        format!(
                            "nothing reached the upstream: {} {}",
                            reply.status,
                            String::from_utf8_lossy(&reply.body)
                        )
                    })?;
                    same(&reply, &sent, method == "HEAD")
                });
                if let Err(error) = judged {
                    objections.push(format!(
                        "{} {release:?} | {method} {path} over {version}: {error:#}",
                        product.file
                    ));
                }
                compared += 1;
            }
            let stats = envoy.stats()?;
            let found: Vec<_> =
                stats.iter().filter(|(name, count)| name.contains("tenant.leak.") && **count > 0).collect();
            if !found.is_empty() {
                objections.push(format!("{} {release:?}: {found:?}", product.file));
            }
            let scanned = stats.get("wasmcustom.portcullis.tenant.guard.scanned").copied().unwrap_or(0);
            ensure!(
                (scanned > 0) == release.is_some(),
                "{} {release:?}: {scanned} were looked at",
                product.file
            );
        }
    }
    ensure!(
        objections.is_empty(),
        "{} of {compared} objections:\n{}",
        objections.len(),
        objections.join("\n")
    );
    Ok(())
}

/// An upstream that takes every upgrade and says back what it hears.
fn tunnel() -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        for stream in socket.incoming().map_while(std::result::Result::ok) {
            thread::spawn(move || drop(say_back(stream)));
        }
    });
    Ok(address)
}

fn say_back(mut stream: TcpStream) -> std::io::Result<()> {
    read_head(&mut stream)?;
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )?;
    let mut buffer = [0; 64];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[test]
fn a_tunnel_is_refused_unless_the_guard_lets_it_pass() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let product = &products()[0];
    let upstream = tunnel()?;
    for (tunnels, opens) in [(None, true), (Some("pass"), true), (Some("refuse"), false)] {
        let folder = tempfile::tempdir()?;
        let mut world = World::load(product.file, now)?;
        if let Some(tunnels) = tunnels {
            guarded(&mut world, "hold", tunnels)?;
        }
        let envoy = start(&binary, &world, upstream, folder.path())?;
        let token = world.token(&product.claims)?;
        let mut stream = TcpStream::connect(envoy.address("gateway"))?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
        write!(
            stream,
            "GET {}/ws HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            product.prefix, product.host
        )?;
        let head = read_head(&mut stream)?;
        if opens {
            ensure!(head.starts_with("HTTP/1.1 101"), "{tunnels:?}: {head}");
            let said = b"{\"tenant_id\":\"globex\"} and \x00\xff";
            stream.write_all(said)?;
            let mut heard = vec![0; said.len()];
            stream.read_exact(&mut heard)?;
            assert_eq!(heard, said, "{tunnels:?}");
        } else {
            ensure!(head.starts_with("HTTP/1.1 502"), "{tunnels:?}: {head}");
            assert_eq!(envoy.stat("wasmcustom.portcullis.tenant.leak.stopped.tunnel")?, 1);
        }
    }
    Ok(())
}

#[test]
fn every_example_lets_bodies_come_while_headers_wait() -> Result<()> {
    for product in products() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy").join(product.file);
        let text = fs::read_to_string(&path)?;
        let (_, guard) = text
            .split_once("- name: tenant-guard\n")
            .with_context(|| format!("{}: no tenant-guard", product.file))?;
        let (before_module, _) = guard.split_once("vm_config:").context("no module")?;
        ensure!(
            before_module.contains("allow_on_headers_stop_iteration: true"),
            "{} does not set it",
            product.file
        );
    }
    Ok(())
}
