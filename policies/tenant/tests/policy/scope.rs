//! What the upstream is told, and how its path and query change.

use crate::common::{Host, decide, permit, policy, set};

fn ask(forward: &str, path: &str) -> Option<String> {
    let policy = policy(&format!(
        r#"{{"directory": {{"inline": {{"tenants": [{{"id": "t1", "slugs": ["acme"], "plan": "go,ld\n", "fields": {{"theme": "d\u00e4rk"}}}}]}}}},
            "sources": [{{"path": "/t/{{tenant}}/**"}}],
            "proofs": [{{"name": "main", "jwt_auth": "main", "preset": "auth0"}}],
            "routes": [{{"path": {{"prefix": "/"}}, "class": "tenant"}}], "forward": {forward}}}"#
    ));
    let permit = permit(decide(&policy, &[(":path", path)], &Host::token(r#"{"org_id":"t1"}"#)));
    set(&permit, ":path")
}

#[test]
fn the_path_is_rewritten_to_the_one_proven_tenant() {
    for (forward, path, expected) in [
        (r#"{}"#, "/t/acme/x?y=1", None),
        (r#"{"path": {"strip": true}}"#, "/t/acme/x?y=1", Some("/x?y=1")),
        (r#"{"path": {"strip": true}}"#, "/t/acme", Some("/")),
        // Another way in than by the path: nothing to drop.
        (r#"{"path": {"strip": true}}"#, "/x", None),
        (r#"{"path": {"prefix": "/tenants/{id}"}}"#, "/x?y", Some("/tenants/t1/x?y")),
        (r#"{"path": {"strip": true, "prefix": "/{slug}/v1"}}"#, "/t/acme/a%20b/", Some("/acme/v1/a%20b/")),
        (r#"{"query": "tenant"}"#, "/x?y=1&TENANT[]=globex", Some("/x?y=1&tenant=t1")),
        (r#"{"query": "tenant", "path": {"strip": true}}"#, "/t/acme/x", Some("/x?tenant=t1")),
    ] {
        assert_eq!(ask(forward, path).as_deref(), expected, "{forward} {path}");
    }
}

#[test]
fn no_field_of_a_tenant_breaks_out_of_its_header() {
    let policy = policy(
        r#"{"directory": {"inline": {"tenants": [{"id": "t1", "plan": "go,ld\n", "fields": {"theme": "d\u00e4rk"}}]}},
            "sources": [], "proofs": [{"name": "main", "jwt_auth": "main", "preset": "auth0", "subject": "email"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
            "forward": {"headers": {"plan": "x-tenant-plan", "subject": "x-tenant-user", "fields": {"theme": "x-tenant-theme"}}}}"#,
    );
    let token = Host::token(r#"{"org_id":"t1","email":"a\r\nx-admin: 1"}"#);
    let permit = permit(decide(&policy, &[], &token));
    assert_eq!(set(&permit, "x-tenant-plan").as_deref(), Some("go%2Cld%0A"));
    assert_eq!(set(&permit, "x-tenant-theme").as_deref(), Some("d%C3%A4rk"));
    assert_eq!(set(&permit, "x-tenant-user").as_deref(), Some("a%0D%0Ax-admin: 1"));
    assert_eq!(
        permit.tenant().unwrap().published(),
        r#"{"id":"t1","state":"active","plan":"go,ld\n","subject":"a\r\nx-admin: 1","issuer":"main","roles":[]}"#
    );
}
