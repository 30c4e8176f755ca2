//! The configuration: from a document to a [`Policy`] that cannot be wrong.

mod raw;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_core::{
    ConfigError, HeaderName,
    config::{self, duration::Span},
};

use crate::{Isolation, Latency, OnError, isolation::OWNED, share::Shares};

/// The JSON Schema (draft 2020-12) of what [`Policy::from_json`] reads.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(raw::Config)
}

type Resolved<T> = Result<T, ConfigError>;

/// A configuration that cannot be wrong.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Paths whose POST bodies are read.
    pub paths: Vec<String>,
    /// Where the calls go.
    pub provider: Provider,
    /// Who may ask.
    pub tenant: TenantRule,
    /// What keeps tenants apart at the provider.
    pub isolation: Isolation,
    /// What becomes of a request without the contract.
    pub plain: Plain,
    /// What a request may ask for.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// What one failure means where the request does not say.
    pub on_error: OnError,
    /// What becomes of a request for a stream.
    pub streaming: Streaming,
    /// How much of the provider is one tenant's.
    pub shares: Shares,
    /// When one request is made of all questions.
    pub packing: Option<Packing>,
    /// How long the model takes, for estimates.
    pub latency: Option<Latency>,
}

/// The provider of the model.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The proxy's cluster.
    pub cluster: String,
    /// `:scheme`.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    /// `:path`.
    pub path: String,
    /// Headers of every call, credentials among them.
    pub headers: Vec<Header>,
    /// The client's headers that are sent on, where it sends them once.
    pub forward: Vec<HeaderName>,
}

/// A header of every call.
#[derive(Clone)]
pub struct Header {
    /// Lower case.
    pub name: String,
    /// Visible ASCII.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who may ask several questions at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantRule {
    /// Those whose tenant is proven.
    #[default]
    Required,
    /// Everybody; who has no proven tenant shares one.
    Shared,
}

/// What becomes of a request without the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// It goes on byte for byte.
    #[default]
    Pass,
    /// It gets the members and headers of its tenant, which has to be proven, and keeps all else.
    Isolate,
}

/// What a request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body that is read.
    pub request_bytes: usize,
    /// Bytes of all bodies that are made of it.
    pub upstream_bytes: usize,
    /// Questions of a request.
    pub questions: usize,
    /// Calls of a request at a time.
    pub parallel: usize,
    /// Tokens of one answer.
    pub question_tokens: u64,
    /// Tokens of all answers.
    pub tokens: u64,
    /// Tokens of an answer where the request does not say.
    pub default_tokens: u64,
    /// Bytes of one answer.
    pub answer_bytes: usize,
    /// Bytes of answers that one worker holds.
    pub held_bytes: usize,
    /// Requests under way in one worker.
    pub requests: usize,
    /// Calls under way in one worker.
    pub calls: usize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// One call.
    pub call: Duration,
    /// The whole request.
    pub total: Duration,
}

/// What becomes of a request with `"stream": true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// It is refused.
    #[default]
    Refuse,
    /// It gets its events at once, at the end.
    AtEnd,
}

/// When all questions go out in one request.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Where splitting is not this many times faster.
    pub below_gain: f64,
}

impl Policy {
    /// Reads the configuration. `environment` is where `{"env": "NAME"}` finds its values.
    ///
    /// # Errors
    ///
    /// The place in the document, and what would be right.
    pub fn from_json(document: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Resolved<Self> {
        let raw: raw::Config = config::read(document)?;
        let raw::Config {
            paths,
            provider,
            tenant,
            isolation,
            plain,
            limits,
            deadlines,
            on_error,
            streaming,
            share,
            allowance,
            pack,
            latency,
        } = raw;
        let limits = limits.resolve()?;
        let latency = latency.map(raw::Latency::resolve).transpose()?;
        Ok(Self {
            paths: resolve_paths(paths)?,
            provider: provider.resolve(environment)?,
            tenant: match tenant {
                raw::Tenant::Required => TenantRule::Required,
                raw::Tenant::Shared => TenantRule::Shared,
            },
            isolation: isolation.resolve(environment)?,
            plain: match plain {
                raw::Plain::Pass => Plain::Pass,
                raw::Plain::Isolate => Plain::Isolate,
            },
            deadlines: deadlines.resolve()?,
            on_error: on_error.into(),
            streaming: match streaming {
                raw::Streaming::Refuse => Streaming::Refuse,
                raw::Streaming::AtEnd => Streaming::AtEnd,
            },
            shares: raw::shares(&share, allowance.as_ref(), &limits)?,
            packing: pack.map(|pack| pack.resolve(latency.as_ref())).transpose()?,
            limits,
            latency,
        })
    }

    /// Whether the body of this request is read. `path` may have a query.
    #[must_use]
    pub fn reads(&self, method: &[u8], path: &[u8]) -> bool {
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        method == b"POST" && self.paths.iter().any(|own| own.as_bytes() == path)
    }
}

fn resolve_paths(paths: Option<Vec<String>>) -> Resolved<Vec<String>> {
    let paths = paths.unwrap_or_else(|| ["/v1/chat/completions".to_string()].into());
    if paths.is_empty() {
        return Err(ConfigError::new("paths", "empty: no request would ever be split"));
    }
    for (at, path) in paths.iter().enumerate() {
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            return Err(ConfigError::new(format!("paths[{at}]"), "not a path: it begins with `/`"));
        }
    }
    Ok(paths)
}

