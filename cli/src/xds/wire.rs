//! The messages of the xDS transport protocol, as far as it is spoken here: protocol buffers by hand,
//! because there are few of them. Field numbers are those of Envoy's `.proto` files, named at each.

pub(super) mod message;

use message::{Message, fields, text};

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cluster,
    Listener,
    Filter,
}

impl Kind {
    /// In the order in which an Envoy needs them: what is named comes before what names it.
    pub(super) const ALL: [Self; 3] = [Self::Cluster, Self::Listener, Self::Filter];

    const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Filter => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    pub(super) fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// The discovery service's name.
    pub(super) const fn service(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Listener => "LDS",
            Self::Filter => "ECDS",
        }
    }
}

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

/// `envoy.service.discovery.v3.DiscoveryResponse`; `resources` are messages of `kind`.
pub(super) fn response<'a>(
    kind: Kind,
    version: &str,
    nonce: &str,
    resources: impl Iterator<Item = &'a Message>,
) -> Message {
    let message = Message::new().put(1, version);
    resources
        .fold(message, |message, resource| message.put(2, Message::any(kind.type_url(), resource)))
        .put(4, kind.type_url())
        .put(5, nonce)
}

/// The wasm filter `name` with this module and configuration, as `TypedExtensionConfig`
/// (`envoy.extensions.filters.http.wasm.v3.Wasm`, `envoy.extensions.wasm.v3.PluginConfig`);
/// `holds_headers` where the body has to come while the headers wait.
pub(super) fn filter(name: &str, wasm: &[u8], configuration: &[u8], holds_headers: bool) -> Message {
    const FAIL_CLOSED: u64 = 2;
    let source = Message::new().put(2, wasm);
    let code = Message::new().put(1, source);
    let vm = Message::new().put(1, name).put(2, "envoy.wasm.runtime.v8").put(3, code);
    let configuration = Message::new().put(1, configuration);
    let configuration = Message::any("type.googleapis.com/google.protobuf.StringValue", &configuration);
    let mut plugin = Message::new()
        .put(1, name)
        .put(2, name)
        .put(3, vm)
        .put(4, configuration)
        // failure_policy
        .number(7, FAIL_CLOSED);
    if holds_headers {
        // allow_on_headers_stop_iteration
        plugin = plugin.wrapped(9, 1);
    }
    let wasm = Message::new().put(1, plugin);
    let typed = Message::any("type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", &wasm);
    Message::new().put(1, name).put(2, typed)
}

/// `envoy.config.core.v3.Address`.
pub(super) fn address(host: &str, port: u16) -> Message {
    let socket = Message::new().put(2, host).number(3, port.into());
    Message::new().put(1, socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_refusal() {
        let status = Message::new().number(1, 13).put(2, "no");
        let node = Message::new().put(1, "gateway-1").put(2, "cluster");
        let bytes = Message::new()
            .put(1, "v")
            .put(2, node)
            .put(3, "jwt-auth")
            .put(4, Kind::Filter.type_url())
            .put(5, "7")
            .put(6, status)
            .into_bytes();
        let request = Request::read(&bytes).unwrap();
        assert_eq!(
            request,
            Request {
                node: "gateway-1".into(),
                names: vec!["jwt-auth".into()],
                type_url: Kind::Filter.type_url().into(),
                nonce: "7".into(),
                refusal: Some("no".into()),
            }
        );
        assert_eq!(Kind::of(&request.type_url), Some(Kind::Filter));
        assert_eq!(Kind::of("type.googleapis.com/envoy.config.core.v3.Node"), None);
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
            let any = inner(&filter("guard", b"module", b"{}", holds).into_bytes(), 2).unwrap();
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
        let node = Message::new().put(1, "x");
        let whole = Message::new().put(2, node).put(4, Kind::Filter.type_url()).into_bytes();
        for end in 0..whole.len() {
            let _ = Request::read(&whole[..end]);
        }
    }
}
