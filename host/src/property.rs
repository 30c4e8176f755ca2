//! Properties that guests can read, by path.
//!
//! What the embedder set on the stream comes first, then what the host knows itself, then what a
//! filter set with `proxy_set_property`. The last kind is found by a path of one element only, as
//! in Envoy: a value set under `["a", "b"]` is kept under that name and cannot be read by it.

use crate::headers::Headers;
use crate::shared::lock;
use crate::state::State;
use crate::status::MapKind;

/// The value of a path, whose elements are joined by zero bytes; numbers are 8 bytes, little-endian.
pub(crate) fn value(state: &mut State, path: &[u8]) -> Option<Vec<u8>> {
    let info = state.stream().map(|stream| std::sync::Arc::clone(&stream.info));
    if let Some(info) = &info
        && let Some(value) = lock(info).fixed(path)
    {
        return Some(value);
    }
    let text = core::str::from_utf8(path).ok();
    let parts: Vec<&str> = text.unwrap_or_default().split('\0').collect();
    match parts.as_slice() {
        ["plugin_name"] => return Some(state.plugin.name.clone().into_bytes()),
        ["plugin_root_id"] => return Some(state.plugin.root_id.clone().into_bytes()),
        ["plugin_vm_id"] => return Some(state.plugin.vm_id.clone().into_bytes()),
        ["node", field] => return state.process.0.node.get(*field).map(|value| value.clone().into_bytes()),
        ["request", attribute @ ..] => {
            if let Some(headers) = state.map(MapKind::RequestHeaders) {
                return request(headers, attribute);
            }
            return info.and_then(|info| request(&lock(&info).request, attribute));
        }
        ["response", attribute @ ..] => {
            if let Some(headers) = state.map(MapKind::ResponseHeaders) {
                return response(headers, attribute);
            }
            return info.and_then(|info| response(&lock(&info).response, attribute));
        }
        _ => {}
    }
    info.and_then(|info| lock(&info).state(path))
}

fn request(headers: &Headers, attribute: &[&str]) -> Option<Vec<u8>> {
    match attribute {
        ["path"] => own(headers, ":path"),
        ["url_path"] => headers
            .first(":path")
            .map(|path| path.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec()),
        ["query"] => {
            let path = headers.first(":path")?;
            let mark = memchr::memchr(b'?', path)?;
            path.get(mark.checked_add(1)?..).map(<[u8]>::to_vec)
        }
        ["host"] => own(headers, ":authority"),
        ["method"] => own(headers, ":method"),
        ["scheme"] => own(headers, ":scheme"),
        ["useragent"] => own(headers, "user-agent"),
        ["referer"] => own(headers, "referer"),
        ["id"] => own(headers, "x-request-id"),
        ["headers", name] => joined(headers, name),
        _ => None,
    }
}

fn response(headers: &Headers, attribute: &[&str]) -> Option<Vec<u8>> {
    match attribute {
        ["code"] => headers.text(":status")?.parse::<u64>().ok().map(|code| code.to_le_bytes().to_vec()),
        ["headers", name] => joined(headers, name),
        _ => None,
    }
}

fn own(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    headers.first(name).map(<[u8]>::to_vec)
}

/// Every value of a repeated header, joined by commas, as Envoy's attributes are.
fn joined(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = headers.all(name).collect();
    (!values.is_empty()).then(|| values.join(&b','))
}
