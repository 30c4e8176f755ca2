//! What is served, as a value: what each Envoy should have.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::wire::{Kind, message::Message};

/// A resource as it is served.
#[derive(Clone)]
pub(super) struct Offer {
    /// The beginning of the digest of everything in it.
    pub(super) version: String,
    pub(super) message: Message,
    /// What it names.
    pub(super) uses: Vec<(Kind, String)>,
}

impl PartialEq for Offer {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

/// Everything that is served.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Published {
    offers: BTreeMap<Kind, BTreeMap<String, Offer>>,
}

impl Published {
    pub(super) fn insert(&mut self, kind: Kind, name: String, offer: Offer) {
        self.offers.entry(kind).or_default().insert(name, offer);
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Offer> {
        self.offers.get(&kind)?.get(name)
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = (&String, &Offer)> {
        self.offers.get(&kind).into_iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// Takes from `last` what a listener names and what is no longer there, and says what, and which
    /// listener names it: what is in use cannot be taken away.
    pub(super) fn keep_used(&mut self, last: &Self) -> Vec<(Kind, String, String)> {
        let mut kept = Vec::new();
        let listeners = self.all(Kind::Listener);
        for (user, (kind, name)) in
            listeners.flat_map(|(user, offer)| offer.uses.iter().map(move |used| (user, used)))
        {
            if self.get(*kind, name).is_none() && last.get(*kind, name).is_some() {
                kept.push((*kind, name.clone(), user.clone()));
            }
        }
        for (kind, name, _) in &kept {
            if let Some(offer) = last.get(*kind, name) {
                self.insert(*kind, name.clone(), offer.clone());
            }
        }
        kept
    }

    /// The version of everything of `kind` together, and the names.
    pub(super) fn set(&self, kind: Kind) -> (String, String) {
        let mut digest = Sha256::new();
        let mut names = Vec::new();
        for (name, offer) in self.all(kind) {
            digest.update(offer.version.as_bytes());
            digest.update(name.as_bytes());
            digest.update([0]);
            names.push(name.as_str());
        }
        let version = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        (version, names.join(","))
    }

    /// These clusters, and those of `before` that are no longer there.
    pub(super) fn with_clusters_of(&self, before: &Self) -> Self {
        let mut both = before.offers.get(&Kind::Cluster).cloned().unwrap_or_default();
        both.extend(self.offers.get(&Kind::Cluster).cloned().unwrap_or_default());
        Self { offers: BTreeMap::from([(Kind::Cluster, both)]) }
    }
}
