//! Local replies as Envoy writes them: status, length and type, and their gRPC form.

use crate::headers::Headers;
use crate::state::Reply;
use crate::stream::Piece;

/// Does a request ask for a gRPC answer?
pub(crate) fn is_grpc(headers: &Headers) -> bool {
    let kind = headers.first("content-type").unwrap_or_default();
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// The response that the filters' response side sees.
pub(crate) fn pieces(reply: &Reply, is_grpc: bool) -> Vec<Piece> {
    let mut headers = Headers::new();
    if is_grpc {
        headers.add(":status", "200");
        headers.add("content-type", "application/grpc");
        headers
            .add("grpc-status", reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status)).to_string());
        if !reply.body.is_empty() {
            headers.add("grpc-message", percent_encoded(&reply.body));
        }
        let own = |name: &[u8]| name != b"content-type" && name != b"content-length";
        reply.headers.iter().filter(|(name, _)| own(name)).for_each(|(name, value)| headers.add(name, value));
        return vec![Piece::Headers { headers, end_of_stream: true }];
    }
    headers.add(":status", reply.status.to_string());
    reply.headers.iter().for_each(|(name, value)| headers.add(name, value));
    if reply.body.is_empty() {
        return vec![Piece::Headers { headers, end_of_stream: true }];
    }
    headers.replace("content-length", reply.body.len().to_string());
    if !headers.contains("content-type") {
        headers.add("content-type", "text/plain");
    }
    vec![
        Piece::Headers { headers, end_of_stream: false },
        Piece::Body { bytes: reply.body.clone(), end_of_stream: true },
    ]
}

/// The gRPC status of an HTTP status (the gRPC project's `http-grpc-status-mapping`).
fn grpc_status(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` is percent-encoded outside of printable ASCII.
fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}
