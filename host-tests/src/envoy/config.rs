//! Envoy's configuration as values: listeners with their filters, clusters, and the bootstrap
//! around them. Tests and benches name what differs; everything else is said once, here.
//!
//! The same hardening is in the files of `deploy/envoy`, which a test loads.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

const HTTP_FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// A whole bootstrap: the admin interface and every listener on a free loopback port.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    listeners: Vec<Listener>,
    clusters: Vec<Value>,
}

impl Bootstrap {
    /// Nothing but the admin interface.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds a cluster with one endpoint, spoken to in HTTP/1.1.
    #[must_use]
    pub fn cluster(mut self, name: &str, endpoint: SocketAddr) -> Self {
        self.clusters.push(json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(endpoint)}}]}],
            },
        }));
        self
    }

    /// As [`Bootstrap::cluster`], spoken to in HTTP/2.
    #[must_use]
    pub fn cluster_http2(mut self, name: &str, endpoint: SocketAddr) -> Self {
        self = self.cluster(name, endpoint);
        if let Some(cluster) = self.clusters.last_mut() {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            });
        }
        self
    }

    /// The document that Envoy reads.
    #[must_use]
    pub fn into_value(self) -> Value {
        json!({
            // Discovery asks for both, also from a file.
            "node": {"id": "portcullis-tests", "cluster": "portcullis-tests"},
            "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "static_resources": {
                "listeners": self.listeners.into_iter().map(Listener::into_value).collect::<Vec<_>>(),
                "clusters": self.clusters,
            },
        })
    }
}

/// What a listener does with a request that its filters let through.
#[derive(Clone, Debug)]
enum Route {
    Direct { status: u16, body: String },
    Cluster(String),
}

/// One listener on a free loopback port: a hardened HTTP connection manager and its filters.
#[derive(Clone, Debug)]
pub struct Listener {
    name: String,
    filters: Vec<Value>,
    route: Route,
    timeout: &'static str,
}

impl Listener {
    /// A listener that answers 200 by itself until [`Listener::to_cluster`] says otherwise.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let route = Route::Direct { status: 200, body: "ok".to_owned() };
        Self { name: name.to_owned(), filters: Vec::new(), route, timeout: "30s" }
    }

    /// Adds an HTTP filter after those that are there; the router is added by itself.
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Sends what passes the filters to a cluster of the bootstrap.
    #[must_use]
    pub fn to_cluster(mut self, cluster: &str) -> Self {
        self.route = Route::Cluster(cluster.to_owned());
        self
    }

    /// Lets an answer of the cluster take as long as it does.
    #[must_use]
    pub fn without_timeout(mut self) -> Self {
        self.timeout = "0s";
        self
    }

    /// Answers what passes the filters with this status and body.
    #[must_use]
    pub fn direct(mut self, status: u16, body: &str) -> Self {
        self.route = Route::Direct { status, body: body.to_owned() };
        self
    }

    fn into_value(self) -> Value {
        let action = match self.route {
            Route::Direct { status, body } => {
                ("direct_response", json!({"status": status, "body": {"inline_string": body}}))
            }
            Route::Cluster(cluster) => ("route", json!({"cluster": cluster, "timeout": self.timeout})),
        };
        let mut route = json!({"match": {"prefix": "/"}});
        route[action.0] = action.1;
        let mut filters = self.filters;
        filters.push(router());
        let mut manager = hardening();
        manager.extend([
            (
                "@type".to_owned(),
                json!(
                    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
                ),
            ),
            ("stat_prefix".to_owned(), json!(self.name)),
            ("http_filters".to_owned(), Value::Array(filters)),
            (
                "route_config".to_owned(),
                json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}),
            ),
        ]);
        json!({
            "name": self.name,
            "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }]}],
        })
    }
}

/// The settings of the connection manager without which a path rule can be walked around: the
/// filter must see the path that the upstream will see.
///
/// * `normalize_path`, `merge_slashes`: `/a/../admin` and `//admin` are `/admin` for everyone.
/// * `path_with_escaped_slashes_action`: `%2F` means one thing to some and another to others, so
///   it is refused (the class of CVE-2021-29492).
/// * `headers_with_underscores_action`: `x_sub` becomes `X-Sub` in CGI-like upstreams and would
///   stand beside the header that a filter owns.
/// * `strip_trailing_host_dot`, `strip_any_host_port`: one host has one spelling.
/// * `use_remote_address`: `x-forwarded-for` and Envoy's own `x-envoy-*` are not the client's to
///   set.
/// * `stream_error_on_invalid_http_message` stays off: a broken message closes the connection.
#[must_use]
pub fn hardening() -> Map<String, Value> {
    let settings = json!({
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": "60s",
        },
        "strip_trailing_host_dot": true,
        "strip_any_host_port": true,
        "use_remote_address": true,
        "request_headers_timeout": "10s",
        "server_header_transformation": "PASS_THROUGH",
    });
    match settings {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A proxy-wasm filter: `module` is read by Envoy, `configuration` is handed to it as JSON text.
/// It fails closed and runs in a VM of its own (`vm_id` is its name).
#[must_use]
pub fn wasm(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({"name": name, "typed_config": wasm_config(name, module, configuration)})
}

/// As [`wasm`], for a filter that holds headers back until it has seen the body.
#[must_use]
pub fn wasm_holding(name: &str, module: &Path, configuration: &Value) -> Value {
    let mut filter = wasm(name, module, configuration);
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
    filter
}

/// The inner part of [`wasm`], for a filter that arrives by discovery.
#[must_use]
pub fn wasm_config(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "@type": format!("{HTTP_FILTERS}.wasm.v3.Wasm"),
        "config": {
            "name": name,
            "root_id": name,
            "failure_policy": "FAIL_CLOSED",
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration.to_string(),
            },
            "vm_config": {
                "vm_id": name,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
        },
    })
}

/// Envoy's own JWT filter, from the fields of its `JwtAuthentication` message.
#[must_use]
pub fn jwt_authn(fields: &Value) -> Value {
    let mut config = json!({"@type": format!("{HTTP_FILTERS}.jwt_authn.v3.JwtAuthentication")});
    if let (Some(config), Some(fields)) = (config.as_object_mut(), fields.as_object()) {
        config.extend(fields.clone());
    }
    json!({"name": "envoy.filters.http.jwt_authn", "typed_config": config})
}

/// A filter whose configuration Envoy follows in a [`super::Discovered`] file, so that it can be
/// swapped while requests flow. Until the first one is there, requests get 500.
#[must_use]
pub fn discovered(name: &str, file: &super::Discovered) -> Value {
    json!({
        "name": name,
        "config_discovery": {
            "config_source": {
                "resource_api_version": "V3",
                "path_config_source": {"path": file.path()},
            },
            "type_urls": [format!("{HTTP_FILTERS}.wasm.v3.Wasm")],
        },
    })
}

fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{HTTP_FILTERS}.router.v3.Router")},
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
