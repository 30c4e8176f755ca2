//! Answers under a guard, from an upstream that leaks on demand: in the embedded host and in the
//! real Envoy, over HTTP/1.1 and HTTP/2.

#[path = "tenant_guard/envoy.rs"]
mod envoy_guard;
#[path = "tenant_guard/hosted.rs"]
mod hosted;
#[path = "tenant_guard/large.rs"]
mod large;
#[path = "tenant_guard/leaks.rs"]
mod leaks;
#[path = "tenant_guard/shadow.rs"]
mod shadow;

use serde_json::{Value, json};

/// A guard for each path: the name is the first segment.
fn tenant_guard(guards: &Value) -> Value {
    let routes: Vec<Value> = guards
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| json!({"path": {"prefix": format!("/{name}")}, "class": "tenant", "guard": name}))
        .chain([json!({"path": {"prefix": "/plain"}, "class": "tenant"})])
        .collect();
    json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": routes,
        "guards": guards,
        "forward": {"headers": {"id": "x-tenant-id"}},
        "audit": {"salt": "0123456789abcdef"},
    })
}

/// The canaries' secret, in base64.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn guards() -> Value {
    let fields = json!({"keys": ["tenant_id"]});
    json!({
        "hold": {"fields": fields, "release": "hold", "max_bytes": 4096, "unscanned": ["text/csv"]},
        "prefix": {"fields": fields, "release": "verified_prefix"},
        "sever": {"fields": fields, "release": "sever"},
        "observe": {"fields": fields, "release": "observe"},
        "echo": {"echo": {}},
        "planted": {"canaries": {"prefix": "canary_", "secret": SECRET}, "release": "hold"},
        "grpc": {"fields": {"grpc": ["1"]}},
        "grpc-held": {"fields": {"grpc": ["1"]}, "release": "hold"},
    })
}

/// [`tenant_guard`] where all is only reported.
fn in_shadow(guards: &Value) -> Value {
    let mut config = tenant_guard(guards);
    config["audit"]["mode"] = json!("shadow");
    config
}
