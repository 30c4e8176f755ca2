//! What is probed: two tenants, what belongs to each, and the requests.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{
    openapi,
    operation::{Operation, Template},
};
use crate::{document, source::Source};

/// A plan of `portcullis probe`: two tenants, what belongs to each, and the requests.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// A file with a description of the API, OpenAPI 3.0 or 3.1, YAML or JSON; this or
    /// `requests`.
    openapi: Option<PathBuf>,
    /// What to ask, such as `/orders/{order}` or `HEAD /orders/{order}`.
    #[serde(default)]
    requests: Vec<String>,
    /// On every request, with places as in paths: `x-tenant-id: "{tenant}"`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Values of parameters that are the same for both tenants.
    #[serde(default)]
    parameters: BTreeMap<String, Scalar>,
    /// Two tenants, by their ids.
    tenants: BTreeMap<String, RawTenant>,
    /// Operations that are left out, each with the reason.
    #[serde(default)]
    skip: BTreeMap<String, String>,
    /// A file with a configuration of tenant-guard. Default: none.
    guard: Option<PathBuf>,
}

/// One tenant: who calls for it, and what is its own.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawTenant {
    /// What people call it, for a guard with `"by": "slug"`.
    slug: Option<String>,
    /// Sent as `Authorization: Bearer`.
    token: Option<Secret>,
    /// Headers of the caller whose values are secret, such as `cookie`.
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    /// Headers of the caller, whatever it asks for.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Values of parameters that stand for what is this tenant's.
    #[serde(default)]
    parameters: BTreeMap<String, Scalar>,
    /// Text of at least 6 bytes that is in this tenant's data and nowhere else.
    #[serde(default)]
    marks: Vec<String>,
}

impl fmt::Debug for RawTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawTenant(..)")
    }
}

/// Where a secret is; never the secret.
#[derive(Debug)]
enum Secret {
    Env(String),
    File(PathBuf),
}

