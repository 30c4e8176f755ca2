//! Host functions over header maps.
//!
//! As in Envoy: reading one value of a map whose phase is over is `BadArgument`, reading all pairs
//! of it is no pairs; one value is the first of its name; a missing name is `NotFound`.

use super::{HostCall, answer};
use crate::headers::Headers;
use crate::state::State;
use crate::status::{Failure, MapKind, Status};
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::GetMapPairs.name(), pairs)?;
    linker.func_wrap("env", HostCall::SetMapPairs.name(), set_pairs)?;
    linker.func_wrap("env", HostCall::GetMapValue.name(), value)?;
    linker.func_wrap("env", HostCall::GetMapSize.name(), size)?;
    linker.func_wrap("env", HostCall::AddMapValue.name(), add)?;
    linker.func_wrap("env", HostCall::ReplaceMapValue.name(), replace)?;
    linker.func_wrap("env", HostCall::RemoveMapValue.name(), remove)?;
    Ok(())
}

fn pairs(mut caller: Guest<'_>, map: u32, address_at: u32, size_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetMapPairs, |guest| {
        let kind = MapKind::from_code(map)?;
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        let encoded = match guest.state().map(kind) {
            Some(headers) if !headers.is_empty() => headers.encode(),
            _ => Vec::new(),
        };
        guest.give(&encoded, address_at, size_at)
    })
}

fn set_pairs(mut caller: Guest<'_>, map: u32, address: u32, size: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetMapPairs, |guest| {
        let kind = MapKind::from_code(map)?;
        let headers = Headers::decode(guest.slice(address, size)?).ok_or(Status::BadArgument)?;
        *guest.state().map_mut(kind)? = headers;
        Ok(())
    })
}

fn value(
    mut caller: Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    address_at: u32,
    size_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetMapValue, |guest| {
        let kind = MapKind::from_code(map)?;
        let name = guest.bytes(name, name_size)?;
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        guest.about(&name);
        let headers = guest.state().map(kind).ok_or(Status::BadArgument)?;
        let value = headers.first(&name).ok_or(Status::NotFound)?.to_vec();
        guest.give(&value, address_at, size_at)
    })
}

fn size(mut caller: Guest<'_>, map: u32, size_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetMapSize, |guest| {
        let kind = MapKind::from_code(map)?;
        let size = guest.state().map(kind).ok_or(Status::BadArgument)?.byte_size();
        guest.write_word(size_at, u32::try_from(size).unwrap_or(u32::MAX))
    })
}

fn add(
    mut caller: Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    size: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::AddMapValue, |guest| {
        let kind = MapKind::from_code(map)?;
        let (name, value) = (guest.bytes(name, name_size)?, guest.bytes(value, size)?);
        guest.about(&name);
        let headers = room(guest.state().map_mut(kind)?, &name, &value)?;
        headers.add(&name, value);
        Ok(())
    })
}

fn replace(
    mut caller: Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    size: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::ReplaceMapValue, |guest| {
        let kind = MapKind::from_code(map)?;
        let (name, value) = (guest.bytes(name, name_size)?, guest.bytes(value, size)?);
        guest.about(&name);
        let headers = room(guest.state().map_mut(kind)?, &name, &value)?;
        headers.replace(&name, value);
        Ok(())
    })
}

fn remove(mut caller: Guest<'_>, map: u32, name: u32, name_size: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::RemoveMapValue, |guest| {
        let kind = MapKind::from_code(map)?;
        let name = guest.bytes(name, name_size)?;
        guest.about(&name);
        guest.state().map_mut(kind)?.remove(&name);
        Ok(())
    })
}

fn room<'a>(headers: &'a mut Headers, name: &[u8], value: &[u8]) -> Result<&'a mut Headers, Failure> {
    let fits = headers.has_room_for(name.len().saturating_add(value.len()));
    if fits { Ok(headers) } else { Err(Status::InternalFailure.into()) }
}
