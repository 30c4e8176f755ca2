//! The JSON Schema of a suite: the shapes that its reader takes by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};

use super::document::{Answer, AnswerFields, Policy, SetItem, SetItemFields, Suite, TokenSpec};

/// The JSON Schema (draft 2020-12) of a test suite.
pub(crate) fn schema() -> Schema {
    schema_for!(Suite)
}

/// The clock.
pub(super) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["2026-01-01T00:00:00Z", 1_767_225_600] })
    }
}

/// The values of a header.
pub(super) struct Header;

impl JsonSchema for Header {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value, a list of values where the header is repeated, or `null` for none.",
            "type": ["string", "number", "boolean", "array", "null"],
            "items": { "type": ["string", "number", "boolean"] },
        })
    }
}

impl JsonSchema for Policy {
    fn schema_name() -> Cow<'static, str> {
        "Policy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let filter = serde_json::json!({
            "type": "object",
            "properties": {
                "plugin": { "description": "The plugin. Default: `jwt-auth`.", "type": "string" },
                "file": {
                    "description": "The file with its configuration, JSON or YAML, relative to the suite.",
                    "type": "string",
                },
                "config": { "description": "Its configuration." },
            },
            // Without either member the whole is a configuration.
            "if": { "anyOf": [{ "required": ["file"] }, { "required": ["config"] }] },
            "then": {
                "not": { "required": ["file", "config"] },
                "properties": { "plugin": true, "file": true, "config": true },
                "additionalProperties": false,
            },
        });
        json_schema!({
            "description": "A filter, or a list of filters in their order. Each is `{file: jwt-auth.json}`, \
                            `{plugin: NAME, config: {...}}`, or the configuration itself.",
            "anyOf": [filter, { "type": "array", "items": filter }],
        })
    }
}

impl JsonSchema for TokenSpec {
    fn schema_name() -> Cow<'static, str> {
        "Token".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mint = generator.subschema_for::<portcullis_issuer::Mint>();
        json_schema!({ "anyOf": [{ "description": "The token itself.", "type": "string" }, mint] })
    }
}

impl JsonSchema for Answer {
    fn schema_name() -> Cow<'static, str> {
        "Answer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (items, fields) =
            (generator.subschema_for::<SetItem>(), generator.subschema_for::<AnswerFields>());
        json_schema!({
            "anyOf": [
                { "description": "The keys of a set.", "type": "array", "items": items },
                fields,
            ],
        })
    }
}

impl JsonSchema for SetItem {
    fn schema_name() -> Cow<'static, str> {
        "SetItem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<SetItemFields>();
        json_schema!({ "anyOf": [{ "description": "A key by its name.", "type": "string" }, fields] })
    }
}
