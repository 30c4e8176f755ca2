//! The member `concurrency` of a configuration.

use alloc::{collections::BTreeMap, format, string::String};

use portcullis_core::ConfigError;
use serde::Deserialize;

use super::{Limits, Places};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    classes: BTreeMap<String, RawPlaces>,
    #[serde(default)]
    weights: BTreeMap<String, u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlaces {
    total: u32,
    reserve: Option<u32>,
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
