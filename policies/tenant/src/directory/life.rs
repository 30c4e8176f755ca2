//! The life of a directory that is fetched: when, by which worker, and when it becomes the one that
//! is used.
//!
//! [`Life`] is told what happened and what time it is; it says what to fetch, writes pages through
//! a [`Store`] that all workers share, and publishes a [`Root`]. It reads no clock and makes no
//! request.
//!
//! # What holds
//!
//! - **All or nothing.** A directory is used once every part of it was fetched, has the digest that
//!   its manifest names and was checked. Until then, and if any of it fails, the last good one is.
//! - **No mixture.** The pages of a new edition are written beside those of the one in use and
//!   carry the digest of their part. Who reads a page with another digest than the root names has
//!   not read it.
//! - **Never backwards.** A document whose version is lower than the last good one is refused: an
//!   old copy from some cache does not bring a suspended tenant back.
//! - **One worker fetches** for all, under a lease that ends by itself. A failure pauses everybody,
//!   at most [`LifeConfig::backoff_max`].
//! - **Staleness is bounded and known.** [`Life::freshness`] counts from the start of the fetch
//!   that last confirmed the directory.

mod loading;
mod marker;
mod root;

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::time::Duration;

use portcullis_core::fetch::{Address, Instant, ResponseHeaders, time::between};

pub use marker::Marker;
pub use root::Root;

use super::Freshness;
use loading::Loading;

/// What a lease has beyond the time of one fetch, for the callbacks around it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long the pages of the edition before stay, for workers that have not seen the new one.
const GRACE: Duration = Duration::from_secs(10);
/// The first pause after a failure.
const BACKOFF: Duration = Duration::from_secs(1);

/// How a directory is fetched.
#[derive(Clone, Debug)]
pub struct LifeConfig {
    /// Where the document or manifest is; parts are in `parts/` beside it.
    pub address: Address,
    /// How often it is asked for.
    pub refresh: Duration,
    /// How old what is known may be before it is [`Freshness::Stale`].
    pub max_age: Duration,
    /// How long one fetch may take.
    pub timeout: Duration,
    /// The longest pause after failures.
    pub backoff_max: Duration,
    /// The longest document; parts and manifests have limits of their own.
    pub max_bytes: usize,
    /// How many parts are fetched at a time.
    pub parallel: usize,
    /// Labels that no tenant of a document may have as a slug.
    pub reserved: BTreeSet<String>,
}

/// Something to fetch, without following redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Tells this fetch from others.
    pub id: u64,
    /// The path and query, on the host of [`LifeConfig::address`].
    pub path: String,
    /// The value of `If-None-Match`.
    pub etag: Option<String>,
    /// No more than this is read of the body.
    pub limit: usize,
}

/// What the machine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fetch this and report the outcome.
    Fetch(Fetch),
    /// Another edition is in use from now on.
    Replaced {
        /// Its version.
        version: u64,
        /// Its tenants.
        tenants: u64,
        /// How many of its parts had to be fetched or built.
        parts: usize,
    },
    /// What is known is as it was.
    Failed(String),
}

/// Where all workers of a process find pages and records.
pub trait Store {
    /// The marker and its version.
    fn marker(&mut self) -> Option<(Vec<u8>, u32)>;

    /// Replaces the marker of this version; false where somebody else was faster.
    fn set_marker(&mut self, marker: &[u8], version: u32) -> bool;

    /// The published root.
    fn root(&mut self) -> Option<Vec<u8>>;

    /// Publishes a root; false where it could not be.
    fn set_root(&mut self, root: &[u8]) -> bool;

    /// Writes a page of a part into one of its two places; false where it could not be. An empty
    /// page gives the memory back.
    fn set_page(&mut self, place: PagePlace, page: &[u8]) -> bool;
}

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePlace {
    /// The number of its part.
    pub part: usize,
    /// Which of the part's two places.
    pub second: bool,
    /// Its place in the part.
    pub page: usize,
}

