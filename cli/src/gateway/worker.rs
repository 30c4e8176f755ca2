//! A worker: an OS thread that owns the plugins' VMs and is told what to do through a channel.
//!
//! The thread never waits for a socket. Every command is answered through the stream's ports; what
//! plugins ask for (calls, resumption, ticks) is done after each command. A VM that was stopped is
//! replaced by a fresh one at once; the streams that it held have been answered with 503.

use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use portcullis_host::{
    CallFailure, CallId, CallResponse, Direction, Event, LocalReply, Outcome, Piece, StreamId, StreamInfo,
    Worker as HostWorker,
};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::cluster::Caller;

/// After a fresh VM could not be made; until the next try its requests get 503.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

pub(super) enum Command {
    Open {
        stream: u64,
        info: StreamInfo,
        ports: Ports,
    },
    Piece {
        stream: u64,
        direction: Direction,
        piece: Piece,
    },
    Close {
        stream: u64,
    },
    CallDone {
        call: CallId,
        answer: Result<CallResponse, CallFailure>,
    },
    Wake,
    /// No stream will be opened any more: the end comes with that of the last one.
    Retire,
}

/// What a stream hears from its worker. Dropped when the stream is over.
pub(super) struct Ports {
    pub(super) request: async_mpsc::UnboundedSender<Passed>,
    pub(super) response: async_mpsc::UnboundedSender<Passed>,
    pub(super) finale: oneshot::Sender<Finale>,
}

/// Pieces that a direction's filters let through.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) pieces: Vec<Piece>,
    /// This answers the piece that was put in last; otherwise a paused stream went on by itself.
    pub(super) answer: bool,
}

/// The stream is over before its messages are.
#[derive(Debug)]
pub(super) enum Finale {
    Reply(LocalReply),
    Reset,
}

/// The tokio side's end of a worker.
pub(super) struct Worker {
    commands: mpsc::Sender<Command>,
    next: AtomicU64,
}

impl Worker {
    pub(super) fn spawn(
        worker: HostWorker,
        filters: usize,
        caller: Caller,
        number: usize,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let waker = commands.clone();
        // The receiver is gone only when the worker has ended.
        worker.on_wake(move || drop(waker.send(Command::Wake)));
        let answers = commands.clone();
        let runtime = tokio::runtime::Handle::current();
        let thread = Thread {
            worker,
            filters,
            inbox,
            ids: HashMap::new(),
            streams: HashMap::new(),
            call: Box::new(move |call| {
                let (caller, answers) = (caller.clone(), answers.clone());
                runtime.spawn(async move {
                    let id = call.id;
                    let answer = caller.call(call).await;
                    drop(answers.send(Command::CallDone { call: id, answer }));
                });
            }),
            restart_at: None,
            retired: false,
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || thread.run())?;
        Ok(Self { commands, next: AtomicU64::new(1) })
    }

    /// A new stream. `None` if the worker has ended.
    pub(super) fn open(&self, info: StreamInfo) -> Option<Opened> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (request, request_out) = async_mpsc::unbounded_channel();
        let (response, response_out) = async_mpsc::unbounded_channel();
        let (finale, finale_out) = oneshot::channel();
        let ports = Ports { request, response, finale };
        self.commands.send(Command::Open { stream: id, info, ports }).ok()?;
        let stream = Stream { id, commands: self.commands.clone() };
        Some(Opened { stream, request: request_out, response: response_out, finale: finale_out })
    }
}

/// Whoever opens a stream holds the worker meanwhile, so this comes after every stream.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Retire));
    }
}

/// A stream and what it hears.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) request: async_mpsc::UnboundedReceiver<Passed>,
    pub(super) response: async_mpsc::UnboundedReceiver<Passed>,
    pub(super) finale: oneshot::Receiver<Finale>,
}

/// A stream of a worker; closed when dropped.
pub(super) struct Stream {
    id: u64,
    commands: mpsc::Sender<Command>,
}

impl Stream {
    /// Puts a piece in. The answer comes through the port of its direction; a worker that has
    /// ended closes the ports.
    pub(super) fn put(&self, direction: Direction, piece: Piece) {
        drop(self.commands.send(Command::Piece { stream: self.id, direction, piece }));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Close { stream: self.id }));
    }
}

struct Thread {
    worker: HostWorker,
    filters: usize,
    inbox: mpsc::Receiver<Command>,
    ids: HashMap<u64, StreamId>,
    streams: HashMap<StreamId, Ports>,
    call: Box<dyn Fn(portcullis_host::OutgoingCall) + Send>,
    restart_at: Option<Instant>,
    retired: bool,
}

