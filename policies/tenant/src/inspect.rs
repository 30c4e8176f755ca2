//! Whether an answer is the tenant's: what leaves belongs to the caller.
//!
//! Identification at the front door does not help where a handler, a cache or a connection pool
//! answers with another customer's data. So the answer to a guarded route is looked at as well, in up
//! to three ways: the upstream says whom it answered (`echo`), the fields of the answer that name a
//! tenant are read as they pass (`fields`), and tokens planted in each tenant's data are looked for
//! (`canaries`). `release` says how much may leave before all of it was seen.
//!
//! # What it does not do
//!
//! A record without any of the fields looks like any other; `required` refuses it. A field that names
//! the right tenant above the wrong data is not seen.

mod canary;
pub(crate) mod config;
mod echo;
mod events;
mod grpc;
mod json;
mod leak;
mod media;
mod reader;
mod rules;

use alloc::{string::String, sync::Arc, vec::Vec};

use portcullis_core::{HeaderPair, header};

pub use canary::Canaries;
pub use config::Release;
pub use json::MOST_DEEP;
pub use leak::Leak;

use canary::Watch;
use config::Inspector;
use reader::Reader;
use rules::Check;

/// Something was found, and whether the answer is stopped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub leak: Leak,
    /// Whether it is stopped; it is only reported otherwise.
    pub enforced: bool,
}

/// What an answer's headers say.
#[derive(Debug, Default)]
pub struct Opening {
    /// What was found in them. Nothing of the answer may leave where one is enforced.
    pub found: Vec<Found>,
    /// Headers that must not leave.
    pub remove: Vec<Vec<u8>>,
    /// What looks at the body; nothing where there is none, or nobody wants to.
    pub inspection: Option<Inspection>,
}

/// What becomes of a piece of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// It leaves as it is, with all that was kept back.
    AsIs,
    /// It is kept back by whoever has it, headers too.
    Hold,
    /// These bytes leave in its place; the rest is kept here.
    Instead(Vec<u8>),
}

/// What one piece of a body came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What leaves, and then nothing more where something enforced was found.
    pub forward: Forward,
    /// What was found.
    pub found: Vec<Found>,
}

impl Flow {
    /// Whether the answer ends here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.found.iter().any(|found| found.enforced)
    }
}

/// The request that an answer is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'g> {
    pub(crate) tenant: &'g str,
    pub(crate) slug: Option<&'g str>,
    pub(crate) method: &'g str,
    pub(crate) request_id: Option<&'g [u8]>,
}

/// The look at one body.
#[derive(Clone, Debug)]
pub struct Inspection {
    inspector: Arc<Inspector>,
    own: String,
    required: bool,
    reader: Reader,
    watch: Option<Watch>,
    /// Bytes of a byte order mark that have been read, at the very beginning.
    mark: Option<usize>,
    /// What is kept back until it is known to be the tenant's.
    tail: Vec<u8>,
    total: u64,
    enforces: bool,
    cut: bool,
}

