//! Places in the real Envoy, with two workers over one table.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use portcullis_host_tests::{
    envoy,
    envoy::config::wasm,
    loopback::{Connection, Reply, Request},
};
use portcullis_tenant::concurrency::{Part, SILENCE, Table};
use serde_json::{Value, json};

use crate::stage::{Stage, Upstream, guard};

const LIMIT: Duration = Duration::from_secs(60);
const TOTAL: usize = 12;
const RESERVE: usize = 4;
const ROOM: usize = TOTAL - RESERVE;

fn places(further: &Value) -> Value {
    let mut limits = json!({"concurrency": {"classes": {"default": {"total": TOTAL, "reserve": RESERVE}}}});
    if let (Some(limits), Some(further)) = (limits.as_object_mut(), further.as_object()) {
        limits.extend(further.clone());
    }
    guard(&limits)
}

/// An upstream that holds requests for a time, or until it is opened, and knows how many it has.
struct Held {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    takes: Duration,
    open: AtomicBool,
    came: AtomicUsize,
    here: AtomicUsize,
    most: AtomicUsize,
}

impl Held {
    fn start(takes: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            takes,
            open: AtomicBool::new(false),
            came: AtomicUsize::new(0),
            here: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let own = Arc::clone(&state);
        // It ends with the process: whoever connected to it has ended before.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&own);
                thread::spawn(move || state.answer(stream));
            }
        });
        Ok(Self { address, state })
    }

    fn upstream(&self) -> Upstream {
        Upstream { address: self.address, timeout: "120s" }
    }

    fn open(&self, open: bool) {
        self.state.open.store(open, Ordering::SeqCst);
    }

    fn came(&self) -> usize {
        self.state.came.load(Ordering::SeqCst)
    }
}

impl State {
    /// One request, and its end.
    fn answer(&self, mut stream: TcpStream) {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(size) if size > 0 => head.extend_from_slice(&buffer[..size]),
                _ => return,
            }
        }
        let here = self.here.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        self.came.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while !self.open.load(Ordering::SeqCst) && start.elapsed() < self.takes {
            thread::sleep(Duration::from_millis(2));
        }
        self.here.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

const FOREVER: Duration = Duration::from_secs(3600);

/// Begins requests of `tenant`, each on a connection of its own, until one is refused: the
/// connections, and the refusal.
fn fill(stage: &Stage, held: &Held, tenant: &str) -> Result<(Vec<Connection>, Reply)> {
    let request = stage.request("/x", tenant)?.to_bytes();
    let mut under_way = Vec::new();
    loop {
        let (before, mut connection) = (held.came(), stage.connect()?);
        connection.send(&request)?;
        let start = Instant::now();
        loop {
            ensure!(start.elapsed() < LIMIT, "neither refused nor let through");
            if let Some(reply) = connection.reply_within(Duration::from_millis(5))? {
                return Ok((under_way, reply));
            }
            if held.came() > before {
                break;
            }
        }
        under_way.push(connection);
    }
}

fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !done()? {
        ensure!(start.elapsed() < LIMIT, "{what}: not after {LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

const GAUGE: &str = "concurrency.in_use.default";

fn all_given_back(stage: &Stage, how: &str) -> Result<()> {
    until(how, || Ok(stage.stat(GAUGE)? == 0))
}

#[test]
fn two_workers_hold_no_more_than_the_total_and_a_quiet_tenant_gets_in() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let held = Held::start(Duration::from_millis(30))?;
    let stage = Stage::start(&binary, &places(&json!({})), Some(held.upstream()))?;
    let stop = AtomicBool::new(false);
    let (admitted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| -> Result<()> {
        // Three noisy tenants, each with more than its share of what there is, on both workers.
        let press = |tenant: String| -> Result<()> {
            let (mut connection, request) = (stage.connect()?, stage.request("/x", &tenant)?);
            while !stop.load(Ordering::Relaxed) {
                match connection.call(&request)?.status {
                    200 => admitted.fetch_add(1, Ordering::Relaxed),
                    429 | 503 => refused.fetch_add(1, Ordering::Relaxed),
                    other => anyhow::bail!("answered with {other}"),
                };
            }
            Ok(())
        };
        let pressing: Vec<_> =
            (0..24).map(|n| scope.spawn(move || press(format!("noisy-{}", n % 3)))).collect();
        let quiet = || -> Result<()> {
            let (mut connection, request) = (stage.connect()?, stage.request("/x", "quiet")?);
            for at in 0..100 {
                let reply = connection.call(&request)?;
                ensure!(reply.status == 200, "the quiet tenant's request {at} got {}", reply.status);
            }
            Ok(())
        };
        let done = quiet();
        stop.store(true, Ordering::Relaxed);
        for thread in pressing {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        done
    })?;
    let most = held.state.most.load(Ordering::SeqCst);
    let (admitted, refused) = (admitted.into_inner(), refused.into_inner());
    println!("{admitted} admitted, {refused} refused, at most {most} of {TOTAL} at once");
    ensure!(most <= TOTAL, "{most} were under way");
    ensure!(most >= ROOM, "only {most} were under way: places stayed free");
    ensure!(refused > 0, "nothing was pressed");
    all_given_back(&stage, "after the load")
}

#[test]
fn a_client_is_told_and_its_going_gives_places_back() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let held = Held::start(FOREVER)?;
    let stage = Stage::start(&binary, &places(&json!({})), Some(held.upstream()))?;
    let (under_way, refused) = fill(&stage, &held, "acme")?;
    assert_eq!(under_way.len(), ROOM);
    assert_eq!(
        (refused.status, refused.json()?["code"].as_str()),
        (429, Some("TENANT_CONCURRENCY_EXCEEDED"))
    );
    assert_eq!(refused.one("retry-after").as_deref(), Some("1"));
    let policy = format!("\"default.concurrent\";q={ROOM};qu=\"concurrent-requests\"");
    assert_eq!(refused.one("ratelimit-policy"), Some(policy));
    assert_eq!(refused.one("ratelimit").as_deref(), Some("\"default.concurrent\";r=0"));
    // Another tenant gets the first half of the reserve, and a third one some of the other.
    let (quiet, refused) = fill(&stage, &held, "globex")?;
    assert_eq!((quiet.len(), refused.status), (RESERVE / 2, 503));
    assert_eq!(refused.json()?["code"], "TENANT_CAPACITY_EXHAUSTED");
    assert_eq!(refused.one("retry-after").as_deref(), Some("1"));
    let (third, _) = fill(&stage, &held, "initech")?;
    assert_eq!(third.len(), 1);
    until("the gauge", || Ok(stage.stat(GAUGE)? as usize == ROOM + RESERVE / 2 + 1))?;
    drop((under_way, quiet, third));
    all_given_back(&stage, "the clients went")?;
    assert_eq!(fill(&stage, &held, "acme")?.0.len(), ROOM);
    Ok(())
}

#[test]
fn requests_of_a_configuration_and_a_module_that_are_no_more_count_until_they_end() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let held = Held::start(FOREVER)?;
    let mut stage = Stage::start(&binary, &places(&json!({})), Some(held.upstream()))?;
    let (under_way, _) = fill(&stage, &held, "acme")?;
    // A configuration that shows in an answer, in the same build and in another one.
    for (module, each) in [("first.wasm", 7), ("second.wasm", 6)] {
        let classes = json!({"default": {"total": TOTAL, "reserve": RESERVE, "each": each}});
        stage.swap(module, &guard(&json!({"concurrency": {"classes": classes}})))?;
        let mut seen = 0;
        until("the swap", || {
            let refused = stage.call("/x", "acme")?;
            ensure!(refused.status == 429, "{module}: let in beside those that are under way");
            let own = format!("\"default.concurrent\";q={each};");
            seen = if refused.one("ratelimit-policy").is_some_and(|policy| policy.starts_with(&own)) {
                seen + 1
            } else {
                0
            };
            Ok(seen >= 12)
        })?;
        // Longer than a worker is believed that says nothing.
        let start = Instant::now();
        while start.elapsed() < SILENCE + Duration::from_secs(2) {
            ensure!(stage.call("/x", "acme")?.status == 429, "{module}: requests under way were forgotten");
            thread::sleep(Duration::from_millis(100));
        }
    }
    held.open(true);
    for mut connection in under_way {
        assert_eq!(connection.reply(false)?.status, 200, "a swap ends no request");
    }
    all_given_back(&stage, "they ended")?;
    held.open(false);
    assert_eq!(fill(&stage, &held, "acme")?.0.len(), 6, "by the configuration that is in force");
    Ok(())
}

