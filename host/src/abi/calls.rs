//! Host functions that call upstreams: HTTP, and gRPC, which this host does not have.

use super::{HostCall, answer};
use crate::call::{CallId, OutgoingCall};
use crate::headers::Headers;
use crate::state::State;
use crate::status::{Failure, Status};
use std::time::Duration;
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::HttpCall.name(), http_call)?;
    linker.func_wrap("env", HostCall::GrpcCall.name(), grpc_call)?;
    linker.func_wrap("env", HostCall::GrpcStream.name(), grpc_stream)?;
    linker.func_wrap("env", HostCall::GrpcSend.name(), grpc_send)?;
    linker.func_wrap("env", HostCall::GrpcCancel.name(), |mut caller: Guest<'_>, _: u32| {
        answer(&mut caller, HostCall::GrpcCancel, |_| Err(Status::NotFound.into()))
    })?;
    linker.func_wrap("env", HostCall::GrpcClose.name(), |mut caller: Guest<'_>, _: u32| {
        answer(&mut caller, HostCall::GrpcClose, |_| Err(Status::NotFound.into()))
    })?;
    Ok(())
}

/// As in Envoy: a negative timeout, an unknown cluster and a missing `:method`, `:path` or
/// `:authority` are `BadArgument`.
#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
fn http_call(
    mut caller: Guest<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::HttpCall, |guest| {
        let cluster = guest.bytes(cluster, cluster_size)?;
        let headers = Headers::decode(guest.slice(headers, headers_size)?).ok_or(Status::BadArgument)?;
        let body = guest.bytes(body, body_size)?;
        let trailers = Headers::decode(guest.slice(trailers, trailers_size)?).ok_or(Status::BadArgument)?;
        guest.check(token_at, 4)?;
        guest.about(&cluster);
        if body.len() > guest.state().process.0.limits.body {
            return Err(Status::InternalFailure.into());
        }
        let complete = [":method", ":path", ":authority"].iter().all(|name| headers.contains(name));
        if !complete || i32::try_from(timeout).is_err() || !guest.state().process.has_cluster(&cluster) {
            return Err(Status::BadArgument.into());
        }
        let cluster = String::from_utf8(cluster).map_err(|_| Status::BadArgument)?;
        let timeout = Duration::from_millis(u64::from(timeout));
        let state = guest.state();
        let token = next_token(state)?;
        let (context, root) = (state.subject_context(), state.root_id());
        let id = CallId { vm: state.vm, token };
        state.calls.push(OutgoingCall { id, cluster, headers, body, trailers, timeout, context });
        state.waiting.insert(token, root);
        guest.write_word(token_at, token)
    })
}

fn next_token(state: &mut State) -> Result<u32, Failure> {
    if state.waiting.len() >= state.process.0.limits.calls {
        return Err(Status::InternalFailure.into());
    }
    // INVARIANT: fewer calls are under way than there are numbers, so a free one is found.
    loop {
        state.next_token = state.next_token.wrapping_add(1);
        if state.next_token != 0 && !state.waiting.contains_key(&state.next_token) {
            return Ok(state.next_token);
        }
    }
}

/// `InternalFailure`, which is what Envoy answers when it cannot send: the one answer of this kind
/// that SDKs hand on instead of panicking.
#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
fn grpc_call(
    mut caller: Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GrpcCall, |_| Err(Status::InternalFailure.into()))
}

#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
fn grpc_stream(
    mut caller: Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GrpcStream, |_| Err(Status::InternalFailure.into()))
}

fn grpc_send(mut caller: Guest<'_>, _: u32, _: u32, _: u32, _: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GrpcSend, |_| Err(Status::NotFound.into()))
}
