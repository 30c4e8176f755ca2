//! `envoy.yaml`: hardened as the files of `deploy/envoy` are, and everything in one file, so that what
//! is checked and tested is what runs.

use std::{fmt::Write as _, path::Path};

use portcullis_jwt::life::Address;

use super::{
    Provider, Tenants, indented,
    issuer::Keys,
    list,
    plan::{Plan, Proof},
    quoted,
};

/// Where systems keep the certificates of public authorities: Debian and Alpine, Fedora, SUSE, macOS.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub(super) fn render(plan: &Plan) -> String {
    let mut filters = filter("Who is calling?", "jwt-auth", false, &jwt_auth(plan));
    if plan.has_tenants() {
        filters += &filter("Whose data is this?", "tenant-guard", true, &tenant_guard(plan));
    }
    let mut clusters = upstream(plan);
    if let Some(server) = plan.keys.server() {
        clusters += &idp(server);
    }
    let listen =
        format!("{{address: {}, port_value: {}}}", quoted(&plan.listen.ip().to_string()), plan.listen.port());
    format!(
        "{HEAD}{}{MANAGER}{}{ROUTER}{}",
        LISTENER.replace("LISTEN", &listen),
        indented(&filters, 10),
        indented(&clusters, 2)
    )
}

const HEAD: &str = r#"# A gateway that Portcullis wrote: `portcullis check envoy.yaml`, `portcullis test suite.yaml`,
# `envoy -c envoy.yaml`.

admin:
  # Loopback only: whoever reaches this port can stop Envoy and read every statistic.
  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}

static_resources:
  listeners:
"#;

const LISTENER: &str = r"  - name: gateway
    # Loopback first; `0.0.0.0` once it is what you want.
    address: {socket_address: LISTEN}
    # A client that reads slowly must not make Envoy hold more than this for it.
    per_connection_buffer_limit_bytes: 32768
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
";

const MANAGER: &str = r#"        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway

          # Hardening. A rule about a path or a host protects nothing if the upstream sees another
          # path or host than the rule did.
          #
          # `/public/../admin` and `//admin` are `/admin` for the rules and for the upstream.
          normalize_path: true
          merge_slashes: true
          # `%2F` is a slash to some servers and a letter to others: refused.
          path_with_escaped_slashes_action: REJECT_REQUEST
          # One host has one spelling: without port, without a trailing dot.
          strip_any_host_port: true
          strip_trailing_host_dot: true
          common_http_protocol_options:
            # CGI-like upstreams read `x_sub` as `X-Sub`, which only the filters may set.
            headers_with_underscores_action: REJECT_REQUEST
            idle_timeout: 60s
          # A client certificate's header is this Envoy's, never the client's.
          forward_client_cert_details: SANITIZE
          # Envoy is the edge: it sets `x-forwarded-for` itself and drops a client's `x-envoy-*`.
          # Behind another proxy of yours, set `xff_num_trusted_hops` too.
          use_remote_address: true
          # A client that opens a request and never ends it gives its place back.
          request_headers_timeout: 10s
          stream_idle_timeout: 300s
          http2_protocol_options:
            max_concurrent_streams: 100
            initial_stream_window_size: 65536
            initial_connection_window_size: 1048576

          http_filters:
"#;

const ROUTER: &str = r#"          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router

          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: upstream}

  clusters:
"#;

fn filter(what: &str, name: &str, holds: bool, configuration: &str) -> String {
    let holds = if holds {
        "    # A guarded answer's headers wait for its body, so that a leak becomes a clean 502.\n    \
         allow_on_headers_stop_iteration: true\n"
    } else {
        ""
    };
    format!(
        r#"# {what}
- name: {name}
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: {name}
      root_id: {name}
      # If the filter itself ever fails, requests are refused, not let through.
      failure_policy: FAIL_CLOSED
{}      vm_config:
        # One VM per worker and `vm_id`. Filters with the same id share their data.
        vm_id: {name}
        runtime: envoy.wasm.runtime.v8
        code: {{local: {{filename: ./{name}.wasm}}}}
      configuration:
        "@type": type.googleapis.com/google.protobuf.StringValue
        value: |
{}"#,
        indented(holds, 2),
        indented(configuration, 10)
    )
}

fn jwt_auth(plan: &Plan) -> String {
    let Plan { issuer, audiences, algorithms, .. } = plan;
    let insecure = |address: &Address| {
        if address.scheme() == "http" { ", \"allow_insecure_http\": true" } else { "" }
    };
    let keys = match &plan.keys {
        Keys::Inline(set) => {
            let keys: Vec<_> =
                set["keys"].as_array().into_iter().flatten().map(ToString::to_string).collect();
            format!("{{\"inline\": {{\"keys\": [\n      {}\n    ]}}}}", keys.join(",\n      "))
        }
        Keys::Remote(address) => format!(
            "{{\"remote\": {{\"uri\": {}, \"cluster\": \"idp\"{}}}}}",
            quoted(address.as_str()),
            insecure(address)
        ),
        Keys::Discovery(address) => {
            format!("{{\"discovery\": {{\"cluster\": \"idp\"{}}}}}", insecure(address))
        }
    };
    format!(
        r#"{{
  "issuers": [{{
    "name": "main",
    "issuer": {},
    "audiences": {},
    "algorithms": {},
    "jwks": {keys},
    "forward": {{"headers": [{{"claim": "sub", "header": "x-sub"}}]}}
  }}],
  "rules": [{{"path": {{"prefix": "/"}}, "require": {{"any": ["main"]}}}}]
}}
"#,
        quoted(issuer),
        list(audiences),
        list(algorithms)
    )
}