#[test]
fn upstreams_that_fail_and_answers_that_time_out_give_places_back() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    // One that takes a request and closes, one that is not there, one that is too slow.
    let closing = TcpListener::bind("127.0.0.1:0")?;
    let address = closing.local_addr()?;
    thread::spawn(move || {
        for stream in closing.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let held = Held::start(FOREVER)?;
    let nobody = "127.0.0.1:1".parse()?;
    let timed = Upstream { timeout: "0.2s", ..held.upstream() };
    let closing = Upstream { address, timeout: "30s" };
    let gone = Upstream { address: nobody, timeout: "30s" };
    for (upstream, status) in [(closing, 503), (gone, 503), (timed, 504)] {
        let stage = Stage::start(&binary, &places(&json!({})), Some(upstream))?;
        // Three times as many as there are places, one after the other and four at a time.
        let ask = |count: usize| -> Result<()> {
            for at in 0..count {
                let reply = stage.call("/x", "acme")?;
                ensure!(reply.status == status, "{at}: {} instead of {status}", reply.status);
                ensure!(reply.json().is_err(), "refused by a limit: {:?}", reply.json());
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(TOTAL))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        all_given_back(&stage, "after failures")?;
    }
    Ok(())
}

/// A module that puts `value`, a table of one part, into the shared data of tenant-guard's VMs as if it
/// was said now, with each request.
fn ghost(path: &Path, key: &str, value: &[u8]) -> Result<()> {
    let hex: String = value.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let module = wat::parse_str(format!(
        r#"(module
            (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{key}")
            (data (i32.const 4096) "{hex}")
            (func (export "_initialize"))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 8192))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 4104)))
                (drop (call $set (i32.const 0) (i32.const {}) (i32.const 4096) (i32.const {}) (i32.const 0)))
                (i32.const 0)))"#,
        key.len(),
        value.len()
    ))?;
    Ok(std::fs::write(path, module)?)
}

#[test]
fn the_places_of_a_vm_that_died_come_back() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    // What a VM leaves behind that has died with all places in use: it said so just now, and says no
    // more.
    let mut dead = Part::default();
    (0..TOTAL).for_each(|_| dead.enter(7, 1));
    let mut table = Table::default();
    table.put(1, &dead, 0);
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("ghost.wasm");
    ghost(&module, "portcullis/concurrency/1/default", &table.write())?;
    let mut ghost = wasm("ghost", &module, &json!({}));
    ghost["typed_config"]["config"]["vm_config"]["vm_id"] = json!("tenant-guard");
    let stage = Stage::start_beside(&binary, &places(&json!({})), None, Some(ghost))?;
    assert_eq!(stage.call("/x", "acme")?.status, 200);
    assert_eq!(stage.envoy.connect("beside")?.call(&Request::get("/"))?.status, 200);
    let refused = stage.call("/x", "acme")?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("TENANT_CAPACITY_EXHAUSTED")));
    until("the places", || Ok(stage.call("/x", "acme")?.status == 200))
}

