//! What one worker tells the others: the document with its life, and how the sources do.
//!
//! The layout is versioned and bound to [`super::LifeConfig::identity`]. Nothing in it is
//! trusted: the document is judged again by whoever takes it over.

use alloc::vec::Vec;

use super::{
    address::{Address, Allow},
    bytes::{Reader, Writer},
    config::LifeConfig,
    record::{Origin, Record, Times},
    sources::SourceState,
    time::Instant,
};

/// Changes with every change of the layout.
const VERSION: u64 = 0x504b_4c53_0000_0001;
/// What a snapshot may have beside the document.
const MAX_REST_BYTES: usize = 64 * 1024;

/// A snapshot that was read.
pub(super) struct Snapshot<'s> {
    /// When the last round of fetches ended.
    pub(super) outcome_at: Instant,
    pub(super) sources: Vec<SourceState>,
    pub(super) record: Option<(Times, Origin, &'s [u8])>,
}

/// The bytes for the other workers.
pub(super) fn write(
    identity: &[u8; 32],
    outcome_at: Instant,
    sources: &[SourceState],
    record: Option<&Record>,
) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(VERSION);
    out.bytes(identity);
    out.number(outcome_at.0);
    out.number(u64::try_from(sources.len()).unwrap_or(u64::MAX));
    for source in sources {
        out.number(u64::from(source.failures));
        out.number(source.retry_at.0);
        out.optional(source.discovered.as_ref().map(|(address, _)| address.as_str()));
        out.number(source.discovered.as_ref().map_or(0, |(_, at)| at.0));
    }
    out.number(u64::from(record.is_some()));
    if let Some(Record { document, origin, times, .. }) = record {
        for time in [times.asked_at, times.refresh_at, times.fresh_until, times.usable_until] {
            out.number(time.0);
        }
        out.number(u64::try_from(origin.source).unwrap_or(u64::MAX));
        out.bytes(origin.address.as_bytes());
        out.optional(origin.etag.as_deref());
        out.optional(origin.last_modified.as_deref());
        out.bytes(document);
    }
    out.0
}

/// The snapshot that `bytes` hold; none where they are for another version or identity, or
/// damaged.
pub(super) fn read<'s>(bytes: &'s [u8], identity: &[u8; 32], config: &LifeConfig) -> Option<Snapshot<'s>> {
    if bytes.len() > config.limits.document_bytes.saturating_add(MAX_REST_BYTES) {
        return None;
    }
    let mut input = Reader(bytes);
    if input.number()? != VERSION || input.bytes()? != identity {
        return None;
    }
    let outcome_at = input.instant()?;
    if usize::try_from(input.number()?).ok()? != config.sources.len() {
        return None;
    }
    let mut sources = Vec::with_capacity(config.sources.len());
    for source in &config.sources {
        let (failures, retry_at) = (input.small()?, input.instant()?);
        let (address, at) = (input.optional()?, input.instant()?);
        let allow = Allow { insecure_http: source.address().scheme() == "http", ..Allow::default() };
        let discovered =
            address.and_then(|text| Address::parse(&text, allow).ok()).map(|address| (address, at));
        sources.push(SourceState { failures, retry_at, discovered });
    }
    let record = if input.number()? == 1 { Some(record(&mut input)?) } else { None };
    input.0.is_empty().then_some(Snapshot { outcome_at, sources, record })
}

fn record<'s>(input: &mut Reader<'s>) -> Option<(Times, Origin, &'s [u8])> {
    let times = Times {
        asked_at: input.instant()?,
        refresh_at: input.instant()?,
        fresh_until: input.instant()?,
        usable_until: input.instant()?,
    };
    let origin = Origin {
        source: usize::try_from(input.number()?).ok()?,
        address: input.text()?,
        etag: input.optional()?,
        last_modified: input.optional()?,
    };
    Some((times, origin, input.bytes()?))
}
