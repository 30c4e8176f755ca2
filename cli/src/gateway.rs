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
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use chain::Chain;
use config::Settings;
use upstream::Upstream;
use worker::Worker;

/// What every request shares.
struct Shared {
    workers: Vec<Worker>,
    next: AtomicUsize,
    upstream: Upstream,
    limits: config::Limits,
}

impl Shared {
    /// The workers take turns.
    fn worker(&self) -> Option<&Worker> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers.get(turn.checked_rem(self.workers.len())?)
    }
}

/// A gateway that takes requests.
pub(crate) struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Running {
    /// Binds the address and starts the workers.
    pub(crate) async fn start(settings: Settings, chain: Chain) -> anyhow::Result<Self> {
        let Settings { listen, upstream, clusters, limits, drain, .. } = settings;
        let socket = TcpListener::bind(listen).await.with_context(|| format!("listen on `{listen}`"))?;
        let address = socket.local_addr()?;
        let caller = cluster::Caller::new(clusters)?;
        let workers = chain.into_workers(&caller)?;
        let shared = Arc::new(Shared {
            workers,
            next: AtomicUsize::new(0),
            upstream: Upstream::new(&upstream),
            limits,
        });
        let (stop, stopped) = watch::channel(false);
        let listener = tokio::spawn(listener::run(socket, Arc::clone(&shared), stopped, drain));
        Ok(Self { address, stop, listener, shared })
    }

    /// Where it listens; the port is known here where it was 0 in the configuration.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// No new connections; waits for the requests under way, but not longer than `drain`.
    pub(crate) async fn end(self) {
        let Self { stop, listener, shared, .. } = self;
        // The listener is the only receiver: where it is gone there is nothing to stop.
        let _ = stop.send(true);
        let _ = listener.await;
        for worker in &shared.workers {
            worker.stop();
        }
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