/// U+FEFF in UTF-8: some parsers read past it (RFC 8259 section 8.1).
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Inspector {
    /// What the headers say about an answer, and what will look at its body. `ends` is whether there is
    /// none.
    pub(crate) fn open(
        self: &Arc<Self>,
        asked: Asked<'_>,
        headers: &[HeaderPair<'_>],
        ends: bool,
        reports: bool,
    ) -> Opening {
        let mut opening = Opening::default();
        if let Some(echo) = &self.echo {
            opening.remove.extend(echo.spellings(headers));
            let enforced = !reports && echo.enforced;
            opening.found.extend(echo.judge(asked, headers).map(|leak| Found { leak, enforced }));
        }
        let looks = self.fields.is_some() || self.canaries.is_some();
        let status = header::values(headers, ":status").next().unwrap_or_default();
        let has_none = asked.method == "HEAD" || matches!(status, b"204" | b"304") || ends;
        let tunnels = status == b"101" || (asked.method == "CONNECT" && status.starts_with(b"2"));
        if !looks || (has_none && !tunnels) {
            return opening;
        }
        let enforces = !reports && self.enforces_body();
        let found = |leak| Found { leak, enforced: enforces };
        if tunnels {
            if !self.tunnels {
                opening.found.push(found(Leak::Tunnel));
            }
            return opening;
        }
        if status == b"206" || header::values(headers, "content-range").next().is_some() {
            opening.found.push(found(Leak::Partial));
        }
        if !media::is_plain(headers) {
            opening.found.push(found(Leak::Encoded));
        }
        let reader = match self.reader(headers) {
            Ok(reader) => reader,
            Err(leak) => {
                opening.found.push(found(leak));
                return opening;
            }
        };
        if opening.found.iter().any(|found| matches!(found.leak, Leak::Partial | Leak::Encoded)) {
            return opening;
        }
        let fields = self.fields.as_ref();
        let own = match fields.map(|fields| fields.by_slug) {
            // A tenant without a slug is called by its id.
            Some(true) => asked.slug.unwrap_or(asked.tenant),
            _ => asked.tenant,
        };
        opening.inspection = Some(Inspection {
            inspector: Arc::clone(self),
            own: own.into(),
            required: fields.is_some_and(|fields| fields.required) && status.starts_with(b"2"),
            reader,
            watch: self.canaries.as_ref().map(|canaries| Watch::new(&canaries.canaries, asked.tenant)),
            mark: Some(0),
            tail: Vec::new(),
            total: 0,
            enforces,
            cut: false,
        });
        opening
    }

    fn reader(&self, headers: &[HeaderPair<'_>]) -> Result<Reader, Leak> {
        if self.fields.is_none() {
            return Ok(Reader::Nothing);
        }
        let (kind, charset) = media::media_type(headers).ok_or(Leak::ContentType)?;
        if self.unscanned.contains(&kind) {
            return Ok(Reader::Unscanned);
        }
        let format = media::format(&kind).ok_or(Leak::ContentType)?;
        if !media::is_utf8(charset.as_deref()) {
            return Err(Leak::Encoded);
        }
        Ok(Reader::new(format))
    }

    fn enforces_body(&self) -> bool {
        self.release != Release::Observe
            && (self.fields.as_ref().is_some_and(|fields| fields.enforced)
                || self.canaries.as_ref().is_some_and(|canaries| canaries.enforced))
    }
}

impl Inspection {
    /// How much may leave before all was seen.
    #[must_use]
    pub fn release(&self) -> Release {
        if self.enforces { self.inspector.release } else { Release::Observe }
    }

    /// Bytes of the body that are kept here until they are known to be the tenant's.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.tail.len()
    }

    /// Whether a guarded field was there.
    #[must_use]
    pub fn has_seen(&self) -> bool {
        self.reader.has_seen()
    }

    /// Whether a field is looked for at all.
    #[must_use]
    pub fn looks_for_fields(&self) -> bool {
        !matches!(self.reader, Reader::Nothing | Reader::Unscanned)
    }

    /// Looks at the next bytes of the body, the last ones where it `ends`.
    pub fn body(&mut self, chunk: &[u8], ends: bool) -> Flow {
        if self.cut {
            return Flow { forward: Forward::Instead(Vec::new()), found: Vec::new() };
        }
        let (found, verified) = self.look(chunk, ends);
        let mut flow = Flow { forward: Forward::AsIs, found };
        self.total = self.total.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        match self.release() {
            Release::Observe => {}
            Release::Hold | Release::Sever if flow.is_cut() => flow.forward = Forward::Instead(Vec::new()),
            Release::Sever => {}
            Release::Hold if self.total > self.inspector.most_bytes => {
                flow.found.push(Found { leak: Leak::TooLarge, enforced: true });
                flow.forward = Forward::Instead(Vec::new());
            }
            Release::Hold if ends => {}
            Release::Hold => flow.forward = Forward::Hold,
            Release::VerifiedPrefix => self.prefix(chunk, verified, ends, &mut flow),
        }
        self.cut = flow.is_cut();
        flow
    }

    /// What was found in `chunk`, and up to where in it all is known to be the tenant's.
    fn look(&mut self, chunk: &[u8], ends: bool) -> (Vec<Found>, Option<usize>) {
        let mut found = Vec::new();
        let canary = self.watch.as_mut().and_then(|watch| watch.read(chunk));
        let mut text = chunk;
        if let (Some(at), Some(canaries)) = (canary, &self.inspector.canaries) {
            let enforced = self.enforces && canaries.enforced;
            found.push(Found { leak: Leak::Canary, enforced });
            self.watch = None;
            if enforced {
                // A record that ends behind it is not the tenant's.
                text = chunk.get(..at).unwrap_or(chunk);
            }
        }
        let ends = ends && text.len() == chunk.len();
        let Some(fields) = self.inspector.fields.as_ref() else { return (found, Some(text.len())) };
        let check = Check { rules: &fields.rules, own: &self.own, required: self.required };
        let marked = without_mark(&mut self.mark, text);
        let mut verified = None;
        let read = self.reader.read(&check, marked, ends, &mut verified);
        let skipped = text.len().saturating_sub(marked.len());
        if let Err(leak) = read {
            let enforced = self.enforces && fields.enforced;
            found.push(Found { leak, enforced });
            if !enforced {
                self.reader = Reader::Nothing;
            }
        }
        if matches!(self.reader, Reader::Nothing) {
            verified = Some(marked.len());
        }
        (found, verified.map(|at| at.saturating_add(skipped)))
    }

    fn prefix(&mut self, chunk: &[u8], verified: Option<usize>, ends: bool, flow: &mut Flow) {
        let verified = if ends && !flow.is_cut() { Some(chunk.len()) } else { verified };
        let (leaves, stays) = verified.and_then(|at| chunk.split_at_checked(at)).unwrap_or((&[], chunk));
        let mut out = Vec::new();
        if verified.is_some() {
            out = core::mem::take(&mut self.tail);
            out.extend_from_slice(leaves);
        }
        flow.forward = Forward::Instead(out);
        if flow.is_cut() {
            self.tail = Vec::new();
        } else if self.tail.len().saturating_add(stays.len()) > self.inspector.most_record_bytes {
            flow.found.push(Found { leak: Leak::TooLarge, enforced: true });
        } else {
            self.tail.extend_from_slice(stays);
        }
    }
}

/// The bytes after a byte order mark at the beginning of a body.
fn without_mark<'c>(mark: &mut Option<usize>, chunk: &'c [u8]) -> &'c [u8] {
    let mut rest = chunk;
    while let (Some(read), Some((byte, after))) = (*mark, rest.split_first()) {
        if MARK.get(read) != Some(byte) {
            *mark = None;
            break;
        }
        *mark = Some(read.saturating_add(1)).filter(|read| *read < MARK.len());
        rest = after;
    }
    rest
}
