//! The gateway: HTTP in, a chain of plugins in the embedded host, HTTP out.
//!
//! Plugins run on threads of their own ([`worker`]), each with its own VMs; everything that waits
//! (sockets, timers) runs on tokio. [`exchange`] carries one request through both. Bodies are
//! streamed: what is held is what a plugin holds, and that is bounded.
//!
//! What the plugins judged is what goes upstream: nothing is rewritten or normalised behind them.
//! Whatever goes wrong (a trap, a refused header, a worker that is gone) is a 503.

pub(crate) mod chain;
mod cluster;
pub(crate) mod config;
mod exchange;
mod headers;
mod lane;
mod listener;
mod refusal;
mod upstream;
mod worker;

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use chain::Chain;
use config::Settings;
use upstream::Upstream;
use worker::Worker;

/// What the requests share that came under one configuration. A request holds it for as long as it
/// takes, so a swap changes nothing for those under way; with the last of them the workers end.
struct Shared {
    workers: Vec<Worker>,
    next: AtomicUsize,
    upstream: Upstream,
    limits: config::Limits,
}

impl Shared {
    fn new(settings: &Settings, chain: Chain) -> anyhow::Result<Self> {
        let caller = cluster::Caller::new(settings.clusters.clone())?;
        Ok(Self {
            workers: chain.into_workers(&caller)?,
            next: AtomicUsize::new(0),
            upstream: Upstream::new(&settings.upstream),
            limits: settings.limits,
        })
    }

    /// The workers take turns.
    fn worker(&self) -> Option<&Worker> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers.get(turn.checked_rem(self.workers.len())?)
    }
}

/// What is in force, for the requests that come.
struct Current(RwLock<Arc<Shared>>);

impl Current {
    fn get(&self) -> Arc<Shared> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, shared: Arc<Shared>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shared;
    }
}

/// A gateway that takes requests.
pub(crate) struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    current: Arc<Current>,
}

impl Running {
    /// Binds the address and starts the workers.
    pub(crate) async fn start(settings: &Settings, chain: Chain) -> anyhow::Result<Self> {
        let Settings { listen, limits, drain, .. } = *settings;
        let socket = TcpListener::bind(listen).await.with_context(|| format!("listen on `{listen}`"))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared::new(settings, chain)?);
        let current = Arc::new(Current(RwLock::new(shared)));
        let (stop, stopped) = watch::channel(false);
        let listener = tokio::spawn(listener::run(
            socket,
            Arc::clone(&current),
            limits.connections.get(),
            stopped,
            drain,
        ));
        Ok(Self { address, stop, listener, current })
    }

    /// Lets the requests that come from now on be judged by `chain`; those under way end as they
    /// began.
    ///
    /// # Errors
    ///
    /// A cluster's certificates cannot be read, or there are no threads: then nothing has changed.
    pub(crate) fn swap(&self, settings: &Settings, chain: Chain) -> anyhow::Result<()> {
        self.current.set(Arc::new(Shared::new(settings, chain)?));
        Ok(())
    }

    /// Where it listens; the port is known here where it was 0 in the configuration.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// No new connections; waits for the requests under way, but not longer than `drain`.
    pub(crate) async fn end(self) {
        let Self { stop, listener, .. } = self;
        // The listener is the only receiver: where it is gone there is nothing to stop.
        let _ = stop.send(true);
        let _ = listener.await;
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
