//! Documents that people write: YAML or JSON, from a file or standard input, with errors that name
//! the place.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Far above any configuration with key sets in it.
const MAX_BYTES: u64 = 8 << 20;

/// The bytes of `path`; `-` is standard input.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let bytes = if path == Path::new("-") {
        read_bounded(std::io::stdin().lock()).context("read standard input")?
    } else {
        fs::File::open(path).and_then(read_bounded).with_context(|| format!("read `{shown}`"))?
    };
    if bytes.len() as u64 > MAX_BYTES {
        bail!("read `{shown}`: more than {MAX_BYTES} bytes");
    }
    Ok(bytes)
}

fn read_bounded(reader: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A document as a plugin gets it, which is JSON. JSON is passed on byte for byte, so that the
/// plugin judges what was written (a duplicate member, say); YAML is translated.
pub(crate) fn plugin_configuration(bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(bytes);
    }
    let value: Value = yaml(&bytes)?;
    Ok(serde_json::to_vec(&value)?)
}

/// Reads `T` from YAML or JSON.
///
/// # Errors
///
/// With the line for what is not YAML, with the path in the document for what is not a `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    let value = yaml(bytes)?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        anyhow::anyhow!("`{path}`: {}", error.inner())
    })
}

/// Reads every document of a stream of YAML; empty ones are left out.
///
/// # Errors
///
/// As [`parse`], and where there is none.
pub(crate) fn parse_all(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    let text = str::from_utf8(bytes).context("the document is not UTF-8")?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow::anyhow!("{}", first_line(&error)))?;
    let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
    anyhow::ensure!(!documents.is_empty(), "there is no document in it");
    Ok(documents)
}

/// JSON is YAML too, so one parser reads both; it refuses duplicate members.
fn yaml(bytes: &[u8]) -> anyhow::Result<Value> {
    let text = str::from_utf8(bytes).context("the document is not UTF-8")?;
    serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{}", first_line(&error)))
}

/// The parser draws the source below its message; one line is what fits an error.
fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The parser's message without the place, for those who say it in their own way.
pub(crate) fn reason(error: &serde_saphyr::Error) -> String {
    let line = first_line(error);
    match line.split_once(": ") {
        Some((place, reason)) if place.starts_with("line ") => reason.to_owned(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_read_alike() {
        for text in ["a: [1, x]\n", "{\"a\": [1, \"x\"]}", "{\n\t\"a\":\t[1, \"x\"]\n}"] {
            assert_eq!(parse::<Value>(text.as_bytes()).unwrap(), json!({ "a": [1, "x"] }), "{text}");
        }
    }

    #[test]
    fn a_duplicate_member_is_an_error() {
        assert!(parse::<Value>(b"a: 1\na: 2\n").is_err());
        assert!(parse::<Value>(br#"{"a": 1, "a": 2}"#).is_err());
    }

    #[test]
    fn json_for_a_plugin_is_not_touched() {
        let odd = br#" {"a": 1, "a": 1.50}"#.to_vec();
        assert_eq!(plugin_configuration(odd.clone()).unwrap(), odd);
        assert_eq!(plugin_configuration(b"a: 1".to_vec()).unwrap(), br#"{"a":1}"#);
    }
}
