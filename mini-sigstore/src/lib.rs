//! A Sigstore for tests, in one process: a certificate authority, a certificate transparency log,
//! a transparency log of each generation, a timestamp authority and the images that they vouch
//! for. Every key comes from a seed and the time is an argument, so a test can name its bytes.
//!
//! [`Sigstore`] is one instance with its own roots: [`Sigstore::trusted_root`] is what a verifier
//! is told to trust. [`Signing`] makes one signature; [`Fault`]s make it a forgery of one kind.
//! [`Image`] and [`Layout`] are what lies in a registry, and [`registry`] is a real one.
//!
//! Whether it speaks Sigstore is not its own judgement: its tests ask `sigstore-js` and
//! `sigstore-python` to accept what is good and to refuse what is not.
//!
//! # What this crate does not do
//!
//! It verifies nothing, keeps nothing secret (a seed makes all keys), and serves no API: nobody
//! can sign with it over a network. It is for tests and never part of a module.

mod bundle;
mod certificate;
mod der;
mod fault;
mod identity;
mod image;
mod key;
mod layout;
mod merkle;
mod note;
pub mod registry;
mod rekor;
mod root;
mod sct;
mod signing;
mod sigstore;
mod timestamp;

pub use bundle::{Bundle, Version};
pub use certificate::{Certificate, Purpose, StampingCertificate};
pub use fault::Fault;
pub use identity::{Identity, Name};
pub use image::{Blob, Image, SIMPLE_SIGNING, simple_signing};
pub use key::{Key, KeyKind};
pub use layout::{Layout, Upload};
pub use rekor::Log;
pub use signing::{Content, Signature, Signer, Signing};
pub use sigstore::{START, Sigstore};
pub use timestamp::{TimestampStyle, TokenFault};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// The base64 of RFC 4648 section 4, as all of Sigstore's documents have it.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes.as_ref()).into()
}
