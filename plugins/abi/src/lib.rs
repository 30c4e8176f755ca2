//! The only place that makes proxy-wasm host calls.
//!
//! The Rust SDK dispatches the callbacks; its host calls are not used where they panic: on a byte
//! that is not UTF-8, or on a status that it does not expect. Here every refusal is a value.
//!
//! # What this crate does not do
//!
//! It decides nothing. What a filter does with a refused call is the filter's business.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod http;
pub mod log;
pub mod metrics;
mod pairs;
pub mod reply;
pub mod shared;
mod sys;
pub mod verify;

use std::{rc::Rc, time::Duration};

use portcullis_core::UnixTime;
pub use sys::Refused;

/// The time that the host's clock shows.
///
/// # Errors
///
/// [`Refused`] where the host does not tell.
pub fn now() -> Result<UnixTime, Refused> {
    sys::current_time_nanoseconds().map(|nanos| UnixTime::from_nanos(nanos.into()))
}

/// Nanoseconds on a clock that never goes back and that all workers of a proxy share.
///
/// # Errors
///
/// [`Refused`] where the host does not tell.
pub fn monotonic() -> Result<u64, Refused> {
    sys::monotonic_nanoseconds()
}

/// Asks for `on_tick` every `period`; zero stops it.
///
/// # Errors
///
/// [`Refused`] where the host offers no timer.
pub fn set_tick_period(period: Duration) -> Result<(), Refused> {
    sys::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX))
}

/// The configuration of this plugin, as bytes.
///
/// # Errors
///
/// [`Refused`] where the host does not give it; an empty configuration is empty bytes.
pub fn plugin_configuration(size: usize) -> Result<Vec<u8>, Refused> {
    if size == 0 {
        return Ok(Vec::new());
    }
    sys::buffer(sys::PLUGIN_CONFIGURATION, size)
}

/// Puts a configuration that was read to work, or says in the log why it is refused: then what `place`
/// has stays at work. What a filter answers in `on_configure`.
pub fn take_up<T>(place: &mut Option<Rc<T>>, read: Result<T, String>) -> bool {
    match read {
        Ok(configured) => {
            *place = Some(Rc::new(configured));
            true
        }
        Err(reason) => {
            log::write(log::Level::Error, || format!("configuration refused: {reason}"));
            false
        }
    }
}

/// Makes the following calls act on the context with this id.
///
/// # Errors
///
/// [`Refused`] where there is no such context any more.
pub fn set_effective_context(id: u32) -> Result<(), Refused> {
    sys::set_effective_context(id)
}

/// Publishes `value` to the later filters of the stream under `path`.
///
/// # Errors
///
/// [`Refused`] where the host does not take it.
pub fn set_property(path: &[&str], value: &[u8]) -> Result<(), Refused> {
    sys::set_property(path.join("\0").as_bytes(), value)
}

/// What the host knows under `path`; `None` where it knows nothing.
///
/// # Errors
///
/// [`Refused`] where the host fails otherwise.
pub fn property(path: &[&str]) -> Result<Option<Vec<u8>>, Refused> {
    match sys::property(path.join("\0").as_bytes()) {
        Ok(value) => Ok(Some(value)),
        Err(Refused::NOT_FOUND) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Calls a function that this host offers beyond the standard.
///
/// # Errors
///
/// [`Refused`] where there is none of this name, or it fails.
pub fn foreign(name: &str, argument: &[u8]) -> Result<Vec<u8>, Refused> {
    sys::foreign(name.as_bytes(), argument)
}
