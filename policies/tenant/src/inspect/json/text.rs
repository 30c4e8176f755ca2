//! One string, decoded as it comes: as much of it as a name can be long, and nothing of the rest.

use super::super::Leak;

/// Names and tenants are not longer than this.
pub(crate) const MOST: usize = 96;

/// The string, number or member name that is being read.
#[derive(Clone, Debug)]
pub(super) struct Text {
    bytes: [u8; MOST],
    length: u8,
    wanted: bool,
    /// Too long, or with half of a surrogate pair: no name at all.
    spoiled: bool,
    escape: Escape,
    /// The first half of a surrogate pair that waits for the second.
    high: u16,
    /// Bytes that a character still lacks, and the range of the next one (RFC 3629 section 4).
    lacks: u8,
    range: (u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// Digits that are still to come, and the value so far.
    Hex(u8, u16),
}

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MOST],
            length: 0,
            wanted: false,
            spoiled: false,
            escape: Escape::None,
            high: 0,
            lacks: 0,
            range: (0x80, 0xbf),
        }
    }

    /// Begins another one, to be compared or only to be read past.
    pub(super) fn begin(&mut self, wanted: bool) {
        self.length = 0;
        self.wanted = wanted;
        self.spoiled = false;
        self.escape = Escape::None;
        self.high = 0;
    }

    /// What it was, where it can be a name.
    pub(super) fn get(&self) -> Option<&[u8]> {
        if self.spoiled { None } else { self.bytes.get(..usize::from(self.length)) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.wanted || self.spoiled {
            return;
        }
        let from = usize::from(self.length);
        let place = from.checked_add(bytes.len()).and_then(|to| self.bytes.get_mut(from..to));
        match place {
            Some(place) => {
                place.copy_from_slice(bytes);
                // At most `MOST`, which fits.
                self.length = u8::try_from(from.saturating_add(bytes.len())).unwrap_or(u8::MAX);
            }
            None => self.spoiled = true,
        }
    }

    /// Reads on in a string: how many bytes of `chunk` belong to it, and whether it has ended.
    pub(super) fn read(&mut self, chunk: &[u8]) -> Result<(usize, bool), Leak> {
        let mut rest = chunk;
        loop {
            if self.lacks == 0 && self.escape == Escape::None {
                let Some((plain, after)) = rest.split_at_checked(plain(rest)) else { break };
                if self.high != 0 && rest.first().is_some_and(|first| *first != b'\\') {
                    self.spoil();
                }
                self.push(plain);
                rest = after;
            }
            let Some((byte, after)) = rest.split_first() else { break };
            rest = after;
            if self.lacks > 0 {
                self.continued(*byte)?;
                continue;
            }
            match self.escape {
                Escape::None => match byte {
                    b'"' => return Ok((chunk.len().saturating_sub(rest.len()), true)),
                    b'\\' => self.escape = Escape::Begun,
                    _ => self.character(*byte)?,
                },
                Escape::Begun => self.escaped(*byte)?,
                Escape::Hex(left, value) => self.hex(left, value, *byte)?,
            }
        }
        Ok((chunk.len(), false))
    }

    fn spoil(&mut self) {
        self.spoiled = true;
        self.high = 0;
    }

    /// The first byte of a character outside ASCII, or one that no string has.
    fn character(&mut self, byte: u8) -> Result<(), Leak> {
        (self.lacks, self.range) = match byte {
            0xc2..=0xdf => (1, (0x80, 0xbf)),
            0xe0 => (2, (0xa0, 0xbf)),
            0xed => (2, (0x80, 0x9f)),
            0xe1..=0xef => (2, (0x80, 0xbf)),
            0xf0 => (3, (0x90, 0xbf)),
            0xf1..=0xf3 => (3, (0x80, 0xbf)),
            0xf4 => (3, (0x80, 0x8f)),
            _ => return Err(Leak::Malformed),
        };
        self.push(&[byte]);
        Ok(())
    }

    fn continued(&mut self, byte: u8) -> Result<(), Leak> {
        let (from, to) = self.range;
        if !(from..=to).contains(&byte) {
            return Err(Leak::Malformed);
        }
        self.lacks = self.lacks.saturating_sub(1);
        self.range = (0x80, 0xbf);
        self.push(&[byte]);
        Ok(())
    }

    fn escaped(&mut self, byte: u8) -> Result<(), Leak> {
        self.escape = Escape::None;
        if self.high != 0 && byte != b'u' {
            self.spoil();
        }
        let decoded = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.escape = Escape::Hex(4, 0);
                return Ok(());
            }
            _ => return Err(Leak::Malformed),
        };
        self.push(&[decoded]);
        Ok(())
    }

    fn hex(&mut self, left: u8, value: u16, byte: u8) -> Result<(), Leak> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        let value = (value << 4) | digit.ok_or(Leak::Malformed)?;
        if left > 1 {
            self.escape = Escape::Hex(left.saturating_sub(1), value);
            return Ok(());
        }
        self.escape = Escape::None;
        self.unit(value);
        Ok(())
    }

    /// A UTF-16 unit. Half of a pair is no character, and no name has it.
    fn unit(&mut self, unit: u16) {
        let units = match (self.high, unit) {
            (0, 0xd800..=0xdbff) => {
                self.high = unit;
                return;
            }
            (0, _) => [unit, 0],
            (high, _) => [high, unit],
        };
        self.high = 0;
        let count = if units.get(1) == Some(&0) { 1 } else { 2 };
        for decoded in char::decode_utf16(units.into_iter().take(count)) {
            match decoded {
                Ok(decoded) => self.push(decoded.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(_) => self.spoiled = true,
            }
        }
    }
}

/// Bytes at the beginning of `text` that stand for themselves in a string: most of an answer is read
/// here.
pub(super) fn plain(text: &[u8]) -> usize {
    let read = vectors(text);
    let rest = text.get(read..).unwrap_or_default();
    read.saturating_add(rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len()))
}

/// As many of them as whole vectors show.
fn vectors(text: &[u8]) -> usize {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u64x2, v128_or};
        let mut read: usize = 0;
        for block in text.as_chunks::<16>().0 {
            let [a, b, c, d, e, f, g, h, rest @ ..] = *block;
            let bytes = u64x2(u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest));
            let quotes = v128_or(u8x16_eq(bytes, u8x16_splat(b'"')), u8x16_eq(bytes, u8x16_splat(b'\\')));
            // The mask has each byte's highest bit, which those outside ASCII have by themselves.
            let special = v128_or(v128_or(quotes, u8x16_lt(bytes, u8x16_splat(0x20))), bytes);
            let mask = u8x16_bitmask(special);
            if mask != 0 {
                return read.saturating_add(usize::try_from(mask.trailing_zeros()).unwrap_or_default());
            }
            read = read.saturating_add(16);
        }
        read
    }
    // Elsewhere a byte at a time is fast enough.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    {
        let _ = text;
        0
    }
}

const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..=0x1f | 0x80..)
}
