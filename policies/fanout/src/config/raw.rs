//! The shape of the configuration document, as serde reads it, and what its parts become.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::{ConfigError, config::duration::Span, gcra::Gcra};
use serde::Deserialize;

use super::{
    Deadlines, Header, Limits, Packing, Provider, Resolved, header_name, header_value, span, value, within,
};
use crate::{OnError, share::Shares};

/// The configuration of llm-fanout: which provider is asked, and how much at a time.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// POSTs to these are read, exactly these. Default: `["/v1/chat/completions"]`.
    pub(super) paths: Option<Vec<String>>,
    /// Who is asked.
    pub(super) provider: RawProvider,
    /// Whether a proven tenant must be there. Default: `required`.
    #[serde(default)]
    pub(super) tenant: Tenant,
    /// How tenants are kept apart at the provider.
    pub(super) isolation: Isolation,
    /// What becomes of requests without `x_fanout`. Default: `pass`.
    #[serde(default)]
    pub(super) plain: Plain,
    /// What requests may cost.
    #[serde(default)]
    pub(super) limits: RawLimits,
    /// The longest that a request can ask for.
    #[serde(default)]
    pub(super) deadlines: RawDeadlines,
    /// What a failed question does, where the request does not say. Default: `partial`.
    #[serde(default)]
    pub(super) on_error: Errors,
    /// What becomes of requests with `stream`. Default: `refuse`.
    #[serde(default)]
    pub(super) streaming: Streaming,
    /// A tenant's share of what is under way.
    #[serde(default)]
    pub(super) share: Share,
    /// A tenant's questions over time, in all workers of the proxy together. Default: none.
    pub(super) allowance: Option<RawAllowance>,
    /// Whether few short answers go out as one request. By default never.
    pub(super) pack: Option<Pack>,
    /// What the model takes, for `pack` and for metrics. Default: none.
    pub(super) latency: Option<Latency>,
}

/// Who is asked.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    /// Envoy's cluster for the provider. TLS and its checks are the cluster's.
    cluster: String,
    /// The host of each call, such as `api.openai.com`.
    authority: String,
    /// The path of each call. Default: `/v1/chat/completions`.
    path: Option<String>,
    /// The scheme of each call. Default: `https`.
    #[serde(default)]
    scheme: Scheme,
    /// Headers of each call, credentials among them.
    #[serde(default)]
    headers: Vec<RawHeader>,
    /// The client's headers that are sent on, each only where it is there once.
    #[serde(default)]
    forward_headers: Vec<String>,
}

/// The scheme of a call, as the provider reads it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Scheme {
    /// `https`.
    #[default]
    Https,
    /// `http`.
    Http,
}

/// A header with its value: `value` or `env`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawHeader {
    /// Its name.
    name: String,
    /// Its value.
    value: Option<String>,
    /// The variable of the environment that has it, which `vm_config.environment_variables`
    /// gives.
    env: Option<String>,
}

/// A value in the document, or the name of one in the environment.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// The value.
    pub(super) value: Option<String>,
    /// The variable of the environment that has it, which `vm_config.environment_variables`
    /// gives.
    pub(super) env: Option<String>,
}

/// Whether a proven tenant must be there.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Tenant {
    /// A tenant that tenant-guard has proven.
    #[default]
    Required,
    /// All who have none share one.
    Shared,
}

/// What becomes of requests without the contract.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    /// They are passed on byte for byte.
    #[default]
    Pass,
    /// They get the members and headers that keep tenants apart.
    Isolate,
}

/// How tenants are kept apart in the provider's caches.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Isolation {
    /// The key, base64, at least 32 bytes. All proxies of a product have the same.
    pub(super) key: Given,
    /// Members of the request that are set; also `prompt_cache_key` and `safety_identifier`.
    /// Default: `["cache_salt", "user"]`.
    pub(super) members: Option<Vec<String>>,
    /// Headers that are set, for caches between proxy and model.
    #[serde(default)]
    pub(super) headers: Vec<String>,
}

/// What requests may cost. Each member has a default.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Bytes of a body that is read, 1024 to 16777216. Default: `1048576`.
    request_bytes: Option<usize>,
    /// Bytes of all that is made of it. By default 8 times `request_bytes`.
    upstream_bytes: Option<usize>,
    /// Questions of one request, 1 to 256. Default: `20`.
    questions: Option<usize>,
    /// Calls of one request at a time, 1 to 256. Default: `8`.
    parallel: Option<usize>,
    /// Tokens of one answer. Default: `4096`.
    question_tokens: Option<u64>,
    /// Tokens of all answers of a request. Default: `32768`.
    tokens: Option<u64>,
    /// Tokens of an answer where the request does not say. Default: `1024`.
    default_tokens: Option<u64>,
    /// Bytes of one answer, 1024 to 33554432. Default: `1048576`.
    answer_bytes: Option<usize>,
    /// Bytes of all that one worker holds. Default: `67108864`.
    held_bytes: Option<usize>,
    /// Requests under way in one worker, 1 to 4096. Default: `64`.
    requests: Option<usize>,
    /// Calls under way in one worker, 1 to 16384. Default: `256`.
    calls: Option<usize>,
}

