//! Reading and writing what an item holds.

use alloc::vec::Vec;

/// Reads an item; nothing where it is too short or a text is not UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A text with its length in one byte.
    pub(super) fn short(&mut self) -> Option<&'b str> {
        let length = self.byte()?;
        core::str::from_utf8(self.take(length.into())?).ok()
    }

    /// A text with its length in two bytes.
    pub(super) fn long(&mut self) -> Option<&'b str> {
        let length = self.word()?;
        core::str::from_utf8(self.take(length.into())?).ok()
    }
}

/// What is longer than its length can say does not get here: see `build`.
pub(super) fn short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn word(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn long(out: &mut Vec<u8>, text: &str) {
    word(out, u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(text.as_bytes());
}
