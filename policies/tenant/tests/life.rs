//! The life of a fetched directory, with several workers, a server that fails and workers that
//! vanish in the middle.

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, time::Duration};

use portcullis_core::fetch::{Address, Allow, Instant, ResponseHeaders};
use portcullis_tenant::{
    Directory, Freshness, Listed, Record, State, TenantId, Unreadable,
    directory::{
        life::{Effect, Fetch, Life, LifeConfig, PagePlace, Root, Store},
        pack::{self, Manifest, Options, Pack, PackedDirectory, Pages, Seed},
    },
};

#[derive(Default)]
struct Shared {
    marker: (Vec<u8>, u32),
    root: Option<Vec<u8>>,
    pages: BTreeMap<PagePlace, Vec<u8>>,
    writes: usize,
    refuses: bool,
}

impl Store for Shared {
    fn marker(&mut self) -> Option<(Vec<u8>, u32)> {
        Some(self.marker.clone())
    }

    fn set_marker(&mut self, marker: &[u8], version: u32) -> bool {
        if version != self.marker.1 {
            return false;
        }
        self.marker = (marker.to_vec(), version + 1);
        true
    }

    fn root(&mut self) -> Option<Vec<u8>> {
        self.root.clone()
    }

    fn set_root(&mut self, root: &[u8]) -> bool {
        self.root = Some(root.to_vec());
        !self.refuses
    }

    fn set_page(&mut self, place: PagePlace, page: &[u8]) -> bool {
        self.writes += 1;
        self.pages.insert(place, page.to_vec());
        !self.refuses
    }
}

impl Shared {
    fn bytes(&self) -> usize {
        self.pages.values().map(Vec::len).sum()
    }
}

/// The pages of `root` in `shared`.
struct Reading<'s>(&'s RefCell<Shared>, &'s Root);

impl Pages for Reading<'_> {
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable> {
        let place = self.1.place(number);
        let shared = self.0.borrow();
        let bytes = shared.pages.get(&place).ok_or(Unreadable)?;
        self.1.unstamp(place, bytes).map(|page| Cow::Owned(page.to_vec())).ok_or(Unreadable)
    }
}

fn config() -> LifeConfig {
    let allow = Allow { insecure_http: true, ..Allow::default() };
    LifeConfig {
        address: Address::parse("http://tenants.internal/live/manifest.json", allow).unwrap(),
        refresh: Duration::from_secs(5),
        max_age: Duration::from_secs(300),
        timeout: Duration::from_secs(10),
        backoff_max: Duration::from_secs(30),
        max_bytes: 8 << 20,
        parallel: 4,
        reserved: ["www".into()].into(),
    }
}

/// Tenants, each with its plan naming the edition.
fn records(count: usize, edition: u64) -> Vec<Record> {
    let record = |number: usize| Record {
        id: TenantId::new(format!("t{number:07}")).unwrap(),
        slugs: vec![],
        domains: vec![],
        state: State::Active,
        plan: None,
        region: None,
        // A few tenants change with each edition.
        fields: [("e".into(), if number % 5000 == 7 { edition.to_string() } else { "x".repeat(40) })].into(),
        issuers: vec![],
        members: vec![],
    };
    (0..count).map(record).collect()
}

fn edition(count: usize, version: u64, previous: Option<&Manifest>) -> Pack {
    let listed = Listed::new("tenants", records(count, version), &[].into()).unwrap();
    pack::pack(&listed, Options { version, seed: Seed([3; 16]) }, previous).unwrap()
}

/// What a server answers.
struct Server {
    pack: Option<Pack>,
    document: Option<String>,
    asked: Vec<String>,
}

impl Server {
    fn of(pack: Pack) -> Self {
        Self { pack: Some(pack), document: None, asked: Vec::new() }
    }

