//! Host functions about the guest itself: log, time, timer, metrics, contexts, foreign functions.

use super::{HostCall, answer};
use crate::foreign;
use crate::shared::lock;
use crate::state::{Action, State, Tick};
use crate::status::{LogLevel, Status};
use std::time::Duration;
use wasmtime::{Caller, Linker};

type Guest<'a> = Caller<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap("env", HostCall::Log.name(), log)?;
    linker.func_wrap("env", HostCall::GetLogLevel.name(), log_level)?;
    linker.func_wrap("env", HostCall::GetCurrentTime.name(), current_time)?;
    linker.func_wrap("env", HostCall::SetTickPeriod.name(), set_tick_period)?;
    linker.func_wrap("env", HostCall::GetStatus.name(), status)?;
    linker.func_wrap("env", HostCall::SetEffectiveContext.name(), set_effective_context)?;
    linker.func_wrap("env", HostCall::Done.name(), done)?;
    linker.func_wrap("env", HostCall::CallForeignFunction.name(), call_foreign_function)?;
    linker.func_wrap("env", HostCall::DefineMetric.name(), define_metric)?;
    linker.func_wrap("env", HostCall::GetMetric.name(), metric)?;
    linker.func_wrap("env", HostCall::RecordMetric.name(), record_metric)?;
    linker.func_wrap("env", HostCall::IncrementMetric.name(), increment_metric)?;
    Ok(())
}

fn log(mut caller: Guest<'_>, level: u32, address: u32, size: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::Log, |guest| {
        let level = LogLevel::from_code(level).ok_or(Status::BadArgument)?;
        if level < guest.state().process.0.log.level {
            return guest.check(address, size);
        }
        let text = guest.bytes(address, size)?;
        guest.state().write_log(level, &text);
        Ok(())
    })
}

fn log_level(mut caller: Guest<'_>, level_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetLogLevel, |guest| {
        let level = guest.state().process.0.log.level;
        guest.write_word(level_at, level as u32)
    })
}

fn current_time(mut caller: Guest<'_>, time_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetCurrentTime, |guest| {
        let time = nanoseconds(guest.state().process.clock().wall());
        guest.write(time_at, &time.to_le_bytes())
    })
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The timer is the root's; a period of 0 ends it. A running timer keeps its next time.
fn set_tick_period(mut caller: Guest<'_>, milliseconds: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetTickPeriod, |guest| {
        let state = guest.state();
        let root = state.root_id();
        if milliseconds == 0 {
            state.ticks.remove(&root);
            return Ok(());
        }
        let period = Duration::from_millis(u64::from(milliseconds));
        let due = state.process.clock().monotonic().saturating_add(period);
        state.ticks.entry(root).and_modify(|tick| tick.period = period).or_insert(Tick { period, due });
        Ok(())
    })
}

fn status(mut caller: Guest<'_>, code_at: u32, address_at: u32, size_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetStatus, |guest| {
        for place in [code_at, address_at, size_at] {
            guest.check(place, 4)?;
        }
        let (code, message) = guest.state().status;
        guest.give(message.as_bytes(), address_at, size_at)?;
        guest.write_word(code_at, code)
    })
}

fn set_effective_context(mut caller: Guest<'_>, context: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::SetEffectiveContext, |guest| {
        let state = guest.state();
        if !state.contexts.contains_key(&context) {
            return Err(Status::BadArgument.into());
        }
        state.effective = context;
        Ok(())
    })
}

/// `NotFound` unless the root has been asked whether it is done and said no; streams are not
/// waited for, as in Envoy.
fn done(mut caller: Guest<'_>) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::Done, |guest| {
        let state = guest.state();
        let root = state.root_id();
        if !state.root_context(root).is_some_and(|root| root.finishing) {
            return Err(Status::NotFound.into());
        }
        state.actions.push(Action::Done { root });
        Ok(())
    })
}

/// The result's places may be null: then the guest does not want it.
fn call_foreign_function(
    mut caller: Guest<'_>,
    name: u32,
    name_size: u32,
    argument: u32,
    size: u32,
    address_at: u32,
    size_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::CallForeignFunction, |guest| {
        let (name, argument) = (guest.bytes(name, name_size)?, guest.bytes(argument, size)?);
        guest.check(address_at, 4)?;
        guest.check(size_at, 4)?;
        guest.about(&name);
        let name = guest.state().process.foreign_function(&name).ok_or(Status::NotFound)?;
        let result = foreign::call(name, &argument)?;
        if address_at == 0 || size_at == 0 {
            return Ok(());
        }
        guest.give(&result, address_at, size_at)
    })
}

fn define_metric(
    mut caller: Guest<'_>,
    kind: u32,
    name: u32,
    size: u32,
    id_at: u32,
) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::DefineMetric, |guest| {
        let name = guest.bytes(name, size)?;
        guest.check(id_at, 4)?;
        guest.about(&name);
        let id = guest.state().process.0.metrics.define(kind, &name)?;
        guest.write_word(id_at, id)
    })
}

fn metric(mut caller: Guest<'_>, id: u32, value_at: u32) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::GetMetric, |guest| {
        let value = guest.state().process.0.metrics.value(id)?;
        guest.write(value_at, &value.to_le_bytes())
    })
}

fn record_metric(mut caller: Guest<'_>, id: u32, value: u64) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::RecordMetric, |guest| {
        Ok(guest.state().process.0.metrics.record(id, value)?)
    })
}

fn increment_metric(mut caller: Guest<'_>, id: u32, by: i64) -> wasmtime::Result<u32> {
    answer(&mut caller, HostCall::IncrementMetric, |guest| {
        Ok(guest.state().process.0.metrics.increment(id, by)?)
    })
}

/// Fills bytes from the process's randomness; `false` when there is none.
pub(super) fn randomness(state: &State, bytes: &mut [u8]) -> bool {
    lock(&state.process.0.random).fill(bytes)
}
