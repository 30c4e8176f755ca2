//! What names the parts of a directory and says how to read them.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

use portcullis_core::ConfigError;
use serde::Deserialize;

use super::{MAX_MANIFEST, MAX_PART, Seed};

/// What a manifest says its format is.
pub const FORMAT: &str = "portcullis-tenants/1";
/// 262,144 pages: about a gigabyte of tenants.
pub(super) const MAX_PAGE_BITS: u32 = 18;
/// 1,024 parts.
pub(super) const MAX_PART_BITS: u32 = 10;
/// Plans, regions, names of fields, issuers and roles, all together.
pub(super) const MAX_WORDS: usize = 4096;
/// Bytes of one of them.
pub(super) const MAX_WORD: usize = 128;

/// The head of a packed directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    version: u64,
    tenants: u64,
    seed: Seed,
    page_bits: u32,
    words: Vec<String>,
    parts: Vec<PartName>,
}

/// A part by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartName {
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// How many bytes it has.
    pub bytes: usize,
}

/// The head of a packed directory, as `portcullis tenants pack` writes it.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Always `portcullis-tenants/1`.
    format: String,
    /// Which edition this is: it only rises.
    version: u64,
    /// How many tenants the parts hold.
    tenants: u64,
    /// The key of the hash that says where a name is: 32 hexadecimal digits.
    seed: String,
    /// The number of pages as a power of two, 0 to 18.
    page_bits: u32,
    /// Plans, regions, names of fields, issuers and roles: at most 4096.
    words: Vec<String>,
    /// The parts in their order; a power of two of them, at most 1024.
    parts: Vec<RawPart>,
}

/// One part, the file `parts/<sha256>`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawPart {
    /// The digest of its bytes, 64 hexadecimal digits in lower case.
    sha256: String,
    /// How many bytes it has, at most 8388608.
    bytes: usize,
}

/// The JSON Schema (draft 2020-12) of what [`Manifest::read`] reads.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Raw)
}

impl Manifest {
    pub(super) const fn new(
        (version, tenants): (u64, u64),
        seed: Seed,
        page_bits: u32,
        words: Vec<String>,
        parts: Vec<PartName>,
    ) -> Self {
        Self { version, tenants, seed, page_bits, words, parts }
    }

    /// The manifest that the JSON document `bytes` is.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the place and the reason where it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ConfigError::new(".", format!("longer than {MAX_MANIFEST} bytes")));
        }
        let Raw { format, version, tenants, seed, page_bits, words, parts } =
            portcullis_core::config::read(bytes)?;
        if format != FORMAT {
            return Err(ConfigError::new("format", format!("this reader knows `{FORMAT}` only")));
        }
        let wrong = |path: &str, reason: &str| Err(ConfigError::new(path, reason));
        let Some(seed) = unhex(&seed) else { return wrong("seed", "not 32 hexadecimal digits") };
        if page_bits > MAX_PAGE_BITS {
            return wrong("page_bits", "not a number from 0 to 18");
        }
        let bits = parts.len().checked_ilog2().unwrap_or_default();
        if !parts.len().is_power_of_two() || bits > MAX_PART_BITS || bits > page_bits {
            return wrong("parts", "their number is not a power of two up to 1024 and the number of pages");
        }
        // INVARIANT: the number of a part's pages fits its frame.
        if page_bits.saturating_sub(bits) > 15 {
            return wrong("page_bits", "more than 32768 pages a part");
        }
        if words.len() > MAX_WORDS || words.iter().any(|word| !is_word(word)) {
            return wrong(
                "words",
                "more than 4096, or one that is empty, longer than 128 bytes or has a NUL",
            );
        }
        let mut named = Vec::with_capacity(parts.len());
        for (at, RawPart { sha256, bytes }) in parts.into_iter().enumerate() {
            let Some(sha256) = unhex(&sha256) else {
                return wrong(&format!("parts[{at}].sha256"), "not 64 lower-case hexadecimal digits");
            };
            if bytes > MAX_PART {
                return wrong(&format!("parts[{at}].bytes"), "more than 8 MiB");
            }
            named.push(PartName { sha256, bytes });
        }
        Ok(Self { version, tenants, seed: Seed(seed), page_bits, words, parts: named })
    }

    /// The JSON document, one part a line.
    #[must_use]
    pub fn write(&self) -> String {
        let words = serde_json::to_string(&self.words).unwrap_or_else(|_| "[]".to_string());
        let mut out = format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"version\": {},\n  \"tenants\": {},\n  \"seed\": \"{}\",\n  \
             \"page_bits\": {},\n  \"words\": {words},\n  \"parts\": [\n",
            self.version,
            self.tenants,
            hex(&self.seed.0),
            self.page_bits
        );
        let last = self.parts.len().saturating_sub(1);
        for (at, part) in self.parts.iter().enumerate() {
            let comma = if at == last { "" } else { "," };
            // Writing into a string cannot fail.
            let _ = writeln!(out, "    {{\"sha256\": \"{}\", \"bytes\": {}}}{comma}", part.hex(), part.bytes);
        }
        out.push_str("  ]\n}\n");
        out
    }

    /// Which edition of the directory this is: it only rises.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How many tenants the parts hold, as the packer counted them.
    #[must_use]
    pub const fn tenants(&self) -> u64 {
        self.tenants
    }

    /// The parts in their order.
    #[must_use]
    pub fn parts(&self) -> &[PartName] {
        &self.parts
    }

    /// How many pages each part has.
    #[must_use]
    pub fn pages_per_part(&self) -> usize {
        let bits = self.page_bits.saturating_sub(self.part_bits());
        1_usize.checked_shl(bits).unwrap_or(1)
    }

    /// The part in which page `page` is, and its place there.
    #[must_use]
    pub fn place(&self, page: u32) -> (usize, usize) {
        let page = usize::try_from(page).unwrap_or(usize::MAX);
        let pages = self.pages_per_part();
        (page.checked_div(pages).unwrap_or(0), page.checked_rem(pages).unwrap_or(0))
    }

    pub(super) const fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(super) const fn page_bits(&self) -> u32 {
        self.page_bits
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    pub(super) fn part_bits(&self) -> u32 {
        self.parts.len().checked_ilog2().unwrap_or_default()
    }
}

impl PartName {
    /// The digest in lower-case hexadecimal: also the name of the part's file.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// A NUL would let two keys of members read the same.
pub(super) fn is_word(word: &str) -> bool {
    (1..=MAX_WORD).contains(&word.len()) && !word.contains('\0')
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a')?.checked_add(10),
        _ => None,
    };
    let pairs = text.as_bytes().as_chunks::<2>();
    if pairs.0.len() != N || !pairs.1.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(pairs.0) {
        *byte = digit(*high)?.checked_shl(4)? | digit(*low)?;
    }
    Some(out)
}
