//! `deploy/envoy/rate-limit.yaml`: two Envoys share the quotas of a rate limit service, which is asked
//! about the tenant that tenant-guard has proven.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{self, Envoy, Options},
    loopback::{Answer, Endpoint, Request, Service},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

/// A descriptor: keys with their values.
type Descriptor = Vec<(String, String)>;

/// A rate limit service as far as it takes: the limits of its file, counted for as long as it runs.
struct Limits {
    service: Service,
    asked: Arc<Mutex<Vec<Vec<Descriptor>>>>,
}

impl Limits {
    fn start(file: Value) -> Result<Self> {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (all, counts) = (Arc::clone(&asked), Mutex::new(BTreeMap::<Descriptor, u64>::new()));
        let service = Service::start(move |seen| {
            let request = seen.body.get(5..).map(descriptors).unwrap_or_default();
            let right = seen.target == "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
                && request.0 == file["domain"];
            let over = request.1.iter().any(|descriptor| {
                let Some(limit) = limit(&file["descriptors"], descriptor) else { return false };
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(descriptor.clone()).or_default();
                *count += 1;
                *count > limit
            });
            all.lock().unwrap().push(request.1);
            // RateLimitResponse: overall_code is 1 (OK) or 2 (OVER_LIMIT).
            let body = [0, 0, 0, 0, 2, 0x08, if over { 2 } else { 1 }];
            let status = if right { "0" } else { "12" };
            Answer::status(200).body("application/grpc", body).trailer("grpc-status", status)
        })?;
        Ok(Self { service, asked })
    }

    fn take_asked(&self) -> Vec<Vec<Descriptor>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// The limit of a descriptor in the file's tree: an entry with the value before one for every value.
fn limit(tree: &Value, descriptor: &[(String, String)]) -> Option<u64> {
    let ((key, value), rest) = descriptor.split_first()?;
    let own = |node: &&Value| node["key"] == key.as_str();
    let nodes = tree.as_array()?;
    let node = nodes.iter().filter(own).find(|node| node["value"] == value.as_str());
    let node = node.or_else(|| nodes.iter().filter(own).find(|node| node["value"].is_null()))?;
    if rest.is_empty() {
        node["rate_limit"]["requests_per_unit"].as_u64()
    } else {
        limit(&node["descriptors"], rest)
    }
}

/// Domain and descriptors of a `RateLimitRequest`.
fn descriptors(message: &[u8]) -> (String, Vec<Descriptor>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut request = (String::new(), Vec::new());
    for (number, value) in fields(message) {
        match number {
            1 => request.0 = text(value),
            2 => {
                let entries = fields(value).into_iter().filter(|(number, _)| *number == 1);
                let entry = |(_, entry)| {
                    let parts: BTreeMap<u8, &[u8]> = fields(entry).into_iter().collect();
                    (text(parts.get(&1).unwrap_or(&&b""[..])), text(parts.get(&2).unwrap_or(&&b""[..])))
                };
                request.1.push(entries.map(entry).collect());
            }
            _ => {}
        }
    }
    request
}

/// The fields of a message that have a length; no length or number here has more than one byte.
fn fields(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [tag, size, rest @ ..] = bytes {
        assert!(matches!(tag & 7, 0 | 2) && *size < 128, "a field of another kind: {tag} {size}");
        let (value, tail) = if tag & 7 == 2 { rest.split_at(usize::from(*size)) } else { (&[][..], rest) };
        found.push((tag >> 3, value));
        bytes = tail;
    }
    found
}

/// The example with the modules, the keys and the servers of the test in the place of its own.
fn example(folder: &Path, setup: &Setup, upstream: SocketAddr, limits: SocketAddr) -> Result<Value> {
    let text = fs::read_to_string(deploy().join("rate-limit.yaml"))?;
    let mut document: Value = serde_saphyr::from_str(&text)?;
    document["admin"]["address"]["socket_address"]["port_value"] = json!(0);
    for (cluster, address) in [(0, upstream), (1, limits)] {
        let cluster = &mut document["static_resources"]["clusters"][cluster];
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
            ["port_value"] = json!(address.port());
    }
    let listener = &mut document["static_resources"]["listeners"][0];
    listener["address"]["socket_address"] = json!({"address": "127.0.0.1", "port_value": 0});
    let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
    for (at, module) in [(0, portcullis_modules::JWT_AUTH), (1, portcullis_modules::TENANT_GUARD)] {
        let path = module.write_to(folder)?;
        filters[at]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!(path);
    }
    let configuration = &mut filters[0]["typed_config"]["config"]["configuration"]["value"];
    let mut jwt_auth: Value = serde_json::from_str(configuration.as_str().context("no configuration")?)?;
    jwt_auth["issuers"][0]["jwks"] = setup.jwt_auth_config()["issuers"][0]["jwks"].clone();
    *configuration = json!(jwt_auth.to_string());
    Ok(document)
}

fn deploy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy")
}

