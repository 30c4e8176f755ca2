//! The calls of WASI preview 1 that Envoy offers, with Envoy's answers.
//!
//! Standard output and error go to the log, time is the process's clock, randomness is the
//! process's; there are no files, no arguments and no sockets.

use super::plain::{nanoseconds, randomness};
use super::{Guest, HostCall, keep, perform};
use crate::state::State;
use crate::status::{Failure, LogLevel, Status};
use wasmtime::{Caller, Linker};

const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const EFAULT: u32 = 21;
const EIO: u32 = 29;
const ENOENT: u32 = 44;
const ENOSYS: u32 = 52;
const ENOTSUP: u32 = 58;

/// Bytes that one `fd_write` puts into the log; the rest is swallowed.
const MAX_LINE: usize = 64 << 10;

/// Bytes that one `random_get` gives.
const MAX_RANDOM: u32 = 1 << 20;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        linker.func_wrap(module, "fd_write", fd_write)?;
        linker.func_wrap(module, "random_get", random_get)?;
        linker.func_wrap(module, "clock_time_get", clock_time_get)?;
        linker.func_wrap(module, "clock_res_get", clock_res_get)?;
        linker.func_wrap(module, "environ_sizes_get", environ_sizes_get)?;
        linker.func_wrap(module, "environ_get", environ_get)?;
        linker.func_wrap(module, "args_sizes_get", args_sizes_get)?;
        linker.func_wrap(module, "args_get", |mut caller: Caller<'_, State>, _: u32, _: u32| {
            errno(&mut caller, HostCall::ArgsGet, |_| Ok(SUCCESS))
        })?;
        linker.func_wrap(module, "fd_fdstat_get", fd_fdstat_get)?;
        linker.func_wrap(module, "proc_exit", proc_exit)?;
        link_constant(linker, module)?;
    }
    Ok(())
}

/// The calls whose answer is always the same.
fn link_constant(linker: &mut Linker<State>, module: &str) -> wasmtime::Result<()> {
    macro_rules! constant {
        ($($name:literal ($($kind:ty),*) = $errno:expr;)*) => {
            $(linker.func_wrap(module, $name, |mut caller: Caller<'_, State>, $(_: $kind),*| {
                errno(&mut caller, HostCall::OtherWasi, |_| Ok($errno))
            })?;)*
        };
    }
    constant! {
        "sched_yield"() = SUCCESS;
        "fd_seek"(u32, u64, u32, u32) = SUCCESS;
        "fd_close"(u32) = SUCCESS;
        "fd_prestat_get"(u32, u32) = EBADF;
        "fd_read"(u32, u32, u32, u32) = ENOSYS;
        "fd_fdstat_set_flags"(u32, u32) = ENOSYS;
        "fd_fdstat_set_rights"(u32, u64, u64) = ENOSYS;
        "poll_oneoff"(u32, u32, u32, u32) = ENOSYS;
        "path_open"(u32, u32, u32, u32, u32, u64, u64, u32, u32) = ENOENT;
        "path_filestat_get"(u32, u32, u32, u32, u32) = ENOSYS;
        "path_create_directory"(u32, u32, u32) = ENOSYS;
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32) = ENOSYS;
        "path_link"(u32, u32, u32, u32, u32, u32, u32) = ENOSYS;
        "path_readlink"(u32, u32, u32, u32, u32, u32) = ENOSYS;
        "path_remove_directory"(u32, u32, u32) = ENOSYS;
        "path_rename"(u32, u32, u32, u32, u32, u32) = ENOSYS;
        "path_symlink"(u32, u32, u32, u32, u32) = ENOSYS;
        "path_unlink_file"(u32, u32, u32) = ENOSYS;
        "fd_prestat_dir_name"(u32, u32, u32) = ENOSYS;
        "fd_filestat_get"(u32, u32) = ENOSYS;
        "fd_advise"(u32, u64, u64, u32) = ENOSYS;
        "fd_allocate"(u32, u64, u64) = ENOSYS;
        "fd_datasync"(u32) = ENOSYS;
        "fd_filestat_set_size"(u32, u64) = ENOSYS;
        "fd_filestat_set_times"(u32, u64, u64, u32) = ENOSYS;
        "fd_pread"(u32, u32, u32, u64, u32) = ENOSYS;
        "fd_pwrite"(u32, u32, u32, u64, u32) = ENOSYS;
        "fd_readdir"(u32, u32, u32, u64, u32) = ENOSYS;
        "fd_renumber"(u32, u32) = ENOSYS;
        "fd_sync"(u32) = ENOSYS;
        "fd_tell"(u32, u32) = ENOSYS;
        "sock_accept"(u32, u32, u32) = ENOSYS;
        "sock_recv"(u32, u32, u32, u32, u32, u32) = ENOSYS;
        "sock_send"(u32, u32, u32, u32, u32) = ENOSYS;
        "sock_shutdown"(u32, u32) = ENOSYS;
    }
    Ok(())
}

