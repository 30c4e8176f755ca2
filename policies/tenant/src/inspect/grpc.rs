//! gRPC messages: fields by number, in constant memory.
//!
//! A message is length-prefixed (gRPC over HTTP/2) and holds fields of four wire types (protobuf's
//! encoding). Every field on a configured path is looked at; of groups, which are gone since proto3,
//! nothing can be told.

use super::{Check, Leak, json::MOST_TEXT};

/// Messages inside each other that paths lead through.
pub(crate) const MOST_NUMBERS: usize = 8;

/// How far a stream of messages is read.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    state: State,
    /// What is left of each open message, the outermost first, and the number that it has in its parent.
    open: [Open; MOST_NUMBERS],
    depth: usize,
    varint: u64,
    shift: u32,
    text: [u8; MOST_TEXT],
    length: usize,
    seen: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    left: u64,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of the prefix have been read.
    Prefix(u8),
    Tag,
    /// The size of the field with this number.
    Size(u32),
    /// A number that is read past.
    Number,
    /// So many bytes that are read past.
    Skip(u64),
    /// So many bytes of a guarded field.
    Text(u64),
}

/// What the field of a number is.
enum Field {
    Guarded,
    Leads,
    Other,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self {
            state: State::Prefix(0),
            open: [Open::default(); MOST_NUMBERS],
            depth: 0,
            varint: 0,
            shift: 0,
            text: [0; MOST_TEXT],
            length: 0,
            seen: false,
        }
    }

    pub(super) fn is_between(&self) -> bool {
        self.state == State::Prefix(0)
    }

    pub(super) fn read(
        &mut self,
        check: &Check<'_>,
        chunk: &[u8],
        verified: &mut Option<usize>,
    ) -> Result<(), Leak> {
        let mut at: usize = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let read = self.step(check, rest)?;
            at = at.saturating_add(read);
            if self.state == State::Prefix(0) {
                *verified = Some(at);
            }
        }
        Ok(())
    }

    fn step(&mut self, check: &Check<'_>, rest: &[u8]) -> Result<usize, Leak> {
        let Some(byte) = rest.first().copied() else { return Ok(0) };
        match self.state {
            State::Prefix(read) => self.prefix(check, read, byte)?,
            State::Tag | State::Size(_) | State::Number => {
                self.spend(1)?;
                if self.digit(byte)? {
                    self.number(check)?;
                }
            }
            State::Skip(left) | State::Text(left) => {
                let run = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let bytes = rest.get(..run).unwrap_or_default();
                let taken = u64::try_from(run).unwrap_or(u64::MAX);
                self.spend(taken)?;
                let left = left.saturating_sub(taken);
                if let State::Text(_) = self.state {
                    let to = self.length.saturating_add(run);
                    self.text.get_mut(self.length..to).ok_or(Leak::Field)?.copy_from_slice(bytes);
                    self.length = to;
                    self.state = State::Text(left);
                    if left == 0 {
                        self.compare(check)?;
                    }
                } else if left == 0 {
                    self.next(check)?;
                } else {
                    self.state = State::Skip(left);
                }
                return Ok(run);
            }
        }
        Ok(1)
    }

    fn prefix(&mut self, check: &Check<'_>, read: u8, byte: u8) -> Result<(), Leak> {
        match read {
            0 if byte == 0 => self.varint = 0,
            0 if byte == 1 => return Err(Leak::Encoded),
            0 => return Err(Leak::Malformed),
            _ => self.varint = (self.varint << 8) | u64::from(byte),
        }
        self.state = State::Prefix(read.saturating_add(1));
        if read == 4 {
            self.seen = false;
            self.depth = 1;
            let left = core::mem::take(&mut self.varint);
            if let Some(first) = self.open.first_mut() {
                *first = Open { left, number: 0 };
            }
            self.next(check)?;
        }
        Ok(())
    }

    /// Bytes of every open message.
    fn spend(&mut self, bytes: u64) -> Result<(), Leak> {
        for open in self.open.iter_mut().take(self.depth) {
            open.left = open.left.checked_sub(bytes).ok_or(Leak::Malformed)?;
        }
        Ok(())
    }

    /// One byte of a varint; whether it is the last.
    fn digit(&mut self, byte: u8) -> Result<bool, Leak> {
        let part = u64::from(byte & 0x7f).checked_shl(self.shift).ok_or(Leak::Malformed)?;
        self.varint |= part;
        self.shift = self.shift.saturating_add(7);
        if byte & 0x80 == 0 {
            Ok(true)
        } else if self.shift > 63 {
            Err(Leak::Malformed)
        } else {
            Ok(false)
        }
    }

    fn number(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        let value = core::mem::take(&mut self.varint);
        self.shift = 0;
        match self.state {
            State::Size(field) => self.sized(check, field, value),
            State::Tag => {
                let field = u32::try_from(value >> 3).map_err(|_| Leak::Malformed)?;
                let kind = value & 7;
                // A guarded field is text: of another type it names nobody.
                if kind != 2 && matches!(self.field(check, field), Field::Guarded) {
                    return Err(Leak::Field);
                }
                self.state = match kind {
                    0 => State::Number,
                    1 => State::Skip(8),
                    2 => State::Size(field),
                    5 => State::Skip(4),
                    _ => return Err(Leak::Malformed),
                };
                Ok(())
            }
            _ => self.next(check),
        }
    }

    fn sized(&mut self, check: &Check<'_>, field: u32, size: u64) -> Result<(), Leak> {
        match self.field(check, field) {
            Field::Guarded if size == 0 => {
                self.length = 0;
                return self.compare(check);
            }
            Field::Guarded => {
                self.length = 0;
                self.state = State::Text(size);
            }
            Field::Leads => {
                let inner = self.open.get_mut(self.depth).ok_or(Leak::TooDeep)?;
                *inner = Open { left: size, number: field };
                self.depth = self.depth.saturating_add(1);
                return self.next(check);
            }
            Field::Other if size == 0 => return self.next(check),
            Field::Other => self.state = State::Skip(size),
        }
        Ok(())
    }

    fn field(&self, check: &Check<'_>, field: u32) -> Field {
        let way = self.open.iter().take(self.depth).skip(1).map(|open| open.number);
        let mut leads = false;
        for path in &check.rules.numbers {
            let mut numbers = path.iter().copied();
            let same =
                way.clone().all(|number| numbers.next() == Some(number)) && numbers.next() == Some(field);
            if same && numbers.next().is_none() {
                return Field::Guarded;
            }
            leads |= same;
        }
        if leads { Field::Leads } else { Field::Other }
    }

    fn compare(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        let value = self.text.get(..self.length).unwrap_or_default();
        if !check.is_own(value) {
            return Err(Leak::Field);
        }
        self.seen = true;
        self.next(check)
    }

    /// What comes after a field: another one, the end of a message, or that of all.
    fn next(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        while let Some(open) = self.depth.checked_sub(1).and_then(|last| self.open.get(last)) {
            if open.left > 0 {
                self.state = State::Tag;
                return Ok(());
            }
            self.depth = self.depth.saturating_sub(1);
        }
        self.state = State::Prefix(0);
        // proto3 leaves empty fields out, and an empty message has none.
        if check.required && !self.seen { Err(Leak::Unattributed) } else { Ok(()) }
    }

    pub(super) const fn has_seen(&self) -> bool {
        self.seen
    }
}