/// A value that is written in the document or in the proxy's environment.
fn value(raw: raw::Given, path: &str, environment: &dyn Fn(&str) -> Option<String>) -> Resolved<String> {
    match (raw.value, raw.env) {
        (Some(value), None) => Ok(value),
        (None, Some(name)) => environment(&name).ok_or_else(|| {
            let reason =
                "not in the environment of the VM; give it in `environment_variables` of its `vm_config`";
            ConfigError::new(format!("{path}.env"), reason)
        }),
        _ => Err(ConfigError::new(path, "wants either `value` or `env`")),
    }
}

fn header_value(value: String, path: &str) -> Resolved<String> {
    let good = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if value.is_empty() || value.trim() != value || !value.bytes().all(good) {
        return Err(ConfigError::new(path, "not a header's value: visible ASCII, no space at an end"));
    }
    Ok(value)
}

fn header_name(name: &str, path: &str) -> Resolved<HeaderName> {
    let name = HeaderName::new(name).map_err(|error| ConfigError::new(path, error.to_string()))?;
    // What frames the message is the proxy's; a client's connection is not the provider's.
    const FRAMING: [&str; 8] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
    ];
    if FRAMING.contains(&name.as_str()) {
        return Err(ConfigError::new(path, format!("`{name}` is the proxy's to set")));
    }
    Ok(name)
}

fn within<T: Copy + PartialOrd + fmt::Display>(path: &str, given: T, least: T, most: T) -> Resolved<T> {
    if given < least || given > most {
        return Err(ConfigError::new(path, format!("not from {least} to {most}")));
    }
    Ok(given)
}

fn span(path: &str, given: Option<Span>, default: u64, most: u64) -> Resolved<Duration> {
    let span = given.map_or(Duration::from_secs(default), |span| span.0);
    if span < Duration::from_millis(1) || span > Duration::from_secs(most) {
        return Err(ConfigError::new(path, format!("not from `1ms` to `{most}s`")));
    }
    Ok(span)
}

impl raw::Isolation {
    fn resolve(self, environment: &dyn Fn(&str) -> Option<String>) -> Resolved<Isolation> {
        let text = value(self.key, "isolation.key", environment)?;
        let key = STANDARD.decode(text.trim()).map_err(|_| {
            ConfigError::new("isolation.key", "not base64; make one with `openssl rand -base64 32`")
        })?;
        if key.len() < 32 {
            let reason = "shorter than 32 bytes; make one with `openssl rand -base64 32`";
            return Err(ConfigError::new("isolation.key", reason));
        }
        let mut members = self.members.unwrap_or_else(|| ["cache_salt".into(), "user".into()].into());
        for (at, member) in members.iter().enumerate() {
            let allowed = OWNED.iter().filter(|own| **own != "cache");
            if !allowed.clone().any(|own| own == member) {
                let allowed: Vec<String> = allowed.map(|own| format!("`{own}`")).collect();
                let reason = format!("not one of {}", allowed.join(", "));
                return Err(ConfigError::new(format!("isolation.members[{at}]"), reason));
            }
        }
        members.sort_unstable();
        members.dedup();
        let headers = self.headers.iter().enumerate().map(|(at, name)| {
            header_name(name, &format!("isolation.headers[{at}]")).map(|name| name.as_str().into())
        });
        Ok(Isolation::new(key, members, headers.collect::<Resolved<_>>()?))
    }
}
