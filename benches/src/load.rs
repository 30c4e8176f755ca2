//! A fixed number of requests over a few kept connections, each reply checked.

use std::thread;

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

/// Sends `requests` to the listener and returns the CPU time that Envoy spent on each, in
/// microseconds.
///
/// # Errors
/// When any reply is not 200: a measurement of refusals would measure something else.
pub fn cpu_per_request(envoy: &Envoy, listener: &str, requests: &[Vec<u8>]) -> Result<f64> {
    let mut connections = (0..CONNECTIONS).map(|_| envoy.connect(listener)).collect::<Result<Vec<_>>>()?;
    let before = envoy.cpu_time()?;
    thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(first, connection)| {
                scope.spawn(move || send(connection, requests.iter().skip(first).step_by(CONNECTIONS)))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client thread panicked"))?)
    })
    .with_context(|| format!("listener `{listener}`"))?;
    let used = envoy.cpu_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / requests.len() as f64)
}

fn send<'a>(connection: &mut Connection, requests: impl Iterator<Item = &'a Vec<u8>>) -> Result<()> {
    for request in requests {
        connection.send(request)?;
        let reply = connection.reply(false)?;
        ensure!(reply.status == 200, "answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    }
    Ok(())
}
