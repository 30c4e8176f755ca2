//! A judge of JSON Schemas and of documents by them, in a process of its own.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::python::{Packages, Process};

/// Not a crate of this workspace: what it needs would have other features of shared crates on, and
/// the WebAssembly engine built twice.
const PACKAGES: Packages = Packages {
    folder: "jsonschema-rs-0.61.2",
    packages: &["jsonschema-rs==0.61.2"],
    probe: "import jsonschema_rs",
    skip: "PORTCULLIS_SKIP_JSONSCHEMA",
};

/// One line in, one line out: what is wrong with each document.
const PROGRAM: &str = "
import json, sys, jsonschema_rs
for line in sys.stdin:
    asked = json.loads(line)
    jsonschema_rs.meta.validate(asked['schema'])
    judge = jsonschema_rs.Draft202012Validator(asked['schema'])
    print(json.dumps([
        ['/' + '/'.join(map(str, error.instance_path)) + ': ' + error.message[:400] for error in judge.iter_errors(document)]
        for document in asked['documents']
    ]), flush=True)
";

/// A running judge.
#[derive(Debug)]
pub struct Judge(Process);

impl Judge {
    /// Starts it, after installing the validator from PyPI once. `None`, with a line that says so,
    /// where the environment asks to leave it out.
    ///
    /// # Errors
    ///
    /// It cannot be had; the text says how to get it.
    pub fn start() -> Result<Option<Self>> {
        Ok(PACKAGES.start(PROGRAM)?.map(Self))
    }

    /// What is wrong with each document by `schema`, which must itself be one (draft 2020-12).
    ///
    /// # Errors
    ///
    /// The schema is none.
    pub fn faults(&mut self, schema: &Value, documents: &[Value]) -> Result<Vec<Vec<String>>> {
        self.0.say([&json!({ "schema": schema, "documents": documents })])?;
        serde_json::from_str(&self.0.hear()?).context("the schema is none")
    }
}
