//! What a tenant at ten times its share does to a quiet one: the quiet tenant's latency in the real
//! Envoy, with quotas and without.
//!
//! ```console
//! $ cargo run --example noisy -- 60
//! ```
//!
//! The number is how many seconds each of three situations gets, in rounds in turn. The upstream
//! can do [`PLACES`] requests at once, each takes [`TAKES`]: the noisy tenant's share is a quarter
//! of that, ten times as much is more than it can do. Latency is counted from the moment a request
//! was due, so that waiting for the one before is part of it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy, Options,
        config::{Bootstrap, Listener, wasm, wasm_holding},
    },
    loopback::{Connection, Request},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

/// What the upstream can do at once, and how long it takes over each.
const PLACES: usize = 4;
const TAKES: Duration = Duration::from_millis(10);
/// Requests a second: what a tenant may send, and what each of the two does.
const SHARE: u32 = 100;
const BURST: u32 = 10;
const NOISY: u32 = 10 * SHARE;
const QUIET: u32 = 50;
/// Connections of the noisy tenant, each with its part of the rate.
const CONNECTIONS: u32 = 40;
const ROUND: Duration = Duration::from_secs(5);

/// An upstream that does a few things at once; the rest waits.
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn start() -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let places = Arc::new(Self { free: Mutex::new(PLACES), freed: Condvar::new() });
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let places = Arc::clone(&places);
                thread::spawn(move || places.serve(stream));
            }
        });
        Ok(address)
    }

    /// Requests without a body, one after the other.
    fn serve(&self, mut stream: TcpStream) {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        let _ = stream.set_nodelay(true);
        loop {
            match stream.read(&mut buffer) {
                Ok(size) if size > 0 => head.extend_from_slice(&buffer[..size]),
                _ => return,
            }
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                self.work();
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                    return;
                }
            }
        }
    }

    fn work(&self) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.freed.wait_while(free, |free| *free == 0);
        *wait.unwrap_or_else(PoisonError::into_inner) -= 1;
        thread::sleep(TAKES);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

/// Sends `request` at `rate` until `done`, and gives what was answered: when, after it was due.
fn press(
    connection: &mut Connection,
    request: &[u8],
    rate: f64,
    done: impl Fn() -> bool,
) -> Result<Vec<(u16, Duration)>> {
    let start = Instant::now();
    let mut answers = Vec::new();
    while !done() {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let due = start + Duration::from_secs_f64(answers.len() as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.send(request)?;
        answers.push((connection.reply(false)?.status, due.elapsed()));
    }
    Ok(answers)
}

/// How the noisy tenant behaves, and what stands in its way.
struct Situation {
    name: &'static str,
    listener: &'static str,
    noisy: u32,
    quiet: Vec<Duration>,
    noisy_answers: BTreeMap<u16, usize>,
}

impl Situation {
    const fn new(name: &'static str, listener: &'static str, noisy: u32) -> Self {
        Self { name, listener, noisy, quiet: Vec::new(), noisy_answers: BTreeMap::new() }
    }

    fn round(&mut self, envoy: &Envoy, noisy: &[u8], quiet: &[u8]) -> Result<()> {
        let stop = AtomicBool::new(false);
        let rate = f64::from(self.noisy) / f64::from(CONNECTIONS);
        thread::scope(|scope| -> Result<()> {
            let (stop, listener) = (&stop, self.listener);
            let pressing: Vec<_> = (0..CONNECTIONS)
                .map(|at| {
                    scope.spawn(move || {
                        let mut connection = envoy.connect(listener)?;
                        // Spread over the time between two requests of one connection.
                        thread::sleep(Duration::from_secs_f64(f64::from(at) / f64::from(CONNECTIONS) / rate));
                        press(&mut connection, noisy, rate, || stop.load(Ordering::Relaxed))
                    })
                })
                .collect();
            let mut connection = envoy.connect(listener)?;
            let start = Instant::now();
            let answers = press(&mut connection, quiet, f64::from(QUIET), || start.elapsed() >= ROUND);
            stop.store(true, Ordering::Relaxed);
            for thread in pressing {
                for (status, _) in thread.join().map_err(|_| anyhow!("a thread panicked"))?? {
                    *self.noisy_answers.entry(status).or_default() += 1;
                }
            }
            for (status, latency) in answers? {
                ensure!(status == 200, "{}: the quiet tenant was answered with {status}", self.name);
                self.quiet.push(latency);
            }
            Ok(())
        })
    }

    /// The latency of the quiet tenant that this share of its requests stays within, in ms.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.quiet.clone();
        sorted.sort();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand"
        )]
        let at = (sorted.len() as f64 * share) as usize;
        sorted.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

fn guard(quotas: Option<Value>) -> Value {
    let mut guard = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id"}},
    });
    if let Some(quotas) = quotas {
        guard["quotas"] = quotas;
    }
    guard
}

fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?;
    let rounds = Duration::from_secs(seconds).as_secs().div_ceil(ROUND.as_secs());
    let binary = envoy::binary()?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let jwt_auth = setup.jwt_auth_everywhere();
    let folder = tempfile::tempdir()?;
    let (first, second) = (
        portcullis_modules::JWT_AUTH.write_to(folder.path())?,
        portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
    );
    let plan = json!({"rate": format!("{SHARE}/s"), "burst": BURST});
    let quotas = json!({"default": "all", "plans": {"all": plan}});
    let mut bootstrap = Bootstrap::new().cluster("upstream", Places::start()?);
    for (name, guard) in [("limited", guard(Some(quotas))), ("free", guard(None))] {
        let listener = Listener::new(name)
            .filter(wasm("jwt-auth", &first, &jwt_auth))
            .filter(wasm_holding(&format!("tenant-guard-{name}"), &second, &guard))
            .to_cluster("upstream");
        bootstrap = bootstrap.listener(listener);
    }
    let options = Options { workers: 2, ..Options::default() };
    let envoy = Envoy::start_with(&binary, &bootstrap.into_value(), options)?;
    let request = |tenant: &str| -> Result<Vec<u8>> {
        let token = setup.token().claim("sub", json!("u")).claim("org_id", json!(tenant));
        let token = token.compact(&setup.keys.ec)?;
        Ok(Request::get("/x").header("x-tenant-id", tenant).bearer(&token).to_bytes())
    };
    let (noisy, quiet) = (request("noisy")?, request("quiet")?);
    let mut situations = [
        Situation::new("at its share", "limited", SHARE),
        Situation::new("ten times its share", "limited", NOISY),
        Situation::new("ten times, no quotas", "free", NOISY),
    ];
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for situation in &mut situations {
            situation.round(&envoy, &noisy, &quiet)?;
        }
    }
    println!("latency of a quiet tenant, in ms, beside a noisy one that sends:");
    for situation in &situations {
        println!(
            "  {:22} median {:6.2}, p99 {:6.2} ({} requests); the noisy one was answered {:?}",
            situation.name,
            situation.quantile(0.5),
            situation.quantile(0.99),
            situation.quiet.len(),
            situation.noisy_answers,
        );
    }
    let [share, limited, _] = &situations;
    println!("p99 moved by {:+.1} %", 100.0 * (limited.quantile(0.99) / share.quantile(0.99) - 1.0));
    Ok(())
}
