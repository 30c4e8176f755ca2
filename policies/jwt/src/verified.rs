//! Signatures that were verified before, so that the arithmetic is done once for a token that comes
//! again and again.
//!
//! What is remembered is not a decision but one answer of one pure function: that this key verified
//! this signature over this text. Everything else about a request is judged anew, every time: the
//! time, the rule, the claims, the header, and whether the issuer's set still has the key. A key
//! that was taken back or replaced is never asked for, so what it verified is worth nothing at once.
//!
//! # What holds
//!
//! - An answer is found by a keyed hash and believed only where key, algorithm, signed text and
//!   signature are the same byte for byte.
//! - Only a yes is remembered. Tokens that nobody signed take no room and push nothing out.
//! - The bytes are bounded. There are two generations: where the young one is full it becomes the
//!   old one, and what is asked for again comes back from there; the rest is forgotten together.

use alloc::{boxed::Box, collections::BTreeMap};
use core::{cell::RefCell, fmt, hash::BuildHasher, mem};

use portcullis_core::bytes::equal;
use portcullis_crypto::{Algorithm, Key, Verifier, VerifyError};

/// What an entry costs beside its text: its place in the map, the thumbprint, the allocation.
const OVERHEAD: usize = 128;

/// How much of a signature is hashed: no signer makes two that begin alike.
const HASHED: usize = 32;

/// The memory of one worker. `S` makes the keyed hash: its seed must be unknown to clients.
pub struct Verified<S> {
    hasher: S,
    limit: usize,
    young: Generation,
    old: Generation,
    counts: Counts,
}

/// What happened since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signatures that were found in the memory.
    pub remembered: u32,
    /// Signatures that were not found and then verified.
    pub verified: u32,
    /// Entries that were forgotten for want of room.
    pub forgotten: u32,
}

#[derive(Default)]
struct Generation {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

struct Entry {
    thumbprint: [u8; 32],
    algorithm: Algorithm,
    /// The signed text, then the signature.
    text: Box<[u8]>,
    signed: usize,
}

/// One question.
#[derive(Clone, Copy)]
struct Question<'q> {
    key: &'q Key,
    algorithm: Algorithm,
    message: &'q [u8],
    signature: &'q [u8],
}

impl<S> fmt::Debug for Verified<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("limit", &self.limit).field("bytes", &self.bytes()).finish()
    }
}

impl<S> Verified<S> {
    /// An empty memory of at most `limit` bytes; with 0 nothing is remembered.
    #[must_use]
    pub fn new(limit: usize, hasher: S) -> Self {
        let (young, old) = (Generation::default(), Generation::default());
        Self { hasher, limit, young, old, counts: Counts::default() }
    }

    /// The bytes that are in use.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.young.bytes.saturating_add(self.old.bytes)
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        mem::take(&mut self.counts)
    }

    /// Whether there is room for anything at all.
    const fn is_on(&self) -> bool {
        self.limit > 0
    }

    fn add(&mut self, hash: u64, entry: Entry) {
        // Each generation may have half of the room.
        let room = self.limit / 2;
        if entry.bytes() > room {
            return;
        }
        if self.young.bytes.saturating_add(entry.bytes()) > room {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            let count = u32::try_from(forgotten.entries.len()).unwrap_or(u32::MAX);
            self.counts.forgotten = self.counts.forgotten.saturating_add(count);
        }
        self.young.insert(hash, entry);
    }
}

impl<S: BuildHasher> Verified<S> {
    fn hash(&self, question: Question<'_>) -> u64 {
        // A good signature is as good as random, and another text has another one.
        let beginning = question.signature.get(..HASHED).unwrap_or(question.signature);
        self.hasher.hash_one(beginning)
    }

    fn knows(&mut self, question: Question<'_>) -> bool {
        if !self.is_on() {
            return false;
        }
        let hash = self.hash(question);
        let known = self.young.has(hash, question) || {
            let in_old = self.old.has(hash, question);
            if in_old && let Some(entry) = self.old.remove(hash) {
                self.add(hash, entry);
            }
            in_old
        };
        self.counts.remembered = self.counts.remembered.saturating_add(u32::from(known));
        known
    }

    fn remember(&mut self, question: Question<'_>) {
        self.counts.verified = self.counts.verified.saturating_add(1);
        if self.is_on() {
            let hash = self.hash(question);
            self.add(hash, Entry::new(question));
        }
    }
}

impl Generation {
    fn has(&self, hash: u64, question: Question<'_>) -> bool {
        self.entries.get(&hash).is_some_and(|entry| entry.answers(question))
    }

    fn insert(&mut self, hash: u64, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.bytes());
        if let Some(other) = self.entries.insert(hash, entry) {
            self.bytes = self.bytes.saturating_sub(other.bytes());
        }
    }

    fn remove(&mut self, hash: u64) -> Option<Entry> {
        let entry = self.entries.remove(&hash)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }
}

impl Entry {
    fn new(question: Question<'_>) -> Self {
        let Question { key, algorithm, message, signature } = question;
        let text = [message, signature].concat().into_boxed_slice();
        Self { thumbprint: key.thumbprint(), algorithm, text, signed: message.len() }
    }

    fn answers(&self, question: Question<'_>) -> bool {
        let Question { key, algorithm, message, signature } = question;
        let same = |(own, own_signature)| equal(own, message) && equal(own_signature, signature);
        self.algorithm == algorithm
            && self.text.split_at_checked(self.signed).is_some_and(same)
            && self.thumbprint == key.thumbprint()
    }

    fn bytes(&self) -> usize {
        self.text.len().saturating_add(OVERHEAD)
    }
}

/// A verifier that asks `memory` first, and tells it what `verifier` found to be good.
#[derive(Debug)]
pub struct Remembering<'v, V, S> {
    verifier: &'v V,
    memory: &'v RefCell<Verified<S>>,
}

impl<'v, V, S> Remembering<'v, V, S> {
    /// `verifier` with `memory`.
    pub const fn new(verifier: &'v V, memory: &'v RefCell<Verified<S>>) -> Self {
        Self { verifier, memory }
    }
}

impl<V: Verifier, S: BuildHasher> Verifier for Remembering<'_, V, S> {
    fn verify(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let question = Question { key, algorithm, message, signature };
        // In use only if a verifier asked for itself: then it is asked without a memory.
        if self.memory.try_borrow_mut().is_ok_and(|mut memory| memory.knows(question)) {
            return Ok(());
        }
        self.verifier.verify(key, algorithm, message, signature)?;
        if let Ok(mut memory) = self.memory.try_borrow_mut() {
            memory.remember(question);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
