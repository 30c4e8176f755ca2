//! Tokens that were verified before, so that what never changes about a token is found out once, when
//! it comes again and again.
//!
//! What is remembered is not a decision but what a decision looks at: that this key verified the
//! signature of these bytes, and what the bytes say. Everything that can change is judged anew, every
//! time: the time, the rule, the claims against both, and whether the issuer's set still has the key. A
//! key that was taken back or replaced is not among those asked for, so what it verified is worth
//! nothing at once.
//!
//! # What holds
//!
//! - A token is found by a keyed hash and believed only where every byte is the same.
//! - Only tokens that were verified twice are remembered. Of a token's first time no more is left than
//!   its hash, so tokens that come once cost no copies and push nothing out, and those that nobody
//!   signed leave nothing at all.
//! - The bytes are bounded. There are two generations: where the young one is full it becomes the
//!   old one, and what comes again is taken over from there; the rest is forgotten together.

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, vec};
use core::{cell::RefCell, fmt, hash::BuildHasher, mem};

use portcullis_core::{Denial, bytes::equal};
use self_cell::self_cell;

use crate::{claims::Claims, token::RawHeader};

/// What an entry costs beside its text: its place in the map, the thumbprint, the allocations.
const OVERHEAD: usize = 160;

/// For how many bytes of the memory one hash of a token that came once has a place: twice as many
/// places as there may be tokens.
const BYTES_FOR_A_HASH: usize = 512;

/// How much of a token's end is hashed, which is of its signature: no signer makes two that end alike.
const HASHED: usize = 32;

/// The memory of one worker. `S` makes the keyed hash: its seed must be unknown to clients.
pub struct Verified<S> {
    hasher: S,
    limit: usize,
    kept: RefCell<Kept>,
    once: RefCell<Once>,
}

/// What happened since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens that were found in the memory, their key still in use.
    pub remembered: u32,
    /// Signatures that were verified by arithmetic.
    pub verified: u32,
    /// Entries that were forgotten for want of room.
    pub forgotten: u32,
}

/// What a decision asks of a memory.
pub(crate) trait Memory {
    /// What is known of `token`.
    fn recall(&self, token: &[u8]) -> Recalled;
    /// The key that verified the token before is still the one to ask.
    fn confirmed(&self);
    /// The signature of the token of which `recalled` was known was verified by arithmetic.
    fn verified(&self, recalled: &Recalled);
    /// This is known from now on of the token of which `recalled` was.
    fn keep(&self, recalled: &Recalled, known: Known);
}

/// What a memory answers about a token.
pub(crate) struct Recalled {
    /// Where the token is, or would be.
    hash: u64,
    /// Whether the token came before, and nothing more is known of it.
    pub(crate) comes_again: bool,
    known: Option<Rc<Known>>,
}

impl Recalled {
    /// What is known of the token.
    pub(crate) fn known(&self) -> Option<&Known> {
        self.known.as_deref()
    }
}

/// A verified token, what it says, a function of its bytes alone, and who signed it. Not to be printed.
pub(crate) struct Known {
    /// Of the key that verified it (RFC 7638).
    pub(crate) thumbprint: [u8; 32],
    read: Read,
}

/// A token as it came, and its first two segments decoded: one after the other, because a request
/// that looks at one looks at all, and what lies together is together in the processor's caches.
struct Copied {
    bytes: Box<[u8]>,
    /// Where the token ends.
    token: usize,
    /// Where the header ends.
    header: usize,
}

/// What a token says.
struct Content<'t> {
    header: RawHeader<'t>,
    claims: Claims<'t>,
}

self_cell! {
    /// A token and what it says, which borrows from it.
    struct Read {
        owner: Copied,
        #[covariant]
        dependent: Content,
    }
}

/// Hashes of tokens that were verified once. Each has one place, which the next one with that place
/// takes over.
struct Once(Box<[u64]>);

impl Once {
    fn place(&self, hash: u64) -> Option<usize> {
        let scaled = (hash >> 32).checked_mul(u64::try_from(self.0.len()).ok()?)?;
        usize::try_from(scaled >> 32).ok()
    }

    fn has(&self, hash: u64) -> bool {
        self.place(hash).and_then(|place| self.0.get(place)) == Some(&hash)
    }

    fn put(&mut self, hash: u64) {
        if let Some(place) = self.place(hash).and_then(|place| self.0.get_mut(place)) {
            *place = hash;
        }
    }
}

#[derive(Default)]
struct Kept {
    young: Generation,
    old: Generation,
    counts: Counts,
}

#[derive(Default)]
struct Generation {
    entries: BTreeMap<u64, Rc<Known>>,
    bytes: usize,
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
        let once = vec![0; limit / BYTES_FOR_A_HASH].into_boxed_slice();
        Self { hasher, limit, kept: RefCell::default(), once: RefCell::new(Once(once)) }
    }

    /// The bytes that are in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let kept = self.kept.borrow();
        self.hashes().saturating_add(kept.young.bytes).saturating_add(kept.old.bytes)
    }

    /// What happened since the last call.
    pub fn take_counts(&self) -> Counts {
        mem::take(&mut self.kept.borrow_mut().counts)
    }

    /// Whether there is room for anything at all.
    const fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// The bytes of the hashes.
    const fn hashes(&self) -> usize {
        (self.limit / BYTES_FOR_A_HASH).saturating_mul(size_of::<u64>())
    }

    /// What each generation may have.
    const fn room(&self) -> usize {
        self.limit.saturating_sub(self.hashes()) / 2
    }
}

