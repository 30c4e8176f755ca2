//! What an edition is read by: its manifest, and in which of its two places each part is.

use alloc::{string::String, vec::Vec};

use portcullis_core::fetch::{
    Instant,
    bytes::{Reader, Writer},
};

use super::PagePlace;
use crate::directory::pack::Manifest;

const VERSION: u64 = 0x5043_5452_0000_0001;
/// Bytes of a part's digest that its pages carry.
const STAMP: usize = 8;
/// Most pages of a part: see [`Manifest::read`].
const MAX_PAGES: usize = 32_768;

/// A published edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    generation: u64,
    etag: Option<String>,
    manifest: Manifest,
    /// Whether each part is in its second place.
    seconds: Vec<bool>,
    published_at: Instant,
    garbage: Garbage,
}

/// Parts of the editions before: nobody reads them any more once this root is everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Garbage {
    /// The most pages that any of them has.
    pub(super) pages: usize,
    /// Each part and which of its places.
    pub(super) parts: Vec<(usize, bool)>,
}

impl Root {
    pub(super) const fn new(
        (generation, published_at): (u64, Instant),
        etag: Option<String>,
        manifest: Manifest,
        seconds: Vec<bool>,
        garbage: Garbage,
    ) -> Self {
        Self { generation, etag, manifest, seconds, published_at, garbage }
    }

    /// The root that `bytes` are; none where they are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.number()? != VERSION {
            return None;
        }
        let (generation, etag) = (input.number()?, input.optional()?);
        let seconds: Vec<bool> = input.bytes()?.iter().map(|place| *place == 1).collect();
        let manifest = Manifest::read(input.bytes()?).ok()?;
        let (published_at, garbage) = (input.instant()?, Garbage::read(&mut input)?);
        let whole = input.0.is_empty() && seconds.len() == manifest.parts().len();
        whole.then_some(Self { generation, etag, manifest, seconds, published_at, garbage })
    }

    /// Its bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(VERSION);
        out.number(self.generation);
        out.optional(self.etag.as_deref());
        out.bytes(&self.seconds.iter().map(|second| u8::from(*second)).collect::<Vec<_>>());
        out.bytes(self.manifest.write().as_bytes());
        out.number(self.published_at.0);
        self.garbage.write(&mut out);
        out.0
    }

    /// The number by which workers tell editions apart.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What the manifest or document was sent with.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// How its pages are read.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where page `number` of the directory is.
    #[must_use]
    pub fn place(&self, number: u32) -> PagePlace {
        let (part, page) = self.manifest.place(number);
        PagePlace { part, second: self.is_second(part), page }
    }

    /// The page that was written to `place`, if `bytes` are it: it has the digest of its part after
    /// it.
    #[must_use]
    pub fn unstamp<'b>(&self, place: PagePlace, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let own = self.manifest.parts().get(place.part)?.sha256.first_chunk::<STAMP>()?;
        let (page, stamp) = bytes.split_last_chunk::<STAMP>()?;
        (stamp == own).then_some(page)
    }

    pub(super) const fn published_at(&self) -> Instant {
        self.published_at
    }

    pub(super) const fn kept(&self) -> &Garbage {
        &self.garbage
    }

    /// The pages that nobody reads any more.
    pub(super) fn garbage(&self) -> impl Iterator<Item = PagePlace> + '_ {
        let Garbage { pages, parts } = &self.garbage;
        let pages_of = move |(part, second): (usize, bool)| {
            (0..*pages).map(move |page| PagePlace { part, second, page })
        };
        parts.iter().copied().flat_map(pages_of)
    }

    pub(super) fn is_second(&self, part: usize) -> bool {
        self.seconds.get(part).copied().unwrap_or(false)
    }
}

impl Garbage {
    fn write(&self, out: &mut Writer) {
        out.number(u64::try_from(self.pages).unwrap_or(u64::MAX));
        out.number(u64::try_from(self.parts.len()).unwrap_or(u64::MAX));
        for (part, second) in &self.parts {
            out.number(u64::try_from(*part).unwrap_or(u64::MAX));
            out.number(u64::from(*second));
        }
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let number = |input: &mut Reader<'_>| usize::try_from(input.number()?).ok();
        let pages = number(input).filter(|pages| *pages <= MAX_PAGES)?;
        let count = number(input)?;
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push((number(input)?, input.number()? == 1));
        }
        Some(Self { pages, parts })
    }
}

/// `page` with the mark of the part whose digest this is.
pub(super) fn stamped(sha256: &[u8; 32], page: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len().saturating_add(STAMP));
    out.extend_from_slice(page);
    out.extend_from_slice(sha256.first_chunk::<STAMP>().map_or(&[], |stamp| stamp.as_slice()));
    out
}
