//! A fetched directory: the calls for it, and the data that all workers of the proxy share.
//!
//! The number of shared keys is that of the directory's pages, twice; none is a client's choice.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Call, Map},
    log::{self, Level},
    metrics::{Counter, Gauge},
    shared,
};
use portcullis_core::fetch::{Instant, ResponseHeaders};
use portcullis_tenant::{
    Directory, Freshness, Remote, Unreadable,
    directory::{
        Nothing,
        life::{Effect, Fetch, Life, PagePlace, Root, Store},
        pack::{Manifest, PackedDirectory, Pages},
    },
};

/// The directory of one worker.
pub(crate) struct Fetched {
    remote: Remote,
    life: RefCell<Life>,
    shared: Shared,
    /// Calls under way: token to fetch, and how much of its body is read.
    calls: RefCell<BTreeMap<u32, (u64, usize)>>,
    metrics: DirectoryMetrics,
}

/// The names under which it is shared.
#[derive(Clone)]
struct Shared {
    prefix: String,
}

struct DirectoryMetrics {
    replaced: Counter,
    failed: Counter,
    age: Gauge,
    tenants: Gauge,
    version: Gauge,
}

impl Fetched {
    pub(crate) fn new(remote: &Remote) -> Self {
        // Another address, or other rules for what may be in it, is another directory.
        let reserved: Vec<_> = remote.life.reserved.iter().map(String::as_str).collect();
        let identity = format!("{} {} {}", remote.cluster, remote.life.address, reserved.join(","));
        let mut shared = Shared { prefix: format!("portcullis/tenants/1/{:016x}", fnv(identity.as_bytes())) };
        shared.prepare();
        let life = Life::new(remote.life.clone(), random(), &mut shared);
        let gauge = |name: &str| Gauge::new(&format!("portcullis.tenant.directory.{name}"));
        let counter = |name: &str| Counter::new(&format!("portcullis.tenant.directory.{name}"));
        let metrics = DirectoryMetrics {
            replaced: counter("replaced"),
            failed: counter("failed"),
            age: gauge("age_seconds"),
            tenants: gauge("tenants"),
            version: gauge("version"),
        };
        Self { remote: remote.clone(), life: RefCell::new(life), shared, calls: RefCell::default(), metrics }
    }

    /// Time has passed.
    pub(crate) fn tick(&self) {
        self.drive(|life, store, now| life.tick(now, random(), store));
        if let Ok(life) = self.life.try_borrow() {
            self.metrics.age.set(life.age(Instant::default()).as_secs());
            let manifest = life.root().map(Root::manifest);
            self.metrics.tenants.set(manifest.map_or(0, Manifest::tenants));
            self.metrics.version.set(manifest.map_or(0, Manifest::version));
        }
    }

    /// The answer to the call `token` is there; without `headers` there is none.
    pub(crate) fn answered(&self, token: u32, headers: bool, body: usize) {
        let call = self.calls.try_borrow_mut().ok().and_then(|mut calls| calls.remove(&token));
        let Some((id, limit)) = call else { return };
        let answer = answer(limit, headers, body);
        self.drive(|life, store, now| match &answer {
            Ok((status, headers, body)) => life.answered(now, random(), id, (*status, headers, body), store),
            Err(reason) => life.unanswered(now, random(), id, reason, store),
        });
    }

    /// Runs `judge` with the directory as it is. Where a page is not what this worker expects, the
    /// directory was replaced meanwhile: once more with the new one.
    pub(crate) fn with<T>(&self, mut judge: impl FnMut(&dyn Directory) -> T) -> T {
        let (first, missed) = self.once(&mut judge);
        if !missed {
            return first;
        }
        let looked = self.life.try_borrow_mut().is_ok_and(|mut life| life.look(&mut self.shared.clone()));
        let (second, missed) = if looked { self.once(&mut judge) } else { (first, true) };
        if missed && let Ok(mut life) = self.life.try_borrow_mut() {
            life.distrust(&mut self.shared.clone());
        }
        second
    }

    fn once<T>(&self, judge: &mut impl FnMut(&dyn Directory) -> T) -> (T, bool) {
        let Ok(life) = self.life.try_borrow() else { return (judge(&Nothing), false) };
        let Some(root) = life.root() else { return (judge(&Nothing), false) };
        let missed = Cell::new(false);
        let freshness: Freshness = life.freshness(Instant::default());
        let pages = SharedPages { root, prefix: &self.shared.prefix, missed: &missed };
        let result = judge(&PackedDirectory { manifest: root.manifest(), pages, freshness });
        (result, missed.get())
    }

