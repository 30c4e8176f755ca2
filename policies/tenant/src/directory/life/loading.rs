//! One round of fetches: the manifest or document, then the parts that are new.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use portcullis_core::fetch::{Instant, ResponseHeaders};
use serde::Deserialize;

use super::{
    Effect, Fetch, Life, PagePlace, Root, Store,
    root::{Garbage, stamped},
};
use crate::{
    Listed, Record,
    directory::pack::{self, MAX_MANIFEST, Manifest, Options, Pack, Part, Seed},
};

/// Without shared data there is nowhere to look things up.
const UNSHARED: &str = "the host does not share data";

/// What a worker that fetches knows.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// The fetch of the manifest or document.
    first: Option<u64>,
    /// Fetches of parts that are under way.
    parts: BTreeMap<u64, usize>,
    /// Parts that are still to be fetched, the last one first.
    wanted: Vec<usize>,
    edition: Option<Edition>,
}

/// What is being put together.
#[derive(Debug)]
struct Edition {
    manifest: Manifest,
    etag: Option<String>,
    /// Parts that are not those of the edition in use.
    changed: BTreeSet<usize>,
}

/// A directory as one JSON document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    tenants: Vec<Record>,
}

/// Enough to tell a manifest from a document.
#[derive(Deserialize)]
struct Kind {
    format: Option<String>,
}

impl Loading {
    pub(super) const fn new(started: Instant, deadline: Instant, first: u64) -> Self {
        Self {
            started,
            deadline,
            first: Some(first),
            parts: BTreeMap::new(),
            wanted: Vec::new(),
            edition: None,
        }
    }

    pub(super) fn waits_for(&self, id: u64) -> bool {
        self.first == Some(id) || self.parts.contains_key(&id)
    }
}

impl Life {
    /// Takes an answer in.
    pub(super) fn take(
        &mut self,
        random: u64,
        id: u64,
        (status, headers, body): (u16, &ResponseHeaders, &[u8]),
        store: &mut dyn Store,
    ) -> Result<Vec<Effect>, String> {
        let deadline = self.deadline();
        let trusted = self.trusted().is_some();
        let Some(loading) = self.loading.as_mut() else { return Ok(Vec::new()) };
        loading.deadline = deadline;
        let part = loading.parts.remove(&id);
        match (part, status) {
            (Some(number), 200) => self.take_part(random, number, body, store),
            (None, 304) if trusted => Ok(self.unchanged(random, store)),
            (None, 200) => {
                loading.first = None;
                let kind: Kind = serde_json::from_slice(body)
                    .map_err(|error| format!("neither a manifest nor a document: {error}"))?;
                match kind.format {
                    Some(_) => self.take_manifest(random, headers, body, store),
                    None => self.take_document(random, headers, body, store),
                }
            }
            (Some(number), status) => Err(format!("part {number} was answered with status {status}")),
            (None, status) => Err(format!("answered with status {status}")),
        }
    }

    fn is_in_use(&self, manifest: &Manifest) -> bool {
        self.trusted().is_some_and(|root| root.manifest() == manifest)
    }

    /// The edition in use is the newest.
    fn unchanged(&mut self, random: u64, store: &mut dyn Store) -> Vec<Effect> {
        if let Some(started) = self.loading.as_ref().map(|loading| loading.started) {
            self.confirm(started, self.root.as_ref().map_or(0, Root::generation), random, store);
        }
        Vec::new()
    }

    /// A version that is lower than the one in use is an old copy.
    fn check_version(&self, version: u64) -> Result<(), String> {
        let own = self.root.as_ref().map_or(0, |root| root.manifest().version());
        if version < own {
            return Err(format!("version {version} is older than {own}, which is in use"));
        }
        Ok(())
    }

    fn take_manifest(
        &mut self,
        random: u64,
        headers: &ResponseHeaders,
        body: &[u8],
        store: &mut dyn Store,
    ) -> Result<Vec<Effect>, String> {
        if body.len() > MAX_MANIFEST {
            return Err(format!("the manifest is longer than {MAX_MANIFEST} bytes"));
        }
        let manifest = Manifest::read(body).map_err(|error| format!("the manifest: {error}"))?;
        self.check_version(manifest.version())?;
        if self.is_in_use(&manifest) {
            return Ok(self.unchanged(random, store));
        }
        let changed = self.changed(&manifest);
        let wanted = changed.iter().rev().copied().collect();
        if let Some(loading) = self.loading.as_mut() {
            loading.wanted = wanted;
            loading.edition = Some(Edition { manifest, etag: headers.etag.clone(), changed });
        }
        self.go_on(random, store)
    }

    fn take_document(
        &mut self,
        random: u64,
        headers: &ResponseHeaders,
        body: &[u8],
        store: &mut dyn Store,
    ) -> Result<Vec<Effect>, String> {
        if body.len() > self.config.max_bytes {
            return Err(format!("the document is longer than {} bytes", self.config.max_bytes));
        }
        let Document { version, tenants } =
            portcullis_core::config::read(body).map_err(|error| format!("the document: {error}"))?;
        self.check_version(version)?;
        let listed = Listed::new("tenants", tenants, &self.config.reserved)
            .map_err(|error| format!("the document: {error}"))?;
        let previous = self.root.as_ref().map(Root::manifest);
        // Not a secret: whoever registers tenants must not know it beforehand, and does not.
        let (high, low) = (random.to_be_bytes(), self.owner.to_be_bytes());
        let mut seed = [0; 16];
        for (byte, own) in seed.iter_mut().zip(high.into_iter().chain(low)) {
            *byte = own;
        }
        let options = Options { version, seed: Seed(seed) };
        let Pack { manifest, parts } =
            pack::pack(&listed, options, previous).map_err(|error| format!("the document: {error}"))?;
        if self.is_in_use(&manifest) {
            return Ok(self.unchanged(random, store));
        }
        let changed = self.changed(&manifest);
        for number in &changed {
            let part = parts.get(*number).ok_or("a part is missing")?;
            self.write(&manifest, *number, part, store)?;
        }
        if let Some(loading) = self.loading.as_mut() {
            loading.edition = Some(Edition { manifest, etag: headers.etag.clone(), changed });
        }
        self.go_on(random, store)
    }

