//! What a key set's life is bounded by, with the defaults and the reason for each.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use portcullis_crypto::sha256;

use super::{address::Address, gate::WINDOW};
use crate::jwks::{KeySet, Limits};

/// Where an issuer's keys can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A JWK Set at a known address.
    Keys(Address),
    /// A discovery document that names the address; see [`super::discovery_addresses`].
    Discovery(Address),
}

impl Source {
    /// The configured address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        match self {
            Self::Keys(address) | Self::Discovery(address) => address,
        }
    }
}

/// The life of one issuer's key set.
#[derive(Clone, Debug)]
pub struct LifeConfig {
    /// The issuer's identifier, which a discovery document must repeat exactly.
    pub issuer: String,
    /// Where the keys are, in the order of preference. None means that `inline` is all there is.
    pub sources: Vec<Source>,
    /// The last resort: used only while every source fails and no fetched set is usable.
    pub inline: Option<KeySet>,
    /// What a fetched document may cost.
    pub limits: Limits,
    /// How long a set is fresh where its answer does not say. 5 minutes, as in Nimbus: the time a
    /// removed key goes on to be accepted.
    pub default_fresh: Duration,
    /// The least that an answer can make of it, also with `no-store`. 1 minute: with less, the
    /// bound on fetches and not the answer would decide.
    pub min_fresh: Duration,
    /// The most that an answer can make of it. 15 minutes: issuers say up to a day, and for as
    /// long a key that was taken back would go on to be accepted.
    pub max_fresh: Duration,
    /// A refresh starts between one and two times this before the set stops being fresh, but at
    /// most half of its life before. 30 seconds, as in Nimbus; chosen at random in between, so
    /// that proxies that started together do not ask together.
    pub refresh_ahead: Duration,
    /// How long a set is used after it stopped being fresh because no source answers. 1 hour:
    /// most outages are shorter, and an attacker who can cut the issuer off prolongs a removed
    /// key's life by no more. Envoy's filter has no limit here, Istio has 7 days.
    pub stale_if_error: Duration,
    /// How long one fetch may take. 5 seconds, as in panva/jose and Istio.
    pub fetch_timeout: Duration,
    /// Fetches, of any kind and for any reason, in any 60 seconds: the stated bound. 4; from 2 to
    /// 60.
    pub fetches_per_minute: u32,
    /// The first pause after a failure; each further failure of that source doubles it, and a
    /// random half of it is left out. 1 second, so that a hiccup costs waiting requests little.
    pub backoff_first: Duration,
    /// The longest pause, which is the time until a recovered issuer is noticed. 1 minute.
    pub backoff_max: Duration,
    /// How long a kid that was looked up in vain is not looked up again. 10 seconds, doubled each
    /// time, so that one client with a wrong token does not use up what a rotation needs.
    pub kid_memory_first: Duration,
    /// The longest such time: what a key that is used before it is published can cost. 1 minute.
    pub kid_memory_max: Duration,
    /// Kids remembered so. 128, as a fetch happens at most 4 times a minute.
    pub kid_memory_entries: usize,
    /// Requests that may wait at the same time. 4096; each is a paused stream.
    pub max_waiting: usize,
    /// How long a request may wait. 5 seconds, the time of one fetch.
    pub wait: Duration,
    /// How long the address in a discovery document is believed. 1 hour; it is looked up again at
    /// once when it fails.
    pub discovery_fresh: Duration,
}

/// Why a [`LifeConfig`] contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifeConfigError {
    /// Neither a source nor inline keys.
    NoKeys,
    /// More sources than [`LifeConfig::MAX_SOURCES`].
    TooManySources,
    /// `min_fresh` ≤ `default_fresh` ≤ `max_fresh` does not hold.
    FreshOutOfOrder,
    /// `min_fresh` is shorter than the bound on fetches allows.
    FresherThanTheBound {
        /// The least that the bound allows.
        least: Duration,
    },
    /// `backoff_first` is zero or longer than `backoff_max`.
    BackoffOutOfOrder,
    /// `fetch_timeout` or `wait` is zero or longer than a minute.
    TimeoutOutOfRange,
    /// `fetches_per_minute` is not 2 to 60.
    FetchesOutOfRange,
}

impl fmt::Display for LifeConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("no source of keys; give an address or inline keys"),
            Self::TooManySources => write!(f, "more than {} sources", LifeConfig::MAX_SOURCES),
            Self::FreshOutOfOrder => {
                f.write_str("the least, usual and most time that keys are fresh are not in this order")
            }
            Self::FresherThanTheBound { least } => {
                write!(f, "keys are refreshed faster than the bound on fetches allows; at least {least:?}")
            }
            Self::BackoffOutOfOrder => {
                f.write_str("the first pause after a failure is zero or above the longest")
            }
            Self::TimeoutOutOfRange => f.write_str("a timeout is not above zero and up to 1 minute"),
            Self::FetchesOutOfRange => f.write_str("fetches per minute are not 2 to 60"),
        }
    }
}

impl core::error::Error for LifeConfigError {}

