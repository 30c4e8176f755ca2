//! The member `quotas` of a configuration.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};

use portcullis_core::{ConfigError, gcra::Gcra};
use serde::Deserialize;

use super::{Plan, Quotas, SECOND};
use crate::concurrency::Limits;

/// How much each tenant may ask.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// The plans by name; a tenant's is in the directory.
    plans: BTreeMap<String, RawPlan>,
    /// The plan of tenants that have none.
    default: String,
    /// Profile fields by which one tenant has a rate of its own. Default: none.
    record: Option<Own>,
    /// Shared values that hold the times of 16 tenants each, 1 to 65536. Default: `4096`.
    slots: Option<u32>,
}

/// The names of two profile fields.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Own {
    /// The field with the rate, such as `quota_rate`.
    rate: String,
    /// The field with the burst.
    burst: String,
}

/// What tenants of one plan may ask.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawPlan {
    /// Requests over time: `10/s`, `600/m`, `5000/h`, `100000/d`.
    rate: String,
    /// How many may come at once, 1 to 1000000.
    burst: u64,
    /// Classes of routes that have a rate of their own, by name.
    #[serde(default)]
    classes: BTreeMap<String, RawRate>,
}

/// The rate of one class.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawRate {
    /// Requests over time: `10/s`, `600/m`, `5000/h`, `100000/d`.
    rate: String,
    /// How many may come at once, 1 to 1000000.
    burst: u64,
}

/// What a request takes from its tenant's quota.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Weight {
    /// The class whose rate counts; a plan without it counts its own. Default: none.
    pub(crate) class: Option<String>,
    /// How much it takes, at most the burst of each plan. Default: `1`.
    #[serde(default = "one")]
    pub(crate) cost: u64,
}

const fn one() -> u64 {
    1
}

pub(crate) fn resolve(raw: Raw) -> Result<Quotas, ConfigError> {
    let Raw { plans, default, record, slots } = raw;
    if !plans.contains_key(&default) {
        let reason = format!("`{default}` is not one of the plans: tenants without a plan need one");
        return Err(ConfigError::new("quotas.default", reason));
    }
    let slots = slots.unwrap_or(4096);
    if !(1..=65_536).contains(&slots) {
        return Err(ConfigError::new("quotas.slots", "not from 1 to 65536"));
    }
    let plan = |(name, raw): (String, RawPlan)| {
        let path = format!("quotas.plans.{name}");
        let rate = checked(&path, &raw.rate, raw.burst)?;
        let class = |(class, raw): (String, RawRate)| {
            self::class(&format!("{path}.classes.{class}"), &class)?;
            let rate = checked(&format!("{path}.classes.{class}"), &raw.rate, raw.burst)?;
            Ok((class, rate))
        };
        let classes = raw.classes.into_iter().map(class).collect::<Result<_, _>>()?;
        Ok((name, Plan { rate, classes }))
    };
    Ok(Quotas {
        slots,
        plans: plans.into_iter().map(plan).collect::<Result<_, _>>()?,
        default,
        own: record.map(|own| (own.rate, own.burst)),
    })
}

fn checked(path: &str, text: &str, burst: u64) -> Result<Gcra, ConfigError> {
    rate(text, burst)
        .map_err(|(member, reason)| ConfigError::new(format!("{path}.{member}"), reason.to_string()))
}

/// `10/s`, `600/m`, `5000/h`, `100000/d`.
pub(crate) fn rate(text: &str, burst: u64) -> Result<Gcra, (&'static str, &'static str)> {
    let wrong =
        ("rate", "not a number of requests for a span, such as `10/s`, `600/m`, `5000/h`, `100000/d`");
    let (number, unit) = text.split_once('/').ok_or(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong),
    };
    let number: u64 = number.parse().map_err(|_| wrong)?;
    let interval =
        seconds.saturating_mul(SECOND).checked_div(number).filter(|interval| *interval > 0).ok_or(wrong)?;
    if !(1..=1_000_000).contains(&burst) {
        return Err(("burst", "not from 1 to 1000000"));
    }
    Ok(Gcra { interval, burst })
}

/// Whether `name` can be the name of a class.
pub(crate) fn class(path: &str, name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let reason = "not letters, digits and `_`: it becomes a part of a header";
        return Err(ConfigError::new(path, reason));
    }
    Ok(())
}

/// What a route takes, where it says so.
pub(crate) fn weight(
    path: &str,
    weight: &Weight,
    quotas: Option<&Quotas>,
    concurrency: Option<&Limits>,
) -> Result<(), ConfigError> {
    if quotas.is_none() && concurrency.is_none() {
        return Err(ConfigError::new(path, "there are no `quotas` and no `concurrency`"));
    }
    let plans = || quotas.iter().flat_map(|quotas| quotas.plans.values());
    if let Some(class) = &weight.class
        && !plans().any(|plan| plan.classes.contains_key(class))
        && !concurrency.is_some_and(|limits| limits.classes.contains_key(class))
    {
        let reason = format!("no plan of `quotas` has a class `{class}`, nor has `concurrency`");
        return Err(ConfigError::new(format!("{path}.class"), reason));
    }
    let least = plans().map(|plan| {
        let class = weight.class.as_ref().and_then(|class| plan.classes.get(class));
        class.unwrap_or(&plan.rate).burst
    });
    match least.min() {
        None if weight.cost != 1 => {
            Err(ConfigError::new(format!("{path}.cost"), "there are no `quotas` to take it from"))
        }
        Some(least) if weight.cost > least => {
            let reason = format!("more than the burst of a plan ({least}): such a request would never pass");
            Err(ConfigError::new(format!("{path}.cost"), reason))
        }
        _ => Ok(()),
    }
}