    /// The parts of `manifest` that the edition in use does not have at the same place.
    fn changed(&self, manifest: &Manifest) -> BTreeSet<usize> {
        let same = |root: &&Root| root.manifest().pages_per_part() == manifest.pages_per_part();
        let own = self.trusted().filter(same);
        let own = own.map(|root| root.manifest().parts()).unwrap_or_default();
        let parts = manifest.parts().iter().enumerate();
        parts.filter(|(at, part)| own.get(*at) != Some(*part)).map(|(at, _)| at).collect()
    }

    fn take_part(
        &mut self,
        random: u64,
        number: usize,
        body: &[u8],
        store: &mut dyn Store,
    ) -> Result<Vec<Effect>, String> {
        let Some(edition) = self.loading.as_mut().and_then(|loading| loading.edition.take()) else {
            return Ok(Vec::new());
        };
        let written = self.write(&edition.manifest, number, body, store);
        if let Some(loading) = self.loading.as_mut() {
            loading.edition = Some(edition);
        }
        written?;
        self.go_on(random, store)
    }

    /// Checks a part and writes its pages beside those in use.
    fn write(
        &self,
        manifest: &Manifest,
        number: usize,
        part: &[u8],
        store: &mut dyn Store,
    ) -> Result<(), String> {
        let checked =
            Part::check(part, manifest, number).map_err(|error| format!("part {number}: {error}"))?;
        let name = manifest.parts().get(number).ok_or("a part that the manifest does not have")?;
        let second = self.other_place(number);
        for (page, bytes) in checked.pages().enumerate() {
            let bytes = stamped(&name.sha256, bytes.unwrap_or_default());
            if !store.set_page(PagePlace { part: number, second, page }, &bytes) {
                return Err(UNSHARED.to_string());
            }
        }
        Ok(())
    }

    fn other_place(&self, part: usize) -> bool {
        self.root.as_ref().is_some_and(|root| !root.is_second(part))
    }

    /// Fetches what is still wanted, or publishes.
    fn go_on(&mut self, random: u64, store: &mut dyn Store) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        let base = self.config.address.path().split('?').next().unwrap_or_default();
        let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder).to_string();
        let Some(loading) = self.loading.as_mut() else { return Ok(effects) };
        let Some(edition) = loading.edition.as_ref() else { return Ok(effects) };
        while loading.parts.len() < self.config.parallel {
            let Some(number) = loading.wanted.pop() else { break };
            let Some(name) = edition.manifest.parts().get(number) else { break };
            let id = self.next_id;
            self.next_id = self.next_id.saturating_add(1);
            loading.parts.insert(id, number);
            let path = format!("{folder}/parts/{}", name.hex());
            effects.push(Effect::Fetch(Fetch { id, path, etag: None, limit: name.bytes }));
        }
        if loading.parts.is_empty() && loading.wanted.is_empty() {
            effects.extend(self.publish(random, store)?);
        }
        Ok(effects)
    }

    /// Every part is there: the edition becomes the one in use.
    fn publish(&mut self, random: u64, store: &mut dyn Store) -> Result<Vec<Effect>, String> {
        let Some(Loading { started, edition: Some(edition), .. }) = self.loading.take() else {
            return Ok(Vec::new());
        };
        let Edition { manifest, etag, changed } = edition;
        let place = |part: usize| match changed.contains(&part) {
            true => self.other_place(part),
            false => self.root.as_ref().is_some_and(|root| root.is_second(part)),
        };
        let seconds = (0..manifest.parts().len()).map(place).collect();
        let generation = self.marker.generation.max(self.root.as_ref().map_or(0, Root::generation));
        let numbers = (generation.saturating_add(1), self.now);
        let garbage = self.garbage(&changed, &manifest);
        let root = Root::new(numbers, etag, manifest, seconds, garbage);
        // The root first: who sees the marker finds it.
        if !store.set_root(&root.write()) {
            return Err(UNSHARED.to_string());
        }
        let (version, tenants) = (root.manifest().version(), root.manifest().tenants());
        let generation = root.generation();
        self.root = Some(root);
        self.confirm(started, generation, random, store);
        Ok(alloc::vec![Effect::Replaced { version, tenants, parts: changed.len() }])
    }

    /// What the edition in use has and `next`, with these changed parts, has not; and what nobody
    /// has swept yet, unless it was written anew.
    fn garbage(&self, changed: &BTreeSet<usize>, next: &Manifest) -> Garbage {
        let Some(own) = &self.root else { return Garbage::default() };
        let count = own.manifest().parts().len();
        let gone = next.parts().len()..count;
        let replaced = changed.iter().copied().filter(|part| *part < count).chain(gone);
        let mut parts: Vec<_> = replaced.map(|part| (part, own.is_second(part))).collect();
        let mut pages = own.manifest().pages_per_part();
        if self.marker.swept < own.generation() {
            parts.extend(own.kept().parts.iter().copied().filter(|(part, _)| !changed.contains(part)));
            pages = pages.max(own.kept().pages);
        }
        Garbage { pages, parts }
    }
}