    fn drive(&self, event: impl FnOnce(&mut Life, &mut Shared, Instant) -> Vec<Effect>) {
        // A clock that does not tell stands still: the directory ages no further.
        let now = abi::monotonic().map(Instant).unwrap_or_default();
        let Ok(mut life) = self.life.try_borrow_mut() else { return };
        let mut store = self.shared.clone();
        let mut effects: Vec<_> = event(&mut life, &mut store, now);
        // Each call that cannot be made ends the round, and a round makes only so many.
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Fetch(fetch) => {
                    if let Err(reason) = self.dispatch(&fetch) {
                        effects.extend(life.unanswered(now, random(), fetch.id, &reason, &mut store));
                    }
                }
                Effect::Replaced { version, tenants, parts } => {
                    self.metrics.replaced.increment();
                    log::write(Level::Info, || {
                        format!(
                            "directory: version {version} with {tenants} tenants is in use; {parts} parts are new"
                        )
                    });
                }
                Effect::Failed(reason) => {
                    self.metrics.failed.increment();
                    log::write(Level::Warn, || format!("directory: {reason}; what was known is kept"));
                }
            }
        }
    }

    fn dispatch(&self, fetch: &Fetch) -> Result<(), String> {
        let Remote { cluster, life } = &self.remote;
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", life.address.scheme()),
            (":authority", life.address.authority()),
            (":path", fetch.path.as_str()),
        ];
        headers.extend(fetch.etag.as_deref().map(|etag| ("if-none-match", etag)));
        let token = http::dispatch(Call { cluster, headers: &headers, timeout: life.timeout })
            .map_err(|refused| format!("cluster `{cluster}`: {refused}"))?;
        if let Ok(mut calls) = self.calls.try_borrow_mut() {
            calls.insert(token, (fetch.id, fetch.limit));
        }
        Ok(())
    }
}

/// The answers to calls under way are lost: others must not wait for them.
impl Drop for Fetched {
    fn drop(&mut self) {
        self.life.get_mut().release(&mut self.shared.clone());
    }
}

/// The pages of one edition.
struct SharedPages<'r> {
    root: &'r Root,
    prefix: &'r str,
    missed: &'r Cell<bool>,
}

impl Pages for SharedPages<'_> {
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable> {
        let place = self.root.place(number);
        let page = shared::get(&key(self.prefix, place)).ok().flatten().and_then(|shared| {
            let mut bytes = shared.value;
            let length = self.root.unstamp(place, &bytes)?.len();
            bytes.truncate(length);
            Some(bytes)
        });
        self.missed.set(self.missed.get() || page.is_none());
        page.map(Cow::Owned).ok_or(Unreadable)
    }
}

fn key(prefix: &str, PagePlace { part, second, page }: PagePlace) -> String {
    format!("{prefix}/{part:x}/{}/{page:x}", u8::from(second))
}

impl Shared {
    fn name(&self, what: &str) -> String {
        format!("{}/{what}", self.prefix)
    }

    /// A value that exists can be compared and swapped; one that does not cannot. Envoy configures
    /// a VM on its main thread before it makes those of the workers.
    fn prepare(&mut self) {
        // A host that shares nothing says so with the first page.
        let _ = shared::create(&self.name("marker"), b"");
    }
}

impl Store for Shared {
    fn marker(&mut self) -> Option<(Vec<u8>, u32)> {
        let found = shared::get(&self.name("marker")).ok()??;
        Some((found.value, found.version))
    }

    fn set_marker(&mut self, marker: &[u8], version: u32) -> bool {
        !matches!(shared::set(&self.name("marker"), marker, version), Err(Refused::CAS_MISMATCH))
    }

    fn root(&mut self) -> Option<Vec<u8>> {
        Some(shared::get(&self.name("root")).ok()??.value)
    }

    fn set_root(&mut self, root: &[u8]) -> bool {
        shared::set(&self.name("root"), root, 0).is_ok()
    }

    fn set_page(&mut self, place: PagePlace, page: &[u8]) -> bool {
        shared::set(&key(&self.prefix, place), page, 0).is_ok()
    }
}

/// The answer of an HTTP call: status, headers and as much of the body as tells that it is too
/// long.
fn answer(limit: usize, headers: bool, body: usize) -> Result<(u16, ResponseHeaders, Vec<u8>), String> {
    if !headers {
        return Err("the connection was reset".into());
    }
    let headers = http::headers(Map::CallResponseHeaders).map_err(|refused| refused.to_string())?;
    let headers = headers.list().map_err(|refused| refused.to_string())?;
    let status = headers.iter().find(|(name, _)| *name == b":status").map(|(_, value)| *value);
    let status = status.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let status = status.ok_or("the answer has no status")?;
    let body =
        http::call_response_body(body.min(limit.saturating_add(1))).map_err(|refused| refused.to_string())?;
    let pairs = headers.iter().copied();
    Ok((status, ResponseHeaders::from_pairs(pairs), body))
}

/// FNV-1a: tells configurations apart, and defends against nobody.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// For jitter and leases: a host without randomness gets none.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
