//! Server-sent events: the data of each is a document, and each is a record (HTML, section 9.2.6).

use super::{Check, Leak, json::Document};

/// What chat APIs end a stream of documents with, which is none.
const DONE: &[u8] = b"[DONE]";

/// How far a stream is read.
#[derive(Clone, Debug)]
pub(super) struct Events {
    line: Line,
    /// Whether the event so far has data, and then the document in it.
    has_data: bool,
    /// Bytes of [`DONE`] that the data is, as long as it may be that.
    done: Option<usize>,
    /// A line feed after a carriage return belongs to it.
    after_return: bool,
}

/// Where in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So much of `data` has been read as the name.
    Name(usize),
    /// Another field, or a comment.
    Other,
    /// After the colon, before what may be a space.
    Space,
    Data,
}

impl Events {
    pub(super) const fn new() -> Self {
        Self { line: Line::Name(0), has_data: false, done: Some(0), after_return: false }
    }

    /// Reads `chunk`; `verified` is moved behind the last event that is complete.
    pub(super) fn read(
        &mut self,
        document: &mut Document,
        check: &Check<'_>,
        chunk: &[u8],
        verified: &mut Option<usize>,
        seen: &mut bool,
    ) -> Result<(), Leak> {
        let mut at: usize = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let run = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (text, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            if !text.is_empty() {
                self.after_return = false;
                self.text(document, check, text)?;
            }
            at = at.saturating_add(run);
            if let Some(end) = after.first() {
                at = at.saturating_add(1);
                let is_second = *end == b'\n' && self.after_return;
                self.after_return = *end == b'\r';
                if is_second {
                    // The event that ended with the carriage return.
                    if *verified == at.checked_sub(1) {
                        *verified = Some(at);
                    }
                } else if self.end_of_line(document, check, seen)? {
                    *verified = Some(at);
                }
            }
        }
        Ok(())
    }

    /// Whether data of an event that never ended was read: a client throws it away.
    pub(super) const fn is_open(&self) -> bool {
        self.has_data
    }

    fn text(&mut self, document: &mut Document, check: &Check<'_>, text: &[u8]) -> Result<(), Leak> {
        let mut rest = text;
        while let Line::Name(read) = self.line {
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            self.line = match (byte, read) {
                (b':', 4) => Line::Space,
                _ if b"data".get(read) == Some(byte) => Line::Name(read.saturating_add(1)),
                _ => Line::Other,
            };
            rest = after;
        }
        if self.line == Line::Space && !rest.is_empty() {
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
            self.line = Line::Data;
            self.begin_data(document, check)?;
        }
        if self.line == Line::Data { self.data(document, check, rest) } else { Ok(()) }
    }

    /// The data of two lines has a line feed between them.
    fn begin_data(&mut self, document: &mut Document, check: &Check<'_>) -> Result<(), Leak> {
        if core::mem::replace(&mut self.has_data, true) { self.data(document, check, b"\n") } else { Ok(()) }
    }

    fn data(&mut self, document: &mut Document, check: &Check<'_>, data: &[u8]) -> Result<(), Leak> {
        let mut rest = data;
        while let (Some(read), Some((byte, after))) = (self.done, rest.split_first()) {
            if DONE.get(read) == Some(byte) {
                self.done = Some(read.saturating_add(1));
                rest = after;
            } else {
                self.done = None;
                feed(document, check, DONE.get(..read).unwrap_or_default())?;
            }
        }
        feed(document, check, rest)
    }

    /// Whether an event has ended.
    fn end_of_line(
        &mut self,
        document: &mut Document,
        check: &Check<'_>,
        seen: &mut bool,
    ) -> Result<bool, Leak> {
        match core::mem::replace(&mut self.line, Line::Name(0)) {
            Line::Name(0) => {}
            // `data` and `data:` are empty lines of data.
            Line::Name(4) | Line::Space => {
                self.begin_data(document, check)?;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        if core::mem::take(&mut self.has_data) && self.done != Some(DONE.len()) {
            feed(document, check, DONE.get(..self.done.unwrap_or_default()).unwrap_or_default())?;
            // Data that is nothing but space is no event for anybody.
            if !document.is_untouched() {
                document.finish(check)?;
            }
        }
        self.done = Some(0);
        *seen |= document.has_seen();
        *document = Document::new();
        Ok(true)
    }
}

fn feed(document: &mut Document, check: &Check<'_>, data: &[u8]) -> Result<(), Leak> {
    let read = document.read(check, data, &mut None)?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if data.get(read..).unwrap_or_default().iter().all(is_space) { Ok(()) } else { Err(Leak::Malformed) }
}
