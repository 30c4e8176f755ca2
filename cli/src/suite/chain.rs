//! The plugins that a check goes through, with the suite's key sets in the place of the issuers'.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use portcullis_jwt::Policy as JwtPolicy;
use serde_json::Value;

use super::{
    document::{Answer, Filter, Policy, Source},
    place::{At as _, Place, Wrong},
    upstreams::{Prepared, Upstreams},
    world::World,
};
use crate::{source, stage::Configured};

const JWT_AUTH: &str = "jwt-auth";

/// A chain as it is configured, before it runs.
#[derive(Debug)]
pub(super) struct Chain {
    filters: Vec<Loaded>,
    /// The issuers of all jwt-auth policies of the chain, by name.
    issuers: BTreeSet<String>,
}

#[derive(Debug)]
struct Loaded {
    plugin: portcullis_modules::Module,
    bytes: Vec<u8>,
    /// Where it was read.
    file: Option<source::Source>,
}

/// A chain with the key sets of a moment.
pub(super) struct Ready {
    pub(super) chain: Vec<Configured>,
    /// The first jwt-auth policy, natively: it knows every finding and not only the first.
    pub(super) policy: Option<JwtPolicy>,
}

impl Chain {
    pub(super) fn load(policy: &Policy, world: &World<'_>) -> anyhow::Result<Self> {
        if policy.0.is_empty() {
            bail!("a policy of no plugins decides nothing");
        }
        let mut issuers = BTreeSet::new();
        let mut filters = Vec::new();
        for Filter { plugin, source } in &policy.0 {
            let plugin = portcullis_modules::by_name(plugin).with_context(|| {
                let known: Vec<_> = portcullis_modules::ALL.iter().map(|module| module.name).collect();
                format!("no plugin is called `{plugin}`; there is: {}", known.join(", "))
            })?;
            let (bytes, file) = match source {
                Source::File(file) => {
                    let file = source::Source::read(&world.path(file))?.for_plugin(plugin.name)?;
                    (file.json()?, Some(file))
                }
                Source::Inline(value) => (serde_json::to_vec(value)?, None),
            };
            if plugin.name == JWT_AUTH
                && let Ok(config) = serde_json::from_slice::<Value>(&bytes)
            {
                let named = config["issuers"].as_array().into_iter().flatten();
                issuers.extend(named.filter_map(|issuer| issuer["name"].as_str().map(str::to_owned)));
            }
            filters.push(Loaded { plugin, bytes, file });
        }
        Ok(Self { filters, issuers })
    }

    /// Why `plugin` refuses its configuration, with the place in its file.
    pub(super) fn refused(&self, plugin: &str, reason: &str) -> String {
        let file = self.filters.iter().find(|filter| filter.plugin.name == plugin);
        match file.and_then(|filter| filter.file.as_ref()) {
            Some(file) => file.refused(reason).to_string(),
            None => reason.to_owned(),
        }
    }

    /// Whether a policy of the chain has an issuer of this name.
    pub(super) fn has_issuer(&self, name: &str) -> bool {
        self.issuers.contains(name)
    }

    pub(super) fn issuer_names(&self) -> String {
        if self.issuers.is_empty() { "none".into() } else { Vec::from_iter(self.issuers.clone()).join(", ") }
    }

    /// The configurations with the key sets that `answer` has for an issuer, and `upstreams` told
    /// where the others are fetched.
    pub(super) fn ready<'a>(
        &self,
        world: &World<'_>,
        answer: impl Fn(&str) -> Option<(&'a Answer, Place)>,
        upstreams: &Upstreams,
        place: Place,
    ) -> Result<Ready, Wrong> {
        let mut ready = Ready { chain: Vec::new(), policy: None };
        for Loaded { plugin, bytes, .. } in &self.filters {
            let mut configuration = bytes.clone();
            if plugin.name == JWT_AUTH {
                configuration = with_inline_sets(bytes, world, &answer)?;
                // What it refuses, the module refuses too, and is asked for the reason.
                if let Ok(policy) = JwtPolicy::from_json(&configuration) {
                    for issuer in upstreams.learn(&policy) {
                        let prepared = prepared(world, &issuer, answer(&issuer), place)?;
                        if let Some(prepared) = prepared {
                            upstreams.set_answer(&issuer, prepared);
                        }
                    }
                    ready.policy.get_or_insert(policy);
                }
            }
            ready.chain.push(Configured { plugin: *plugin, configuration });
        }
        Ok(ready)
    }
}

/// What an issuer's address answers: what the suite declares, else the keys that are named after
/// the issuer.
pub(super) fn prepared(
    world: &World<'_>,
    issuer: &str,
    declared: Option<(&Answer, Place)>,
    place: Place,
) -> Result<Option<Prepared>, Wrong> {
    let Some((Answer(answer), place)) = declared else {
        let keys: Vec<_> = world.keys_by_convention(issuer).map(portcullis_issuer::SigningKey::jwk).collect();
        if keys.is_empty() {
            return Ok(None);
        }
        let body = portcullis_issuer::jwk_set(keys).to_string().into_bytes();
        return Prepared::new(None, &Default::default(), body, None, false).at(place).map(Some);
    };
    let body = match (world.set(answer).at(place)?, &answer.body) {
        (Some(_), Some(_)) => return Err(Wrong::new(place, "`keys` and `body` are two answers")),
        (Some(set), None) => set.to_string().into_bytes(),
        (None, Some(text)) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    };
    Prepared::new(answer.status, &answer.headers, body, answer.delay.as_deref(), answer.down)
        .at(place)
        .map(Some)
}

/// Sets that are written into the configuration: replaced by what the suite declares, or with the
/// keys that are named after the issuer added.
fn with_inline_sets<'a>(
    bytes: &[u8],
    world: &World<'_>,
    answer: &impl Fn(&str) -> Option<(&'a Answer, Place)>,
) -> Result<Vec<u8>, Wrong> {
    let Ok(mut config) = serde_json::from_slice::<Value>(bytes) else { return Ok(bytes.to_vec()) };
    let mut changed = false;
    for issuer in config["issuers"].as_array_mut().into_iter().flatten() {
        let name = issuer["name"].as_str().unwrap_or_default().to_owned();
        let Some(inline) = issuer.get_mut("jwks").and_then(|jwks| jwks.get_mut("inline")) else { continue };
        if let Some((Answer(declared), place)) = answer(&name) {
            let set = world.set(declared).at(place)?.ok_or_else(|| {
                Wrong::new(
                    place,
                    format!("the set of `{name}` is in the configuration: it can only be `keys`"),
                )
            })?;
            *inline = set;
            changed = true;
        } else if let Some(keys) = inline.get_mut("keys").and_then(Value::as_array_mut) {
            let before = keys.len();
            keys.extend(world.keys_by_convention(&name).map(portcullis_issuer::SigningKey::jwk));
            changed |= keys.len() != before;
        }
    }
    // What nobody changed reaches the plugin as it was written, a duplicate member included.
    Ok(if changed { config.to_string().into_bytes() } else { bytes.to_vec() })
}