/// `answer` for calls whose result is an errno: a bad address is `EFAULT`, a refusal `EIO`.
fn errno(
    caller: &mut Caller<'_, State>,
    call: HostCall,
    act: impl FnOnce(&mut Guest<'_, '_>) -> Result<u32, Failure>,
) -> wasmtime::Result<u32> {
    let mut code = SUCCESS;
    let result = perform(caller, call, |guest| {
        code = act(guest)?;
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(Failure::Status(Status::InvalidMemoryAccess)) => code = EFAULT,
        Err(Failure::Status(_)) => code = EIO,
        Err(Failure::Trap(error)) => return Err(error),
    }
    keep(caller, call, code);
    Ok(code)
}

fn fd_write(
    mut caller: Caller<'_, State>,
    fd: u32,
    vectors: u32,
    count: u32,
    written_at: u32,
) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::FdWrite, |guest| {
        let level = match fd {
            1 => LogLevel::Info,
            2 => LogLevel::Error,
            _ => return Ok(EBADF),
        };
        let table = guest.bytes(vectors, count.checked_mul(8).ok_or(Status::InvalidMemoryAccess)?)?;
        guest.check(written_at, 4)?;
        let (mut line, mut written) = (Vec::new(), 0_u32);
        for vector in table.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *vector;
            let (address, size) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            let bytes = guest.slice(address, size)?;
            let room = MAX_LINE.saturating_sub(line.len());
            line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            written = written.saturating_add(size);
        }
        if !line.is_empty() {
            guest.state().write_log(level, line.strip_suffix(b"\n").unwrap_or(&line));
        }
        guest.write_word(written_at, written)?;
        Ok(SUCCESS)
    })
}

fn random_get(mut caller: Caller<'_, State>, address: u32, size: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::RandomGet, |guest| {
        guest.check(address, size)?;
        if size > MAX_RANDOM {
            return Ok(EIO);
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| Status::InvalidMemoryAccess)?];
        if !randomness(guest.state(), &mut bytes) {
            return Ok(EIO);
        }
        guest.write(address, &bytes)?;
        Ok(SUCCESS)
    })
}

/// The wall clock (0) and the monotonic one (1), as Envoy since 1.23 offers them.
fn clock_time_get(
    mut caller: Caller<'_, State>,
    clock: u32,
    _precision: u64,
    time_at: u32,
) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::ClockTimeGet, |guest| {
        let clocks = guest.state().process.clock();
        let time = match clock {
            0 => clocks.wall(),
            1 => clocks.monotonic(),
            _ => return Ok(ENOTSUP),
        };
        guest.write(time_at, &nanoseconds(time).to_le_bytes())?;
        Ok(SUCCESS)
    })
}

/// A nanosecond, whatever the clock.
fn clock_res_get(mut caller: Caller<'_, State>, clock: u32, resolution_at: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::OtherWasi, |guest| {
        if clock > 1 {
            return Ok(ENOTSUP);
        }
        guest.write(resolution_at, &1_u64.to_le_bytes())?;
        Ok(SUCCESS)
    })
}

fn environment(guest: &mut Guest<'_, '_>) -> Vec<Vec<u8>> {
    let variables = &guest.state().process.0.environment;
    variables.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

fn environ_sizes_get(mut caller: Caller<'_, State>, count_at: u32, size_at: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::EnvironSizesGet, |guest| {
        let variables = environment(guest);
        let size = variables.iter().fold(0_usize, |sum, variable| sum.saturating_add(variable.len()));
        guest.check(size_at, 4)?;
        guest.write_word(count_at, u32::try_from(variables.len()).unwrap_or(u32::MAX))?;
        guest.write_word(size_at, u32::try_from(size).unwrap_or(u32::MAX))?;
        Ok(SUCCESS)
    })
}

fn environ_get(mut caller: Caller<'_, State>, table: u32, buffer: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::EnvironGet, |guest| {
        let (mut table, mut buffer) = (table, buffer);
        for variable in environment(guest) {
            guest.write_word(table, buffer)?;
            guest.write(buffer, &variable)?;
            let size = u32::try_from(variable.len()).map_err(|_| Status::InvalidMemoryAccess)?;
            buffer = buffer.checked_add(size).ok_or(Status::InvalidMemoryAccess)?;
            table = table.checked_add(4).ok_or(Status::InvalidMemoryAccess)?;
        }
        Ok(SUCCESS)
    })
}

fn args_sizes_get(mut caller: Caller<'_, State>, count_at: u32, size_at: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::ArgsSizesGet, |guest| {
        guest.check(size_at, 4)?;
        guest.write_word(count_at, 0)?;
        guest.write_word(size_at, 0)?;
        Ok(SUCCESS)
    })
}

/// Standard output and error are character devices that can be written.
fn fd_fdstat_get(mut caller: Caller<'_, State>, fd: u32, stat_at: u32) -> wasmtime::Result<u32> {
    errno(&mut caller, HostCall::FdFdstatGet, |guest| {
        if fd != 1 && fd != 2 {
            return Ok(EBADF);
        }
        let mut stat = [0; 24];
        // The rights start at byte 8; 64 is `fd_write`.
        stat[8] = 64;
        guest.write(stat_at, &stat)?;
        Ok(SUCCESS)
    })
}

fn proc_exit(mut caller: Caller<'_, State>, code: u32) -> wasmtime::Result<()> {
    let recorder = &caller.data().process.0.recorder;
    recorder.count(HostCall::ProcExit as usize);
    keep(&mut caller, HostCall::ProcExit, code);
    Err(wasmtime::Error::msg(format!("the guest called proc_exit({code})")))
}
