//! Bytes in JSON, and the little base64 and PEM that is read here.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};

/// Bytes whose JSON form is a base64 string (RFC 4648 section 4, with padding).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Base64(pub Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decode(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Base64 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Bytes in base64 with padding (RFC 4648 section 4).",
            "type": "string",
        })
    }
}

/// Reads JSON. Always as text: the reader of bytes would be built a second time for every type.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_str(utf8(bytes)?)
}

pub(crate) fn utf8(bytes: &[u8]) -> serde_json::Result<&str> {
    str::from_utf8(bytes).map_err(|error| serde_json::Error::custom(format_args!("not UTF-8: {error}")))
}

/// Decodes base64 with padding.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    STANDARD.decode(text).map_err(|_| "not base64 with padding")
}

/// Encodes base64 with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The contents of every `-----BEGIN label-----` block of `text`, in order.
///
/// Lenient about what is between the blocks (RFC 7468 section 2 allows it), strict about what is in
/// them.
pub(crate) fn pem(text: &str, label: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (block, after) = after.split_once(&end).ok_or("a PEM block without an end")?;
        let base64: String = block.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        blocks.push(decode(&base64).map_err(|_| "a PEM block that is not base64")?);
        rest = after;
    }
    if blocks.is_empty() { Err("no PEM block of the expected kind") } else { Ok(blocks) }
}
