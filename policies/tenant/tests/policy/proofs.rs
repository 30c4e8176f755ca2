//! Presets, certificates, several issuers, and members that the directory knows.

use portcullis_core::Code;
use portcullis_tenant::{Evidence, Origin, Unknown, Verdict};

use crate::common::{Host, code, decide, permit, policy, set};

const HOST: (&str, &str) = (":authority", "acme.app.test");

fn with_proof(proof: &str) -> portcullis_tenant::Policy {
    policy(&format!(
        r#"{{"sources": [{{"header": "x-tenant-id"}}], "proofs": [{proof}],
            "routes": [{{"path": {{"prefix": "/"}}, "class": "tenant"}}],
            "forward": {{"headers": {{"id": "x-tenant-id", "roles": "x-tenant-roles"}}}}}}"#
    ))
}

#[test]
fn every_preset_reads_the_immutable_id_of_its_provider() {
    for (preset, claims, id, roles) in [
        ("auth0", r#"{"org_id":"org_9y","org_name":"globex"}"#, "org_9y", None),
        ("workos", r#"{"org_id":"org_01H","role":"admin"}"#, "org_01H", Some("admin")),
        ("clerk", r#"{"v":2,"o":{"id":"org_2a","slg":"globex","rol":"admin"}}"#, "org_2a", Some("admin")),
        (
            "zitadel",
            r#"{"urn:zitadel:iam:user:resourceowner:id":"2847","urn:zitadel:iam:user:resourceowner:name":"globex"}"#,
            "2847",
            None,
        ),
        (
            "stytch",
            r#"{"https://stytch.com/organization":{"organization_id":"organization-live-07","slug":"globex"}}"#,
            "organization-live-07",
            None,
        ),
        ("keycloak", r#"{"organization":{"globex":{"id":"42c3e46f"}}}"#, "42c3e46f", None),
    ] {
        let policy = with_proof(&format!(r#"{{"name": "main", "jwt_auth": "main", "preset": "{preset}"}}"#));
        let permit = permit(decide(&policy, &[("x-tenant-id", id)], &Host::token(claims)));
        assert_eq!(set(&permit, "x-tenant-id").as_deref(), Some(id), "{preset}");
        assert_eq!(set(&permit, "x-tenant-roles").as_deref(), roles, "{preset}");
        let by_name = decide(&policy, &[("x-tenant-id", "globex")], &Host::token(claims));
        assert_eq!(code(&by_name), Some(Code::TenantNotFound), "{preset}");
    }
    // A renamed organization's alias may be another one's by now.
    let keycloak = with_proof(r#"{"name": "main", "jwt_auth": "main", "preset": "keycloak"}"#);
    let alias_only = Host::token(r#"{"organization":{"acme":{}}}"#);
    assert_eq!(
        code(&decide(&keycloak, &[("x-tenant-id", "acme")], &alias_only)),
        Some(Code::TenantProofInvalid)
    );
}

#[test]
fn two_issuers_do_not_share_their_tenants() {
    let policy = with_proof(
        r#"{"name": "a", "jwt_auth": "a", "tenant": "org", "namespace": "a"},
           {"name": "b", "jwt_auth": "b", "tenant": "org", "namespace": "b"}"#,
    );
    let token =
        |issuer: &str| Host::nothing().with(&Origin::JwtAuth, format!(r#"{{"{issuer}":{{"org":"acme"}}}}"#));
    let told = |host: &Host, header: &str| {
        let outcome = decide(&policy, &[("x-tenant-id", header)], host);
        match outcome.verdict {
            Verdict::Permit(permit) => Ok(set(&permit, "x-tenant-id")),
            _ => Err(code(&outcome)),
        }
    };
    assert_eq!(told(&token("a"), "a.acme"), Ok(Some("a.acme".into())));
    assert_eq!(told(&token("b"), "b.acme"), Ok(Some("b.acme".into())));
    assert_eq!(told(&token("b"), "a.acme"), Err(Some(Code::TenantNotFound)));
    assert_eq!(told(&token("a"), "acme"), Err(Some(Code::TenantNotFound)));
    // Two tokens prove two tenants: there is no request about both.
    let both = Host::nothing().with(&Origin::JwtAuth, r#"{"a":{"org":"acme"},"b":{"org":"acme"}}"#);
    assert_eq!(told(&both, "a.acme"), Err(Some(Code::TenantNotFound)));
    // An issuer does not leave its namespace by naming another.
    let sly = Host::nothing().with(&Origin::JwtAuth, r#"{"b":{"org":"a.acme"}}"#);
    assert_eq!(told(&sly, "a.acme"), Err(Some(Code::TenantProofInvalid)));
}

#[test]
fn a_tenant_names_the_issuers_that_may_vouch_for_its_members() {
    let policy = policy(
        r#"{"directory": {"inline": {"tenants": [
                {"id": "t1", "slugs": ["acme"], "issuers": ["a"]}, {"id": "t2", "slugs": ["globex"], "issuers": ["b"]}]}},
            "sources": [{"host": {"bases": ["app.test"]}}],
            "proofs": [{"name": "a", "jwt_auth": "a", "tenant": "org"}, {"name": "b", "jwt_auth": "b", "tenant": "org"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}]}"#,
    );
    let token =
        |issuer: &str| Host::nothing().with(&Origin::JwtAuth, format!(r#"{{"{issuer}":{{"org":"t1"}}}}"#));
    permit(decide(&policy, &[HOST], &token("a")));
    assert_eq!(code(&decide(&policy, &[HOST], &token("b"))), Some(Code::TenantNotFound));
}

#[test]
fn envoys_own_filter_and_istio_are_told_apart_by_the_issuer() {
    let policy = with_proof(
        r#"{"name": "main", "istio": "https://issuer", "memberships": {"claim": "groups", "shape": "names"}}"#,
    );
    let pairs = |pairs: &[(&str, &[u8])]| {
        let size = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
        let mut out = Vec::from(size(pairs.len()));
        out.extend(pairs.iter().flat_map(|(name, value)| [size(name.len()), size(value.len())].concat()));
        for text in pairs.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
            out.extend([text, &[0]].concat());
        }
        out
    };
    let groups = pairs(&[("acme", b""), ("initech", b"")]);
    let from = |issuer: &[u8], groups: &[u8]| {
        let payload = pairs(&[("iss", issuer), ("sub", b"u1"), ("groups", groups)]);
        Host::nothing().with(&Origin::JwtAuthn("payload".into()), payload)
    };
    let ask = |host: &Host| decide(&policy, &[("x-tenant-id", "initech")], host);
    permit(ask(&from(b"https://issuer", &groups)));
    assert_eq!(code(&ask(&from(b"https://other", &groups))), Some(Code::AuthenticationRequired));
    assert_eq!(code(&ask(&from(b"https://issuer", b"initech"))), Some(Code::TenantProofInvalid));
    assert_eq!(code(&ask(&from(b"https://issuer", &1f64.to_le_bytes()))), Some(Code::TenantProofInvalid));
    let broken = Host::nothing().with(&Origin::JwtAuthn("payload".into()), "{\"iss\":\"https://issuer\"}");
    assert_eq!(code(&ask(&broken)), Some(Code::TenantProofInvalid));
}

#[test]
fn a_certificate_proves_its_tenant_on_its_own_connection_only() {
    let policy = policy(
        r#"{"sources": [{"host": {"bases": ["app.test"]}}],
            "proofs": [{"name": "mesh", "client_certificate": "spiffe://mesh/tenant/{tenant}/**"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}]}"#,
    );
    let uri = |uri: &str| Host::nothing().with(&Origin::CertificateUri, uri).with(&Origin::MutualTls, [1]);
    let acme = || uri("spiffe://mesh/tenant/acme/orders");
    let xfcc = |value| ("x-forwarded-client-cert", value);
    permit(decide(&policy, &[HOST], &acme()));
    permit(decide(&policy, &[HOST], &acme().with(&Origin::ServerName, "ACME.app.test")));
    for (headers, host, expected) in [
        (&[(":authority", "globex.app.test")][..], acme(), Code::TenantNotFound),
        (&[HOST], acme().with(&Origin::ServerName, "globex.app.test"), Code::MisdirectedRequest),
        (&[HOST], uri("spiffe://mesh/gateway"), Code::AuthenticationRequired),
        (&[HOST], uri("spiffe://mesh/tenant/"), Code::TenantProofInvalid),
        (&[HOST], uri("spiffe://mesh/tenant/acme,globex"), Code::TenantProofInvalid),
        (&[HOST], Host::nothing(), Code::AuthenticationRequired),
        // A header of the client's own proves nothing, whatever it says.
        (&[HOST, xfcc("URI=spiffe://mesh/tenant/acme/a")], Host::nothing(), Code::AuthenticationRequired),
        (
            &[HOST, xfcc("URI=spiffe://mesh/tenant/acme/a;URI=spiffe://mesh/tenant/globex/a")],
            acme(),
            Code::TenantProofInvalid,
        ),
        (&[HOST, xfcc("URI=spiffe://mesh/tenant/acme/a"), xfcc("By=x")], acme(), Code::TenantProofInvalid),
    ] {
        assert_eq!(code(&decide(&policy, headers, &host)), Some(expected), "{headers:?}");
    }
    // The proxy's own goes on, a client's does not.
    let permit = permit(decide(&policy, &[HOST, xfcc("URI=spiffe://mesh/tenant/acme/a")], &acme()));
    assert!(permit.remove().is_empty());
}

#[test]
fn a_host_that_does_not_tell_proves_nothing() {
    struct Silent;
    impl Evidence for Silent {
        fn of(&self, _: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
            Err(Unknown)
        }
    }
    let policy = with_proof(r#"{"name": "main", "jwt_auth": "main", "preset": "auth0"}"#);
    let headers: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":authority", b"app.test"), (b":path", b"/"), (b"x-tenant-id", b"acme")];
    let outcome = policy.decide(&portcullis_core::Request::new(&headers), &Silent);
    assert_eq!(code(&outcome), Some(Code::InternalError));
}

#[test]
fn members_that_the_directory_knows_need_no_claim_and_no_claim_makes_one() {
    let policy = |membership: &str| {
        policy(&format!(
            r#"{{"directory": {{"inline": {{"tenants": [
                {{"id": "acme", "members": [{{"issuer": "main", "subject": "alice", "roles": ["owner"]}}]}}, {{"id": "globex"}}]}}}},
            "sources": [{{"header": "x-tenant-id"}}],
            "proofs": [{{"name": "main", "jwt_auth": "main", "membership": "{membership}", "memberships": {{"claim": "orgs", "shape": "names"}}}}],
            "routes": [{{"path": {{"prefix": "/"}}, "class": "tenant"}}], "forward": {{"headers": {{"roles": "x-tenant-roles"}}}}}}"#
        ))
    };
    let ask = |membership: &str, claims: &str, id: &str| {
        decide(&policy(membership), &[("x-tenant-id", id)], &Host::token(claims))
    };
    let alice = permit(ask("directory", r#"{"sub":"alice"}"#, "acme"));
    assert_eq!(set(&alice, "x-tenant-roles").as_deref(), Some("owner"));
    permit(ask("both", r#"{"sub":"alice","orgs":["acme"]}"#, "acme"));
    for (membership, claims, id) in [
        ("directory", r#"{"sub":"bob","orgs":["acme"]}"#, "acme"),
        ("directory", r#"{"orgs":["acme"]}"#, "acme"),
        ("directory", r#"{"sub":"alice","orgs":["globex"]}"#, "globex"),
        ("both", r#"{"sub":"alice"}"#, "acme"),
        ("both", r#"{"sub":"bob","orgs":["acme"]}"#, "acme"),
        ("claims", r#"{"sub":"alice"}"#, "acme"),
    ] {
        assert_eq!(
            code(&ask(membership, claims, id)),
            Some(Code::TenantNotFound),
            "{membership} {claims} {id}"
        );
    }
}
