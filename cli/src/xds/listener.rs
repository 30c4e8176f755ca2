//! A listener: where requests come in, which filters judge them and where they go, as a document and
//! as Envoy has it. The hardening is that of `deploy/envoy`; a test compares the two in Envoy.

use std::net::SocketAddr;

use anyhow::ensure;
use serde::Deserialize;

use super::wire::{Kind, address, message::Message};

/// A listener of `portcullis xds`: where requests come in, what judges them and where they go.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// Where it listens, such as `0.0.0.0:10000`.
    #[cfg_attr(test, schemars(with = "String"))]
    address: SocketAddr,
    /// The filters of the folder that judge every request, in this order.
    filters: Vec<String>,
    /// Where requests go that all filters let through.
    cluster: String,
}

impl Listener {
    /// # Errors
    ///
    /// It would let every request through, or ask one filter twice.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.filters.is_empty(),
            "`filters`: empty: every request would pass; name at least one filter of the folder"
        );
        for (at, name) in self.filters.iter().enumerate() {
            ensure!(!self.filters[..at].contains(name), "`filters[{at}]`: `{name}` is there already");
        }
        Ok(())
    }

    /// What has to be there too.
    pub(super) fn uses(&self) -> Vec<(Kind, String)> {
        let filters = self.filters.iter().map(|name| (Kind::Filter, name.clone()));
        filters.chain([(Kind::Cluster, self.cluster.clone())]).collect()
    }

    /// `envoy.config.listener.v3.Listener`.
    pub(super) fn message(&self, name: &str) -> Message {
        let manager = Message::any(
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            &self.manager(name),
        );
        let filter = Message::new().put(1, "envoy.filters.network.http_connection_manager").put(4, manager);
        Message::new()
            .put(1, name)
            .put(2, address(&self.address.ip().to_string(), self.address.port()))
            .put(3, Message::new().put(3, filter))
            // per_connection_buffer_limit_bytes
            .wrapped(5, 32768)
    }

    /// `HttpConnectionManager`, hardened.
    fn manager(&self, name: &str) -> Message {
        const REJECT_REQUEST: u64 = 2;
        const REJECT_UNDERSCORES: u64 = 1;
        let http = Message::new()
            // idle_timeout
            .wrapped(1, 60)
            // headers_with_underscores_action
            .number(5, REJECT_UNDERSCORES);
        let http2 = Message::new()
            // max_concurrent_streams, initial_stream_window_size, initial_connection_window_size
            .wrapped(2, 100)
            .wrapped(3, 65_536)
            .wrapped(4, 1_048_576);
        let filters = self.filters.iter().map(|filter| discovered(filter)).chain([router()]);
        let message = Message::new().put(2, name).put(4, self.routes());
        filters
            .fold(message, |message, filter| message.put(5, filter))
            .put(9, http2)
            // use_remote_address
            .wrapped(14, 1)
            // stream_idle_timeout
            .wrapped(24, 300)
            // normalize_path
            .wrapped(30, 1)
            // merge_slashes
            .number(33, 1)
            .put(35, http)
            // request_headers_timeout
            .wrapped(41, 10)
            // strip_any_host_port
            .number(42, 1)
            // path_with_escaped_slashes_action
            .number(45, REJECT_REQUEST)
            // strip_trailing_host_dot
            .number(47, 1)
    }

    /// `envoy.config.route.v3.RouteConfiguration`.
    fn routes(&self) -> Message {
        let every = Message::new().put(1, "/");
        let action = Message::new().put(1, &self.cluster);
        let route = Message::new().put(1, every).put(2, action);
        let host = Message::new().put(1, "all").put(2, "*").put(3, route);
        Message::new().put(2, host)
    }
}

/// An `HttpFilter` whose configuration comes over the same stream. It has no `default_config`: until
/// the first configuration is there, requests are refused.
fn discovered(name: &str) -> Message {
    const V3: u64 = 2;
    let source = Message::new()
        // ads, initial_fetch_timeout, resource_api_version
        .put(3, Message::new())
        .wrapped(4, 15)
        .number(6, V3);
    let discovery = Message::new()
        .put(1, source)
        .put(4, "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm");
    Message::new().put(1, name).put(5, discovery)
}

fn router() -> Message {
    let typed =
        Message::any("type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", &Message::new());
    Message::new().put(1, "envoy.filters.http.router").put(4, typed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    #[test]
    fn a_listener_that_lets_everything_through_is_refused() {
        let check = |text: &str| document::parse::<Listener>(text.as_bytes())?.check();
        let base = "address: 127.0.0.1:0\ncluster: upstream\n";
        check(&format!("{base}filters: [jwt-auth, tenant-guard]")).unwrap();
        for (filters, expected) in [
            ("filters: []", "every request would pass"),
            ("filters: [jwt-auth, jwt-auth]", "`filters[1]`: `jwt-auth` is there already"),
            ("filter: [jwt-auth]", "unknown field `filter`"),
        ] {
            let error = check(&format!("{base}{filters}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
