//! Packing: from a checked list to parts.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{
    MAX_PART, Manifest, Pack, PartName, Seed,
    hash::Hash,
    item::{Item, Member, NO_WORD, Tenant},
    manifest::{self, MAX_PAGE_BITS, MAX_PART_BITS, MAX_WORDS},
    page, part,
};
use crate::{Listed, Membership, Record};

/// Bytes that a page should have on average, right after packing: half as many and twice as many
/// are as good, so that a directory can grow and shrink before all of its parts change.
const PAGE: usize = 6 * 1024;
/// The same for a part: what one changed name costs to fetch.
const PART: usize = 256 * 1024;
/// Most of a tenant's slugs, domains, fields and issuers, and of a member's roles.
const MAX_COUNT: usize = 64;
/// Bytes of a field's value.
const MAX_VALUE: usize = 1024;
/// Bytes of a subject: OpenID Connect Core section 2 allows `sub` no more.
const MAX_SUBJECT: usize = 255;
/// Bytes of an item: a page has room for several.
const MAX_ITEM: usize = 16 * 1024;

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The edition: readers refuse one that is lower than what they have.
    pub version: u64,
    /// Random, and for a directory that was packed before not used unless it has to be: its parts
    /// stay as they are where its tenants do.
    pub seed: Seed,
}

/// Why a list cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackError {
    /// Something about one tenant, named by its id.
    Tenant {
        /// The tenant's id.
        id: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// More than 4,096 different plans, regions, names of fields, issuers and roles.
    TooManyWords,
    /// The tenants do not fit 262,144 pages and 1,024 parts.
    TooLarge,
    /// Names fall together under this seed: another one will do.
    Collision,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant { id, reason } => write!(f, "tenant `{id}`: {reason}"),
            Self::TooManyWords => write!(
                f,
                "more than {MAX_WORDS} different plans, regions, names of fields, issuers and roles; what differs \
                 by tenant belongs in a field's value"
            ),
            Self::TooLarge => {
                f.write_str("more than 262144 pages or 1024 parts of 8 MiB; split the directory")
            }
            Self::Collision => f.write_str("names fall together under this seed; pack with another one"),
        }
    }
}

impl core::error::Error for PackError {}

/// Packs `listed`. With the manifest of the previous edition, what did not change stays in parts
/// that did not change.
///
/// # Errors
///
/// [`PackError`] where a tenant is larger than the form allows, or all of them are.
pub fn pack(listed: &Listed, options: Options, previous: Option<&Manifest>) -> Result<Pack, PackError> {
    if let Some(previous) = previous {
        match attempt(listed, options.version, *previous.seed(), Some(previous)) {
            Err(PackError::Collision | PackError::TooManyWords | PackError::TooLarge) => {}
            other => return other,
        }
    }
    attempt(listed, options.version, options.seed, None)
}

fn attempt(
    listed: &Listed,
    version: u64,
    seed: Seed,
    previous: Option<&Manifest>,
) -> Result<Pack, PackError> {
    let words = Words::of(listed, previous)?;
    let mut all = Entries { seed, words: &words, aliases: Vec::new(), items: Vec::new(), bytes: 0 };
    for record in listed.records() {
        all.add(record)?;
    }
    all.sort()?;
    let (least, part_bits) = all.bits(previous);
    for page_bits in least..=MAX_PAGE_BITS {
        if let Some(parts) = all.parts(page_bits, part_bits)? {
            let names =
                parts.iter().map(|part| PartName { sha256: Sha256::digest(part).into(), bytes: part.len() });
            let tenants = u64::try_from(listed.records().len()).unwrap_or(u64::MAX);
            let manifest =
                Manifest::new((version, tenants), seed, page_bits, words.list.clone(), names.collect());
            return Ok(Pack { manifest, parts });
        }
    }
    Err(PackError::TooLarge)
}

/// The words that items say by number. Those of the previous edition keep theirs.
struct Words {
    list: Vec<String>,
    numbers: BTreeMap<String, u16>,
}

