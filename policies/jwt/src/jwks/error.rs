//! Why a document gives no keys at all.

use alloc::vec::Vec;
use core::fmt;

use super::LeftOut;

/// Reasons that [`KeySetError::AllLeftOut`] lists.
const REASONS: usize = 8;

/// Why a document is not a JWK Set that can be used (RFC 7517 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// There is nothing but white space.
    Empty,
    /// The document is longer than [`super::Limits::document_bytes`].
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The document is not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// The document begins like HTML or XML: usually an error or login page with status 200.
    Html,
    /// The JSON ends before it is complete: the answer was cut off.
    Truncated,
    /// The document is not JSON; where it went wrong.
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The document is JSON, and not an object.
    NotAnObject,
    /// A member of the set is there twice: two readers could take different keys from it.
    DuplicateMember,
    /// The set has no `keys`.
    KeysMissing,
    /// `keys` is not an array.
    KeysNotAnArray,
    /// `keys` is empty.
    NoKeys,
    /// `keys` has more elements than [`super::Limits::keys`].
    TooManyKeys {
        /// How many there are.
        keys: usize,
        /// The limit.
        limit: usize,
    },
    /// No key can be used.
    AllLeftOut {
        /// How many keys the set has.
        keys: usize,
        /// Why the first of them cannot be used.
        reasons: Vec<LeftOut>,
    },
}

impl KeySetError {
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::Truncated;
        }
        Self::Syntax { line: error.line(), column: error.column() }
    }

    pub(super) fn all_left_out(mut reasons: Vec<LeftOut>) -> Self {
        let keys = reasons.len();
        reasons.truncate(REASONS);
        Self::AllLeftOut { keys, reasons }
    }

    /// A name for counters: lower snake case, stable.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::Html => "html",
            Self::Truncated => "truncated",
            Self::Syntax { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateMember => "duplicate_member",
            Self::KeysMissing => "keys_missing",
            Self::KeysNotAnArray => "keys_not_an_array",
            Self::NoKeys => "no_keys",
            Self::TooManyKeys { .. } => "too_many_keys",
            Self::AllLeftOut { .. } => "all_left_out",
        }
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty; a JWK Set is an object with an array `keys`"),
            Self::TooLarge { bytes, limit } => write!(f, "{bytes} bytes; a key set may have {limit}"),
            Self::NotUtf8 => f.write_str("not UTF-8; JSON must be"),
            Self::Html => f.write_str("HTML or XML instead of JSON; is the address that of the JWK Set?"),
            Self::Truncated => f.write_str("the JSON ends before it is complete"),
            Self::Syntax { line, column } => write!(f, "not JSON at line {line}, column {column}"),
            Self::NotAnObject => f.write_str("not an object; a JWK Set is an object with an array `keys`"),
            Self::DuplicateMember => f.write_str("a member of the set is there twice; names must be unique"),
            Self::KeysMissing => f.write_str("no member `keys`; a JWK Set has its keys in an array `keys`"),
            Self::KeysNotAnArray => f.write_str("`keys` is not an array; each key is an object in it"),
            Self::NoKeys => f.write_str("`keys` is empty; no token could be verified"),
            Self::TooManyKeys { keys, limit } => write!(f, "{keys} keys; a key set may have {limit}"),
            Self::AllLeftOut { keys, reasons } => {
                write!(f, "none of the {keys} keys can be used")?;
                let mut separator = ": ";
                for reason in reasons {
                    write!(f, "{separator}{reason}")?;
                    separator = "; ";
                }
                if *keys > reasons.len() { f.write_str("; and more") } else { Ok(()) }
            }
        }
    }
}

impl core::error::Error for KeySetError {}
