//! Test vectors of other projects. They are not part of this one: users do not have them, CI does.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The folder that `PORTCULLIS_VECTORS` names, or `shared/data` beside the checkout.
fn folder() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("PORTCULLIS_VECTORS") {
        return Some(folder.into());
    }
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    beside.is_dir().then_some(beside)
}

/// The JSON document at `path` in the vectors' folder; `None`, with a line that says so, where
/// there is no such folder.
///
/// # Errors
///
/// The folder is there and the document is not, or it is not JSON.
pub fn json(path: &str) -> Result<Option<Value>> {
    text(path)?.map(|text| Ok(serde_json::from_str(&text)?)).transpose()
}

/// The text at `path` in the vectors' folder; `None`, with a line that says so, where there is no
/// such folder.
///
/// # Errors
///
/// The folder is there and the text is not.
pub fn text(path: &str) -> Result<Option<String>> {
    let Some(folder) = folder() else {
        eprintln!("did not run: the vectors {path} (set PORTCULLIS_VECTORS to their folder)");
        return Ok(None);
    };
    let path = folder.join(path);
    fs::read_to_string(&path).map(Some).with_context(|| format!("failed to read `{}`", path.display()))
}
