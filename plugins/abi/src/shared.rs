//! What the workers of one proxy share: values with compare-and-swap.
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