fn tenant_guard(plan: &Plan) -> String {
    let sources = match plan.tenants {
        Tenants::None => String::new(),
        Tenants::Path => r#"{"path": "/t/{tenant}/**", "by": "id", "use": "required"}"#.into(),
        Tenants::Subdomain => {
            format!(r#"{{"host": {{"bases": [{}]}}, "by": "id", "use": "required"}}"#, quoted(&plan.domain))
        }
        Tenants::Header => r#"{"header": "x-tenant-id", "use": "required"}"#.into(),
        Tenants::Organizations => r#"{"header": "x-organization"}, {"cookie": "__Host-organization"}"#.into(),
    };
    let says = match &plan.proof {
        Proof::Claim(claim) => {
            format!(r#""memberships": {{"claim": {}, "shape": "names"}}"#, quoted(claim))
        }
        Proof::Provider(provider) => format!(r#""preset": "{}""#, name(*provider)),
    };
    let routes = match plan.tenants {
        // What names no tenant is the product's own, for every caller who is proven.
        Tenants::Path => {
            r#"
    {"path": {"template": "/t/{tenant}/**"}, "class": "tenant"},
    {"path": {"prefix": "/"}, "class": "central"}
  "#
        }
        _ => r#"{"path": {"prefix": "/"}, "class": "tenant"}"#,
    };
    let mut all = format!(
        r#"{{
  "sources": [{sources}],
  "proofs": [{{"name": "main", "jwt_auth": "main", {says}}}],
  "routes": [{routes}],
"#
    );
    let several =
        matches!(plan.proof, Proof::Claim(_)) || matches!(plan.proof, Proof::Provider(Provider::Keycloak));
    if plan.tenants == Tenants::Organizations && several {
        all.push_str(
            "  \"switch\": {\"path\": \"/session/organization\", \"query\": \"to\", \"source\": \"cookie\"},\n",
        );
    }
    all.push_str(
        "  \"forward\": {\"headers\": {\"id\": \"x-tenant-id\", \"subject\": \"x-tenant-user\"}}\n}\n",
    );
    all
}

pub(super) const fn name(provider: Provider) -> &'static str {
    match provider {
        Provider::Auth0 => "auth0",
        Provider::Clerk => "clerk",
        Provider::Keycloak => "keycloak",
        Provider::Stytch => "stytch",
        Provider::Workos => "workos",
        Provider::Zitadel => "zitadel",
    }
}

fn cluster(name: &str, host: &str, port: u16) -> String {
    format!(
        "- name: {name}\n  type: STRICT_DNS\n  dns_lookup_family: V4_PREFERRED\n  connect_timeout: 2s\n  \
         load_assignment:\n    cluster_name: {name}\n    endpoints:\n    - lb_endpoints:\n      - endpoint: \
         {{address: {{socket_address: {{address: {}, port_value: {port}}}}}}}\n",
        quoted(host)
    )
}

fn upstream(plan: &Plan) -> String {
    let cluster = cluster("upstream", &plan.upstream.host, plan.upstream.port);
    format!("# The service behind the gateway. It must not be reachable past the gateway.\n{cluster}")
}

/// The cluster of the issuer.
fn idp(server: &Address) -> String {
    let secure = server.scheme() == "https";
    let authority = server.authority();
    let usual = if secure { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(usual)),
        _ => (authority, usual),
    };
    let host = host.trim_matches(['[', ']']);
    let mut text = String::from("\n# The issuer, for its key set. ");
    if !secure {
        text.push_str(
            "Without TLS anybody on the way can choose the keys: for a test on one machine only.\n",
        );
        text.push_str(&cluster("idp", host, port));
        return text;
    }
    let authorities = AUTHORITIES.iter().find(|path| Path::new(path).exists()).unwrap_or(&AUTHORITIES[0]);
    text.push_str(
        "The certificate is checked: whoever could answer in\n# its place could choose the keys.\n",
    );
    text.push_str(&cluster("idp", host, port));
    let _ = write!(
        text,
        r#"  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: {}
      common_tls_context:
        validation_context:
          # The authorities of this system; another one may have them elsewhere.
          trusted_ca: {{filename: {authorities}}}
          match_typed_subject_alt_names:
          - {{san_type: DNS, matcher: {{exact: {}}}}}
"#,
        quoted(host),
        quoted(host)
    );
    text
}
