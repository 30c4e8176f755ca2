//! The log of the proxy. A line that the proxy does not take is lost, and nothing else.

use std::cell::Cell;

use crate::sys;

/// `proxy_log_level_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// For the people who build filters.
    Debug = 1,
    /// What happens normally.
    Info = 2,
    /// What an operator should look at.
    Warn = 3,
    /// What does not work.
    Error = 4,
}

/// Writes a line, made only where `level` is logged.
///
/// The level is asked for once per VM: an operator who changes it sees the effect on the lines
/// that the proxy itself filters, and on new VMs.
pub fn write(level: Level, line: impl FnOnce() -> String) {
    thread_local!(static LEVEL: Cell<Option<u32>> = const { Cell::new(None) });
    let lowest = LEVEL.get().unwrap_or_else(|| {
        let lowest = sys::log_level().unwrap_or(Level::Info as u32);
        LEVEL.set(Some(lowest));
        lowest
    });
    if level as u32 >= lowest {
        // There is nowhere to tell that the log is gone.
        let _ = sys::log(level as u32, line().as_bytes());
    }
}