/// One worker's view of a directory, and its turn at fetching it.
#[derive(Debug)]
pub struct Life {
    config: LifeConfig,
    owner: u64,
    now: Instant,
    root: Option<Root>,
    marker: Marker,
    loading: Option<Loading>,
    next_id: u64,
}

impl Life {
    /// A life that begins with what `store` has. `owner` is a number that no other worker has.
    pub fn new(config: LifeConfig, owner: u64, store: &mut dyn Store) -> Self {
        let mut life = Self {
            config,
            owner,
            now: Instant::default(),
            root: None,
            marker: Marker::default(),
            loading: None,
            next_id: 1,
        };
        life.look(store);
        life
    }

    /// Takes over what another worker published, if it did; whether the edition is another one now.
    pub fn look(&mut self, store: &mut dyn Store) -> bool {
        let Some((bytes, _)) = store.marker() else { return false };
        let Some(marker) = Marker::read(&bytes) else { return false };
        let before = self.root.as_ref().map_or(0, Root::generation);
        self.marker = marker;
        if marker.generation == before {
            return false;
        }
        let root = store.root().and_then(|bytes| Root::read(&bytes));
        let Some(root) = root.filter(|root| root.generation() > before) else { return false };
        self.root = Some(root);
        // What is being put together was meant to follow another edition.
        self.loading = None;
        true
    }

    /// Time has passed: fetches, if it is this worker's turn.
    pub fn tick(&mut self, now: Instant, random: u64, store: &mut dyn Store) -> Vec<Effect> {
        self.now = self.now.max(now);
        self.look(store);
        if self.loading.is_some() {
            let over = self.loading.as_ref().is_some_and(|loading| loading.deadline <= self.now);
            return if over {
                self.fail("a fetch did not end in time".into(), random, store)
            } else {
                Vec::new()
            };
        }
        let others = self.marker.owner != self.owner && self.marker.lease_until > self.now;
        if others || self.marker.next_at > self.now {
            return Vec::new();
        }
        if !self.claim(store) {
            return Vec::new();
        }
        self.sweep(store);
        // A directory whose pages are gone is fetched as if it were new.
        let root = self.trusted();
        let fetch = Fetch {
            id: self.next_id,
            path: self.config.address.path().into(),
            etag: root.and_then(|root| root.etag().map(Into::into)),
            limit: self.config.max_bytes,
        };
        self.loading = Some(Loading::new(self.now, self.deadline(), fetch.id));
        self.next_id = self.next_id.saturating_add(1);
        alloc::vec![Effect::Fetch(fetch)]
    }

    /// A fetch was answered.
    pub fn answered(
        &mut self,
        now: Instant,
        random: u64,
        id: u64,
        (status, headers, body): (u16, &ResponseHeaders, &[u8]),
        store: &mut dyn Store,
    ) -> Vec<Effect> {
        self.now = self.now.max(now);
        if !self.loading.as_ref().is_some_and(|loading| loading.waits_for(id)) {
            return Vec::new();
        }
        // Somebody else took over while this worker was away: the pages are theirs to write.
        if !self.claim(store) || self.look(store) {
            self.release(store);
            return Vec::new();
        }
        match self.take(random, id, (status, headers, body), store) {
            Ok(effects) => effects,
            Err(reason) => self.fail(reason, random, store),
        }
    }

    /// A fetch got no answer.
    pub fn unanswered(
        &mut self,
        now: Instant,
        random: u64,
        id: u64,
        reason: &str,
        store: &mut dyn Store,
    ) -> Vec<Effect> {
        self.now = self.now.max(now);
        if !self.loading.as_ref().is_some_and(|loading| loading.waits_for(id)) {
            return Vec::new();
        }
        self.fail(reason.into(), random, store)
    }

    /// The worker ends, or gives up: another one may fetch.
    pub fn release(&mut self, store: &mut dyn Store) {
        self.loading = None;
        let owner = self.owner;
        self.mark(store, |marker| {
            if marker.owner == owner {
                marker.lease_until = Instant::default();
            }
        });
    }