impl<S: BuildHasher> Verified<S> {
    fn hash(&self, token: &[u8]) -> u64 {
        // A good signature is as good as random, and another text has another one.
        self.hasher.hash_one(token.last_chunk::<HASHED>().map_or(token, <[u8; HASHED]>::as_slice))
    }
}

impl<S: BuildHasher> Memory for Verified<S> {
    fn recall(&self, token: &[u8]) -> Recalled {
        if !self.is_on() {
            return Recalled { hash: 0, comes_again: false, known: None };
        }
        let hash = self.hash(token);
        let known = self.kept.borrow_mut().find(hash, token, self.room());
        Recalled { hash, comes_again: known.is_none() && self.once.borrow().has(hash), known }
    }

    fn confirmed(&self) {
        let counts = &mut self.kept.borrow_mut().counts;
        counts.remembered = counts.remembered.saturating_add(1);
    }

    fn verified(&self, recalled: &Recalled) {
        let mut kept = self.kept.borrow_mut();
        kept.counts.verified = kept.counts.verified.saturating_add(1);
        if recalled.known.is_some() {
            // By another key than the one that is known.
            let _outdated = kept.young.remove(recalled.hash);
        }
        self.once.borrow_mut().put(recalled.hash);
    }

    fn keep(&self, recalled: &Recalled, known: Known) {
        self.kept.borrow_mut().add(recalled.hash, Rc::new(known), self.room());
    }
}

impl Kept {
    fn find(&mut self, hash: u64, token: &[u8], room: usize) -> Option<Rc<Known>> {
        if let Some(known) = self.young.get(hash, token) {
            return Some(Rc::clone(known));
        }
        let known = Rc::clone(self.old.get(hash, token)?);
        if let Some(known) = self.old.remove(hash) {
            self.add(hash, known, room);
        }
        Some(known)
    }

    fn add(&mut self, hash: u64, known: Rc<Known>, room: usize) {
        let bytes = known.bytes();
        if bytes > room {
            return;
        }
        // What has the place already leaves it, so that it is not counted as forgotten or twice.
        let _replaced = self.young.remove(hash);
        if self.young.bytes.saturating_add(bytes) > room {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            let count = u32::try_from(forgotten.entries.len()).unwrap_or(u32::MAX);
            self.counts.forgotten = self.counts.forgotten.saturating_add(count);
        }
        self.young.bytes = self.young.bytes.saturating_add(bytes);
        self.young.entries.insert(hash, known);
    }
}

impl Generation {
    fn get(&self, hash: u64, token: &[u8]) -> Option<&Rc<Known>> {
        self.entries.get(&hash).filter(|known| equal(known.copied().token(), token))
    }

    fn remove(&mut self, hash: u64) -> Option<Rc<Known>> {
        let known = self.entries.remove(&hash)?;
        self.bytes = self.bytes.saturating_sub(known.bytes());
        Some(known)
    }
}

impl Copied {
    fn token(&self) -> &[u8] {
        self.bytes.get(..self.token).unwrap_or_default()
    }

    fn header(&self) -> &[u8] {
        self.bytes.get(self.token..self.header).unwrap_or_default()
    }

    fn payload(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }
}

impl Known {
    /// What `token` says, whose first two segments hold `header` and `payload`, and which the key with
    /// this `thumbprint` verified.
    pub(crate) fn new(
        thumbprint: [u8; 32],
        token: &[u8],
        header: &[u8],
        payload: &[u8],
    ) -> Result<Self, Denial> {
        let copied = Copied {
            bytes: [token, header, payload].concat().into_boxed_slice(),
            token: token.len(),
            header: token.len().saturating_add(header.len()),
        };
        let read = Read::try_new(copied, |copied| {
            let header = RawHeader::parse(copied.header())?;
            Ok(Content { header, claims: Claims::parse(copied.payload())?.shrunk() })
        })?;
        Ok(Self { thumbprint, read })
    }

    fn copied(&self) -> &Copied {
        self.read.borrow_owner()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.copied().payload()
    }

    pub(crate) fn header(&self) -> &RawHeader<'_> {
        &self.read.borrow_dependent().header
    }

    pub(crate) fn claims(&self) -> &Claims<'_> {
        &self.read.borrow_dependent().claims
    }

    fn bytes(&self) -> usize {
        let parsed = self.claims().all().heap_bytes().saturating_add(self.header().heap_bytes());
        let own =
            size_of::<Self>().saturating_add(size_of::<Copied>()).saturating_add(size_of::<Content<'_>>());
        own.saturating_add(parsed).saturating_add(self.copied().bytes.len()).saturating_add(OVERHEAD)
    }
}

#[cfg(test)]
mod tests;
