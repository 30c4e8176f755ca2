//! A server on a thread of its own.

use std::{
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

/// A server that is running; it ends, connections and all, when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `serve` on a free loopback port, on a thread that is called `name` and the address.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) fn start<S>(name: &str, serve: impl FnOnce(tokio::net::TcpListener) -> S) -> Result<Self>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let served = serve(listener);
        let thread = thread::Builder::new().name(format!("{name} {address}")).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = served => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it accepts.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has already failed the request it was serving.
            let _ = thread.join();
        }
    }
}
