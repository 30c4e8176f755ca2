//! The member `concurrency` of a configuration.

use alloc::{collections::BTreeMap, format, string::String};

use portcullis_core::ConfigError;
use serde::Deserialize;

use super::{Limits, Places};

/// How many requests of tenants may be under way.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Concurrency"))]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// Classes of routes, by name; at least one.
    classes: BTreeMap<String, RawPlaces>,
    /// The share of a plan's tenants beside that of others, by the plan's name, 1 to 1000.
    #[serde(default)]
    weights: BTreeMap<String, u32>,
}

/// The places of one class.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawPlaces {
    /// Requests under way at a time, of all tenants together, 4 to 4096.
    total: u32,
    /// Places that only tenants below their share may have. By default an eighth, at least 2.
    reserve: Option<u32>,
    /// Places that one tenant may have. By default all but the reserve.
    each: Option<u32>,
}

/// A shared value has all that is under way in it.
const MOST: u32 = 4096;

pub(crate) fn resolve(raw: Raw) -> Result<Limits, ConfigError> {
    let Raw { classes, weights } = raw;
    if classes.is_empty() {
        return Err(ConfigError::new("concurrency.classes", "empty: nothing would be limited"));
    }
    for (plan, weight) in &weights {
        within(&format!("concurrency.weights.{plan}"), *weight, 1, 1000)?;
    }
    let places = |(name, raw): (String, RawPlaces)| {
        let path = format!("concurrency.classes.{name}");
        crate::quota::config::class(&path, &name)?;
        let at = |member: &str| format!("{path}.{member}");
        let RawPlaces { total, reserve, each } = raw;
        let total = within(&at("total"), total, 4, MOST)?;
        // A tenant below its share comes to it by the first half, so a reserve that is always in use
        // would leave shares to chance: within one place they are right from an eighth on.
        let least = total.checked_div(8).unwrap_or_default().max(2);
        let half = total.checked_div(2).unwrap_or_default();
        let reserve = within(&at("reserve"), reserve.unwrap_or(least), least, half)?;
        let most = total.saturating_sub(reserve);
        let each = within(&at("each"), each.unwrap_or(most), 1, most)?;
        Ok((name, Places { total, reserve, each }))
    };
    Ok(Limits { classes: classes.into_iter().map(places).collect::<Result<_, _>>()?, weights })
}

fn within(path: &str, number: u32, low: u32, high: u32) -> Result<u32, ConfigError> {
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    Err(ConfigError::new(path, format!("not from {low} to {high}")))
}