impl LifeConfig {
    /// Sources that one issuer may have.
    pub const MAX_SOURCES: usize = 8;

    /// The defaults for `issuer`, whose keys are at `sources`.
    #[must_use]
    pub fn new(issuer: String, sources: Vec<Source>) -> Self {
        Self {
            issuer,
            sources,
            inline: None,
            limits: Limits::default(),
            default_fresh: Duration::from_secs(300),
            min_fresh: Duration::from_secs(60),
            max_fresh: Duration::from_secs(900),
            refresh_ahead: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(3600),
            fetch_timeout: Duration::from_secs(5),
            fetches_per_minute: 4,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            kid_memory_first: Duration::from_secs(10),
            kid_memory_max: Duration::from_secs(60),
            kid_memory_entries: 128,
            max_waiting: 4096,
            wait: Duration::from_secs(5),
            discovery_fresh: Duration::from_secs(3600),
        }
    }

    /// Whether the settings make sense together.
    ///
    /// # Errors
    ///
    /// The first [`LifeConfigError`] that applies.
    pub fn check(&self) -> Result<(), LifeConfigError> {
        let minute = |time: Duration| !time.is_zero() && time <= WINDOW;
        if self.sources.is_empty() && self.inline.is_none() {
            return Err(LifeConfigError::NoKeys);
        }
        if self.sources.len() > Self::MAX_SOURCES {
            return Err(LifeConfigError::TooManySources);
        }
        if !(2..=60).contains(&self.fetches_per_minute) {
            return Err(LifeConfigError::FetchesOutOfRange);
        }
        if !(self.min_fresh <= self.default_fresh && self.default_fresh <= self.max_fresh) {
            return Err(LifeConfigError::FreshOutOfOrder);
        }
        // A refresh starts at the earliest when half of a set's life is over.
        let least = self.least_fresh();
        if self.min_fresh < least {
            return Err(LifeConfigError::FresherThanTheBound { least });
        }
        if self.backoff_first.is_zero() || self.backoff_first > self.backoff_max {
            return Err(LifeConfigError::BackoffOutOfOrder);
        }
        if !minute(self.fetch_timeout) || !minute(self.wait) {
            return Err(LifeConfigError::TimeoutOutOfRange);
        }
        Ok(())
    }

    /// The least [`LifeConfig::min_fresh`] that refreshing within the bound allows.
    #[must_use]
    pub fn least_fresh(&self) -> Duration {
        let apart = WINDOW.checked_div(self.fetches_per_minute.saturating_sub(1).max(1)).unwrap_or(WINDOW);
        apart.saturating_mul(2)
    }

    /// What a snapshot of the set is bound to: the issuer and where its keys come from. A set that
    /// was fetched for another identity is never taken over; make it part of a shared key's name.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        let mut text = Vec::new();
        let kinds = self.sources.iter().map(|source| match source {
            Source::Keys(address) => ("keys", address.as_str()),
            Source::Discovery(address) => ("discovery", address.as_str()),
        });
        // Lengths keep apart what could otherwise be read in two ways.
        for (kind, value) in core::iter::once(("issuer", self.issuer.as_str())).chain(kinds) {
            text.extend_from_slice(kind.as_bytes());
            text.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        sha256(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::address::Allow;

    fn config() -> LifeConfig {
        let address = Address::parse("https://idp/jwks", Allow::default()).unwrap();
        LifeConfig::new("https://idp".into(), Vec::from([Source::Keys(address)]))
    }

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(config().check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        let changed = |change: fn(&mut LifeConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err()
        };
        let least = Duration::from_secs(40);
        assert_eq!(changed(|c| c.sources.clear()), LifeConfigError::NoKeys);
        assert_eq!(
            changed(|c| c.sources = alloc::vec![c.sources[0].clone(); 9]),
            LifeConfigError::TooManySources
        );
        assert_eq!(changed(|c| c.fetches_per_minute = 1), LifeConfigError::FetchesOutOfRange);
        assert_eq!(changed(|c| c.max_fresh = Duration::from_secs(1)), LifeConfigError::FreshOutOfOrder);
        assert_eq!(changed(|c| c.min_fresh = Duration::ZERO), LifeConfigError::FresherThanTheBound { least });
        assert_eq!(
            changed(|c| c.backoff_first = Duration::from_secs(90)),
            LifeConfigError::BackoffOutOfOrder
        );
        assert_eq!(changed(|c| c.wait = Duration::ZERO), LifeConfigError::TimeoutOutOfRange);
        assert_eq!(
            changed(|c| c.fetch_timeout = Duration::from_secs(61)),
            LifeConfigError::TimeoutOutOfRange
        );
    }

    #[test]
    fn the_identity_is_that_of_issuer_and_sources() {
        let mut other = config();
        other.issuer.push('x');
        let mut kind = config();
        kind.sources = Vec::from([Source::Discovery(kind.sources[0].address().clone())]);
        let mut tuned = config();
        tuned.wait = Duration::from_secs(1);
        assert_eq!(config().identity(), tuned.identity());
        assert_ne!(config().identity(), other.identity());
        assert_ne!(config().identity(), kind.identity());
    }
}
