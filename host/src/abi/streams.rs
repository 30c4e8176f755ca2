//! Host functions that steer a stream: continue, close, answer in the upstream's place.
//!
//! None of them acts at once: as in Envoy it happens when the callback has returned.

use super::{HostCall, answer};
use crate::headers::Headers;
use crate::state::{Action, Reply, State};
use crate::status::{Failure, Status};
use crate::stream::Direction;
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

/// Actions that one callback may ask for; more are refused.
const MAX_ACTIONS: usize = 100_000;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::ContinueStream.name(), continue_stream)?;
    linker.func_wrap("env", HostCall::CloseStream.name(), close_stream)?;
    linker.func_wrap("env", HostCall::SendLocalResponse.name(), send_local_response)?;
    Ok(())
}

/// Of a root context there is nothing to continue: nothing happens and the answer is `Ok`, as in
/// Envoy. The kinds `Downstream` and `Upstream` belong to network filters: `BadArgument`.
fn continue_stream(mut caller: Guest<'_>, kind: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::ContinueStream, |guest| {
        let direction = match kind {
            0 => Direction::Request,
            1 => Direction::Response,
            _ => return Err(Status::BadArgument.into()),
        };
        let context = guest.state().subject_context();
        push(guest.state(), Action::Continue { context, direction })
    })
}

fn close_stream(mut caller: Guest<'_>, kind: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::CloseStream, |guest| {
        if kind > 3 {
            return Err(Status::BadArgument.into());
        }
        let context = guest.state().subject_context();
        push(guest.state(), Action::Close { context })
    })
}

#[expect(clippy::too_many_arguments, reason = "the ABI has so many")]
fn send_local_response(
    mut caller: Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: i32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SendLocalResponse, |guest| {
        let details = String::from_utf8_lossy(guest.slice(details, details_size)?).into_owned();
        let body = guest.bytes(body, body_size)?;
        let headers = Headers::decode(guest.slice(headers, headers_size)?).ok_or(Status::BadArgument)?;
        guest.about(status.to_string().as_bytes());
        // A status that no HTTP message can carry would leave the stream without an answer.
        if !(200..=599).contains(&status) {
            return Err(Status::BadArgument.into());
        }
        let reply = Reply { status, headers, body, details, grpc_status: u32::try_from(grpc_status).ok() };
        let state = guest.state();
        let context = state.subject_context();
        state.stop = true;
        let twice =
            |action: &Action| matches!(action, Action::Reply { context: other, .. } if *other == context);
        if state.actions.iter().any(twice) {
            // The first answer of a stream counts.
            return Ok(());
        }
        push(state, Action::Reply { context, reply })
    })
}

fn push(state: &mut State, action: Action) -> Result<(), Failure> {
    if state.actions.len() >= MAX_ACTIONS {
        return Err(Status::InternalFailure.into());
    }
    state.actions.push(action);
    Ok(())
}