/// The longest that a request can ask for.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeadlines {
    /// For one call. By default `30s`, or `total` where that is shorter.
    call: Option<Span>,
    /// For the whole request, at most `1h`. Default: `60s`.
    total: Option<Span>,
}

/// What a failed question does.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Errors {
    /// The others are answered.
    #[default]
    Partial,
    /// The whole request fails with the first one.
    Fail,
    /// What may pass is asked once more, then as `partial`.
    RetryOnce,
}

/// What becomes of requests with `stream`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Streaming {
    /// They are refused.
    #[default]
    Refuse,
    /// The client gets its events, all at the end.
    AtEnd,
}

/// A tenant's share of what is under way.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    /// Calls at a time, in all workers of the proxy together. By default `limits.parallel`.
    parallel: Option<usize>,
    /// Requests under way in each worker. By default 8, or `limits.requests` where that is less.
    requests: Option<usize>,
}

/// A tenant's questions over time.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawAllowance {
    /// So many questions.
    questions: u64,
    /// In so much time, such as `1m`; at most 31 days.
    per: Span,
    /// So many at once, at least `limits.questions`. By default `questions`.
    burst: Option<u64>,
}

/// When questions go out as one request.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Pack {
    /// Where splitting is not this many times faster by `latency`, 1 to 1000. Default: `1.5`.
    below_gain: Option<f64>,
}

/// What the model takes: `preset`, or the three numbers.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Latency {
    /// A known model, such as `gpt-4o`.
    preset: Option<String>,
    /// Seconds before the first token.
    fixed: Option<f64>,
    /// Seconds for each token that is read.
    per_input_token: Option<f64>,
    /// Seconds for each token that is written.
    per_output_token: Option<f64>,
}

impl From<Errors> for OnError {
    fn from(raw: Errors) -> Self {
        match raw {
            Errors::Partial => Self::Partial,
            Errors::Fail => Self::Fail,
            Errors::RetryOnce => Self::RetryOnce,
        }
    }
}

