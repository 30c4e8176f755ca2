//! Connections in: HTTP/1.1 and HTTP/2 with prior knowledge (h2c), bounded in number and time.

use std::{sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use super::{Current, exchange};

/// How long a client may take for a request's head, and stay silent between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head; Envoy's default is 60 KiB.
const HEAD_BYTES: u32 = 60 * 1024;
const CONCURRENT_STREAMS: u32 = 100;
/// After an error that concerns the process, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until `stopped`, then waits for the requests under way, at most for `drain`.
pub(super) async fn run(
    socket: TcpListener,
    current: Arc<Current>,
    connections: usize,
    mut stopped: watch::Receiver<bool>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections));
    let builder = builder();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = accept(&socket, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let current = Arc::clone(&current);
        let service = service_fn(move |request| exchange::answer(current.get(), peer, request));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client's broken connection is the client's business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(socket);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        eprintln!("[warn] requests were cut: they took longer than the drain time");
    }
}

type Accepted = (tokio::net::TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(socket: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, peer)) => {
            // Small answers must not wait for more; a socket that refuses this works all the same.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            eprintln!("[warn] accept: {error}");
            None
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES as usize)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_header_list_size(HEAD_BYTES)
        .max_concurrent_streams(CONCURRENT_STREAMS);
    builder
}
