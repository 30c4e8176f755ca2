//! The messages of the xDS transport protocol, as far as it is spoken here: protocol buffers by hand,
//! because there are two of them. Field numbers are those of Envoy's `.proto` files, named at each.

use anyhow::{Context as _, bail};

/// What an Envoy asks, acknowledges or refuses (`envoy.service.discovery.v3.DiscoveryRequest`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// The node's id; empty but in the first message of a stream.
    pub(super) node: String,
    pub(super) names: Vec<String>,
    pub(super) type_url: String,
    /// Of the answer that this speaks of.
    pub(super) nonce: String,
    /// Why that answer is refused.
    pub(super) refusal: Option<String>,
}

/// The type of the resources that are served.
pub(super) const FILTER: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

impl Request {
    /// # Errors
    ///
    /// The bytes are no such message.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut request = Self::default();
        fields(bytes, |number, value| {
            match number {
                2 => fields(value, |number, value| {
                    if number == 1 {
                        request.node = text(value)?;
                    }
                    Ok(())
                })?,
                3 => request.names.push(text(value)?),
                4 => request.type_url = text(value)?,
                5 => request.nonce = text(value)?,
                // google.rpc.Status
                6 => {
                    let mut message = String::new();
                    fields(value, |number, value| {
                        if number == 2 {
                            message = text(value)?;
                        }
                        Ok(())
                    })?;
                    request.refusal = Some(message);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(request)
    }
}

/// `envoy.service.discovery.v3.DiscoveryResponse`; `resources` are messages of [`FILTER`].
pub(super) fn response<'a>(version: &str, nonce: &str, resources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut message = Vec::new();
    put(&mut message, 1, version.as_bytes());
    for resource in resources {
        put(&mut message, 2, &any(FILTER, resource));
    }
    put(&mut message, 4, FILTER.as_bytes());
    put(&mut message, 5, nonce.as_bytes());
    message
}

/// The wasm filter `name` with this module and configuration, as `TypedExtensionConfig`
/// (`envoy.extensions.filters.http.wasm.v3.Wasm`, `envoy.extensions.wasm.v3.PluginConfig`);
/// `holds_headers` where the body has to come while the headers wait.
pub(super) fn filter(name: &str, wasm: &[u8], configuration: &[u8], holds_headers: bool) -> Vec<u8> {
    const FAIL_CLOSED: u8 = 2;
    let source = message(&[(2, wasm)]);
    let code = message(&[(1, &source)]);
    let vm = message(&[(1, name.as_bytes()), (2, b"envoy.wasm.runtime.v8"), (3, &code)]);
    let configuration = message(&[(1, configuration)]);
    let configuration = any("type.googleapis.com/google.protobuf.StringValue", &configuration);
    let mut plugin = message(&[(1, name.as_bytes()), (2, name.as_bytes()), (3, &vm), (4, &configuration)]);
    // failure_policy, an enumeration.
    plugin.extend([7 << 3, FAIL_CLOSED]);
    if holds_headers {
        // allow_on_headers_stop_iteration, a google.protobuf.BoolValue.
        put(&mut plugin, 9, &[1 << 3, 1]);
    }
    let wasm = message(&[(1, &plugin)]);
    let typed = any("type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", &wasm);
    message(&[(1, name.as_bytes()), (2, &typed)])
}

/// `google.protobuf.Any`.
fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
    message(&[(1, type_url.as_bytes()), (2, value)])
}

fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, value) in fields {
        put(&mut message, *number, value);
    }
    message
}

/// A field with a length (wire type 2). Numbers here are below 16.
fn put(message: &mut Vec<u8>, number: u8, value: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(value);
}

/// Calls `each` with every field that has a length; the others are passed over.
fn fields(mut bytes: &[u8], mut each: impl FnMut(u64, &[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                each(tag >> 3, take(&mut bytes, length)?)?;
            }
            5 => drop(take(&mut bytes, 4)?),
            other => bail!("wire type {other}"),
        }
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).context("a field beyond the end")?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number beyond the end")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}

fn text(bytes: &[u8]) -> anyhow::Result<String> {
    Ok(str::from_utf8(bytes).context("a text that is not UTF-8")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_refusal() {
        let status = [&[8, 13][..], &message(&[(2, b"no")])].concat();
        let node = message(&[(1, b"gateway-1"), (2, b"cluster")]);
        let bytes = message(&[
            (1, b"v"),
            (2, &node),
            (3, b"jwt-auth"),
            (4, FILTER.as_bytes()),
            (5, b"7"),
            (6, &status),
        ]);
        let request = Request::read(&bytes).unwrap();
        assert_eq!(
            request,
            Request {
                node: "gateway-1".into(),
                names: vec!["jwt-auth".into()],
                type_url: FILTER.into(),
                nonce: "7".into(),
                refusal: Some("no".into()),
            }
        );
    }

    #[test]
    fn a_filter_lets_the_body_come_only_where_it_holds_the_headers() {
        // What is in the field `number` of `message`, if it has one.
        let inner = |message: &[u8], number: u64| {
            let mut found = None;
            fields(message, |own, value| {
                found = if own == number { Some(value.to_vec()) } else { found.take() };
                Ok(())
            })
            .unwrap();
            found
        };
        for holds in [false, true] {
            let any = inner(&filter("guard", b"module", b"{}", holds), 2).unwrap();
            let plugin = inner(&inner(&any, 2).unwrap(), 1).unwrap();
            assert_eq!(inner(&plugin, 1).unwrap(), b"guard");
            assert_eq!(inner(&plugin, 9), holds.then(|| vec![8, 1]));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_and_nothing_panics() {
        for bytes in [&[0x12, 0xff][..], &[0x12, 0x05, 1], &[0xff; 20], &[0x0f], &[0x22, 1, 0xff]] {
            assert!(Request::read(bytes).is_err(), "{bytes:?}");
        }
        let whole = message(&[(2, &message(&[(1, b"x")])), (4, FILTER.as_bytes())]);
        for end in 0..whole.len() {
            let _ = Request::read(&whole[..end]);
        }
    }

    #[test]
    fn a_length_takes_as_many_bytes_as_it_needs() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, &vec![7; 300]);
        assert_eq!(bytes[..3], [0x0a, 0xac, 0x02]);
        fields(&bytes, |number, value| {
            assert_eq!((number, value.len()), (1, 300));
            Ok(())
        })
        .unwrap();
    }
}
