//! Filters that ask whose data it is, and requests that say so in the path.

use portcullis_host_tests::envoy::config;
use portcullis_host_tests::loopback::Request;
use portcullis_issuer::{SigningKey, jwk_set};
use serde_json::{Value, json};

use crate::tokens;

/// Envoy's own filters.
pub const NATIVE: &str = "jwt_authn, rbac";
/// The same with the token cache.
pub const NATIVE_CACHE: &str = "jwt_authn with cache, rbac";
/// Envoy's token filter before ours.
pub const BESIDE: &str = "jwt_authn with cache, tenant-guard";
/// Ours.
pub const OURS: &str = "jwt-auth, tenant-guard";

/// Where both leave the claims.
const PAYLOAD: &str = "payload";

/// A GET of a path of the token's tenant.
#[must_use]
pub fn request(token: &str) -> Request {
    get("/t/acme/orders/7", token)
}

/// A GET of a path of another tenant: whoever lets it through is no contender.
#[must_use]
pub fn foreign(token: &str) -> Request {
    get("/t/globex/orders/7", token)
}

fn get(path: &str, token: &str) -> Request {
    Request::get(path).header("user-agent", "portcullis-benches").header("accept", "*/*").bearer(token)
}

/// Envoy's token filter, which leaves the claims in the metadata.
#[must_use]
pub fn jwt_authn(key: &SigningKey, cache: bool) -> Value {
    let mut provider = json!({
        "issuer": tokens::ISSUER,
        "audiences": [tokens::AUDIENCE],
        "local_jwks": {"inline_string": jwk_set([key.jwk()]).to_string()},
        "payload_in_metadata": PAYLOAD,
        "claim_to_headers": [
            {"claim_name": "sub", "header_name": "x-sub"},
            {"claim_name": "org_id", "header_name": "x-tenant-id"},
        ],
    });
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
    }
    config::jwt_authn(&json!({
        "providers": {"main": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}],
    }))
}

/// Envoy's role filter: it cannot compare two parts of a request, so each of so many `tenants` needs a
/// policy of its own. They are asked in the order of their names, in which the tokens' tenant is in the
/// middle.
#[must_use]
pub fn rbac(tenants: usize) -> Value {
    let others = tenants.saturating_sub(1);
    let policies: serde_json::Map<String, Value> = (0..others)
        .map(|number| format!("{}-{number:06}", if number < others / 2 { "aardvark" } else { "zebra" }))
        .chain(["acme".to_owned()])
        .map(|tenant| {
            let policy = json!({
                "permissions": [{"url_path": {"path": {"prefix": format!("/t/{tenant}/")}}}],
                "principals": [{"metadata": {
                    "filter": "envoy.filters.http.jwt_authn",
                    "path": [{"key": PAYLOAD}, {"key": "org_id"}],
                    "value": {"string_match": {"exact": tenant}},
                }}],
            });
            (tenant, policy)
        })
        .collect();
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": policies},
        },
    })
}

/// tenant-guard behind jwt-auth: the path must name the tenant that the token is for.
#[must_use]
pub fn behind_jwt_auth() -> Value {
    tenant_guard(&json!({"name": "main", "jwt_auth": "main", "tenant": "org_id"}))
}

/// tenant-guard behind Envoy's token filter.
#[must_use]
pub fn behind_jwt_authn() -> Value {
    tenant_guard(&json!({"name": "main", "jwt_authn": PAYLOAD, "tenant": "org_id"}))
}

fn tenant_guard(proof: &Value) -> Value {
    json!({
        "sources": [{"path": "/t/{tenant}/**", "use": "required"}],
        "proofs": [proof],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id", "subject": "x-tenant-user"}},
    })
}
