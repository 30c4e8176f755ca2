//! A reader and a writer for shared records: big-endian numbers, and bytes with their length.

use alloc::{string::String, vec::Vec};

use super::time::Instant;

/// Writes a record.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Eight bytes.
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// A text that may be absent.
    pub fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.bytes(text.unwrap_or_default().as_bytes());
    }
}

/// Reads a record; nothing where it is too short or a length is wrong.
#[derive(Debug)]
pub struct Reader<'r>(pub &'r [u8]);

impl<'r> Reader<'r> {
    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Eight bytes.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A number that fits 32 bits.
    pub fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// A time.
    pub fn instant(&mut self) -> Option<Instant> {
        self.number().map(Instant)
    }

    /// Bytes after their length.
    pub fn bytes(&mut self) -> Option<&'r [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// UTF-8 after its length.
    pub fn text(&mut self) -> Option<String> {
        core::str::from_utf8(self.bytes()?).ok().map(Into::into)
    }

    /// A text that may be absent.
    pub fn optional(&mut self) -> Option<Option<String>> {
        let there = self.number()?;
        let text = self.text()?;
        Some((there == 1).then_some(text))
    }
}