    fn answer(&mut self, fetch: &Fetch) -> (u16, Option<String>, Vec<u8>) {
        self.asked.push(fetch.path.clone());
        let Some(pack) = &self.pack else {
            return self
                .document
                .as_ref()
                .map_or((503, None, vec![]), |text| (200, None, text.clone().into_bytes()));
        };
        if fetch.path == "/live/manifest.json" {
            let etag = format!("\"{}\"", pack.manifest.version());
            if fetch.etag.as_ref() == Some(&etag) {
                return (304, None, vec![]);
            }
            return (200, Some(etag), pack.manifest.write().into_bytes());
        }
        let name = fetch.path.strip_prefix("/live/parts/").unwrap();
        let part = pack.manifest.parts().iter().zip(&pack.parts).find(|(own, _)| own.hex() == name);
        part.map_or((404, None, vec![]), |(_, part)| (200, None, part.clone()))
    }
}

struct World {
    shared: RefCell<Shared>,
    workers: Vec<Life>,
    server: Server,
    now: Instant,
    log: Vec<Effect>,
}

impl World {
    fn new(server: Server, workers: u64) -> Self {
        let shared = RefCell::new(Shared::default());
        let workers =
            (1..=workers).map(|owner| Life::new(config(), owner, &mut *shared.borrow_mut())).collect();
        Self { shared, workers, server, now: Instant(1_000_000_000), log: Vec::new() }
    }

    fn deliver(&mut self, worker: usize, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Fetch(fetch) = effect else {
                self.log.push(effect);
                continue;
            };
            let (status, etag, body) = self.server.answer(&fetch);
            let pairs = etag.iter().map(|etag| (&b"etag"[..], etag.as_bytes()));
            let headers = ResponseHeaders::from_pairs(pairs);
            let effects = self.workers[worker].answered(
                self.now,
                7,
                fetch.id,
                (status, &headers, &body),
                &mut *self.shared.borrow_mut(),
            );
            self.deliver(worker, effects);
        }
    }

    fn tick(&mut self, seconds: u64) {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
        for worker in 0..self.workers.len() {
            let effects = self.workers[worker].tick(self.now, 7, &mut *self.shared.borrow_mut());
            self.deliver(worker, effects);
        }
        // Everybody sees what the last one did.
        for worker in &mut self.workers {
            worker.look(&mut *self.shared.borrow_mut());
        }
    }

    /// What each worker says about tenant `number`: the value of its field.
    fn field(&self, number: usize) -> Vec<Option<String>> {
        let say = |life: &Life| {
            let root = life.root()?;
            let directory = PackedDirectory {
                manifest: root.manifest(),
                pages: Reading(&self.shared, root),
                freshness: life.freshness(self.now),
            };
            let found = directory.by_id(&format!("t{number:07}")).unwrap()?;
            found.fields.first().map(|(_, value)| value.clone().into_owned())
        };
        self.workers.iter().map(say).collect()
    }

    fn freshness(&self) -> Freshness {
        self.workers[0].freshness(self.now)
    }

    fn asked(&mut self) -> usize {
        std::mem::take(&mut self.server.asked).len()
    }
}

fn all(value: &str, count: usize) -> Vec<Option<String>> {
    vec![Some(value.into()); count]
}

#[test]
fn one_worker_fetches_for_all_and_only_what_changed() {
    let first = edition(20_000, 1, None);
    let parts = first.parts.len();
    assert!(parts >= 8, "{parts}");
    let mut world = World::new(Server::of(first.clone()), 4);
    assert_eq!(world.freshness(), Freshness::Absent);
    world.tick(0);
    assert_eq!((world.field(7), world.asked()), (all("1", 4), 1 + parts));
    assert_eq!(world.log, [Effect::Replaced { version: 1, tenants: 20_000, parts }]);
    world.tick(5);
    assert_eq!(world.asked(), 1, "nothing changed: one 304");
    let second = edition(20_000, 2, Some(&first.manifest));
    let changed = first.parts.iter().zip(&second.parts).filter(|(a, b)| a != b).count();
    assert!((1..=4).contains(&changed), "{changed}");
    world.server.pack = Some(second);
    world.tick(5);
    assert_eq!((world.field(7), world.asked()), (all("2", 4), 1 + changed));
}