#[test]
fn in_shadow_mode_limits_are_counted_and_refuse_nobody() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let held = Held::start(FOREVER)?;
    let shadow = json!({
        "quotas": {"default": "all", "plans": {"all": {"rate": "2/h", "burst": 10}}},
        "audit": {"mode": "shadow"},
    });
    let stage = Stage::start(&binary, &places(&shadow), Some(held.upstream()))?;
    let request = stage.request("/x", "acme")?.to_bytes();
    let mut connections = (0..14).map(|_| stage.connect()).collect::<Result<Vec<_>>>()?;
    for (at, connection) in connections.iter_mut().enumerate() {
        connection.send(&request)?;
        until("the request", || Ok(held.came() > at))?;
    }
    held.open(true);
    for connection in &mut connections {
        assert_eq!(connection.reply(false)?.status, 200);
    }
    // Of ten within the quota eight had a place; four were beyond the quota.
    assert_eq!(stage.stat("shadow.tenant_concurrency_exceeded")?, 2);
    assert_eq!(stage.stat("shadow.tenant_quota_exceeded")?, 4);
    assert_eq!(stage.stat("denied.tenant_concurrency_exceeded")?, 0);
    assert_eq!(stage.stat("denied.tenant_quota_exceeded")?, 0);
    all_given_back(&stage, "they ended")
}

#[test]
fn a_quota_comes_before_a_place_and_both_are_told() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let classes = json!({"search": {"rate": "2/h", "burst": 6}});
    let limits = json!({
        "routes": [
            {"path": {"prefix": "/search"}, "class": "tenant", "quota": {"class": "search", "cost": 4}},
            {"path": {"prefix": "/export"}, "class": "tenant", "quota": {"cost": 5}},
            {"path": {"prefix": "/"}, "class": "tenant"},
        ],
        "quotas": {"default": "all", "plans": {"all": {"rate": "2/h", "burst": 12, "classes": classes}}},
        "concurrency": {"classes": {
            "default": {"total": 10, "reserve": 2}, "search": {"total": 6, "reserve": 2, "each": 3},
        }},
    });
    let stage = Stage::start(&binary, &guard(&limits), None)?;
    let ask = |path: &str, tenant: &str| -> Result<(u16, String, String)> {
        let reply = stage.call(path, tenant)?;
        Ok((
            reply.status,
            reply.one("ratelimit-policy").unwrap_or_default(),
            reply.one("ratelimit").unwrap_or_default(),
        ))
    };
    let both = |status, rate: &str, left: &str, class: &str, each: u32, more: u32| {
        let policy = format!("{rate}, \"{class}.concurrent\";q={each};qu=\"concurrent-requests\"");
        (status, policy, format!("{left}, \"{class}.concurrent\";r={more}"))
    };
    let search = "\"search\";q=6;w=10800";
    assert_eq!(ask("/search", "acme")?, both(200, search, "\"search\";r=2;t=7200", "search", 3, 2));
    let (status, policy, left) = ask("/search", "acme")?;
    assert_eq!((status, policy.as_str()), (429, search), "the cost of four, and no place was asked for");
    ensure!(left.starts_with("\"search\";r=2;t=7"), "{left}");
    // The other bucket holds twelve: twice five, and twice one.
    let statuses = ["/export", "/export", "/export", "/x", "/x", "/x"]
        .map(|path| ask(path, "acme").map(|(status, ..)| status).unwrap_or_default());
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429]);
    assert_eq!(ask("/search", "globex")?.0, 200, "another tenant's buckets are its own");
    // Nothing is taken from a tenant that the caller is not proven to belong to.
    let foreign = stage.token(&["globex".to_owned()])?;
    for _ in 0..20 {
        let forged = Request::get("/x").header("x-tenant-id", "initech").bearer(&foreign);
        assert_eq!(stage.connect()?.call(&forged)?.status, 404);
    }
    let fresh = both(200, "\"default\";q=12;w=21600", "\"default\";r=11;t=1800", "default", 8, 7);
    assert_eq!(ask("/x", "initech")?, fresh);
    assert_eq!(stage.stat("denied.tenant_quota_exceeded")?, 3);
    Ok(())
}
