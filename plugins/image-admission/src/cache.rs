//! What was read and verified before, by image. The policy is judged anew on every hit: only reads
//! and arithmetic are saved, and what a tag means is read each time.

use std::{collections::BTreeMap, time::Duration};

use portcullis_core::UnixTime;
use portcullis_signature::{Digest, Evidence, Facts};

/// An image by its repository and digest: signatures are read from the repository.
pub(crate) type Key = (String, Digest);

#[derive(Debug)]
struct Entry {
    evidence: Evidence,
    facts: Facts,
    until: UnixTime,
    used: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Key, Entry>,
    uses: u64,
}

impl Cache {
    /// What is known about an image.
    pub(crate) fn get(&mut self, key: &Key, now: UnixTime) -> Option<(Evidence, Facts)> {
        self.uses = self.uses.wrapping_add(1);
        let entry = self.entries.get_mut(key).filter(|entry| now < entry.until)?;
        entry.used = self.uses;
        Some((entry.evidence.clone(), entry.facts.clone()))
    }

    /// Keeps what is known. The entry that was not used for longest makes place.
    pub(crate) fn keep(
        &mut self,
        key: Key,
        evidence: Evidence,
        facts: Facts,
        now: UnixTime,
        life: Duration,
        most: usize,
    ) {
        if most == 0 || life.is_zero() {
            return;
        }
        if !self.entries.contains_key(&key) && self.entries.len() >= most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        let entry = Entry { evidence, facts, until: now.saturating_add(life), used: self.uses };
        self.entries.insert(key, entry);
    }

    /// An entry that is kept is kept for its first life, however often it is used.
    pub(crate) fn has(&self, key: &Key, now: UnixTime) -> bool {
        self.entries.get(key).is_some_and(|entry| now < entry.until)
    }
}