#[test]
fn what_cannot_be_had_whole_changes_nothing() {
    let first = edition(20_000, 1, None);
    let mut world = World::new(Server::of(first.clone()), 2);
    world.tick(0);
    let second = edition(20_000, 2, Some(&first.manifest));
    let at = first.parts.iter().zip(&second.parts).position(|(a, b)| a != b).unwrap();
    for break_it in [
        &|pack: &mut Pack| pack.parts[at].truncate(99),
        &|pack: &mut Pack| pack.parts[at][9] ^= 1,
        &|pack: &mut Pack| pack.parts[at].clear(),
    ] as [&dyn Fn(&mut Pack); 3]
    {
        let mut broken = second.clone();
        break_it(&mut broken);
        world.server.pack = Some(broken);
        world.log.clear();
        world.tick(40);
        assert!(
            matches!(&world.log[..], [Effect::Failed(reason)] if reason.starts_with(&format!("part {at}: its"))),
            "{:?}",
            world.log
        );
        assert_eq!(world.field(7), all("1", 2));
    }
    // Published beside its parts: the manifest is there before them.
    world.server.pack = Some(Pack { parts: vec![], ..second.clone() });
    world.tick(40);
    assert_eq!(world.field(7), all("1", 2));
    world.server.pack = Some(second);
    world.tick(40);
    assert_eq!(world.field(7), all("2", 2));
}