    /// What the root names is not there: whoever fetches next fetches all of it.
    pub fn distrust(&mut self, store: &mut dyn Store) {
        let generation = self.root.as_ref().map_or(0, Root::generation);
        if self.marker.distrusted < generation {
            self.mark(store, |marker| marker.distrusted = marker.distrusted.max(generation));
        }
    }

    /// The edition in use, if its pages are where they should be.
    fn trusted(&self) -> Option<&Root> {
        self.root.as_ref().filter(|root| self.marker.distrusted < root.generation())
    }

    /// The edition in use.
    #[must_use]
    pub const fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &LifeConfig {
        &self.config
    }

    /// Whether what is known may be relied on.
    #[must_use]
    pub fn freshness(&self, now: Instant) -> Freshness {
        match self.root {
            None => Freshness::Absent,
            Some(_) if self.age(now) > self.config.max_age => Freshness::Stale,
            Some(_) => Freshness::Current,
        }
    }

    /// How long ago the directory was confirmed.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.max(self.now).saturating_since(self.marker.confirmed_at)
    }

    fn deadline(&self) -> Instant {
        self.now.saturating_add(self.config.timeout).saturating_add(LEASE_MARGIN)
    }

    /// Whether this worker has the lease, from now on for the time of one more fetch.
    fn claim(&mut self, store: &mut dyn Store) -> bool {
        let (owner, now, until) = (self.owner, self.now, self.deadline());
        self.mark(store, |marker| {
            if marker.owner != owner && marker.lease_until > now {
                return;
            }
            (marker.owner, marker.lease_until) = (owner, until);
        });
        self.marker.owner == owner && self.marker.lease_until == until
    }

    /// Changes the shared marker, unless somebody else is faster each time.
    fn mark(&mut self, store: &mut dyn Store, change: impl Fn(&mut Marker)) -> bool {
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let (bytes, version) = store.marker().unwrap_or_default();
            let mut marker = Marker::read(&bytes).unwrap_or_default();
            change(&mut marker);
            self.marker = marker;
            if store.set_marker(&marker.write(), version) {
                return true;
            }
        }
        self.marker = Marker::default();
        false
    }

    fn fail(&mut self, reason: String, random: u64, store: &mut dyn Store) -> Vec<Effect> {
        self.loading = None;
        let (owner, now, most) = (self.owner, self.now, self.config.backoff_max);
        self.mark(store, |marker| {
            if marker.owner == owner {
                let doublings = 1_u32.checked_shl(marker.failures.min(16)).unwrap_or(u32::MAX);
                let longest = BACKOFF.saturating_mul(doublings).min(most);
                let half = longest.checked_div(2).unwrap_or_default();
                marker.next_at = now.saturating_add(between(random, half, longest));
                marker.failures = marker.failures.saturating_add(1);
                marker.lease_until = Instant::default();
            }
        });
        alloc::vec![Effect::Failed(reason)]
    }

    /// What was known at `asked_at` is so still.
    fn confirm(&mut self, asked_at: Instant, generation: u64, random: u64, store: &mut dyn Store) {
        self.loading = None;
        let refresh = self.config.refresh;
        // A tenth earlier by chance: the proxies of one fleet do not ask at once.
        let early = refresh.saturating_sub(refresh.checked_div(10).unwrap_or_default());
        let next_at = self.now.saturating_add(between(random, early, refresh));
        self.mark(store, |marker| {
            marker.generation = generation;
            marker.confirmed_at = marker.confirmed_at.max(asked_at);
            marker.next_at = next_at;
            marker.failures = 0;
            marker.lease_until = Instant::default();
        });
    }

    /// Gives back the memory of the edition before, once every worker has left it.
    fn sweep(&mut self, store: &mut dyn Store) {
        let Some(root) = &self.root else { return };
        let generation = root.generation();
        let settled = root.published_at().saturating_add(GRACE) <= self.now;
        if self.marker.swept >= generation || !settled {
            return;
        }
        for place in root.garbage() {
            // What stays is overwritten by a later edition.
            let _ = store.set_page(place, b"");
        }
        self.mark(store, |marker| marker.swept = marker.swept.max(generation));
    }
}