/// The limits of the example, a tenth of each: the same tree.
fn tenth(tree: &mut Value) {
    for node in tree.as_array_mut().into_iter().flatten() {
        if let Some(limit) = node["rate_limit"]["requests_per_unit"].as_u64() {
            node["rate_limit"]["requests_per_unit"] = json!(limit / 10);
        }
        tenth(&mut node["descriptors"]);
    }
}

struct Fleet {
    setup: Setup,
    envoys: [Envoy; 2],
}

impl Fleet {
    fn ask(&self, at: usize, path: &str, tenant: &str, forged: &[(&str, &str)]) -> Result<u16> {
        let token = self.setup.token().claim("sub", json!("u")).claim("tenant_id", json!(tenant));
        let mut request = Request::get(path).bearer(&token.compact(&self.setup.keys.ec)?);
        for (name, value) in forged {
            request = request.header(name, value);
        }
        Ok(self.envoys[at % 2].connect("gateway")?.call(&request)?.status)
    }
}

#[test]
fn two_envoys_share_the_quota_of_the_tenant_that_is_proven() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let upstream = Endpoint::start(Answer::status(200))?;
    let mut file: Value =
        serde_saphyr::from_str(&fs::read_to_string(deploy().join("rate-limit/limits.yaml"))?)?;
    tenth(&mut file["descriptors"]);
    let limits = Limits::start(file)?;
    let folder = tempfile::tempdir()?;
    let document = example(folder.path(), &setup, upstream.address(), limits.service.address())?;
    let start = || Envoy::start_with(&binary, &document, Options { workers: 2, ..Options::default() });
    let fleet = Fleet { setup, envoys: [start()?, start()?] };

    // Each tenant has its own limit, whichever Envoy it comes to: by its plan, by its name, or as all.
    for (tenant, plan, limit) in [("globex", "free", 6), ("acme", "pro", 60), ("initech", "", 3)] {
        let path = format!("/t/{tenant}/orders");
        let statuses: Vec<u16> =
            (0..limit + 10).map(|at| fleet.ask(at, &path, tenant, &[])).collect::<Result<_>>()?;
        let admitted = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(admitted, limit, "{tenant}: {statuses:?}");
        ensure!(statuses[limit..].iter().all(|status| *status == 429), "{tenant}: {statuses:?}");
        let own = vec![("tenant".to_owned(), tenant.to_owned())];
        let by_plan = [vec![("plan".to_owned(), plan.to_owned())], own.clone()].concat();
        let expected = if plan.is_empty() { vec![own] } else { vec![by_plan, own] };
        for asked in limits.take_asked() {
            assert_eq!(asked, expected, "{tenant}");
        }
    }

    // Whatever a client says of its tenant, the service is asked about the one that is proven.
    let forgeries: [&[(&str, &str)]; 3] = [
        &[("x-tenant-id", "umbrella"), ("x-tenant-plan", "pro")],
        &[("X-Tenant-Id", "umbrella"), ("x-tenant-id", "umbrella")],
        &[("x-tenant-id", ""), ("x-envoy-ratelimited", "true")],
    ];
    for (at, forged) in forgeries.into_iter().enumerate() {
        assert_eq!(fleet.ask(at, "/t/globex/orders", "globex", forged)?, 429, "{forged:?}");
    }
    let asked = limits.take_asked();
    assert_eq!(asked.len(), 3);
    ensure!(
        asked.iter().flatten().flatten().all(|(_, value)| value != "umbrella" && value != "pro"),
        "{asked:?}"
    );
    // Nobody is counted whose tenant is not proven, or who needs none.
    assert_eq!(fleet.ask(0, "/t/acme/orders", "globex", &[])?, 404);
    assert_eq!(fleet.envoys[0].connect("gateway")?.call(&Request::get("/t/acme/orders"))?.status, 401);
    assert_eq!(fleet.ask(0, "/ready", "globex", &[("x-tenant-id", "acme")])?, 200);
    assert_eq!(limits.take_asked(), Vec::<Vec<Descriptor>>::new());

    // Without the service nobody passes, whatever its tenant has left, but who needs none.
    drop(limits);
    for at in 0..4 {
        assert_eq!(fleet.ask(at, "/t/hooli/orders", "hooli", &[])?, 404, "it is not a tenant here");
        assert_eq!(fleet.ask(at, "/t/acme/orders", "acme", &[])?, 503);
    }
    assert_eq!(fleet.ask(0, "/ready", "globex", &[])?, 200);
    Ok(())
}
