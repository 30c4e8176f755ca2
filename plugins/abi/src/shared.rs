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

/// Makes the value under `key` where there is none; one that is there stays as it is, whoever made it
/// and when.
///
/// # Errors
///
/// [`Refused`] where the host fails.
pub fn create(key: &str, value: &[u8]) -> Result<(), Refused> {
    // A version is compared only where there is a value. This one is the last before versions begin
    // anew: that a value has just it when a VM starts is one case in four billion.
    match set(key, value, u32::MAX) {
        Err(Refused::CAS_MISMATCH) => Ok(()),
        done => done,
    }
}

/// What becomes of a shared value, and what comes of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    Keep(T),
    /// It becomes this, if it is still what it was; if not, `change` asks again.
    Set(Vec<u8>, T),
}

/// Changes the value under `key`, which exists, as `act` says. Other workers may be faster `tries`
/// times in a row.
///
/// # Errors
///
/// [`Refused::CAS_MISMATCH`] where others were faster each time, [`Refused::NOT_FOUND`] where there is
/// no value, another [`Refused`] of `act` or where the host fails.
pub fn change<T>(
    key: &str,
    tries: u8,
    mut act: impl FnMut(&[u8]) -> Result<Change<T>, Refused>,
) -> Result<T, Refused> {
    for _ in 0..tries {
        let found = get(key)?.ok_or(Refused::NOT_FOUND)?;
        match act(&found.value)? {
            Change::Keep(result) => return Ok(result),
            Change::Set(value, result) => match set(key, &value, found.version) {
                Ok(()) => return Ok(result),
                Err(Refused::CAS_MISMATCH) => {}
                Err(refused) => return Err(refused),
            },
        }
    }
    Err(Refused::CAS_MISMATCH)
}
