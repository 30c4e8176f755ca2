//! What format an answer is in, by its headers.

use alloc::{string::String, vec::Vec};

use portcullis_core::{HeaderPair, header};

/// How an answer is cut into documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON document.
    Json,
    /// JSON documents one after the other (NDJSON, JSON text sequences of RFC 7464).
    Lines,
    /// Server-sent events with JSON in them.
    Events,
    /// Length-prefixed protobuf messages.
    Grpc,
}

/// The media type without parameters, in lower case; nothing where there is none, or several.
pub(super) fn media_type(headers: &[HeaderPair<'_>]) -> Option<(String, Option<String>)> {
    let mut values = header::values(headers, "content-type");
    let value = values.next().filter(|_| values.next().is_none())?;
    let text = core::str::from_utf8(value).ok()?;
    let mut parts = text.split(';');
    let kind = parts.next()?.trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    Some((kind, charset))
}

/// The format that a media type stands for.
pub(super) fn format(kind: &str) -> Option<Format> {
    match kind {
        "application/json" | "text/json" => Some(Format::Json),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/json-seq"
        | "application/stream+json" => Some(Format::Lines),
        "text/event-stream" => Some(Format::Events),
        "application/grpc" | "application/grpc+proto" => Some(Format::Grpc),
        _ if kind.ends_with("+json") => Some(Format::Json),
        _ => None,
    }
}

/// Whether JSON in this character set is what it looks like.
pub(super) fn is_utf8(charset: Option<&str>) -> bool {
    matches!(charset, None | Some("utf-8" | "utf8" | "us-ascii" | "ascii"))
}

/// Whether the body is as the application wrote it.
pub(super) fn is_plain(headers: &[HeaderPair<'_>]) -> bool {
    let plain = |value: &[u8]| {
        value.split(|byte| *byte == b',').all(|coding| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        })
    };
    let mut codings =
        header::values(headers, "content-encoding").chain(header::values(headers, "grpc-encoding"));
    codings.all(plain)
}

/// Media types, or all below one: `text/csv`, `image/*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types(pub(crate) Vec<String>);

impl Types {
    pub(super) fn contains(&self, kind: &str) -> bool {
        self.0.iter().any(|own| match own.strip_suffix('*') {
            Some(family) => kind.starts_with(family),
            None => own == kind,
        })
    }
}
