//! The shape of the configuration document, as serde reads it, and what its parts become.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::{ConfigError, config::duration::Span, gcra::Gcra};
use serde::Deserialize;

use super::{
    Deadlines, Header, Limits, Packing, Provider, Resolved, header_name, header_value, span, value, within,
};
use crate::{OnError, share::Shares};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) paths: Option<Vec<String>>,
    pub(super) provider: RawProvider,
    #[serde(default)]
    pub(super) tenant: Tenant,
    pub(super) isolation: Isolation,
    #[serde(default)]
    pub(super) plain: Plain,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) deadlines: RawDeadlines,
    #[serde(default)]
    pub(super) on_error: Errors,
    #[serde(default)]
    pub(super) streaming: Streaming,
    #[serde(default)]
    pub(super) share: Share,
    pub(super) allowance: Option<RawAllowance>,
    pub(super) pack: Option<Pack>,
    pub(super) latency: Option<Latency>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider {
    cluster: String,
    authority: String,
    path: Option<String>,
    #[serde(default)]
    scheme: Scheme,
    #[serde(default)]
    headers: Vec<RawHeader>,
    #[serde(default)]
    forward_headers: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scheme {
    #[default]
    Https,
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    name: String,
    value: Option<String>,
    env: Option<String>,
}

/// A value in the document, or the name of one in the environment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    pub(super) value: Option<String>,
    pub(super) env: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tenant {
    #[default]
    Required,
    Shared,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    #[default]
    Pass,
    Isolate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Isolation {
    pub(super) key: Given,
    pub(super) members: Option<Vec<String>>,
    #[serde(default)]
    pub(super) headers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    request_bytes: Option<usize>,
    upstream_bytes: Option<usize>,
    questions: Option<usize>,
    parallel: Option<usize>,
    question_tokens: Option<u64>,
    tokens: Option<u64>,
    default_tokens: Option<u64>,
    answer_bytes: Option<usize>,
    held_bytes: Option<usize>,
    requests: Option<usize>,
    calls: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeadlines {
    call: Option<Span>,
    total: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Errors {
    #[default]
    Partial,
    Fail,
    RetryOnce,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Streaming {
    #[default]
    Refuse,
    AtEnd,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    parallel: Option<usize>,
    requests: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAllowance {
    questions: u64,
    per: Span,
    burst: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pack {
    below_gain: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latency {
    preset: Option<String>,
    fixed: Option<f64>,
    per_input_token: Option<f64>,
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