/// A secret that stands in the plan all the same is in no message.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let only = value.as_object().filter(|object| object.len() == 1);
        let text = |name: &str| only?.get(name)?.as_str().map(str::to_owned);
        match (text("env"), text("file")) {
            (Some(name), _) => Ok(Self::Env(name)),
            (_, Some(file)) => Ok(Self::File(file.into())),
            _ => Err(serde::de::Error::custom("not {env: NAME} or {file: PATH}; secrets do not stand here")),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = |description: &str| serde_json::json!({ "description": description, "type": "string" });
        schemars::json_schema!({
            "description": "Where a secret is: `{env: NAME}` or `{file: PATH}`.",
            "type": "object",
            "properties": {
                "env": text("The variable of the environment that has it."),
                "file": text("The file that has it."),
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

/// A text, or what YAML takes for a number or a truth.
#[derive(Clone, Debug)]
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        openapi::scalar(&value).map(Self).ok_or_else(|| serde::de::Error::custom("not a text or a number"))
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// One tenant: who calls for it, and what is its own.
pub(super) struct Tenant {
    /// Its id, as guarded fields have it.
    pub(super) id: String,
    pub(super) slug: Option<String>,
    /// The caller's headers, credentials among them.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The values of parameters that stand for what is the tenant's.
    pub(super) parameters: BTreeMap<String, String>,
    /// Text that is in this tenant's data and nowhere else.
    pub(super) marks: Vec<String>,
}

/// A plan that was found sound.
pub(super) struct Plan {
    pub(super) tenants: [Tenant; 2],
    pub(super) operations: Vec<Operation>,
    /// Headers of every request, filled as paths are.
    pub(super) headers: Vec<(HeaderName, Template)>,
    /// The values of parameters that are the same for both.
    pub(super) shared: BTreeMap<String, String>,
    /// Operations that are left out, and why.
    pub(super) skip: BTreeMap<String, String>,
    pub(super) guard: Option<PathBuf>,
    /// Where the API is, as its description has it.
    pub(super) server: Option<String>,
}

/// Bytes of a mark: a shorter one is in answers by chance.
const LEAST_MARK: usize = 6;

impl Plan {
    /// Reads a file; paths in it are relative to its folder.
    pub(super) fn read(path: &Path, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Source::read(path)?.parse::<Raw>()?.resolve(&folder, environment)
    }
}

impl Raw {
    fn resolve(self, folder: &Path, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Plan> {
        let Self { openapi, requests, headers, parameters, tenants, skip, guard } = self;
        ensure!(
            openapi.is_some() || !requests.is_empty(),
            "nothing to ask: give `openapi`, a file, or `requests`, a list such as [\"/orders/{{order}}\"]"
        );
        let mut operations = Vec::new();
        for (n, text) in requests.iter().enumerate() {
            operations.push(Operation::parse(text).with_context(|| format!("`requests[{n}]`"))?);
        }
        let mut server = None;
        if let Some(file) = openapi {
            let read = document::read(&folder.join(file)).and_then(|bytes| openapi::read(&bytes));
            let described = read.context("`openapi`")?;
            operations.extend(described.operations);
            server = described.server;
        }
        ensure!(!operations.is_empty(), "`openapi`: no path has a GET or HEAD");
        if let Some(unknown) = skip.keys().find(|name| !operations.iter().any(|one| one.name == **name)) {
            bail!("`skip`: there is no `{unknown}`; operations are called as in \"GET /orders/{{order}}\"");
        }
        let count = tenants.len();
        let tenants: Vec<Tenant> = tenants
            .into_iter()
            .map(|(id, raw)| {
                let at = format!("`tenants.{id}`");
                raw.resolve(id, folder, &environment).context(at)
            })
            .collect::<anyhow::Result<_>>()?;
        let tenants: [Tenant; 2] = tenants.try_into().map_err(|_| anyhow!("`tenants`: {count}, not two"))?;
        let headers = headers
            .into_iter()
            .map(|(name, text)| {
                let at = || format!("`headers.{name}`");
                Ok((header_name(&name).with_context(at)?, Template::parse(&text).with_context(at)?))
            })
            .collect::<anyhow::Result<_>>()?;
        let shared = parameters.into_iter().map(|(name, value)| (name, value.0)).collect();
        let guard = guard.map(|file| folder.join(file));
        Ok(Plan { tenants, operations, headers, shared, skip, guard, server })
    }
}

impl RawTenant {
    fn resolve(
        self,
        id: String,
        folder: &Path,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Tenant> {
        let Self { slug, token, secrets, headers, parameters, marks } = self;
        ensure!(token.is_some() || !secrets.is_empty(), "no `token` and no `secrets`: nobody calls");
        let mut all = Vec::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value).with_context(|| format!("`headers.{name}`"))?;
            all.push((header_name(&name)?, value));
        }
        if let Some(token) = token {
            let text = token.read(folder, environment).context("`token`")?;
            let text = text.strip_prefix("Bearer ").unwrap_or(&text);
            all.push((hyper::header::AUTHORIZATION, secret(&format!("Bearer {text}")).context("`token`")?));
        }
        for (name, source) in secrets {
            let at = || format!("`secrets.{name}`");
            let text = source.read(folder, environment).with_context(at)?;
            all.push((header_name(&name)?, secret(&text).with_context(at)?));
        }
        if marks.iter().any(|mark| mark.len() < LEAST_MARK) {
            bail!("`marks`: shorter than {LEAST_MARK} bytes: it would turn up by chance");
        }
        let mut parameters: BTreeMap<String, String> =
            parameters.into_iter().map(|(name, value)| (name, value.0)).collect();
        parameters.entry("tenant".into()).or_insert_with(|| id.clone());
        Ok(Tenant { id, slug, headers: all, parameters, marks })
    }
}

impl Secret {
    fn read(&self, folder: &Path, environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
        let text = match self {
            Self::Env(name) => {
                environment(name).with_context(|| format!("the variable `{name}` is not set"))?
            }
            Self::File(file) => String::from_utf8(document::read(&folder.join(file))?)
                .map_err(|_| anyhow!("`{}` is not text", file.display()))?,
        };
        let text = text.trim();
        ensure!(!text.is_empty(), "it is empty");
        Ok(text.to_owned())
    }
}

fn header_name(name: &str) -> anyhow::Result<HeaderName> {
    name.parse().with_context(|| format!("`{name}` is no header's name"))
}

/// The value itself is in no message.
fn secret(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| anyhow!("it has bytes that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Plan> {
        let environment = |name: &str| (name == "T").then(|| " secret-token\n".to_owned());
        document::parse::<Raw>(text.as_bytes())?.resolve(Path::new("/nowhere"), environment)
    }

    const TENANTS: &str = "tenants:\n  acme: {token: {env: T}}\n  globex: {token: {env: T}}\n";

    #[test]
    fn a_plan_is_two_callers_and_what_they_ask() {
        let text = format!(
            "requests: ['/orders/{{order}}']\nparameters: {{page: 1}}\nheaders: {{x-tenant: '{{tenant}}'}}\n{TENANTS}"
        );
        let plan = read(&text).unwrap();
        let [acme, globex] = &plan.tenants;
        assert_eq!((acme.id.as_str(), globex.parameters["tenant"].as_str()), ("acme", "globex"));
        assert_eq!(acme.headers[0].1.as_bytes(), b"Bearer secret-token");
        assert!(acme.headers[0].1.is_sensitive());
        assert_eq!(plan.shared["page"], "1");
    }

    #[test]
    fn a_plan_that_proves_nothing_is_refused_with_its_place_and_without_secrets() {
        let requests = "requests: [/orders]\n";
        for (text, expected) in [
            (TENANTS.to_owned(), "nothing to ask"),
            (format!("{requests}tenants: {{acme: {{token: {{env: T}}}}}}"), "`tenants`: 1, not two"),
            (format!("{requests}tenants: {{acme: {{}}, globex: {{}}}}"), "`tenants.acme`: no `token`"),
            (
                format!("{requests}{}", TENANTS.replace("env: T", "env: NONE")),
                "`token`: the variable `NONE` is not set",
            ),
            (
                format!("{requests}{}", TENANTS.replace("{env: T}", "secret-token")),
                "`tenants.acme.token`: not {env: NAME} or {file: PATH}",
            ),
            (format!("{requests}skip: {{GET /other: x}}\n{TENANTS}"), "`skip`: there is no `GET /other`"),
            (
                format!("{requests}{}", TENANTS.replace("acme: {", "acme: {marks: [ab], ")),
                "`marks`: shorter than 6",
            ),
            (format!("requests: ['POST /orders']\n{TENANTS}"), "`requests[0]`: `POST`"),
            (
                format!("requests: [/a]\nopenapi: none.yaml\n{TENANTS}"),
                "`openapi`: read `/nowhere/none.yaml`",
            ),
            (format!("request: [/a]\n{TENANTS}"), "unknown field `request`"),
        ] {
            let error = format!("{:#}", read(&text).err().unwrap());
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret-token"), "{error}");
        }
    }
}