impl Words {
    fn of(listed: &Listed, previous: Option<&Manifest>) -> Result<Self, PackError> {
        let mut words = Self { list: Vec::new(), numbers: BTreeMap::new() };
        for word in previous.map(Manifest::words).unwrap_or_default() {
            words.add(word)?;
        }
        for record in listed.records() {
            let Record { id: _, slugs: _, domains: _, state: _, plan, region, fields, issuers, members } =
                record;
            let shared = [plan, region].into_iter().flatten().chain(fields.keys()).chain(issuers);
            let of_members =
                members.iter().flat_map(|member| core::iter::once(&member.issuer).chain(&member.roles));
            for word in shared.chain(of_members) {
                if !manifest::is_word(word) {
                    let reason =
                        format!("`{}` is empty, longer than 128 bytes or has a NUL", word.escape_debug());
                    return Err(PackError::Tenant { id: record.id.to_string(), reason });
                }
                words.add(word)?;
            }
        }
        Ok(words)
    }

    fn add(&mut self, word: &str) -> Result<(), PackError> {
        if !self.numbers.contains_key(word) {
            let number = Some(self.list.len()).filter(|count| *count < MAX_WORDS);
            let number = number.and_then(|count| u16::try_from(count).ok()).ok_or(PackError::TooManyWords)?;
            self.numbers.insert(word.to_owned(), number);
            self.list.push(word.to_owned());
        }
        Ok(())
    }

    fn number(&self, word: &str) -> u16 {
        self.numbers.get(word).copied().unwrap_or(NO_WORD)
    }

    fn numbers(&self, words: &[String]) -> Vec<u16> {
        words.iter().map(|word| self.number(word)).collect()
    }

    fn tenant<'r>(&self, record: &'r Record) -> Item<'r> {
        let optional = |word: &Option<String>| word.as_ref().map_or(NO_WORD, |word| self.number(word));
        Item::Tenant(Tenant {
            id: record.id.as_str(),
            state: record.state,
            plan: optional(&record.plan),
            region: optional(&record.region),
            slugs: record.slugs.iter().map(crate::Slug::as_str).collect(),
            domains: record.domains.iter().map(crate::Domain::as_str).collect(),
            fields: record.fields.iter().map(|(name, value)| (self.number(name), value.as_str())).collect(),
            issuers: self.numbers(&record.issuers),
        })
    }

    fn member<'r>(&self, id: &'r str, member: &'r Membership) -> Item<'r> {
        Item::Member(Member {
            id,
            issuer: self.number(&member.issuer),
            subject: &member.subject,
            roles: self.numbers(&member.roles),
        })
    }
}

/// Everything that goes into pages, not yet written: a million tenants are written page by page.
struct Entries<'r> {
    seed: Seed,
    words: &'r Words,
    aliases: Vec<(Hash, Hash)>,
    items: Vec<(Hash, &'r Record, Option<&'r Membership>)>,
    bytes: usize,
}

impl<'r> Entries<'r> {
    fn add(&mut self, record: &'r Record) -> Result<(), PackError> {
        check(record).map_err(|reason| PackError::Tenant { id: record.id.to_string(), reason })?;
        let hash = self.seed.id(record.id.as_str());
        self.items.push((hash, record, None));
        let mut size = written(&self.words.tenant(record)).len();
        if size > MAX_ITEM {
            let reason = format!("its names and fields take {size} bytes; {MAX_ITEM} is the most");
            return Err(PackError::Tenant { id: record.id.to_string(), reason });
        }
        for slug in &record.slugs {
            self.aliases.push((self.seed.slug(slug.as_str()), hash));
        }
        for domain in &record.domains {
            self.aliases.push((self.seed.domain(domain.as_str()), hash));
        }
        for member in &record.members {
            let hash = self.seed.member(record.id.as_str(), &member.issuer, &member.subject);
            self.items.push((hash, record, Some(member)));
            size = size.saturating_add(written(&self.words.member(record.id.as_str(), member)).len());
        }
        let tables = record.slugs.len().saturating_add(record.domains.len()).saturating_mul(16);
        self.bytes = self.bytes.saturating_add(size).saturating_add(tables).saturating_add(10);
        Ok(())
    }

    fn sort(&mut self) -> Result<(), PackError> {
        self.aliases.sort_unstable();
        self.items.sort_unstable_by_key(|(hash, ..)| *hash);
        let twice = |one: Hash, next: Hash| one == next;
        let aliases = self.aliases.iter().zip(self.aliases.iter().skip(1)).any(|(a, b)| twice(a.0, b.0));
        let items = self.items.iter().zip(self.items.iter().skip(1)).any(|(a, b)| twice(a.0, b.0));
        if aliases || items { Err(PackError::Collision) } else { Ok(()) }
    }

