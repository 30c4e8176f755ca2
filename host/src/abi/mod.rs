//! The host functions that guests import: their names, and how each of them is answered.
//!
//! Every host function has one shape: take the arguments, check the guest's addresses, ask the
//! state, act, and write to guest memory last. A guest's addresses are never kept across a call
//! into it. [`answer`] is the one place that turns a [`Failure`] into what the guest sees.

mod buffers;
mod calls;
mod guest;
mod maps;
mod plain;
mod properties;
mod shared;
mod streams;
mod wasi;

pub(crate) use guest::Guest;

use crate::record::Effect;
use crate::state::State;
use crate::status::{Failure, Status};
use wasmtime::{Caller, Linker};

macro_rules! host_calls {
    ($($variant:ident = $name:literal,)*) => {
        /// A host function by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum HostCall { $($variant,)* }

        impl HostCall {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the ABI.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

host_calls! {
    Log = "proxy_log",
    GetLogLevel = "proxy_get_log_level",
    GetCurrentTime = "proxy_get_current_time_nanoseconds",
    SetTickPeriod = "proxy_set_tick_period_milliseconds",
    GetBufferBytes = "proxy_get_buffer_bytes",
    GetBufferStatus = "proxy_get_buffer_status",
    SetBufferBytes = "proxy_set_buffer_bytes",
    GetMapPairs = "proxy_get_header_map_pairs",
    SetMapPairs = "proxy_set_header_map_pairs",
    GetMapValue = "proxy_get_header_map_value",
    GetMapSize = "proxy_get_header_map_size",
    AddMapValue = "proxy_add_header_map_value",
    ReplaceMapValue = "proxy_replace_header_map_value",
    RemoveMapValue = "proxy_remove_header_map_value",
    GetProperty = "proxy_get_property",
    SetProperty = "proxy_set_property",
    GetSharedData = "proxy_get_shared_data",
    SetSharedData = "proxy_set_shared_data",
    RegisterQueue = "proxy_register_shared_queue",
    ResolveQueue = "proxy_resolve_shared_queue",
    Enqueue = "proxy_enqueue_shared_queue",
    Dequeue = "proxy_dequeue_shared_queue",
    ContinueStream = "proxy_continue_stream",
    CloseStream = "proxy_close_stream",
    SendLocalResponse = "proxy_send_local_response",
    HttpCall = "proxy_http_call",
    GrpcCall = "proxy_grpc_call",
    GrpcStream = "proxy_grpc_stream",
    GrpcSend = "proxy_grpc_send",
    GrpcCancel = "proxy_grpc_cancel",
    GrpcClose = "proxy_grpc_close",
    GetStatus = "proxy_get_status",
    SetEffectiveContext = "proxy_set_effective_context",
    Done = "proxy_done",
    CallForeignFunction = "proxy_call_foreign_function",
    DefineMetric = "proxy_define_metric",
    GetMetric = "proxy_get_metric",
    RecordMetric = "proxy_record_metric",
    IncrementMetric = "proxy_increment_metric",
    FdWrite = "fd_write",
    RandomGet = "random_get",
    ClockTimeGet = "clock_time_get",
    EnvironSizesGet = "environ_sizes_get",
    EnvironGet = "environ_get",
    ArgsSizesGet = "args_sizes_get",
    ArgsGet = "args_get",
    FdFdstatGet = "fd_fdstat_get",
    ProcExit = "proc_exit",
    OtherWasi = "other_wasi",
}

/// Defines every host function.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    plain::link(linker)?;
    maps::link(linker)?;
    buffers::link(linker)?;
    properties::link(linker)?;
    shared::link(linker)?;
    streams::link(linker)?;
    calls::link(linker)?;
    wasi::link(linker)
}

/// Answers one host call: refuses it if told so, carries it out, and says how it went.
fn answer(
    caller: &mut Caller<'_, State>,
    call: HostCall,
    act: impl FnOnce(&mut Guest<'_, '_>) -> Result<(), Failure>,
) -> wasmtime::Result<u32> {
    let result = perform(caller, call, act);
    let status = match result {
        Ok(()) => Status::Ok,
        Err(Failure::Status(status)) => status,
        Err(Failure::Trap(error)) => return Err(error),
    };
    keep(caller, call, status.code());
    Ok(status.code())
}

/// Counts the call and carries it out, unless it was told to fail.
fn perform(
    caller: &mut Caller<'_, State>,
    call: HostCall,
    act: impl FnOnce(&mut Guest<'_, '_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let state = caller.data_mut();
    let recorder = &state.process.0.recorder;
    recorder.count(call as usize);
    if recorder.is_keeping() {
        state.subject.clear();
    }
    if let Some(status) = state.process.0.recorder.refusal(call.name()) {
        return Err(status.into());
    }
    act(&mut Guest::new(caller)?)
}

fn keep(caller: &mut Caller<'_, State>, call: HostCall, status: u32) {
    let state = caller.data_mut();
    if state.process.0.recorder.is_keeping() {
        let subject = core::mem::take(&mut state.subject);
        let context = state.subject_context();
        state.process.0.recorder.keep(Effect { call: call.name(), subject, context, status });
    }
}
