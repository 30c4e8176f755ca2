//! Why one key of a set is not used, and what is remarkable about one that is.

use alloc::string::String;
use core::fmt;

use portcullis_crypto::{Algorithm, KeyError, KeyType};

use crate::json::JsonError;

/// Characters of the document's own words that a message repeats.
const QUOTED: usize = 64;

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub(super) index: usize,
    pub(super) kid: Option<String>,
    pub(super) reason: Reason,
}

impl LeftOut {
    /// The key's place in `keys`, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The key's name, where it has one that is sound.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Why it is not used.
    #[must_use]
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, self.index, self.kid())?;
        write!(f, " is left out: {}", self.reason)
    }
}

/// A remark about a key that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The key's place in `keys`, from 0.
    pub index: usize,
    /// The key's name, where it has one.
    pub kid: Option<String>,
    /// What is remarkable.
    pub remark: Remark,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, self.index, self.kid.as_deref())?;
        write!(f, " {}", self.remark)
    }
}

/// What can be remarkable about a key that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The key has private members, in a configuration. Only its public half is used.
    PrivateMembers,
    /// `x5c` cannot be read. It is not needed: certificates are never used.
    CertificateUnreadable,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateMembers => {
                "has private members, which do not belong here; only its public half is used: remove them, and \
                 replace the key if others can read this"
            }
            Self::CertificateUnreadable => "has an `x5c` that cannot be read; it is not used",
        })
    }
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The element is not a JSON object with unique names and bounded depth.
    NotAnObject(JsonError),
    /// A member is missing.
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is not of the type that it must have (RFC 7517 section 4).
    WrongType {
        /// Its name.
        member: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// `kid` is longer than [`super::Limits::kid_bytes`].
    KidTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The key type is none that signatures of ours are verified with, for instance `AKP`.
    UnknownType(String),
    /// The curve is none that signatures of ours are verified with, for instance `secp256k1`.
    UnknownCurve(String),
    /// `alg` is none of ours, for instance `RSA-OAEP`.
    UnknownAlgorithm(String),
    /// `alg` is not an algorithm for the key's type, curve or length (RFC 8725 section 3.1).
    AlgorithmDoesNotFit {
        /// The key's `alg`.
        algorithm: Algorithm,
        /// What the key is.
        key: KeyType,
    },
    /// `use` is not `sig` (RFC 7517 section 4.2).
    UseIsNotSignature(String),
    /// `key_ops` does not have `verify`, or has an operation twice (RFC 7517 section 4.3).
    OperationsWithoutVerify,
    /// A shared secret that was read from an address.
    SecretFromAddress,
    /// Private members that were read from an address: whoever can read it can sign.
    PrivateKeyFromAddress,
    /// A number in base64 with `+`, `/` or `=` instead of base64url (RFC 7515 section 2).
    StandardBase64 {
        /// The member.
        member: &'static str,
    },
    /// A number that is not canonical base64url.
    NotBase64Url {
        /// The member.
        member: &'static str,
    },
    /// The numbers are no sound key.
    Key(KeyError),
    /// The first certificate of `x5c` is for another key (RFC 7517 section 4.7).
    CertificateOfAnotherKey,
    /// The same key with the same `kid` and `alg` is in the set already.
    Repeated,
    /// More keys have this `kid` than [`super::Limits::keys_per_kid`].
    TooManyNamesakes {
        /// The limit.
        limit: usize,
    },
}

impl Reason {
    /// A name for counters and findings: lower snake case, stable.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotAnObject(_) => "not_an_object",
            Self::Missing { .. } => "member_missing",
            Self::WrongType { .. } => "member_type",
            Self::KidTooLong { .. } => "kid_too_long",
            Self::UnknownType(_) => "unknown_kty",
            Self::UnknownCurve(_) => "unknown_crv",
            Self::UnknownAlgorithm(_) => "unknown_alg",
            Self::AlgorithmDoesNotFit { .. } => "alg_does_not_fit",
            Self::UseIsNotSignature(_) => "use_is_not_sig",
            Self::OperationsWithoutVerify => "key_ops_without_verify",
            Self::SecretFromAddress => "secret_from_address",
            Self::PrivateKeyFromAddress => "private_key_from_address",
            Self::StandardBase64 { .. } => "standard_base64",
            Self::NotBase64Url { .. } => "not_base64url",
            Self::Key(_) => "unsound_key",
            Self::CertificateOfAnotherKey => "x5c_of_another_key",
            Self::Repeated => "repeated",
            Self::TooManyNamesakes { .. } => "too_many_namesakes",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(error) => write!(f, "{error}; a key is an object with unique member names"),
            Self::Missing { member } => write!(f, "`{member}` is missing"),
            Self::WrongType { member, wanted } => write!(f, "`{member}` must be {wanted}"),
            Self::KidTooLong { bytes, limit } => write!(f, "`kid` has {bytes} bytes; it may have {limit}"),
            Self::UnknownType(kty) => {
                write!(f, "`kty` is `{}`; RSA, EC, OKP and (inline) oct are known", Quoted(kty))
            }
            Self::UnknownCurve(crv) => {
                write!(f, "`crv` is `{}`; P-256, P-384, P-521 and Ed25519 are known", Quoted(crv))
            }
            Self::UnknownAlgorithm(alg) => {
                write!(f, "`alg` is `{}`, which is not a signature algorithm that is known", Quoted(alg))
            }
            Self::AlgorithmDoesNotFit { algorithm, key } => {
                write!(f, "`alg` is {algorithm}, which this {key} key is not fit for")
            }
            Self::UseIsNotSignature(usage) => write!(f, "`use` is `{}`; it must be `sig`", Quoted(usage)),
            Self::OperationsWithoutVerify => f.write_str("`key_ops` must have `verify`, and nothing twice"),
            Self::SecretFromAddress => {
                f.write_str("a shared secret that comes from a URL is no secret; configure it inline")
            }
            Self::PrivateKeyFromAddress => {
                f.write_str("its private members are published, so anybody can sign with it; replace the key")
            }
            Self::StandardBase64 { member } => {
                write!(f, "`{member}` is standard base64; it must be base64url (`-` and `_`, no `=`)")
            }
            Self::NotBase64Url { member } => {
                write!(f, "`{member}` is not base64url without padding and with zero trailing bits")
            }
            Self::Key(error) => write!(f, "{error}"),
            Self::CertificateOfAnotherKey => f.write_str("the first certificate of `x5c` is for another key"),
            Self::Repeated => f.write_str("the same key is in the set already"),
            Self::TooManyNamesakes { limit } => write!(f, "{limit} other keys have the same `kid`"),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, index: usize, kid: Option<&str>) -> fmt::Result {
    match kid {
        Some(kid) => write!(f, "key {index} with kid `{}`", Quoted(kid)),
        None => write!(f, "key {index} without kid"),
    }
}

/// Text of a document that somebody else wrote, fit for a log line: short, and without characters
/// that start a new line or steer a terminal.
pub(crate) struct Quoted<'t>(pub(crate) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(QUOTED).flat_map(char::escape_debug) {
            write!(f, "{character}")?;
        }
        if self.0.chars().nth(QUOTED).is_some() { f.write_str("…") } else { Ok(()) }
    }
}