impl RawProvider {
    pub(super) fn resolve(self, environment: &dyn Fn(&str) -> Option<String>) -> Resolved<Provider> {
        if self.cluster.is_empty() {
            let reason = "empty; name the proxy's cluster for the provider";
            return Err(ConfigError::new("provider.cluster", reason));
        }
        let path = self.path.unwrap_or_else(|| "/v1/chat/completions".into());
        if !path.starts_with('/') {
            return Err(ConfigError::new("provider.path", "not a path: it begins with `/`"));
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (at, header) in self.headers.into_iter().enumerate() {
            let at = format!("provider.headers[{at}]");
            let name = header_name(&header.name, &format!("{at}.name"))?;
            let given = Given { value: header.value, env: header.env };
            let value = header_value(value(given, &at, environment)?, &at)?;
            headers.push(Header { name: name.as_str().into(), value });
        }
        let forward = self.forward_headers.iter().enumerate().map(|(at, name)| {
            let at = format!("provider.forward_headers[{at}]");
            let name = header_name(name, &at)?;
            if headers.iter().any(|header| header.name == name.as_str()) {
                return Err(ConfigError::new(at, "is in `provider.headers` too: it has one value"));
            }
            Ok(name)
        });
        let forward = forward.collect::<Resolved<_>>()?;
        Ok(Provider {
            cluster: self.cluster,
            scheme: match self.scheme {
                Scheme::Https => "https",
                Scheme::Http => "http",
            },
            authority: header_value(self.authority, "provider.authority")?,
            path: header_value(path, "provider.path")?,
            headers,
            forward,
        })
    }
}

impl RawLimits {
    pub(super) fn resolve(self) -> Resolved<Limits> {
        const MIB: usize = 1024 * 1024;
        let questions = within("limits.questions", self.questions.unwrap_or(20), 1, 256)?;
        let question_tokens =
            within("limits.question_tokens", self.question_tokens.unwrap_or(4096), 1, 10_000_000)?;
        let tokens = within(
            "limits.tokens",
            self.tokens.unwrap_or(question_tokens.max(32_768)),
            question_tokens,
            100_000_000,
        )?;
        let default = self.default_tokens.unwrap_or(question_tokens.min(1024));
        let request_bytes =
            within("limits.request_bytes", self.request_bytes.unwrap_or(MIB), 1024, 16 * MIB)?;
        Ok(Limits {
            request_bytes,
            upstream_bytes: within(
                "limits.upstream_bytes",
                self.upstream_bytes.unwrap_or(request_bytes.saturating_mul(8)),
                request_bytes,
                256 * MIB,
            )?,
            questions,
            parallel: within("limits.parallel", self.parallel.unwrap_or(8), 1, 256)?,
            question_tokens,
            tokens,
            default_tokens: within("limits.default_tokens", default, 1, question_tokens)?,
            // Envoy gives no more than 32 MiB of one answer.
            answer_bytes: within("limits.answer_bytes", self.answer_bytes.unwrap_or(MIB), 1024, 32 * MIB)?,
            held_bytes: within("limits.held_bytes", self.held_bytes.unwrap_or(64 * MIB), MIB, 1024 * MIB)?,
            requests: within("limits.requests", self.requests.unwrap_or(64), 1, 4096)?,
            calls: within("limits.calls", self.calls.unwrap_or(256), 1, 16_384)?,
        })
    }
}

impl RawDeadlines {
    pub(super) fn resolve(self) -> Resolved<Deadlines> {
        let total = span("deadlines.total", self.total, 60, 3600)?;
        let call = match self.call {
            None => total.min(Duration::from_secs(30)),
            given => span("deadlines.call", given, 30, 3600)?,
        };
        if call > total {
            return Err(ConfigError::new("deadlines.call", "longer than `deadlines.total`"));
        }
        Ok(Deadlines { call, total })
    }
}

impl Pack {
    pub(super) fn resolve(self, latency: Option<&crate::Latency>) -> Resolved<Packing> {
        if latency.is_none() {
            return Err(ConfigError::new("pack", "needs `latency`, to know what splitting would save"));
        }
        let below_gain = self.below_gain.unwrap_or(1.5);
        if !(1.0..=1000.0).contains(&below_gain) {
            return Err(ConfigError::new("pack.below_gain", "not from 1 to 1000"));
        }
        Ok(Packing { below_gain })
    }
}

impl Latency {
    pub(super) fn resolve(self) -> Resolved<crate::Latency> {
        let Self { preset, fixed, per_input_token, per_output_token } = self;
        let numbers = [fixed, per_input_token, per_output_token];
        if let Some(name) = preset {
            if numbers.iter().any(Option::is_some) {
                return Err(ConfigError::new("latency", "a `preset` has its own numbers"));
            }
            return crate::Latency::preset(&name).ok_or_else(|| {
                let known: Vec<_> =
                    crate::Latency::PRESETS.iter().map(|(name, _)| format!("`{name}`")).collect();
                ConfigError::new("latency.preset", format!("not one of {}", known.join(", ")))
            });
        }
        let [Some(fixed), Some(per_input), Some(per_output)] = numbers else {
            let reason = "wants `preset`, or `fixed`, `per_input_token` and `per_output_token` in seconds";
            return Err(ConfigError::new("latency", reason));
        };
        if [fixed, per_input, per_output].iter().any(|number| !(0.0..=3600.0).contains(number)) {
            return Err(ConfigError::new("latency", "each is in seconds, from 0 to 3600"));
        }
        Ok(crate::Latency { fixed, per_input, per_output })
    }
}

pub(super) fn shares(share: &Share, allowance: Option<&RawAllowance>, limits: &Limits) -> Resolved<Shares> {
    let parallel = within("share.parallel", share.parallel.unwrap_or(limits.parallel), 1, 256)?;
    let requests =
        within("share.requests", share.requests.unwrap_or(limits.requests.min(8)), 1, limits.requests)?;
    let allowance = allowance.map(|raw| {
        let most = 1_000_000_000;
        let questions = within("allowance.questions", raw.questions, 1, most)?;
        let per = span("allowance.per", Some(raw.per), 0, 31 * 86_400)?;
        let least = u64::try_from(limits.questions).unwrap_or(u64::MAX);
        let burst = raw.burst.unwrap_or(questions.max(least));
        if burst < least {
            let reason =
                format!("less than `limits.questions` ({least}): the largest request would never pass");
            return Err(ConfigError::new("allowance.burst", reason));
        }
        let burst = within("allowance.burst", burst, 1, most)?;
        let nanos = per.as_nanos().checked_div(questions.into()).unwrap_or_default().max(1);
        Ok(Gcra { interval: u64::try_from(nanos).unwrap_or(u64::MAX), burst })
    });
    Ok(Shares { parallel, requests, allowance: allowance.transpose()? })
}
