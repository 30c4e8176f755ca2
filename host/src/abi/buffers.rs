//! Host functions over buffers: bodies, the body of an HTTP call's answer, and configurations.

use super::{HostCall, answer};
use crate::state::State;
use crate::status::{Failure, Status};
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::GetBufferBytes.name(), bytes)?;
    linker.func_wrap("env", HostCall::GetBufferStatus.name(), status)?;
    linker.func_wrap("env", HostCall::SetBufferBytes.name(), set)?;
    Ok(())
}

/// At most `max` bytes from `start`; past the end there are none.
fn bytes(
    mut caller: Guest<'_>,
    kind: u32,
    start: u32,
    max: u32,
    address_at: u32,
    size_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetBufferBytes, |guest| {
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        let buffer = guest.state().buffer(kind)?.ok_or(Status::NotFound)?;
        let end = start.checked_add(max).ok_or(Status::BadArgument)?;
        let end = index(end)?.min(buffer.len());
        let bytes = buffer.get(index(start)?..end).unwrap_or_default().to_vec();
        guest.give(&bytes, address_at, size_at)
    })
}

fn status(mut caller: Guest<'_>, kind: u32, size_at: u32, flags_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetBufferStatus, |guest| {
        guest.check(size_at, 4)?;
        guest.check(flags_at, 4)?;
        let size = guest.state().buffer(kind)?.ok_or(Status::NotFound)?.len();
        guest.write_word(size_at, u32::try_from(size).unwrap_or(u32::MAX))?;
        guest.write_word(flags_at, 0)
    })
}

/// Puts bytes in the place of `size` bytes from `start`. As in Envoy: at 0 with size 0 it prepends,
/// at or past the end it appends, with the whole size it replaces.
fn set(
    mut caller: Guest<'_>,
    kind: u32,
    start: u32,
    size: u32,
    address: u32,
    length: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetBufferBytes, |guest| {
        let new = guest.bytes(address, length)?;
        let limit = guest.state().process.0.limits.body;
        guest.state().buffer(kind)?.ok_or(Status::NotFound)?;
        let body = guest.state().body(kind)?.ok_or(Status::NotFound)?;
        let start = index(start)?.min(body.len());
        let end = start.checked_add(index(size)?).ok_or(Status::BadArgument)?.min(body.len());
        if body.len().saturating_add(new.len()) > limit {
            return Err(Status::InternalFailure.into());
        }
        body.splice(start..end, new);
        Ok(())
    })
}

fn index(number: u32) -> Result<usize, Failure> {
    usize::try_from(number).map_err(|_| Status::BadArgument.into())
}