#[test]
fn an_older_version_is_refused() {
    let mut world = World::new(Server::of(edition(10, 7, None)), 2);
    world.tick(0);
    world.server.pack = Some(edition(10, 6, None));
    world.log.clear();
    world.tick(5);
    assert_eq!(world.log, [Effect::Failed("version 6 is older than 7, which is in use".into())]);
    assert_eq!(world.field(7), all("7", 2));
    world.server.pack = None;
    world.server.document = Some(r#"{"version": 6, "tenants": []}"#.into());
    world.log.clear();
    world.tick(5);
    assert_eq!(world.log, [Effect::Failed("version 6 is older than 7, which is in use".into())]);
}

#[test]
fn a_json_document_is_a_directory_too() {
    let mut world = World::new(Server { pack: None, document: None, asked: vec![] }, 2);
    let document = |version: u64, value: &str| {
        format!(
            r#"{{"version": {version}, "tenants": [{{"id": "t0000007", "fields": {{"e": "{value}"}}}}]}}"#
        )
    };
    world.server.document = Some(document(1, "one"));
    world.tick(0);
    assert_eq!(world.field(7), all("one", 2));
    let writes = world.shared.borrow().writes;
    world.tick(5);
    assert_eq!(world.shared.borrow().writes, writes, "the same document is not written again");
    assert_eq!(world.freshness(), Freshness::Current);
    world.server.document = Some(document(2, "two"));
    world.tick(5);
    assert_eq!(world.field(7), all("two", 2));
    for (document, reason) in [
        (
            r#"{"version": 3, "tenants": [{"id": "t0000007"}, {"id": "T0000007"}]}"#,
            "the document: `tenants[1].id`: `T0000007` is the id of tenants[0], or differs from it in case only",
        ),
        (
            r#"{"version": 3, "tenants": [{"id": "a", "slugs": ["www"]}]}"#,
            "the document: `tenants[0].slugs[0]`: `www` is reserved; choose another",
        ),
        (
            r#"{"version": 3, "tenants": [{"id": "a", "state": "x"}]}"#,
            "the document: `tenants[0].state`: unknown variant",
        ),
        (r#"{"version": 3}"#, "the document: `.`: missing field `tenants`"),
        ("<html>", "neither a manifest nor a document: expected value"),
        (r#"{"format": "x"}"#, "the manifest: `.`: missing field"),
    ] {
        world.server.document = Some(document.into());
        world.log.clear();
        world.tick(40);
        assert!(
            matches!(&world.log[..], [Effect::Failed(found)] if found.starts_with(reason)),
            "{:?}",
            world.log
        );
        assert_eq!(world.field(7), all("two", 2));
    }
}

#[test]
fn failures_pause_and_staleness_is_known() {
    let mut world = World::new(Server::of(edition(10, 1, None)), 3);
    world.tick(0);
    world.asked();
    world.server.pack = None;
    let mut asked = 0;
    for _ in 0..300 {
        world.tick(1);
        asked += world.asked();
        assert_eq!(world.field(7), all("1", 3));
    }
    assert!((10..=25).contains(&asked), "{asked} fetches in five minutes without an answer");
    assert_eq!(world.freshness(), Freshness::Current);
    world.tick(1);
    assert_eq!(world.freshness(), Freshness::Stale);
    world.server.pack = Some(edition(10, 1, None));
    world.tick(30);
    assert_eq!(world.freshness(), Freshness::Current);
}

#[test]
fn a_worker_that_vanishes_in_the_middle_holds_nobody_up() {
    let first = edition(20_000, 1, None);
    let mut world = World::new(Server::of(first), 2);
    // The first worker asks and is never heard of again.
    let effects = world.workers[0].tick(world.now, 7, &mut *world.shared.borrow_mut());
    assert!(matches!(&effects[..], [Effect::Fetch(_)]));
    let effects = world.workers[1].tick(world.now, 7, &mut *world.shared.borrow_mut());
    assert_eq!(effects, []);
    world.workers.remove(0);
    world.tick(14);
    assert_eq!(world.field(7), [None]);
    world.tick(2);
    assert_eq!(world.field(7), all("1", 1));
}

#[test]
fn a_late_answer_to_a_worker_that_lost_its_lease_writes_nothing() {
    let first = edition(20_000, 1, None);
    let mut world = World::new(Server::of(first.clone()), 2);
    let late = world.workers[0].tick(world.now, 7, &mut *world.shared.borrow_mut());
    world.now = world.now.saturating_add(Duration::from_secs(20));
    let effects = world.workers[1].tick(world.now, 7, &mut *world.shared.borrow_mut());
    world.deliver(1, effects);
    let (writes, root) = (world.shared.borrow().writes, world.shared.borrow().root.clone());
    world.deliver(0, late);
    assert_eq!((world.shared.borrow().writes, &world.shared.borrow().root), (writes, &root));
    assert_eq!(world.field(7), all("1", 2));
    world.server.pack = Some(edition(20_000, 2, Some(&first.manifest)));
    world.tick(5);
    assert_eq!(world.field(7), all("2", 2));
}

#[test]
fn the_memory_of_the_edition_before_comes_back() {
    let mut pack = edition(20_000, 1, None);
    let mut world = World::new(Server::of(pack.clone()), 2);
    world.tick(0);
    let least = world.shared.borrow().bytes();
    for version in 2..12 {
        // Every other edition has another size, so that all parts change.
        pack = edition(if version % 2 == 0 { 45_000 } else { 20_000 }, version, None);
        world.server.pack = Some(pack.clone());
        world.tick(5);
        assert_eq!(world.field(7), all(&version.to_string(), 2));
    }
    for _ in 0..4 {
        world.tick(5);
    }
    let now = world.shared.borrow().bytes();
    assert!(now < least + 100, "{now} bytes, and {least} after the first edition");
}

#[test]
fn pages_that_are_gone_are_fetched_again() {
    let mut world = World::new(Server::of(edition(20_000, 1, None)), 2);
    world.tick(0);
    world.asked();
    world.shared.borrow_mut().pages.clear();
    world.workers[1].distrust(&mut *world.shared.borrow_mut());
    world.tick(5);
    assert_eq!(world.field(7)[1], Some("1".into()));
    assert_eq!(world.field(7), all("1", 2));
}

#[test]
fn a_host_that_shares_nothing_is_said_so() {
    let mut world = World::new(Server::of(edition(10, 1, None)), 1);
    world.shared.borrow_mut().refuses = true;
    world.tick(0);
    assert_eq!(world.log, [Effect::Failed("the host does not share data".into())]);
    assert_eq!(world.freshness(), Freshness::Absent);
}

#[test]
fn damaged_records_are_survived() {
    let pack = edition(10, 1, None);
    let mut world = World::new(Server::of(pack), 1);
    world.tick(0);
    let (marker, root) =
        (world.shared.borrow().marker.0.clone(), world.shared.borrow().root.clone().unwrap());
    for length in 0..root.len() {
        assert_eq!(Root::read(&root[..length]), None);
    }
    for at in 0..root.len() {
        let mut root = root.clone();
        root[at] ^= 0x81;
        let _ = Root::read(&root);
    }
    for length in 0..marker.len() {
        world.shared.borrow_mut().marker.0 = marker[..length].to_vec();
        world.tick(60);
        assert_eq!(world.field(7), all("1", 1));
    }
}

/// Workers that die, answers that come late, out of order or not at all: nobody ever reads a
/// mixture, and in the end everybody has the last edition.
#[test]
fn no_schedule_mixes_editions() {
    let seeds: u64 = std::env::var("PORTCULLIS_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut editions = vec![edition(10_500, 1, None)];
    for version in 2..=6 {
        let previous = editions.last().map(|pack| &pack.manifest);
        editions.push(edition(
            if version == 4 { 2_000 } else { 10_500 },
            version,
            previous.filter(|_| version % 3 != 0),
        ));
    }
    for seed in 0..seeds {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut world = World::new(Server::of(editions[0].clone()), 3);
        let mut pending: Vec<(usize, u64, Fetch)> = Vec::new();
        let mut version = 1;
        for step in 0..400 {
            world.now = world.now.saturating_add(Duration::from_millis(random() % 1500));
            if random() % 60 == 0 && version < 6 {
                version += 1;
                world.server.pack = Some(editions[version - 1].clone());
            }
            let worker = (random() % 3) as usize;
            let mut effects = Vec::new();
            if random() % 50 == 0 {
                // The worker's VM ends, and a new one begins.
                let owner = 100 + step;
                world.workers[worker] = Life::new(config(), owner, &mut *world.shared.borrow_mut());
                pending.retain(|(own, ..)| *own != worker);
            } else if random() % 2 == 0 && !pending.is_empty() {
                let (worker, _, fetch) = pending.remove((random() as usize) % pending.len());
                let store = &mut *world.shared.borrow_mut();
                effects = if random() % 12 == 0 {
                    world.workers[worker].unanswered(world.now, random(), fetch.id, "reset", store)
                } else {
                    let (status, etag, body) = world.server.answer(&fetch);
                    let pairs = etag.iter().map(|etag| (&b"etag"[..], etag.as_bytes()));
                    let headers = ResponseHeaders::from_pairs(pairs);
                    world.workers[worker].answered(
                        world.now,
                        random(),
                        fetch.id,
                        (status, &headers, &body),
                        store,
                    )
                };
                pending.extend(effects.into_iter().filter_map(|effect| match effect {
                    Effect::Fetch(fetch) => Some((worker, 0, fetch)),
                    _ => None,
                }));
                effects = Vec::new();
            } else {
                effects.extend(world.workers[worker].tick(
                    world.now,
                    random(),
                    &mut *world.shared.borrow_mut(),
                ));
            }
            pending.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Fetch(fetch) => Some((worker, 0, fetch)),
                _ => None,
            }));
            // Whoever can read at all reads one edition: the one that its root names.
            for life in &world.workers {
                let Some(root) = life.root() else { continue };
                let directory = PackedDirectory {
                    manifest: root.manifest(),
                    pages: Reading(&world.shared, root),
                    freshness: Freshness::Current,
                };
                for number in [7, 5007, 10_007] {
                    let Ok(found) = directory.by_id(&format!("t{number:07}")) else { continue };
                    let edition = root.manifest().version();
                    let want = (root.manifest().tenants() > number).then(|| edition.to_string());
                    let found =
                        found.and_then(|entry| entry.fields.first().map(|(_, value)| value.to_string()));
                    assert_eq!(found, want, "seed {seed} step {step}");
                }
            }
        }
        world.server.pack = Some(editions[5].clone());
        pending.clear();
        for _ in 0..8 {
            world.tick(31);
        }
        assert_eq!(world.field(7), all("6", 3), "seed {seed}");
    }
}
