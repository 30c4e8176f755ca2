//! The model on loopback, in real time: every answer that is being written gets a token in turn, and
//! a client that goes away ends its answer.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};

use super::{Memory, Script, Speed};
use crate::loopback::{Running, Seen};

/// The largest body that is read.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Served {
    /// What was asked.
    pub seen: Seen,
    /// How long it took; nothing while it is under way, and where its client went away.
    pub took: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    served: BTreeMap<u64, Served>,
    next: u64,
    active: BTreeMap<String, usize>,
    most: BTreeMap<String, usize>,
    most_active: usize,
}

/// The server, on a thread of its own; it ends, connections and all, when dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(speed: Speed) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let running = Running::start("model", |listener| serve(listener, speed, Arc::clone(&state)))?;
        Ok(Self { running, state })
    }

    /// Where it accepts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Every request so far, forgetting them.
    #[must_use]
    pub fn take(&self) -> Vec<Served> {
        let mut state = locked(&self.state);
        (state.most, state.most_active) = (BTreeMap::new(), 0);
        std::mem::take(&mut state.served).into_values().collect()
    }

    /// Answers that are being written.
    #[must_use]
    pub fn active(&self) -> usize {
        locked(&self.state).active.values().sum()
    }

    /// The most answers that were being written at a time, since the last [`Server::take`].
    #[must_use]
    pub fn most_active(&self) -> usize {
        locked(&self.state).most_active
    }

    /// The same for each `user` of the requests.
    #[must_use]
    pub fn most_by_user(&self) -> BTreeMap<String, usize> {
        locked(&self.state).most.clone()
    }
}

async fn serve(listener: tokio::net::TcpListener, speed: Speed, state: Arc<Mutex<State>>) {
    let memory = Arc::new(Memory::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (state, memory) = (Arc::clone(&state), Arc::clone(&memory));
        tokio::spawn(async move {
            let service =
                service_fn(move |request| answer(request, speed, Arc::clone(&state), Arc::clone(&memory)));
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An answer that is being written; it is not any more when its client has gone.
struct Active {
    state: Arc<Mutex<State>>,
    user: String,
    /// Its place in the record.
    index: u64,
    began: Instant,
    done: bool,
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        if let Some(active) = state.active.get_mut(&self.user) {
            *active = active.saturating_sub(1);
        }
        if self.done
            && let Some(served) = state.served.get_mut(&self.index)
        {
            served.took = Some(self.began.elapsed());
        }
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    speed: Speed,
    state: Arc<Mutex<State>>,
    memory: Arc<Memory>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Ok(response(Script::refusal(413)));
    };
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
    let seen = Seen { method: parts.method.to_string(), target, headers, body: body.to_bytes().to_vec() };
    let user = serde_json::from_slice::<serde_json::Value>(&seen.body)
        .ok()
        .and_then(|body| body["user"].as_str().map(ToOwned::to_owned))
        .unwrap_or_default();
    let script = Script::read(&seen.body, &memory);
    let (mut active, is_full) = begin(&state, seen, user, speed.limit);
    if is_full {
        active.done = true;
        return Ok(response(Script::refusal(429)));
    }
    if script.hangs {
        std::future::pending::<()>().await;
    }
    write(&script, speed, &active).await;
    active.done = true;
    Ok(response(script))
}

fn begin(state: &Arc<Mutex<State>>, seen: Seen, user: String, limit: usize) -> (Active, bool) {
    let mut guard = locked(state);
    let all = &mut *guard;
    let is_full = all.active.values().sum::<usize>() >= limit;
    let own = all.active.entry(user.clone()).or_default();
    *own += 1;
    let most = all.most.entry(user.clone()).or_default();
    *most = (*most).max(*own);
    all.most_active = all.most_active.max(all.active.values().sum());
    let index = all.next;
    all.next += 1;
    all.served.insert(index, Served { seen, took: None });
    (Active { state: Arc::clone(state), user, index, began: Instant::now(), done: false }, is_full)
}

/// Writes token after token. A step is as long as the batch makes it; several tokens are one step where
/// they are shorter than the timer.
async fn write(script: &Script, speed: Speed, active: &Active) {
    const STEP: u32 = 5;
    if script.status != 200 {
        return;
    }
    let mut due = tokio::time::Instant::from_std(active.began) + speed.first * script.slow;
    let mut left = u32::try_from(script.tokens).unwrap_or(u32::MAX);
    tokio::time::sleep_until(due).await;
    while left > 0 {
        let tokens = left.min(STEP);
        let batch = locked(&active.state).active.values().sum::<usize>().max(speed.knee);
        due += (speed.token * tokens * script.slow).mul_f64(batch as f64 / speed.knee as f64);
        tokio::time::sleep_until(due).await;
        left -= tokens;
    }
}

fn response(script: Script) -> hyper::Response<Full<Bytes>> {
    let mut response =
        hyper::Response::builder().status(script.status).header("content-type", "application/json");
    for (name, value) in script.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(script.body))).unwrap_or_default()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
