//! The imports, each behind a safe function that answers a refusal as a value.
//!
//! Statuses are read as numbers: the SDK's enum would be undefined behaviour for one that it does
//! not know. Outside wasm every call is refused, so the crates above build and test natively.
#![expect(unsafe_code, reason = "calling the host is a foreign call; nothing else in the plugins is unsafe")]

use std::{fmt, ptr};

/// A host call that was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u32);

impl Refused {
    /// The host has nothing under the name.
    pub const NOT_FOUND: Self = Self(1);
    /// What the host wrote cannot be read.
    pub const UNREADABLE: Self = Self(4);
    /// A shared value was changed by somebody else in the meantime.
    pub const CAS_MISMATCH: Self = Self(8);
    /// The host does not offer the call.
    pub const UNIMPLEMENTED: Self = Self(12);
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host refused the call with status {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// `proxy_buffer_type_t`: the request's body.
pub(crate) const HTTP_REQUEST_BODY: u32 = 0;
/// `proxy_buffer_type_t`: the response's body.
pub(crate) const HTTP_RESPONSE_BODY: u32 = 1;
/// `proxy_buffer_type_t`: the body of an HTTP call's response.
pub(crate) const HTTP_CALL_RESPONSE_BODY: u32 = 4;
/// `proxy_buffer_type_t`: the plugin's configuration.
pub(crate) const PLUGIN_CONFIGURATION: u32 = 7;

macro_rules! imports {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {
        #[cfg(target_arch = "wasm32")]
        mod import {
            #[link(wasm_import_module = "env")]
            unsafe extern "C" {
                $(pub(super) fn $name($($argument: $type),*) -> u32;)*
            }
        }

        #[cfg(not(target_arch = "wasm32"))]
        #[expect(clippy::too_many_arguments, reason = "the ABI has them")]
        mod import {
            $(pub(super) unsafe fn $name($(_: $type),*) -> u32 { super::Refused::UNIMPLEMENTED.0 })*
        }
    };
}

imports! {
    fn proxy_log(level: u32, message: *const u8, size: usize);
    fn proxy_get_log_level(level: *mut u32);
    fn proxy_get_current_time_nanoseconds(time: *mut u64);
    fn proxy_set_tick_period_milliseconds(period: u32);
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize);
    fn proxy_set_buffer_bytes(kind: u32, start: usize, replaced: usize, data: *const u8, size: usize);
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize);
    fn proxy_replace_header_map_value(
        map: u32, name: *const u8, name_size: usize, value: *const u8, value_size: usize,
    );
    fn proxy_add_header_map_value(
        map: u32, name: *const u8, name_size: usize, value: *const u8, value_size: usize,
    );
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize);
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize);
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize);
    fn proxy_get_shared_data(
        key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, cas: *mut u32,
    );
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, cas: u32);
    fn proxy_continue_stream(kind: u32);
    fn proxy_send_local_response(
        status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize,
        headers: *const u8, headers_size: usize, grpc_status: i32,
    );
    fn proxy_set_effective_context(id: u32);
    fn proxy_call_foreign_function(
        name: *const u8, name_size: usize, argument: *const u8, argument_size: usize,
        data: *mut *mut u8, size: *mut usize,
    );
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32);
    fn proxy_increment_metric(id: u32, offset: i64);
    fn proxy_record_metric(id: u32, value: u64);
}

