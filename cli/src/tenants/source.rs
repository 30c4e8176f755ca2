//! A list of tenants as people and databases write it.

use std::{collections::BTreeSet, fs, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use portcullis_tenant::{Listed, RESERVED, Record};
use serde::Deserialize;

/// A list that was checked.
pub(super) struct List {
    /// What the document says, if it says anything.
    pub(super) version: Option<u64>,
    pub(super) tenants: Listed,
}

/// A directory of tenants as one document: what `directory.fetched` reads, and what `portcullis
/// tenants pack` makes a packed directory of.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// Which edition this is: it only rises. A proxy that fetches the document needs it.
    version: Option<u64>,
    /// Every tenant; a deleted one stays, so that its names stay taken.
    tenants: Vec<Record>,
}

/// Reads a document, or one tenant a line. A list has no limit here: it is the caller's own.
pub(super) fn read(path: &Path) -> anyhow::Result<List> {
    let shown = path.display();
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("read standard input")?;
        bytes
    } else {
        fs::read(path).with_context(|| format!("read `{shown}`"))?
    };
    let (version, records) = if is_lines(&bytes) {
        (None, lines(&bytes).with_context(|| format!("`{shown}`"))?)
    } else {
        let Document { version, tenants } =
            portcullis_core::config::read(&bytes).with_context(|| format!("`{shown}`"))?;
        (version, tenants)
    };
    let reserved: BTreeSet<String> = RESERVED.iter().map(ToString::to_string).collect();
    let tenants = Listed::new("tenants", records, &reserved).with_context(|| format!("`{shown}`"))?;
    Ok(List { version, tenants })
}

/// Whether the first line is a whole JSON object that is no document.
fn is_lines(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        first.and_then(|line| serde_json::from_slice(line).ok());
    object.is_some_and(|object| object.contains_key("id"))
}

fn lines(bytes: &[u8]) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match portcullis_core::config::read(line) {
            Ok(record) => records.push(record),
            Err(error) => bail!("line {}: {error}", at + 1),
        }
    }
    Ok(records)
}
