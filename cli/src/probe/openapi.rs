//! The part of an API's description that says which GETs there are (OpenAPI 3.0 and 3.1).
//!
//! Read leniently, because descriptions are: what is of no use here may be as it likes. A reference
//! is followed within the document only.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use super::operation::{Method, Operation, Template};
use crate::document;

/// What a description says.
pub(super) struct Described {
    pub(super) operations: Vec<Operation>,
    /// The first of its servers.
    pub(super) server: Option<String>,
}

/// References that lead to references: more are a circle.
const MOST_REFERENCES: usize = 16;

pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Described> {
    let document: Value = document::parse(bytes)?;
    let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
    ensure!(
        version.starts_with("3.0.") || version.starts_with("3.1."),
        "not OpenAPI 3.0 or 3.1 (`openapi` is `{version}`)"
    );
    let server = document.get("servers").and_then(|servers| servers.get(0)).and_then(server);
    let mut operations = Vec::new();
    let Some(paths) = document.get("paths").and_then(Value::as_object) else { bail!("no `paths`") };
    for (path, item) in paths {
        if path.starts_with("x-") {
            continue;
        }
        let item = followed(&document, item).with_context(|| format!("`paths.{path}`"))?;
        for (member, method) in [("get", Method::Get), ("head", Method::Head)] {
            let Some(operation) = item.get(member) else { continue };
            let described = one(&document, path, method, item, operation);
            operations.push(described.with_context(|| format!("`paths.{path}.{member}`"))?);
        }
    }
    Ok(Described { operations, server })
}

fn one(
    document: &Value,
    path: &str,
    method: Method,
    item: &Value,
    operation: &Value,
) -> anyhow::Result<Operation> {
    ensure!(path.starts_with('/'), "the path does not begin with a slash");
    // The operation's parameters come last, and replace the path's (OpenAPI, section 4.8.9).
    let mut parameters: BTreeMap<(String, String), &Map<String, Value>> = BTreeMap::new();
    for list in [item.get("parameters"), operation.get("parameters")].into_iter().flatten() {
        for (n, parameter) in list.as_array().context("`parameters` is no list")?.iter().enumerate() {
            let at = || format!("`parameters[{n}]`");
            let parameter = followed(document, parameter).with_context(at)?;
            let object = parameter.as_object().context("no object").with_context(at)?;
            let text = |name: &str| object.get(name).and_then(Value::as_str);
            let name = text("name").context("without `name`").with_context(at)?;
            let place = text("in").context("without `in`").with_context(at)?;
            parameters.insert((place.into(), name.into()), object);
        }
    }
    let path_template = Template::parse(path)?;
    let (mut query, mut headers, mut defaults) = (Vec::new(), Vec::new(), BTreeMap::new());
    for ((place, name), parameter) in parameters {
        let required = parameter.get("required").and_then(Value::as_bool).unwrap_or(false);
        // What an optional parameter defaults to, the API knows.
        if required && let Some(value) = example(document, parameter) {
            defaults.insert(name.clone(), value);
        }
        match place.as_str() {
            "query" => query.push((name, required)),
            "header" => headers.push((name.to_ascii_lowercase(), required)),
            // Of the path, its template knows; cookies are a caller's `secrets`.
            _ => {}
        }
    }
    let name = format!("{} {path}", method.as_str());
    Ok(Operation { name, method, path: path_template, query, headers, defaults })
}

/// A value that the description gives for a parameter.
fn example(document: &Value, parameter: &Map<String, Value>) -> Option<String> {
    let schema = parameter.get("schema").and_then(|schema| followed(document, schema).ok());
    let of_schema = |name: &str| schema.and_then(|schema| schema.get(name));
    let examples = parameter.get("examples").and_then(Value::as_object);
    let first_example = examples.and_then(|examples| examples.values().next()?.get("value"));
    [
        parameter.get("example"),
        first_example,
        of_schema("default"),
        of_schema("example"),
        of_schema("examples").and_then(|examples| examples.get(0)),
        of_schema("const"),
        of_schema("enum").and_then(|values| values.get(0)),
    ]
    .into_iter()
    .flatten()
    .find_map(scalar)
}