/// WASI's clock, of which Envoy and other hosts offer the monotonic one as well.
#[cfg(target_arch = "wasm32")]
mod wasi {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod wasi {
    pub(super) unsafe fn clock_time_get(_: u32, _: u64, _: *mut u64) -> u32 {
        super::Refused::UNIMPLEMENTED.0
    }
}

pub(crate) fn monotonic_nanoseconds() -> Result<u64, Refused> {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: as below.
    done(unsafe { wasi::clock_time_get(MONOTONIC, 1, &raw mut time) }).map(|()| time)
}

fn done(status: u32) -> Result<(), Refused> {
    if status == 0 { Ok(()) } else { Err(Refused(status)) }
}

/// Runs a call that writes an address and a size, and takes over the memory.
fn owned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Refused> {
    let mut data: *mut u8 = ptr::null_mut();
    let mut size: usize = 0;
    done(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host wrote into memory that it got from `proxy_on_memory_allocate`, which is
    // the SDK's: a boxed slice of exactly this size from the global allocator. Nobody else has it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

pub(crate) fn log(level: u32, message: &[u8]) -> Result<(), Refused> {
    // SAFETY (here and below): the addresses and sizes are those of live slices and locals, and
    // the host neither keeps nor writes beyond them.
    done(unsafe { import::proxy_log(level, message.as_ptr(), message.len()) })
}

pub(crate) fn log_level() -> Result<u32, Refused> {
    let mut level = 0;
    done(unsafe { import::proxy_get_log_level(&raw mut level) }).map(|()| level)
}

pub(crate) fn current_time_nanoseconds() -> Result<u64, Refused> {
    let mut time = 0;
    done(unsafe { import::proxy_get_current_time_nanoseconds(&raw mut time) }).map(|()| time)
}

pub(crate) fn set_tick_period(milliseconds: u32) -> Result<(), Refused> {
    done(unsafe { import::proxy_set_tick_period_milliseconds(milliseconds) })
}

pub(crate) fn buffer(kind: u32, max: usize) -> Result<Vec<u8>, Refused> {
    buffer_from(kind, 0, max)
}

pub(crate) fn buffer_from(kind: u32, start: usize, max: usize) -> Result<Vec<u8>, Refused> {
    owned(|data, size| unsafe { import::proxy_get_buffer_bytes(kind, start, max, data, size) })
}

pub(crate) fn set_buffer(kind: u32, replaced: usize, data: &[u8]) -> Result<(), Refused> {
    done(unsafe { import::proxy_set_buffer_bytes(kind, 0, replaced, data.as_ptr(), data.len()) })
}

pub(crate) fn header_map_pairs(map: u32) -> Result<Vec<u8>, Refused> {
    owned(|data, size| unsafe { import::proxy_get_header_map_pairs(map, data, size) })
}

pub(crate) fn replace_header(map: u32, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    done(unsafe {
        import::proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn add_header(map: u32, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    done(unsafe {
        import::proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_header(map: u32, name: &[u8]) -> Result<(), Refused> {
    done(unsafe { import::proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

pub(crate) fn property(path: &[u8]) -> Result<Vec<u8>, Refused> {
    owned(|data, size| unsafe { import::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<(), Refused> {
    done(unsafe { import::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn shared_data(key: &[u8]) -> Result<(Vec<u8>, u32), Refused> {
    let mut cas = 0;
    let value = owned(|data, size| unsafe {
        import::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Ok((value, cas))
}

pub(crate) fn set_shared_data(key: &[u8], value: &[u8], cas: u32) -> Result<(), Refused> {
    done(unsafe { import::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

pub(crate) fn continue_request() -> Result<(), Refused> {
    // `proxy_stream_type_t`: 0 is the HTTP request.
    done(unsafe { import::proxy_continue_stream(0) })
}

pub(crate) fn continue_response() -> Result<(), Refused> {
    // `proxy_stream_type_t`: 1 is the HTTP response.
    done(unsafe { import::proxy_continue_stream(1) })
}

pub(crate) fn send_local_response(
    status: u32,
    details: &[u8],
    headers: &[u8],
    body: &[u8],
) -> Result<(), Refused> {
    // No gRPC status: the host derives one from the HTTP status where the request is gRPC.
    let no_grpc_status = -1;
    done(unsafe {
        import::proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            no_grpc_status,
        )
    })
}

pub(crate) fn set_effective_context(id: u32) -> Result<(), Refused> {
    done(unsafe { import::proxy_set_effective_context(id) })
}

pub(crate) fn foreign(name: &[u8], argument: &[u8]) -> Result<Vec<u8>, Refused> {
    owned(|data, size| unsafe {
        import::proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument.as_ptr(),
            argument.len(),
            data,
            size,
        )
    })
}

pub(crate) fn define_metric(kind: u32, name: &[u8]) -> Result<u32, Refused> {
    let mut id = 0;
    done(unsafe { import::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) }).map(|()| id)
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), Refused> {
    done(unsafe { import::proxy_increment_metric(id, offset) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Refused> {
    done(unsafe { import::proxy_record_metric(id, value) })
}
