//! One JSON document, read as it comes: every occurrence of a guarded field, in constant memory.
//!
//! Strict (RFC 8259), because what parsers read differently cannot be judged: whatever is not JSON is
//! refused, and so is what nests deeper than [`MOST_DEEP`]. Members that are there twice are both
//! looked at, and names and values are compared as they are after their escapes.

mod text;

use super::{Check, Leak, rules::MOST_SEGMENTS};
pub(crate) use text::MOST as MOST_TEXT;
use text::Text;

/// Containers inside each other.
pub const MOST_DEEP: u16 = 256;

/// How far a document is read.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    state: State,
    depth: u16,
    /// A bit for each open container: an object, or an array.
    objects: [u64; 4],
    /// For each open container the paths that lead to it or on below it, as bits.
    paths: [u32; MOST_SEGMENTS],
    /// The same for the value that comes next.
    next: u32,
    /// Whether the value that comes next names a tenant.
    guarded: bool,
    text: Text,
    /// The outermost open container whose own field has matched; 0 where there is none.
    matched: u16,
    /// The open record, where the configuration says what one is; 0 where there is none.
    record: u16,
    record_seen: bool,
    seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After `{`.
    NameOrEnd,
    Name,
    InName,
    Colon,
    InText,
    InNumber,
    /// The rest of `true`, `false` or `null`.
    InWord(&'static [u8]),
    AfterValue,
    Done,
}