    /// How many bits number the pages, and the parts: as before, where that is still good.
    fn bits(&self, previous: Option<&Manifest>) -> (u32, u32) {
        let about = |size: usize, bits: u32| {
            let each = self.bytes.checked_shr(bits).unwrap_or(0);
            each <= size.saturating_mul(2) && (bits == 0 || each >= size.checked_div(4).unwrap_or(0))
        };
        if let Some((pages, parts)) = previous.map(|previous| (previous.page_bits(), previous.part_bits()))
            && about(PAGE, pages)
            && about(PART, parts)
        {
            return (pages, parts);
        }
        let bits = |size: usize| self.bytes.div_ceil(size).next_power_of_two().ilog2();
        let pages = bits(PAGE).min(MAX_PAGE_BITS);
        (pages, bits(PART).min(MAX_PART_BITS).min(pages))
    }

    /// The parts; nothing where a page would be too large.
    fn parts(&self, page_bits: u32, part_bits: u32) -> Result<Option<Vec<Vec<u8>>>, PackError> {
        let pages_per_part = 1_u32.checked_shl(page_bits.saturating_sub(part_bits)).unwrap_or(1);
        let count = u16::try_from(pages_per_part).map_err(|_| PackError::TooLarge)?;
        let (mut aliases, mut items) = (self.aliases.as_slice(), self.items.as_slice());
        let mut parts = Vec::new();
        let mut number = 0_u32;
        for _ in 0..1_u32.checked_shl(part_bits).unwrap_or(1) {
            let (mut ends, mut pages) = (Vec::new(), Vec::new());
            for _ in 0..pages_per_part {
                let here = |hash: Hash| hash.top(page_bits) == number;
                let mine = take(&mut aliases, |(hash, _)| here(*hash));
                let written: Vec<_> = take(&mut items, |(hash, ..)| here(*hash))
                    .iter()
                    .map(|(hash, record, member)| (*hash, self.item(record, *member)))
                    .collect();
                let Some(page) = page::write(mine, &written) else { return Ok(None) };
                pages.extend_from_slice(&page);
                ends.extend_from_slice(&u32::try_from(pages.len()).unwrap_or(u32::MAX).to_be_bytes());
                number = number.saturating_add(1);
            }
            let part = [part::MAGIC.as_slice(), &count.to_be_bytes(), &ends, &pages].concat();
            if part.len() > MAX_PART {
                return Err(PackError::TooLarge);
            }
            parts.push(part);
        }
        Ok(Some(parts))
    }

    fn item(&self, record: &Record, member: Option<&Membership>) -> Vec<u8> {
        match member {
            None => written(&self.words.tenant(record)),
            Some(member) => written(&self.words.member(record.id.as_str(), member)),
        }
    }
}

fn written(item: &Item<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    item.write(&mut out);
    out
}

/// Cuts the longest prefix of what `is` holds for off `rest`.
fn take<'s, T>(rest: &mut &'s [T], is: impl Fn(&T) -> bool) -> &'s [T] {
    let (taken, left) = rest.split_at_checked(rest.partition_point(is)).unwrap_or((&[], rest));
    *rest = left;
    taken
}

/// What the form has no room for: lengths and numbers are told in one byte or two.
fn check(record: &Record) -> Result<(), String> {
    let Record { id: _, slugs, domains, state: _, plan: _, region: _, fields, issuers, members } = record;
    let counts = [
        ("slugs", slugs.len()),
        ("domains", domains.len()),
        ("fields", fields.len()),
        ("issuers", issuers.len()),
    ];
    for (what, count) in counts {
        if count > MAX_COUNT {
            return Err(format!("{count} {what}; {MAX_COUNT} is the most"));
        }
    }
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.len() > MAX_VALUE) {
        return Err(format!("the field `{name}` is longer than {MAX_VALUE} bytes"));
    }
    for Membership { issuer: _, subject, roles } in members {
        if subject.is_empty() || subject.len() > MAX_SUBJECT {
            return Err(format!("a member's subject is empty or longer than {MAX_SUBJECT} bytes"));
        }
        if roles.len() > MAX_COUNT {
            return Err(format!("a member has {} roles; {MAX_COUNT} is the most", roles.len()));
        }
    }
    Ok(())
}
