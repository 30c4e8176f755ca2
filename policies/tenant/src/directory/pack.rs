//! A directory in packed form: built once, checked by whoever takes it in, looked up in constant
//! time without being unpacked. Made for a million tenants.
//!
//! # The form
//!
//! A [`Manifest`] (JSON, some kilobytes) names the parts by their SHA-256. A part (binary, some
//! hundred kilobytes) holds pages, a page (some kilobytes) holds what hashes to it: tenants by
//! id, slugs and domains that point to a tenant, members by tenant, issuer and subject. Whoever
//! changes one tenant replaces the few parts that its names hash to, and the manifest.
//!
//! | in | is |
//! |---|---|
//! | part | `PCT1`, the number of its pages (u16), where each page ends (u32 each), the pages |
//! | page | the numbers of its aliases and items (u16 each), the aliases, the index, the items |
//! | alias | the hash of a slug or domain, the hash of its tenant's id (u64 each), by rising hash |
//! | index | the hash of an item's key (u64) and where the item ends (u16), by rising hash |
//!
//! Numbers are big-endian. A hash is SipHash-1-3 under the manifest's seed; its highest bits are
//! the page's number, and those of the page's number the part's.
//!
//! # What holds
//!
//! - A look-up reads two pages, whatever is asked for and whether it is there, and does a binary
//!   search in each: a client cannot make one that costs more, or tell by the work whether a name
//!   is taken. The tables are built before anybody asks, so there is no flooding them with
//!   collisions (CVE-2011-4838); the packer refuses to leave a page overfull.
//! - A hash never stands for a name: what was found holds the name itself, and is compared with it.
//! - [`Part::check`] accepts a part only if every byte of it has one meaning, and allocates nothing
//!   that depends on what the bytes say.

mod build;
mod bytes;
mod hash;
mod item;
mod manifest;
mod packed;
mod page;
mod part;
mod verify;

use alloc::vec::Vec;

pub use build::{Options, PackError, pack};
pub use hash::Seed;
#[cfg(feature = "schema")]
pub use manifest::schema;
pub use manifest::{FORMAT, Manifest, PartName};
pub use packed::{InMemory, PackedDirectory, Pages};
pub use part::{Part, PartError};
pub use verify::{Summary, VerifyError};

/// Bytes of a manifest: 1,024 parts and 256 KiB of words have room.
pub const MAX_MANIFEST: usize = 512 * 1024;
/// Bytes of a part. Whoever fetches holds one at a time.
pub const MAX_PART: usize = 8 * 1024 * 1024;
/// Bytes of a page: where its items end is told in 16 bits.
pub const MAX_PAGE: usize = 64 * 1024;

/// A manifest and its parts, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// What names the parts.
    pub manifest: Manifest,
    /// The parts.
    pub parts: Vec<Vec<u8>>,
}
