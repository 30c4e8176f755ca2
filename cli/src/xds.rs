//! `portcullis xds`: a control plane for development. Envoys follow a folder of policies.
//!
//! It speaks Envoy's state-of-the-world protocol (the xDS transport protocol v3) for filter
//! configurations (ECDS), in a stream of their own or aggregated (ADS), and for listeners (LDS) and
//! clusters (CDS), aggregated. [`wire`] knows the few messages; hyper carries them.

mod board;
mod cluster;
mod folder;
pub(crate) mod listener;
mod published;
mod stream;
mod wire;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{gateway, output::Answer};
use board::Board;
use folder::Folder;
use published::Published;

/// How often the folder is looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// Serves a folder of policies to Envoys, which follow every change.
///
/// A control plane for development: each file `<plugin>.yaml` (or `.json`) is the configuration of
/// the filter of that name, with the module of this bundle, or with `<plugin>.wasm` beside it. Each file
/// `listeners/<name>.yaml` says where requests come in, which filters judge them and where they go, and
/// each `clusters/<name>.yaml` is an address; a file that goes takes its listener or cluster with it. A
/// change is checked with the module first; what it refuses is told and not served. Which Envoy has
/// taken or refused which version, and after how long, is shown live.
///
/// There is no authentication: it listens on this machine, for Envoys on this machine.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  portcullis xds --folder policies        # policies/jwt-auth.yaml, policies/tenant-guard.yaml
  envoy -c deploy/envoy/ecds-grpc.yaml    # as many as you like, each with its own node id

  portcullis xds --folder deploy/envoy/ads/policies   # listeners and clusters too
  envoy -c deploy/envoy/ads/envoy.yaml

Exit codes: 0 it was ended by a signal; 2 it could not start.")]
pub(crate) struct Arguments {
    /// The folder of policies
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Where Envoys connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000", value_parser = parse_loopback)]
    listen: SocketAddr,
    /// Serve what the module refuses too, to see Envoy refuse it
    #[arg(long)]
    unchecked: bool,
}

fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => {
            Err("it has no authentication, so it listens on loopback only, such as 127.0.0.1:18000".into())
        }
        Err(_) => Err("an address and a port are needed, such as 127.0.0.1:18000".into()),
    }
}

/// What all streams share.
struct Plane {
    published: watch::Receiver<Arc<Published>>,
    board: Board,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Answer> {
    let mut folder = Folder::new(arguments.folder.clone(), !arguments.unchecked);
    let (first, told) = folder.read().with_context(|| arguments.folder.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpListener::bind(arguments.listen)
            .await
            .with_context(|| format!("listen on `{}`", arguments.listen))?;
        let (publish, published) = watch::channel(Arc::new(first));
        let plane = Arc::new(Plane { published, board: Board::new() });
        for line in told {
            plane.board.say(&line);
        }
        plane.board.served(&plane.published.borrow());
        plane.board.say(&format!("serving {} on {}", arguments.folder.display(), socket.local_addr()?));
        tokio::select! {
            ended = gateway::signal() => ended?,
            () = accept(socket, &plane) => {}
            () = follow(folder, &publish, &plane.board) => {}
        }
        Ok(Answer::Yes)
    })
}

async fn accept(socket: TcpListener, plane: &Arc<Plane>) {
    loop {
        let Ok((connection, _)) = socket.accept().await else {
            tokio::time::sleep(PERIOD).await;
            continue;
        };
        let plane = Arc::clone(plane);
        tokio::spawn(async move {
            let service = service_fn(move |request| stream::answer(Arc::clone(&plane), request));
            // An Envoy that went away is the end of its streams, which show it.
            let _ = auto::Builder::new(TokioExecutor::new())
                .http2_only()
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}

async fn follow(mut folder: Folder, publish: &watch::Sender<Arc<Published>>, board: &Board) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if !folder.has_changed() {
            continue;
        }
        // Compiling a module to check with takes a second, in which streams go on.
        let read = tokio::task::spawn_blocking(move || {
            let read = folder.read();
            (folder, read)
        });
        let Ok((back, read)) = read.await else { return };
        folder = back;
        match read {
            Ok((published, told)) => {
                for line in told {
                    board.say(&line);
                }
                publish.send_if_modified(|current| {
                    let other = **current != published;
                    if other {
                        board.served(&published);
                    }
                    *current = Arc::new(published);
                    other
                });
            }
            Err(error) => board.say(&format!("not served: {error:#}")),
        }
    }
}
