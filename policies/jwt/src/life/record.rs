//! A fetched set with what is known of its life.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use super::{
    address::Address,
    config::LifeConfig,
    event::KeyName,
    http::ResponseHeaders,
    time::{Instant, between},
};
use crate::jwks::{JsonWebKey, KeySet};

/// A set and its life.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) set: KeySet,
    pub(super) generation: u64,
    pub(super) document: Vec<u8>,
    pub(super) origin: Origin,
    pub(super) times: Times,
}

/// Where a set was fetched, and by what it can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) source: usize,
    pub(super) address: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// When a set was asked for, and until when it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// The start of the fetch that last confirmed the set: what was published later may lack.
    pub(super) asked_at: Instant,
    pub(super) refresh_at: Instant,
    pub(super) fresh_until: Instant,
    pub(super) usable_until: Instant,
}

impl Times {
    /// The life of a set that was asked for at `asked_at`, counted from there because the answer
    /// may have been on its way for as long as the fetch took (RFC 9111 section 4.2.3).
    pub(super) fn new(
        asked_at: Instant,
        lifetime: Option<Duration>,
        random: u64,
        config: &LifeConfig,
    ) -> Self {
        let lifetime = lifetime.unwrap_or(config.default_fresh).min(config.max_fresh).max(config.min_fresh);
        let ahead = config.refresh_ahead.min(lifetime.checked_div(4).unwrap_or_default());
        let fresh_until = asked_at.saturating_add(lifetime);
        Self {
            asked_at,
            refresh_at: fresh_until.saturating_sub(between(random, ahead, ahead.saturating_mul(2))),
            fresh_until,
            usable_until: fresh_until.saturating_add(config.stale_if_error),
        }
    }

    /// The same within the bounds of `config`, for times that a worker with another configuration
    /// chose.
    pub(super) fn within(self, now: Instant, config: &LifeConfig) -> Self {
        let asked_at = self.asked_at.min(now);
        let fresh_until = self.fresh_until.min(asked_at.saturating_add(config.max_fresh));
        let usable_until = fresh_until.saturating_add(config.stale_if_error).min(self.usable_until);
        Self { asked_at, refresh_at: self.refresh_at.min(fresh_until), fresh_until, usable_until }
    }
}

impl Origin {
    pub(super) fn new(source: usize, address: &Address, headers: ResponseHeaders) -> Self {
        let ResponseHeaders { etag, last_modified, .. } = headers;
        Self { source, address: address.as_str().to_string(), etag, last_modified }
    }

    /// The headers that ask whether the set at `address` is still this one (RFC 9110 section 13.1).
    pub(super) fn conditions(&self, source: usize, address: &Address) -> Vec<(&'static str, String)> {
        if self.source != source || self.address != address.as_str() {
            return Vec::new();
        }
        let etag = self.etag.clone().map(|etag| ("if-none-match", etag));
        let date = self.last_modified.clone().map(|date| ("if-modified-since", date));
        etag.into_iter().chain(date).collect()
    }
}

/// The names of the keys that are in `one` and not in `other`.
pub(super) fn missing(one: Option<&KeySet>, other: Option<&KeySet>) -> Vec<KeyName> {
    let names = |set: Option<&KeySet>| {
        let mut names: Vec<KeyName> = set.map(KeySet::keys).unwrap_or_default().iter().map(name).collect();
        names.sort();
        names
    };
    let other = names(other);
    names(one).into_iter().filter(|name| other.binary_search(name).is_err()).collect()
}

fn name(key: &JsonWebKey) -> KeyName {
    KeyName { kid: key.kid().map(Into::into), thumbprint: key.key().thumbprint(), algorithm: key.algorithm() }
}
