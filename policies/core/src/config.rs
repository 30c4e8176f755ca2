//! Reading configurations: every error names the place in the document and what would be right.

use alloc::string::{String, ToString};
use core::fmt;

use serde::Deserialize;

mod claim;
pub mod duration;

pub use claim::ClaimNames;

/// Why a configuration was refused: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    reason: String,
}

impl ConfigError {
    /// `reason` is a sentence without a capital: what is wrong and what would be right.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The place in the document, such as `issuers[0].jwks.remote.uri`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there and what would be right.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.reason)
    }
}

impl core::error::Error for ConfigError {}

/// Reads the document's shape as `T` has it.
///
/// # Errors
///
/// [`ConfigError`] where the document is not UTF-8 JSON or not a `T`: for a `T` that denies
/// unknown fields, unknown, missing and repeated members with their path.
pub fn read<'d, T: Deserialize<'d>>(document: &'d [u8]) -> Result<T, ConfigError> {
    // serde_json finds a wrong UTF-8 byte only inside strings that it reads.
    let text = core::str::from_utf8(document)
        .map_err(|error| ConfigError::new(".", alloc::format!("{error}; the configuration is UTF-8 JSON")))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| ConfigError::new(known(&error.path().to_string()), error.inner().to_string()))?;
    deserializer.end().map_err(|error| ConfigError::new(".", error.to_string()))?;
    Ok(config)
}

/// The document's root where the reader has no better place: it says `?` for a cut document.
fn known(path: &str) -> &str {
    if path == "?" { "." } else { path }
}
