//! Steady load whose every request has one right answer, whatever sound configuration judges it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, ensure};
use portcullis_host_tests::loopback::{Connection, Reply, Request};

use crate::stage::Tokens;

/// Of one client between two requests.
const PAUSE: Duration = Duration::from_millis(4);
/// For how long a slow request keeps its stream open: longer than a swap of a configuration takes.
const SLOW: Duration = Duration::from_millis(400);

/// Whether a reply is the right one.
type Judge = fn(&Reply) -> Result<()>;

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    slow: AtomicUsize,
    faults: Mutex<Vec<String>>,
    end: AtomicBool,
}

/// What came of the load.
pub struct Outcome {
    pub requests: usize,
    /// Those that began before a pause and ended after it.
    pub slow: usize,
    pub faults: Vec<String>,
}

/// Clients that ask until they are told to end.
pub struct Load {
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` that ask one request after the other and one that asks slowly.
    pub fn start(address: SocketAddr, tokens: &Tokens, clients: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let spawn = |slow: bool| {
            let (counts, tokens) = (Arc::clone(&counts), tokens.clone());
            thread::spawn(move || {
                let result =
                    if slow { ask_slowly(address, &tokens, &counts) } else { ask(address, &tokens, &counts) };
                if let Err(error) = result {
                    counts.faults.lock().unwrap().push(format!("a connection was lost: {error:#}"));
                }
            })
        };
        let clients = (0..clients).map(|_| spawn(false)).chain([spawn(true)]).collect();
        Self { counts, clients }
    }

    /// Fails as soon as there is a fault, with the place.
    pub fn assert_sound(&self, place: &str) {
        let faults = self.counts.faults.lock().unwrap();
        assert!(faults.is_empty(), "{place}: {faults:?}");
    }

    pub fn end(self) -> Outcome {
        self.counts.end.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client that ends");
        }
        Outcome {
            requests: self.counts.requests.load(Ordering::SeqCst),
            slow: self.counts.slow.load(Ordering::SeqCst),
            faults: self.counts.faults.lock().unwrap().clone(),
        }
    }
}

/// All requests of a client go over one connection: a second one would hide that the first was lost.
fn ask(address: SocketAddr, tokens: &Tokens, counts: &Counts) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let cases: [(Request, Judge); 6] = [
        (Request::get("/t/acme/x").bearer(&tokens.good).header("x-sub", "mallory"), passes),
        (Request::get("/t/acme/x"), |reply| refused(reply, 401, "MISSING_TOKEN")),
        (Request::get("/t/acme/x").bearer(&tokens.forged), |reply| refused(reply, 401, "SIGNATURE_INVALID")),
        (Request::get("/t/acme/x").bearer(&tokens.other_audience), |reply| {
            refused(reply, 401, "AUDIENCE_MISMATCH")
        }),
        (Request::get("/t/acme/x").bearer(&tokens.good).header("x-tenant-id", "globex"), passes),
        (Request::get("/t/globex/x").bearer(&tokens.good), |reply| refused(reply, 404, "TENANT_NOT_FOUND")),
    ];
    for (request, judge) in cases.iter().cycle() {
        if counts.end.load(Ordering::SeqCst) {
            break;
        }
        let reply = connection.call(request)?;
        counts.requests.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = judge(&reply) {
            counts.faults.lock().unwrap().push(format!("{error:#}"));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Requests whose bodies come in two halves, so that swaps happen in their midst.
fn ask_slowly(address: SocketAddr, tokens: &Tokens, counts: &Counts) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let request =
        Request::new("POST", "/t/acme/x").header("host", "gateway").bearer(&tokens.good).body("first second");
    let bytes = request.to_bytes();
    let (first, second) = bytes.split_at(bytes.len() - 6);
    while !counts.end.load(Ordering::SeqCst) {
        connection.send(first)?;
        thread::sleep(SLOW);
        connection.send(second)?;
        let reply = connection.reply(false)?;
        counts.slow.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = passes(&reply) {
            counts.faults.lock().unwrap().push(format!("slowly: {error:#}"));
        }
    }
    Ok(())
}

/// It reached the upstream, with what was proven and nothing of what the client claimed.
fn passes(reply: &Reply) -> Result<()> {
    ensure!(
        reply.status == 200,
        "a good request got {}: {}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    let seen = reply.json()?;
    for (name, value) in [("x-sub", "alice"), ("x-tenant-id", "acme")] {
        let values = values(&seen, name);
        ensure!(values == [value], "the upstream saw `{name}` as {values:?}");
    }
    ensure!(values(&seen, "authorization").is_empty(), "the upstream saw the token");
    Ok(())
}

/// The values of a header in an upstream's report.
pub fn values(seen: &serde_json::Value, name: &str) -> Vec<String> {
    let headers = seen["headers"].as_array().into_iter().flatten();
    headers
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn refused(reply: &Reply, status: u16, code: &str) -> Result<()> {
    let got = reply.json().map(|body| body["code"].to_string()).unwrap_or_default();
    ensure!(
        reply.status == status && got == format!("\"{code}\""),
        "{status} {code} was right, {} {got} was the answer",
        reply.status
    );
    Ok(())
}
