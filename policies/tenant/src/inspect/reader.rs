//! A body in its format: where documents begin and end.

use super::{Check, Leak, events::Events, grpc::Messages, json::Document, media::Format};

#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// Nobody looks at fields.
    Nothing,
    /// A format that may pass unread, and whether its first byte has been seen.
    Unscanned,
    Json(Document),
    /// The document under way, and whether an earlier one had a field.
    Lines(Document, bool),
    Events(Document, Events, bool),
    Grpc(Messages, bool),
}

impl Reader {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(Document::new()),
            Format::Lines => Self::Lines(Document::new(), false),
            Format::Events => Self::Events(Document::new(), Events::new(), false),
            Format::Grpc => Self::Grpc(Messages::new(), false),
        }
    }

    pub(super) const fn has_seen(&self) -> bool {
        match self {
            Self::Nothing | Self::Unscanned => false,
            Self::Json(document) => document.has_seen(),
            Self::Lines(document, before) | Self::Events(document, _, before) => {
                *before || document.has_seen()
            }
            Self::Grpc(messages, before) => *before || messages.has_seen(),
        }
    }

    /// Reads on, to the very end where it `ends`; `verified` is moved to where all before it is known to
    /// be the tenant's.
    pub(super) fn read(
        &mut self,
        check: &Check<'_>,
        chunk: &[u8],
        ends: bool,
        verified: &mut Option<usize>,
    ) -> Result<(), Leak> {
        match self {
            Self::Nothing => {}
            Self::Unscanned => {
                // What looks like JSON is not what it says it is.
                if let Some(first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) {
                    if matches!(first, b'{' | b'[') {
                        return Err(Leak::ContentType);
                    }
                    *self = Self::Nothing;
                }
            }
            Self::Json(document) => {
                let read = document.read(check, chunk, verified)?;
                if document.is_done() {
                    let spaces = spaces(chunk, read);
                    *verified = Some(spaces);
                    if spaces < chunk.len() {
                        return Err(Leak::Malformed);
                    }
                }
                if ends && !document.is_untouched() {
                    document.finish(check)?;
                }
            }
            Self::Lines(document, seen) => {
                let mut at: usize = 0;
                loop {
                    if document.is_untouched() {
                        at = spaces(chunk, at);
                        *verified = Some(at);
                    }
                    // RFC 7464 begins each text with this.
                    if document.is_untouched() && chunk.get(at) == Some(&0x1e) {
                        at = at.saturating_add(1);
                        continue;
                    }
                    let mut inner = None;
                    let read = document.read(check, chunk.get(at..).unwrap_or_default(), &mut inner);
                    *verified = inner.map(|inner| at.saturating_add(inner)).or(*verified);
                    at = at.saturating_add(read?);
                    if document.is_done() {
                        *seen |= document.has_seen();
                        *document = Document::new();
                    } else if at >= chunk.len() {
                        break;
                    }
                }
                if ends && !document.is_untouched() {
                    document.finish(check)?;
                    *seen |= document.has_seen();
                }
            }
            Self::Events(document, events, seen) => {
                let read = events.read(document, check, chunk, verified, seen);
                *seen |= document.has_seen();
                read?;
                if ends && events.is_open() {
                    return Err(Leak::Malformed);
                }
            }
            Self::Grpc(messages, seen) => {
                let read = messages.read(check, chunk, verified);
                *seen |= messages.has_seen();
                read?;
                if ends && !messages.is_between() {
                    return Err(Leak::Malformed);
                }
            }
        }
        Ok(())
    }
}

/// Where the space that begins at `from` ends.
fn spaces(chunk: &[u8], from: usize) -> usize {
    let rest = chunk.get(from..).unwrap_or_default();
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    from.saturating_add(spaces)
}
