//! A fixed number of requests over a few kept connections, each reply checked.

use std::{thread, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use portcullis_host_tests::envoy::Envoy;
use portcullis_host_tests::loopback::{Connection, Request};

/// Connections at a time; with one worker more would only queue.
const CONNECTIONS: usize = 4;

/// The bytes of a GET with this token.
#[must_use]
pub fn request(token: &str) -> Vec<u8> {
    Request::get("/orders/7")
        .header("user-agent", "portcullis-benches")
        .header("accept", "*/*")
        .bearer(token)
        .to_bytes()
}

/// What requests cost and how long they took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// CPU time of the whole Envoy process, a request.
    pub cpu: f64,
    /// Half of the replies were there sooner.
    pub median: f64,
    /// All but one of a hundred were there sooner.
    pub p99: f64,
}

/// Sends `requests` to the listener and returns what they cost.
///
/// # Errors
/// When there is no request, and when any reply is not 200: a measurement of refusals would measure
/// something else.
pub fn measure(envoy: &Envoy, listener: &str, requests: &[Vec<u8>]) -> Result<Cost> {
    let mut connections = (0..CONNECTIONS).map(|_| envoy.connect(listener)).collect::<Result<Vec<_>>>()?;
    let before = envoy.cpu_time()?;
    let mut waited = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(first, connection)| {
                scope.spawn(move || send(connection, requests.iter().skip(first).step_by(CONNECTIONS)))
            })
            .collect();
        threads.into_iter().try_fold(Vec::new(), |mut all, thread| {
            all.extend(thread.join().map_err(|_| anyhow!("a client thread panicked"))??);
            anyhow::Ok(all)
        })
    })
    .with_context(|| format!("listener `{listener}`"))?;
    let used = envoy.cpu_time()?.saturating_sub(before);
    waited.sort_by(f64::total_cmp);
    let sooner = |percent: usize| {
        let place = waited.len().saturating_mul(percent) / 100;
        waited.get(place).copied().context("there is no request to measure")
    };
    Ok(Cost { cpu: used.as_secs_f64() * 1e6 / requests.len() as f64, median: sooner(50)?, p99: sooner(99)? })
}

/// Sends `requests` one after the other; how many microseconds each reply took.
fn send<'a>(connection: &mut Connection, requests: impl Iterator<Item = &'a Vec<u8>>) -> Result<Vec<f64>> {
    let mut waited = Vec::new();
    for request in requests {
        let sent = Instant::now();
        connection.send(request)?;
        let reply = connection.reply(false)?;
        waited.push(sent.elapsed().as_secs_f64() * 1e6);
        ensure!(reply.status == 200, "answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    }
    Ok(waited)
}
