//! Host functions over properties.

use super::{HostCall, answer};
use crate::property;
use crate::shared::lock;
use crate::state::State;
use crate::status::Status;
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::GetProperty.name(), value)?;
    linker.func_wrap("env", HostCall::SetProperty.name(), set)?;
    Ok(())
}

fn value(
    mut caller: Guest<'_>,
    path: u32,
    path_size: u32,
    address_at: u32,
    size_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetProperty, |guest| {
        let path = guest.bytes(path, path_size)?;
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        guest.about(&path);
        let value = property::value(guest.state(), &path).ok_or(Status::NotFound)?;
        guest.give(&value, address_at, size_at)
    })
}

/// A root has no stream to keep a property in: `NotFound`, as in Envoy.
fn set(mut caller: Guest<'_>, path: u32, path_size: u32, value: u32, size: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetProperty, |guest| {
        let (path, value) = (guest.bytes(path, path_size)?, guest.bytes(value, size)?);
        guest.about(&path);
        let stream = guest.state().stream().ok_or(Status::NotFound)?;
        lock(&stream.info).set_state(path, value).map_err(Into::into)
    })
}
