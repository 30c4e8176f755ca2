//! Host functions over what workers share: data and queues.

use super::{HostCall, answer};
use crate::state::State;
use crate::status::Status;
use std::sync::Arc;
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::GetSharedData.name(), data)?;
    linker.func_wrap("env", HostCall::SetSharedData.name(), set_data)?;
    linker.func_wrap("env", HostCall::RegisterQueue.name(), register)?;
    linker.func_wrap("env", HostCall::ResolveQueue.name(), resolve)?;
    linker.func_wrap("env", HostCall::Enqueue.name(), enqueue)?;
    linker.func_wrap("env", HostCall::Dequeue.name(), dequeue)?;
    Ok(())
}

fn data(
    mut caller: Guest<'_>,
    key: u32,
    key_size: u32,
    address_at: u32,
    size_at: u32,
    cas_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetSharedData, |guest| {
        let key = guest.bytes(key, key_size)?;
        for place in [address_at, size_at, cas_at] {
            guest.check(place, 4)?;
        }
        guest.about(&key);
        let state = guest.state();
        let found = state.process.0.data.value(&state.plugin.vm_id, &key);
        let (value, cas) = found.ok_or(Status::NotFound)?;
        guest.give(&value, address_at, size_at)?;
        guest.write_word(cas_at, cas)
    })
}

fn set_data(
    mut caller: Guest<'_>,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
    cas: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetSharedData, |guest| {
        let (key, value) = (guest.bytes(key, key_size)?, guest.bytes(value, size)?);
        guest.about(&key);
        let state = guest.state();
        Ok(state.process.0.data.set(&state.plugin.vm_id, &key, &value, cas)?)
    })
}

fn register(mut caller: Guest<'_>, name: u32, name_size: u32, id_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::RegisterQueue, |guest| {
        let name = guest.bytes(name, name_size)?;
        guest.check(id_at, 4)?;
        guest.about(&name);
        let state = guest.state();
        let (root, mailbox) = (state.root_id(), Arc::clone(&state.mailbox));
        let id = state.process.0.queues.register(&state.plugin.vm_id, &name, &mailbox, state.vm, root)?;
        guest.write_word(id_at, id)
    })
}

/// An empty `vm_id` is the guest's own, as in Envoy.
fn resolve(
    mut caller: Guest<'_>,
    vm: u32,
    vm_size: u32,
    name: u32,
    name_size: u32,
    id_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::ResolveQueue, |guest| {
        let vm = guest.bytes(vm, vm_size)?;
        let name = guest.bytes(name, name_size)?;
        guest.check(id_at, 4)?;
        guest.about(&name);
        let state = guest.state();
        let vm_id = if vm.is_empty() {
            state.plugin.vm_id.clone()
        } else {
            String::from_utf8(vm).map_err(|_| Status::NotFound)?
        };
        let id = state.process.0.queues.resolve(&vm_id, &name).ok_or(Status::NotFound)?;
        guest.write_word(id_at, id)
    })
}

fn enqueue(mut caller: Guest<'_>, id: u32, address: u32, size: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::Enqueue, |guest| {
        let item = guest.bytes(address, size)?;
        Ok(guest.state().process.0.queues.enqueue(id, item)?)
    })
}

fn dequeue(mut caller: Guest<'_>, id: u32, address_at: u32, size_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::Dequeue, |guest| {
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        let item = guest.state().process.0.queues.dequeue(id)?;
        guest.give(&item, address_at, size_at)
    })
}
