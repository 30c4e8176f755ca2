//! Whether a file is still the same one, without reading it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::SystemTime};

/// What tells that a file is another one: a write in place, a rename onto it, and the links that
/// Kubernetes turns around when a ConfigMap changes all show here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    /// The stamp of the file at `path`; `None` where there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() })
    }
}
