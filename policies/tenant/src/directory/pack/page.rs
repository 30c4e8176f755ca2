//! One page: what hashes to it, in two sorted tables.

use alloc::vec::Vec;

use super::{MAX_PAGE, bytes::Reader, hash::Hash};

const ALIAS: usize = 16;
const INDEX: usize = 10;

/// A page whose tables are where they should be; what they say is checked by [`super::Part`].
#[derive(Clone, Copy)]
pub(super) struct Page<'p> {
    aliases: &'p [[u8; ALIAS]],
    index: &'p [[u8; INDEX]],
    items: &'p [u8],
}

impl<'p> Page<'p> {
    pub(super) fn read(bytes: &'p [u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        let (aliases, index) = (input.word()?, input.word()?);
        let aliases = input.take(usize::from(aliases).checked_mul(ALIAS)?)?;
        let index = input.take(usize::from(index).checked_mul(INDEX)?)?;
        Some(Self { aliases: aliases.as_chunks().0, index: index.as_chunks().0, items: input.0 })
    }

    /// The hash of the id of the tenant that the alias with this hash is for.
    pub(super) fn alias(&self, hash: Hash) -> Option<Hash> {
        let at = self.aliases.binary_search_by_key(&hash, |alias| alias_of(alias).0).ok()?;
        self.aliases.get(at).map(|alias| alias_of(alias).1)
    }

    /// The item under the key with this hash.
    pub(super) fn item(&self, hash: Hash) -> Option<&'p [u8]> {
        let at = self.index.binary_search_by_key(&hash, |entry| index_of(entry).0).ok()?;
        self.nth(at)
    }

    fn nth(&self, at: usize) -> Option<&'p [u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => index_of(self.index.get(before)?).1,
            None => 0,
        };
        self.items.get(start..index_of(self.index.get(at)?).1)
    }

    pub(super) fn aliases(&self) -> impl Iterator<Item = (Hash, Hash)> + use<'p> {
        self.aliases.iter().map(alias_of)
    }

    /// Each item with the hash of its key; nothing for one that is not where the index says.
    pub(super) fn items(&self) -> impl Iterator<Item = (Hash, Option<&'p [u8]>)> + use<'p> {
        let own = *self;
        self.index.iter().enumerate().map(move |(at, entry)| (index_of(entry).0, own.nth(at)))
    }

    /// Whether the items are all that there is after the tables.
    pub(super) fn is_exact(&self) -> bool {
        self.index.last().map_or(0, |entry| index_of(entry).1) == self.items.len()
    }
}

fn alias_of(alias: &[u8; ALIAS]) -> (Hash, Hash) {
    let number = u128::from_be_bytes(*alias);
    let high = u64::try_from(number >> 64).unwrap_or(u64::MAX);
    let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    (Hash(high), Hash(low))
}

fn index_of(entry: &[u8; INDEX]) -> (Hash, usize) {
    let [a, b, c, d, e, f, g, h, high, low] = *entry;
    (Hash(u64::from_be_bytes([a, b, c, d, e, f, g, h])), u16::from_be_bytes([high, low]).into())
}

/// The page of `aliases` and `items`, both by rising hash; nothing where it would be too large.
pub(super) fn write(aliases: &[(Hash, Hash)], items: &[(Hash, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for count in [aliases.len(), items.len()] {
        out.extend_from_slice(&u16::try_from(count).ok()?.to_be_bytes());
    }
    for (name, tenant) in aliases {
        out.extend_from_slice(&name.0.to_be_bytes());
        out.extend_from_slice(&tenant.0.to_be_bytes());
    }
    let mut end = 0_usize;
    for (hash, item) in items {
        end = end.checked_add(item.len())?;
        out.extend_from_slice(&hash.0.to_be_bytes());
        out.extend_from_slice(&u16::try_from(end).ok()?.to_be_bytes());
    }
    for (_, item) in items {
        out.extend_from_slice(item);
    }
    Some(out).filter(|page| page.len() <= MAX_PAGE)
}
