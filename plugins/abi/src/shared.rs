//! What the workers of one proxy share: values with compare-and-swap, and queues.
//!
//! Keys are the plugin's own, never a client's: a value cannot be deleted.

use crate::{Refused, sys};

/// A shared value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The value.
    pub value: Vec<u8>,
    /// What [`set`] compares with.
    pub version: u32,
}

/// The value under `key`; `None` where there is none yet.
///
/// # Errors
///
/// [`Refused`] where the host fails otherwise.
pub fn get(key: &str) -> Result<Option<Shared>, Refused> {
    match sys::shared_data(key.as_bytes()) {
        Ok((value, version)) => Ok(Some(Shared { value, version })),
        Err(Refused::NOT_FOUND) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Sets the value under `key`, if its version is still `version`; 0 sets it in any case.
///
/// # Errors
///
/// [`Refused::CAS_MISMATCH`] where somebody else was faster, another [`Refused`] where the host
/// fails.
pub fn set(key: &str, value: &[u8], version: u32) -> Result<(), Refused> {
    sys::set_shared_data(key.as_bytes(), value, version)
}

/// A queue that wakes one worker for each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue(u32);

impl Queue {
    /// The queue called `name`; the calling root context is woken by its messages.
    ///
    /// # Errors
    ///
    /// [`Refused`] where the host offers no queues.
    pub fn register(name: &str) -> Result<Self, Refused> {
        sys::register_queue(name.as_bytes()).map(Self)
    }

    /// The id that `on_queue_ready` is called with.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.0
    }

    /// Appends a message.
    ///
    /// # Errors
    ///
    /// [`Refused`] where the queue is gone.
    pub fn enqueue(self, message: &[u8]) -> Result<(), Refused> {
        sys::enqueue(self.0, message)
    }

    /// Takes the first message, if there is one.
    ///
    /// # Errors
    ///
    /// [`Refused`] where the queue is gone.
    pub fn dequeue(self) -> Result<Option<Vec<u8>>, Refused> {
        const EMPTY: Refused = Refused(7);
        match sys::dequeue(self.0) {
            Ok(message) => Ok(Some(message)),
            Err(EMPTY) => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}
