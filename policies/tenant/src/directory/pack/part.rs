//! One part: a run of pages, checked as a whole before any of them is used.

use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{MAX_PAGE, MAX_PART, Manifest, bytes::Reader, item::Item, page::Page};

pub(super) const MAGIC: &[u8; 4] = b"PCT1";

/// A part that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Part<'b> {
    ends: &'b [[u8; 4]],
    pages: &'b [u8],
}

/// Why bytes are not the part that the manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartError {
    /// The manifest has no such part.
    Unknown,
    /// The length is not the manifest's.
    Length,
    /// The SHA-256 is not the manifest's.
    Digest,
    /// The frame is not that of a part, or has another number of pages.
    Frame,
    /// A page is not one: the number is its place in the part.
    Page(usize),
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the manifest has no such part"),
            Self::Length => f.write_str("its length is not the one that the manifest names"),
            Self::Digest => f.write_str("its SHA-256 is not the one that the manifest names"),
            Self::Frame => f.write_str("it does not have the frame of a part, or not the manifest's pages"),
            Self::Page(number) => {
                write!(f, "page {number}: entries are out of order, in the wrong page or cannot be read")
            }
        }
    }
}

impl core::error::Error for PartError {}

impl<'b> Part<'b> {
    /// The part number `number` of `manifest`, if `bytes` are it: the digest fits, and every entry
    /// can be read, is in its place and is there once.
    ///
    /// # Errors
    ///
    /// [`PartError`] with the first reason why not.
    pub fn check(bytes: &'b [u8], manifest: &Manifest, number: usize) -> Result<Self, PartError> {
        let name = manifest.parts().get(number).ok_or(PartError::Unknown)?;
        if bytes.len() != name.bytes || bytes.len() > MAX_PART {
            return Err(PartError::Length);
        }
        if Sha256::digest(bytes).as_slice() != name.sha256 {
            return Err(PartError::Digest);
        }
        let part = Self::frame(bytes).filter(|part| part.ends.len() == manifest.pages_per_part());
        let part = part.ok_or(PartError::Frame)?;
        let first = number.saturating_mul(manifest.pages_per_part());
        for (at, page) in part.pages().enumerate() {
            page.and_then(|page| check(page, manifest, first.saturating_add(at)))
                .ok_or(PartError::Page(at))?;
        }
        Ok(part)
    }

    /// A part by its frame alone: for one that was checked before.
    pub(super) fn frame(bytes: &'b [u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let count = usize::from(input.word()?);
        let ends = input.take(count.checked_mul(4)?)?.as_chunks().0;
        let part = Self { ends, pages: input.0 };
        (part.end(count.checked_sub(1)?)? == part.pages.len()).then_some(part)
    }

    /// The pages in order; nothing for one that is not where the frame says, or too large.
    pub fn pages(&self) -> impl Iterator<Item = Option<&'b [u8]>> + use<'b> {
        let own = *self;
        (0..self.ends.len()).map(move |at| own.page(at))
    }

    /// The page at place `at`.
    pub(super) fn page(&self, at: usize) -> Option<&'b [u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => self.end(before)?,
            None => 0,
        };
        self.pages.get(start..self.end(at)?).filter(|page| page.len() <= MAX_PAGE)
    }

    fn end(&self, at: usize) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(*self.ends.get(at)?)).ok()
    }
}

/// Something, if `bytes` are page `number` and nothing else.
fn check(bytes: &[u8], manifest: &Manifest, number: usize) -> Option<()> {
    let page = Page::read(bytes)?;
    let bits = manifest.page_bits();
    let here = |hash: super::hash::Hash| usize::try_from(hash.top(bits)).is_ok_and(|page| page == number);
    let mut last = None;
    for (hash, _) in page.aliases() {
        if !here(hash) || last.replace(hash).is_some_and(|last| last >= hash) {
            return None;
        }
    }
    let (mut last, seed, words) = (None, manifest.seed(), manifest.words());
    for (hash, item) in page.items() {
        let key = match Item::read(item?, words.len())? {
            Item::Tenant(tenant) => seed.id(tenant.id),
            Item::Member(member) => {
                seed.member(member.id, words.get(usize::from(member.issuer))?, member.subject)
            }
        };
        if key != hash || !here(hash) || last.replace(hash).is_some_and(|last| last >= hash) {
            return None;
        }
    }
    page.is_exact().then_some(())
}