impl Thread {
    fn run(mut self) {
        loop {
            self.settle();
            if self.retired && self.ids.is_empty() {
                break;
            }
            if let Some(command) = self.next_command() {
                self.obey(command);
            }
            if self.worker.has_work() {
                let events = self.worker.poll();
                self.publish(events);
            }
        }
    }

    /// The next command, or `None` when a tick or a restart is due. The senders live as long as
    /// this thread, because it holds one itself: the end begins with [`Command::Retire`].
    fn next_command(&mut self) -> Option<Command> {
        let now = self.worker.process().clock().monotonic();
        let tick = self.worker.next_tick().map(|due| due.saturating_sub(now));
        let restart = self.restart_at.map(|at| at.saturating_duration_since(Instant::now()));
        match tick.into_iter().chain(restart).min() {
            Some(wait) => match self.inbox.recv_timeout(wait) {
                Ok(command) => Some(command),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => Some(Command::Retire),
            },
            None => Some(self.inbox.recv().unwrap_or(Command::Retire)),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { stream, info, ports } => {
                let id = self.worker.open(info);
                self.ids.insert(stream, id);
                self.streams.insert(id, ports);
            }
            Command::Piece { stream, direction, piece } => self.put(stream, direction, piece),
            Command::Close { stream } => {
                if let Some(id) = self.ids.remove(&stream) {
                    self.streams.remove(&id);
                    self.worker.close(id);
                }
            }
            Command::CallDone { call, answer } => {
                let events = self.worker.complete_call(call, answer);
                self.publish(events);
            }
            Command::Retire => self.retired = true,
            Command::Wake => {}
        }
    }

    fn put(&mut self, stream: u64, direction: Direction, piece: Piece) {
        let Some(id) = self.ids.get(&stream).copied() else { return };
        let worker = &mut self.worker;
        let outcome = match (direction, piece) {
            (Direction::Request, Piece::Headers { headers, end_of_stream }) => {
                worker.request_headers(id, headers, end_of_stream)
            }
            (Direction::Request, Piece::Body { bytes, end_of_stream }) => {
                worker.request_body(id, bytes, end_of_stream)
            }
            (Direction::Request, Piece::Trailers(trailers)) => worker.request_trailers(id, trailers),
            (Direction::Response, Piece::Headers { headers, end_of_stream }) => {
                worker.response_headers(id, headers, end_of_stream)
            }
            (Direction::Response, Piece::Body { bytes, end_of_stream }) => {
                worker.response_body(id, bytes, end_of_stream)
            }
            (Direction::Response, Piece::Trailers(trailers)) => worker.response_trailers(id, trailers),
        };
        self.deliver(id, direction, outcome, true);
    }

    fn publish(&mut self, events: Vec<Event>) {
        for Event { stream, direction, outcome } in events {
            self.deliver(stream, direction, outcome, false);
        }
    }

    /// A port whose other end is gone belongs to a stream that is about to be closed.
    fn deliver(&mut self, id: StreamId, direction: Direction, outcome: Outcome, answer: bool) {
        let pieces = match outcome {
            Outcome::Forward(pieces) => pieces,
            Outcome::Pause => Vec::new(),
            Outcome::Reply(reply) => return self.finish(id, Finale::Reply(reply)),
            Outcome::Trapped(trap, reply) => {
                eprintln!("[error] {trap}");
                return self.finish(id, Finale::Reply(reply));
            }
            Outcome::Reset => return self.finish(id, Finale::Reset),
        };
        let Some(ports) = self.streams.get(&id) else { return };
        let port = match direction {
            Direction::Request => &ports.request,
            Direction::Response => &ports.response,
        };
        drop(port.send(Passed { pieces, answer }));
    }

    /// The finale is sent before the ports close, so whoever sees them closed can see why.
    fn finish(&mut self, id: StreamId, finale: Finale) {
        if let Some(ports) = self.streams.remove(&id) {
            drop(ports.finale.send(finale));
        }
    }

    /// What the last callback caused beside its own outcome.
    fn settle(&mut self) {
        let events = self.worker.take_events();
        self.publish(events);
        for call in self.worker.take_calls() {
            (self.call)(call);
        }
        self.restart_stopped();
    }

    fn restart_stopped(&mut self) {
        if self.restart_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.restart_at = None;
        for filter in 0..self.filters {
            if self.worker.trap(filter).is_none() {
                continue;
            }
            match self.worker.restart(filter) {
                Ok(()) => eprintln!("[warn] filter {filter}: a fresh VM is at work"),
                Err(error) => {
                    eprintln!("[error] filter {filter}: no fresh VM: {error}");
                    self.restart_at = Some(Instant::now() + RESTART_PAUSE);
                }
            }
        }
    }
}