/// A text, a number or a truth as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// `value`, or what it refers to (RFC 6901 in a fragment).
fn followed<'d>(document: &'d Value, value: &'d Value) -> anyhow::Result<&'d Value> {
    let mut value = value;
    for _ in 0..MOST_REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
        let pointer = reference
            .strip_prefix('#')
            .with_context(|| format!("`{reference}` leads out of the document: bundle it into one file"))?;
        value = document.pointer(pointer).with_context(|| format!("nothing is at `{reference}`"))?;
    }
    bail!("references lead in a circle")
}

/// A server's address with the defaults of its variables.
fn server(server: &Value) -> Option<String> {
    let url = Template::parse(server.get("url")?.as_str()?).ok()?;
    let variables = server.get("variables");
    let value = |name: &str| scalar(variables?.get(name)?.get("default")?);
    url.fill(value, str::to_owned).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = r##"
openapi: 3.1.0
servers: [{url: "http://{host}:8080/v1", variables: {host: {default: localhost}}}]
paths:
  /orders/{order}:
    parameters:
      - {name: order, in: path, required: true, schema: {type: string}}
      - {$ref: "#/components/parameters/page"}
      - {name: view, in: query, required: true, schema: {$ref: "#/components/schemas/view"}}
    get:
      parameters:
        - {name: page, in: query, required: true, example: 3}
        - {name: X-Tenant, in: header}
        - {name: session, in: cookie}
    post: {}
    head: {}
  /users: {$ref: "#/components/pathItems/users"}
components:
  parameters: {page: {name: page, in: query}}
  schemas: {view: {enum: [full, brief]}}
  pathItems: {users: {get: {}}}
"##;

    #[test]
    fn the_gets_are_read_with_their_parameters() {
        let described = read(API.as_bytes()).unwrap();
        assert_eq!(described.server.as_deref(), Some("http://localhost:8080/v1"));
        let names: Vec<_> = described.operations.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["GET /orders/{order}", "HEAD /orders/{order}", "GET /users"]);
        let value = |name: &str| (name == "order").then(|| "o-1".to_owned());
        let target = |n: usize| described.operations[n].fill(value).unwrap().target;
        assert_eq!(
            (target(0).as_str(), target(1).as_str()),
            ("/orders/o-1?page=3&view=full", "/orders/o-1?view=full")
        );
        assert_eq!(described.operations[0].headers, [("x-tenant".to_owned(), false)]);
        assert_eq!(described.operations[0].fill(|_| None), Err("order".into()));
    }

    #[test]
    fn a_description_that_is_none_is_refused() {
        let circle = API.replace(
            "pathItems: {users: {get: {}}}",
            r##"pathItems: {users: {$ref: "#/components/pathItems/users"}}"##,
        );
        let outside = API.replace("#/components/parameters/page", "page.yaml");
        let nowhere = API.replace("#/components/parameters/page", "#/components/parameters/none");
        for (text, expected) in [
            ("swagger: '2.0'\npaths: {}", "not OpenAPI 3.0 or 3.1"),
            ("openapi: 3.0.0", "no `paths`"),
            (
                "openapi: 3.0.0\npaths: {/a: {get: {parameters: 1}}}",
                "`paths./a.get`: `parameters` is no list",
            ),
            ("openapi: 3.0.0\npaths: {/a: {get: {parameters: [{in: query}]}}}", "without `name`"),
            ("openapi: 3.0.0\npaths: {a: {get: {}}}", "does not begin with a slash"),
            (&circle, "references lead in a circle"),
            (&outside, "leads out of the document"),
            (&nowhere, "nothing is at"),
        ] {
            let error = format!("{:#}", read(text.as_bytes()).err().unwrap());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