impl Document {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Value,
            depth: 0,
            objects: [0; 4],
            paths: [0; MOST_SEGMENTS],
            next: u32::MAX,
            guarded: false,
            text: Text::new(),
            matched: 0,
            record: 0,
            record_seen: false,
            seen: false,
        }
    }

    /// Whether nothing but space has been read.
    pub(crate) fn is_untouched(&self) -> bool {
        self.depth == 0 && self.state == State::Value
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether a guarded field was there.
    pub(crate) const fn has_seen(&self) -> bool {
        self.seen
    }

    /// Nothing follows: a number at the top has no other end.
    pub(crate) fn finish(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        if self.depth == 0 && self.state == State::InNumber {
            self.end_of_value(check)?;
        }
        if self.is_done() { Ok(()) } else { Err(Leak::Malformed) }
    }

    /// Reads `chunk` to its end or to that of the document: how much of it was read. `verified` is
    /// moved to where in the chunk a record ends that was seen to be the tenant's.
    pub(crate) fn read(
        &mut self,
        check: &Check<'_>,
        chunk: &[u8],
        verified: &mut Option<usize>,
    ) -> Result<usize, Leak> {
        let mut at: usize = 0;
        while self.state != State::Done {
            let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) else { break };
            at = at.saturating_add(self.step(check, rest)?);
            if self.verifies() {
                *verified = Some(at);
            }
        }
        Ok(at)
    }

    /// Takes the sign that a record has just ended.
    fn verifies(&mut self) -> bool {
        if self.matched == ENDED {
            self.matched = 0;
            return true;
        }
        false
    }

    fn step(&mut self, check: &Check<'_>, rest: &[u8]) -> Result<usize, Leak> {
        let Some(byte) = rest.first().copied() else { return Ok(0) };
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') && !self.is_within() {
            let more = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            return Ok(more.unwrap_or(rest.len()));
        }
        match (self.state, byte) {
            (State::InText | State::InName, _) => return self.in_text(check, rest),
            (State::InNumber, _) => {
                let is_more =
                    |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                let run = rest.iter().position(|byte| !is_more(byte)).unwrap_or(rest.len());
                self.text.push(rest.get(..run).unwrap_or_default());
                if run < rest.len() {
                    self.end_of_value(check)?;
                }
                return Ok(run);
            }
            (State::InWord(word), _) => {
                let length = word.len().min(rest.len());
                let (read, tail) = word.split_at_checked(length).ok_or(Leak::Malformed)?;
                if !read.iter().eq(rest.iter().take(length)) {
                    return Err(Leak::Malformed);
                }
                if tail.is_empty() {
                    self.after_value(check)?;
                } else {
                    self.state = State::InWord(tail);
                }
                return Ok(length);
            }
            (State::ValueOrEnd, b']') | (State::NameOrEnd, b'}') => self.close(check, byte == b'}')?,
            (State::AfterValue, b'}' | b']') => self.close(check, byte == b'}')?,
            (State::AfterValue, b',') if self.in_object() => self.state = State::Name,
            (State::AfterValue, b',') => self.element(check),
            (State::NameOrEnd | State::Name, b'"') => {
                let run = text::plain(rest.get(1..).unwrap_or_default()).saturating_add(1);
                if let Some(name) = quoted(rest, run) {
                    let meaning = self.meaning(check, Some(name));
                    self.named(meaning);
                    return Ok(run.saturating_add(1));
                }
                self.text.begin(true);
                self.text.push(rest.get(1..run).unwrap_or_default());
                self.state = State::InName;
                return Ok(run);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::Value | State::ValueOrEnd, b'"') => {
                let run = text::plain(rest.get(1..).unwrap_or_default()).saturating_add(1);
                if let Some(value) = quoted(rest, run) {
                    let is_own = self.guarded && check.is_own(value);
                    self.end_of(check, is_own)?;
                    return Ok(run.saturating_add(1));
                }
                self.text.begin(self.guarded);
                self.text.push(rest.get(1..run).unwrap_or_default());
                self.state = State::InText;
                return Ok(run);
            }
            (State::Value | State::ValueOrEnd, _) => self.value(check, byte)?,
            _ => return Err(Leak::Malformed),
        }
        Ok(1)
    }

    /// Whether a space belongs to what is being read.
    const fn is_within(&self) -> bool {
        matches!(self.state, State::InText | State::InName | State::InNumber | State::InWord(_))
    }

    fn in_text(&mut self, check: &Check<'_>, rest: &[u8]) -> Result<usize, Leak> {
        let (read, ended) = self.text.read(rest)?;
        match (ended, self.state) {
            (false, _) => {}
            (true, State::InName) => {
                let meaning = self.meaning(check, self.text.get());
                self.named(meaning);
            }
            (true, _) => self.end_of_value(check)?,
        }
        Ok(read)
    }

    /// The paths that lead to the member of this name or on below it, and whether it names a tenant.
    fn meaning(&self, check: &Check<'_>, name: Option<&[u8]>) -> (u32, bool) {
        let (next, complete) =
            check.rules.below(self.container(), self.path_length(), |segment| Some(segment) == name);
        (next, complete || name.is_some_and(|name| check.rules.guards(name)))
    }

    /// The name of a member is complete.
    fn named(&mut self, meaning: (u32, bool)) {
        (self.next, self.guarded) = meaning;
        self.state = State::Colon;
    }

    fn value(&mut self, check: &Check<'_>, byte: u8) -> Result<(), Leak> {
        match byte {
            // A container names nobody.
            b'{' | b'[' if self.guarded => return Err(Leak::Field),
            b'{' | b'[' => return self.open(check, byte == b'{'),
            b'-' | b'0'..=b'9' => {
                self.text.begin(self.guarded);
                self.text.push(&[byte]);
                self.state = State::InNumber;
            }
            b'n' if self.guarded && check.rules.allows_null() => {
                self.found();
                self.state = State::InWord(b"ull");
            }
            b't' | b'f' | b'n' if self.guarded => return Err(Leak::Field),
            b't' => self.state = State::InWord(b"rue"),
            b'f' => self.state = State::InWord(b"alse"),
            b'n' => self.state = State::InWord(b"ull"),
            _ => return Err(Leak::Malformed),
        }
        Ok(())
    }

    /// The string or number that was read in parts is complete.
    fn end_of_value(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        let is_own = self.guarded && self.text.get().is_some_and(|value| check.is_own(value));
        self.end_of(check, is_own)
    }

    /// A string or a number is complete.
    fn end_of(&mut self, check: &Check<'_>, is_own: bool) -> Result<(), Leak> {
        if self.guarded {
            if !is_own {
                return Err(Leak::Field);
            }
            self.found();
        }
        self.after_value(check)
    }

    /// A guarded field that may stand there.
    fn found(&mut self) {
        self.seen = true;
        if self.record != 0 {
            self.record_seen = true;
        } else if self.matched == 0 || self.depth < self.matched {
            self.matched = self.depth;
        }
    }

    fn after_value(&mut self, check: &Check<'_>) -> Result<(), Leak> {
        self.guarded = false;
        if self.depth > 0 {
            self.state = State::AfterValue;
            return Ok(());
        }
        self.state = State::Done;
        self.matched = ENDED;
        if check.required && !self.seen { Err(Leak::Unattributed) } else { Ok(()) }
    }

    fn open(&mut self, check: &Check<'_>, is_object: bool) -> Result<(), Leak> {
        if self.depth >= MOST_DEEP {
            return Err(Leak::TooDeep);
        }
        if let Some(paths) = self.paths.get_mut(usize::from(self.depth)) {
            *paths = self.next;
        }
        let is_record = self.record == 0 && check.rules.is_record(self.next, usize::from(self.depth));
        self.depth = self.depth.saturating_add(1);
        if is_record {
            self.record = self.depth;
            self.record_seen = false;
        }
        if let Some((word, bit)) = bit(&mut self.objects, self.depth) {
            *word = if is_object { *word | bit } else { *word & !bit };
        }
        if is_object {
            self.state = State::NameOrEnd;
        } else {
            self.element(check);
            self.state = State::ValueOrEnd;
        }
        Ok(())
    }

    fn close(&mut self, check: &Check<'_>, is_object: bool) -> Result<(), Leak> {
        if self.in_object() != is_object {
            return Err(Leak::Malformed);
        }
        let level = self.depth;
        self.depth = level.saturating_sub(1);
        let mut ended = false;
        if self.record == level {
            self.record = 0;
            ended = self.record_seen;
            if !ended && check.required {
                return Err(Leak::Unattributed);
            }
        } else if self.record == 0 && self.matched == level {
            // Where the configuration says what a record is, nothing else is one.
            ended = !check.rules.has_records();
            self.matched = 0;
        }
        self.after_value(check)?;
        if ended {
            self.matched = ENDED;
        }
        Ok(())
    }

    /// An element of an array comes.
    fn element(&mut self, check: &Check<'_>) {
        (self.next, self.guarded) = check.rules.below(self.container(), self.path_length(), |_| false);
        self.state = State::Value;
    }

    fn in_object(&mut self) -> bool {
        let depth = self.depth;
        bit(&mut self.objects, depth).is_some_and(|(word, bit)| *word & bit != 0)
    }

    /// The names on the way to the innermost open container.
    fn path_length(&self) -> usize {
        usize::from(self.depth.saturating_sub(1))
    }

    fn container(&self) -> u32 {
        self.paths.get(self.path_length()).copied().unwrap_or_default()
    }
}

/// The string at the beginning of `rest`, where all of it is here as it is: `run` bytes of it, its first
/// quote among them, stand for themselves.
fn quoted(rest: &[u8], run: usize) -> Option<&[u8]> {
    let text = rest.get(1..run)?;
    (rest.get(run) == Some(&b'"') && text.len() <= MOST_TEXT).then_some(text)
}

/// In the place of a depth: a record has just ended.
const ENDED: u16 = u16::MAX;

fn bit(words: &mut [u64; 4], depth: u16) -> Option<(&mut u64, u64)> {
    let at = depth.checked_sub(1)?;
    let word = words.get_mut(usize::from(at >> 6))?;
    Some((word, 1_u64.checked_shl(u32::from(at & 63))?))
}
