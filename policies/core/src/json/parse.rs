//! One pass over the text, one value out: the grammar of RFC 8259 and nothing beside it.
//!
//! serde_json reads a document into values only where a number may become a float; kept as text,
//! every scalar is read twice, and that was a third of the cost of a decision. `serde_json` is the
//! second opinion in the tests: both must take and refuse the same documents.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{JsonError, MAX_MEMBERS, Object, Value};

/// The value that `text` holds, with at most `depth` containers inside each other.
pub(super) fn document(text: &str, depth: usize) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(depth)?;
    if parser.token().is_some() { Err(parser.syntax()) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self, by: usize) {
        self.at = self.at.saturating_add(by);
    }

    /// Takes `byte` where it is next.
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.advance(1);
        }
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    /// The byte that the next token begins with.
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek()?;
            // Every other byte of the grammar is greater, and most texts have no space at all.
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.advance(1);
        }
    }

    /// What was read since `from`. A boundary of the grammar is one of characters as well.
    fn since(&self, from: usize) -> Result<&'a str, JsonError> {
        self.text.get(from..self.at).ok_or_else(|| self.syntax())
    }

    #[cold]
    fn syntax(&self) -> JsonError {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        JsonError::Syntax { line: lines.saturating_add(1), column: column.saturating_add(1) }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        match self.token() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth).map(Value::Array),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number().map(|text| Value::Number(Cow::Borrowed(text))),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.advance(word.len());
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Object<'a>, JsonError> {
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        self.advance(1);
        let mut members = Vec::new();
        let mut next = self.token();
        if next == Some(b'}') {
            self.advance(1);
            return Ok(Object(members));
        }
        // Most tokens have fewer claims; one that has none costs nothing.
        members.reserve(16);
        loop {
            if members.len() >= MAX_MEMBERS {
                return Err(JsonError::TooManyMembers);
            }
            if next != Some(b'"') {
                return Err(self.syntax());
            }
            let name = self.string()?;
            if self.token() != Some(b':') {
                return Err(self.syntax());
            }
            self.advance(1);
            members.push((name, self.value(depth)?));
            if !self.goes_on(b'}')? {
                break;
            }
            next = self.token();
        }
        refuse_duplicates(&members)?;
        Ok(Object(members))
    }

    /// Takes the comma before another member or element, or the `end` of the container.
    fn goes_on(&mut self, end: u8) -> Result<bool, JsonError> {
        let more = match self.token() {
            Some(b',') => true,
            Some(byte) if byte == end => false,
            _ => return Err(self.syntax()),
        };
        self.advance(1);
        Ok(more)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, JsonError> {
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        self.advance(1);
        let mut elements = Vec::new();
        if self.token() == Some(b']') {
            self.advance(1);
            return Ok(elements);
        }
        loop {
            if elements.len() >= MAX_MEMBERS {
                return Err(JsonError::TooManyMembers);
            }
            elements.push(self.value(depth)?);
            if !self.goes_on(b']')? {
                return Ok(elements);
            }
        }
    }

    /// RFC 8259 section 6.
    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.advance(1);
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.advance(1);
            }
            self.digits()?;
        }
        self.since(start)
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        match self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(self.syntax()),
            count => {
                self.advance(count);
                Ok(())
            }
        }
    }

    /// RFC 8259 section 7, from the quotation mark that is next. Borrowed where there is no escape.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.advance(1);
        let start = self.at;
        self.advance(plain(self.rest()));
        if self.peek() == Some(b'"') {
            let text = self.since(start)?;
            self.advance(1);
            return Ok(Cow::Borrowed(text));
        }
        let mut text = String::from(self.since(start)?);
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => text.push(self.escape()?),
                // The end of the document, or a control character that is not escaped.
                _ => return Err(self.syntax()),
            }
            let start = self.at;
            self.advance(plain(self.rest()));
            text.push_str(self.since(start)?);
        }
        self.advance(1);
        Ok(Cow::Owned(text))
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.advance(1);
        let character = match self.peek() {
            Some(own @ (b'"' | b'\\' | b'/')) => char::from(own),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return Err(self.syntax()),
        };
        self.advance(1);
        Ok(character)
    }

    /// A character by its UTF-16 code units. Half of a surrogate pair is no character.
    fn code_point(&mut self) -> Result<char, JsonError> {
        let first = self.code_unit()?;
        let code = if matches!(first, 0xd800..=0xdbff) {
            self.expect(b'\\')?;
            let second = self.code_unit()?;
            // Surrogates have ten bits each; what is none becomes no character.
            match second {
                0xdc00..=0xdfff => {
                    let (high, low) = (first & 0x3ff, second & 0x3ff);
                    0x1_0000_u32.saturating_add((high << 10) | low)
                }
                _ => first,
            }
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.syntax())
    }

    /// `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, JsonError> {
        self.expect(b'u')?;
        let digits = self.rest().get(..4).ok_or_else(|| self.syntax())?;
        let mut unit = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or_else(|| self.syntax())?;
            unit = (unit << 4) | value;
        }
        self.advance(4);
        Ok(unit)
    }
}

/// How many bytes at the front of `bytes` stand for themselves in a string: up to a quotation mark,
/// a backslash, a control character or the end. Eight at a time.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut rest = bytes;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let below = |limit: u64| word.wrapping_sub(ONES.wrapping_mul(limit)) & !word;
        let equal = |byte: u8| {
            let zero = word ^ ONES.wrapping_mul(u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let found = (below(0x20) | equal(b'"') | equal(b'\\')) & HIGHS;
        let done = bytes.len().saturating_sub(rest.len());
        if found != 0 {
            // A borrow makes a byte after a special one seem special, never one before it.
            let first = usize::try_from(found.trailing_zeros() / 8).unwrap_or_default();
            return done.saturating_add(first);
        }
        rest = after;
    }
    let done = bytes.len().saturating_sub(rest.len());
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    let more = rest.iter().position(special).unwrap_or(rest.len());
    done.saturating_add(more)
}

/// Small objects are compared pair by pair, large ones sorted: a client that sends many members
/// pays n log n, not n².
fn refuse_duplicates(members: &[(Cow<'_, str>, Value<'_>)]) -> Result<(), JsonError> {
    const SMALL: usize = 24;
    let duplicate = if members.len() <= SMALL {
        members
            .iter()
            .enumerate()
            .any(|(at, (name, _))| members.iter().take(at).any(|(other, _)| other == name))
    } else {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    };
    if duplicate { Err(JsonError::DuplicateMember) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
