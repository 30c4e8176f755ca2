//! What the host knows about one VM while its guest runs: contexts, what they see, what they asked.

use crate::call::{CallResponse, OutgoingCall};
use crate::headers::Headers;
use crate::log::LogLine;
use crate::process::Process;
use crate::shared::Mailbox;
use crate::status::{Failure, LogLevel, MapKind, Status};
use crate::stream::{Direction, StreamId, StreamInfo};
use crate::vm::Plugin;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmtime::{Memory, StoreLimits, TypedFunc};

/// Bytes of one log line; the rest is cut off.
const MAX_LINE: usize = 64 << 10;

/// The data of a VM's store.
pub(crate) struct State {
    pub(crate) process: Process,
    pub(crate) vm: u64,
    pub(crate) plugin: Plugin,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) limits: StoreLimits,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) contexts: HashMap<u32, Context>,
    /// The context whose callback runs.
    pub(crate) current: u32,
    /// What `proxy_set_effective_context` chose within this callback; 0 is nothing.
    pub(crate) effective: u32,
    /// A local reply was sent in this callback: whatever it returns, iteration stops.
    pub(crate) stop: bool,
    pub(crate) actions: Vec<Action>,
    pub(crate) calls: Vec<OutgoingCall>,
    pub(crate) waiting: HashMap<u32, u32>,
    pub(crate) next_token: u32,
    /// The answer that the running callback is about.
    pub(crate) answer: Option<CallResponse>,
    pub(crate) status: (u32, &'static str),
    pub(crate) ticks: BTreeMap<u32, Tick>,
    /// Lines since a start or configuration began.
    pub(crate) lines: Option<Vec<LogLine>>,
    /// What the running host call is about, for the record.
    pub(crate) subject: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    pub(crate) period: Duration,
    pub(crate) due: Duration,
}

/// What a callback asked for that is carried out when it has returned.
#[derive(Debug)]
pub(crate) enum Action {
    Continue { context: u32, direction: Direction },
    Reply { context: u32, reply: Reply },
    Close { context: u32 },
    Done { root: u32 },
}

/// The arguments of `proxy_send_local_response`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u32,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
    pub(crate) grpc_status: Option<u32>,
}

pub(crate) enum Context {
    Root(RootContext),
    Stream(Box<StreamContext>),
}

pub(crate) struct RootContext {
    pub(crate) configuration: Arc<Vec<u8>>,
    /// The plugin's configuration can be read only in `proxy_on_vm_start` and `proxy_on_configure`.
    pub(crate) configuring: bool,
    /// `proxy_on_done` said no: the context stays until `proxy_done`.
    pub(crate) finishing: bool,
}

pub(crate) struct StreamContext {
    pub(crate) root: u32,
    pub(crate) stream: StreamId,
    pub(crate) info: Arc<Mutex<StreamInfo>>,
    pub(crate) request: View,
    pub(crate) response: View,
}

/// What of one direction a filter holds: it can be read and changed, then it goes on.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) trailers: Option<Headers>,
}

impl StreamContext {
    pub(crate) fn view(&mut self, direction: Direction) -> &mut View {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

impl State {
    /// The context that host calls are about: the effective one, if it still exists.
    pub(crate) fn subject_context(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains_key(&self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    pub(crate) fn stream(&mut self) -> Option<&mut StreamContext> {
        let id = self.subject_context();
        self.stream_context(id)
    }

    pub(crate) fn stream_context(&mut self, id: u32) -> Option<&mut StreamContext> {
        match self.contexts.get_mut(&id) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn root_context(&mut self, id: u32) -> Option<&mut RootContext> {
        match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    /// The root of the context that host calls are about.
    pub(crate) fn root_id(&self) -> u32 {
        let id = self.subject_context();
        match self.contexts.get(&id) {
            Some(Context::Stream(stream)) => stream.root,
            _ => id,
        }
    }

    /// A map that can be read: absent when its phase is over or has not come.
    pub(crate) fn map(&mut self, kind: MapKind) -> Option<&Headers> {
        match kind {
            MapKind::CallResponseHeaders => self.answer.as_ref().map(|answer| &answer.headers),
            MapKind::CallResponseTrailers => {
                self.answer.as_ref().map(|answer| &answer.trailers).filter(|trailers| !trailers.is_empty())
            }
            _ => self.map_mut(kind).ok().map(|headers| &*headers),
        }
    }

    /// A map that can be changed: those of a stream, while its filter holds them.
    pub(crate) fn map_mut(&mut self, kind: MapKind) -> Result<&mut Headers, Failure> {
        let missing = Failure::Status(Status::BadArgument);
        let Some(stream) = self.stream() else { return Err(missing) };
        match kind {
            MapKind::RequestHeaders => stream.request.headers.as_mut(),
            MapKind::RequestTrailers => stream.request.trailers.as_mut(),
            MapKind::ResponseHeaders => stream.response.headers.as_mut(),
            MapKind::ResponseTrailers => stream.response.trailers.as_mut(),
            MapKind::GrpcInitialMetadata
            | MapKind::GrpcTrailingMetadata
            | MapKind::CallResponseHeaders
            | MapKind::CallResponseTrailers => None,
        }
        .ok_or(missing)
    }

    /// The bytes of a buffer kind; `None` when there is no such buffer now.
    pub(crate) fn buffer(&mut self, kind: u32) -> Result<Option<&[u8]>, Status> {
        const VM_CONFIGURATION: u32 = 6;
        const PLUGIN_CONFIGURATION: u32 = 7;
        Ok(match kind {
            0 | 1 => self.body(kind)?.map(|body| &*body).map(Vec::as_slice),
            4 => self.answer.as_ref().map(|answer| answer.body.as_slice()),
            VM_CONFIGURATION => Some(self.plugin.vm_configuration.as_slice()),
            PLUGIN_CONFIGURATION => {
                let id = self.subject_context();
                let root = self.root_context(id).filter(|root| root.configuring);
                root.map(|root| root.configuration.as_slice())
            }
            // Network data, gRPC and foreign call data: their phases do not occur in this host.
            2 | 3 | 5 | 8 => None,
            _ => return Err(Status::BadArgument),
        })
    }

    /// The body of a stream that its filter holds: 0 is the request's, 1 the response's.
    pub(crate) fn body(&mut self, kind: u32) -> Result<Option<&mut Vec<u8>>, Status> {
        let Some(stream) = self.stream() else { return Ok(None) };
        match kind {
            0 => Ok(stream.request.body.as_mut()),
            1 => Ok(stream.response.body.as_mut()),
            _ => Err(Status::BadArgument),
        }
    }

    pub(crate) fn write_log(&mut self, level: LogLevel, text: &[u8]) {
        let text = text.get(..MAX_LINE).unwrap_or(text);
        let line = LogLine {
            level,
            plugin: self.plugin.name.clone(),
            context: self.subject_context(),
            text: String::from_utf8_lossy(text).into_owned(),
        };
        if let Some(lines) = self.lines.as_mut().filter(|lines| lines.len() < 1000) {
            lines.push(line.clone());
        }
        self.process.0.log.write(line);
    }
}
