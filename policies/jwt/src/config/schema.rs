//! The JSON Schema of the configuration, and the shapes of what the reader takes as text.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};

use super::raw;

/// The JSON Schema (draft 2020-12) of what [`crate::Policy::from_json`] reads.
#[must_use]
pub fn schema() -> Schema {
    schema_for!(raw::Config<'static>)
}

/// A JWK Set.
pub(super) struct KeySet;

impl JsonSchema for KeySet {
    fn schema_name() -> Cow<'static, str> {
        "KeySet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A JWK Set (RFC 7517 section 5): `{\"keys\": [...]}`.",
            "type": "object",
            "required": ["keys"],
            "properties": {
                "keys": {
                    "description": "The public keys, each with a `kty`; a `kid` tells them apart.",
                    "type": "array",
                },
            },
        })
    }
}

/// A claim's value that a condition compares with.
pub(super) struct Scalar;

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean", "number"] })
    }
}
