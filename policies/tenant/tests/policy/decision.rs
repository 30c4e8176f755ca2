//! Verdicts.

use portcullis_core::Code;
use portcullis_tenant::{Origin, Policy, Reason, Verdict};

use crate::common::{Host, code, decide, permit, policy, set};

/// Every source, claims with a list of memberships.
fn everything() -> Policy {
    policy(
        r#"{
        "sources": [
            {"host": {"bases": ["app.test"], "central": ["www.product.test"]}},
            {"path": "/t/{tenant}/**"}, {"header": "x-tenant-id"}, {"query": "tenant"}, {"cookie": "tenant"}
        ],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id",
            "memberships": {"claim": "orgs", "shape": "names"}, "roles": "roles"}],
        "routes": [
            {"path": {"exact": "/healthz"}, "class": "public"},
            {"path": {"prefix": "/account"}, "class": "central"},
            {"path": {"prefix": "/help"}, "class": "universal"},
            {"path": {"prefix": "/"}, "class": "tenant"}
        ],
        "forward": {"headers": {"id": "x-tenant-id", "subject": "x-tenant-user", "roles": "x-tenant-roles"}}
    }"#,
    )
}

fn acme() -> Host {
    Host::token(r#"{"sub":"u1","org_id":"acme","roles":["a,b","c"]}"#)
}

#[test]
fn a_member_reaches_its_tenant_and_the_upstream_is_told_which() {
    for headers in [
        &[][..],
        &[(":path", "/t/acme/x?y=1")],
        &[("x-tenant-id", "acme")],
        &[(":path", "/?tenant=acme"), ("cookie", "a=b; tenant=acme")],
        &[(":authority", "ACME.App.Test:8443")],
        &[(":authority", "www.product.test"), ("x-tenant-id", "acme")],
        // Nothing but the token names one.
        &[(":authority", "app.test")],
    ] {
        let permit = permit(decide(&everything(), headers, &acme()));
        assert_eq!(set(&permit, "x-tenant-id").as_deref(), Some("acme"), "{headers:?}");
        assert_eq!(set(&permit, "x-tenant-user").as_deref(), Some("u1"));
        assert_eq!(set(&permit, "x-tenant-roles").as_deref(), Some("a%2Cb,c"));
        assert_eq!(permit.tenant().map(|tenant| tenant.id.as_str()), Some("acme"));
    }
}

#[test]
fn two_places_that_differ_are_nothing() {
    for headers in [
        &[(":authority", "globex.app.test")][..],
        &[("x-tenant-id", "globex")],
        &[(":path", "/t/globex/x")],
        &[(":path", "/?tenant=globex")],
        &[("cookie", "tenant=globex")],
    ] {
        let outcome = decide(&everything(), headers, &acme());
        assert_eq!(code(&outcome), Some(Code::TenantNotFound), "{headers:?}");
    }
    let outcome = decide(&everything(), &[("x-tenant-id", "globex")], &acme());
    assert_eq!(outcome.trace.reason, Some(Reason::Disagreement));
}

#[test]
fn a_place_that_is_there_and_unusable_is_refused() {
    let long = "a".repeat(65);
    for headers in [
        &[("x-tenant-id", "")][..],
        &[("x-tenant-id", "acme"), ("x-tenant-id", "acme")],
        &[("x-tenant-id", "acme"), ("X_Tenant_Id", "globex")],
        &[("x-tenant-id-bin", "YWNtZQ")],
        &[("x-tenant-id", "acme,globex")],
        &[("x-tenant-id", "acme|globex")],
        &[("x-tenant-id", "acme ")],
        &[("x-tenant-id", ".")],
        &[("x-tenant-id", &long)],
        &[("x-tenant-id", "аcme")],
        &[(":path", "/?tenant=acme&tenant=acme")],
        &[(":path", "/?tenant=")],
        &[(":path", "/?tenant")],
        &[(":path", "/?tenant[]=acme")],
        &[(":path", "/?%74enant=acme")],
        &[(":path", "/?TENANT=acme")],
        &[(":path", "/?x=1;tenant=globex")],
        &[(":path", "/?tenant=%61cme")],
        &[(":path", "/T/acme/x")],
        &[(":path", "/t/acme%20/x")],
        &[(":path", "/t/ACME/x")],
        &[("cookie", "tenant=acme; tenant=acme")],
        &[("cookie", "tenant=acme"), ("cookie", "tenant=acme")],
        &[("cookie", "Tenant=acme")],
        &[("cookie", "tenant=\"acme\"")],
        &[("cookie", "tenant")],
        &[(":authority", "globex.acme.app.test")],
        &[(":authority", "xn--acme.app.test")],
        &[(":authority", "acme.evil.test")],
    ] {
        let outcome = decide(&everything(), headers, &acme());
        assert_eq!(code(&outcome), Some(Code::TenantSelectionInvalid), "{headers:?}");
    }
}

#[test]
fn a_request_with_two_readings_is_refused() {
    for headers in [
        &[(":path", "/t/acme/../globex/x")][..],
        &[(":path", "/t/acme%2f..%2fglobex")],
        &[(":path", "//t/globex/x")],
        &[(":path", "/t/%61cme/x")],
        &[(":path", "/t/acme;x/y")],
        &[(":authority", "acme.app.test.")],
        &[(":authority", "")],
        &[(":authority", "acme.app.test"), (":authority", "globex.app.test")],
        &[("host", "globex.app.test")],
        &[("connection", "close, x-tenant-id")],
    ] {
        let outcome = decide(&everything(), headers, &acme());
        assert_eq!(code(&outcome), Some(Code::RequestAmbiguous), "{headers:?}");
    }
}

#[test]
fn a_selection_without_a_proof_is_no_proof() {
    for headers in [
        &[][..],
        &[("x-tenant-id", "acme")],
        &[(":path", "/help")],
        &[(":path", "/account"), (":authority", "app.test")],
    ] {
        let outcome = decide(&everything(), headers, &Host::nothing());
        assert_eq!(code(&outcome), Some(Code::AuthenticationRequired), "{headers:?}");
    }
    // A good token of an issuer that is not configured here.
    let other = Host::nothing().with(&Origin::JwtAuth, r#"{"other":{"org_id":"acme"}}"#);
    assert_eq!(code(&decide(&everything(), &[], &other)), Some(Code::AuthenticationRequired));
}

#[test]
fn claims_of_another_shape_prove_nothing() {
    for claims in [
        r#"{"org_id":["acme"]}"#,
        r#"{"org_id":7}"#,
        r#"{"org_id":""}"#,
        r#"{"org_id":"acme,globex"}"#,
        r#"{"org_id":"acme.x"}"#,
        r#"{"org_id":"acme","orgs":"globex"}"#,
        r#"{"org_id":"acme","orgs":[["globex"]]}"#,
        r#"{"org_id":"acme","org_id":"globex"}"#,
        r#"[]"#,
        "x",
    ] {
        let outcome = decide(&everything(), &[], &Host::token(claims));
        assert_eq!(code(&outcome), Some(Code::TenantProofInvalid), "{claims}");
    }
    // No tenant in the token: none is made up.
    assert_eq!(code(&decide(&everything(), &[], &Host::token(r#"{"sub":"u"}"#))), Some(Code::TenantNotFound));
    let nowhere =
        decide(&everything(), &[(":authority", "app.test")], &Host::token(r#"{"sub":"u","org_id":null}"#));
    assert_eq!(code(&nowhere), Some(Code::TenantRequired));
}

#[test]
fn a_member_of_two_needs_a_token_for_the_one_it_asks_for() {
    let both = Host::token(r#"{"sub":"u1","org_id":"acme","orgs":["acme","initech"]}"#);
    let initech = &[(":authority", "initech.app.test")];
    assert_eq!(code(&decide(&everything(), initech, &both)), Some(Code::TenantSwitchRequired));
    // Who is no member is not told that there is something to switch to.
    let globex = &[(":authority", "globex.app.test")];
    assert_eq!(code(&decide(&everything(), globex, &both)), Some(Code::TenantNotFound));
    // A list without an active one is no choice, and a choice among it is enough.
    let list = Host::token(r#"{"sub":"u1","orgs":["acme","initech"]}"#);
    permit(decide(&everything(), initech, &list));
    assert_eq!(
        code(&decide(&everything(), &[(":authority", "app.test")], &list)),
        Some(Code::TenantRequired)
    );
}

#[test]
fn routes_without_a_tenant_pass_nothing_that_looks_like_one() {
    let spoofed = [
        ("X-Tenant-Id", "globex"),
        ("x_tenant_ctx", "globex"),
        ("x-tenant-anything-bin", "x"),
        ("x-forwarded-host", "globex.app.test"),
        ("x-envoy-original-path", "/t/globex"),
        ("x-forwarded-client-cert", "URI=spiffe://mesh/tenant/globex"),
        ("accept", "*/*"),
    ];
    let headers: Vec<_> = [(":path", "/healthz")].into_iter().chain(spoofed).collect();
    let permit = permit(decide(&everything(), &headers, &Host::nothing()));
    let removed: Vec<_> =
        permit.remove().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(removed, spoofed.map(|(name, _)| name.to_owned())[..6]);
    assert!(permit.set().is_empty() && permit.tenant().is_none());
}

#[test]
fn a_central_route_has_no_tenant() {
    let central = |host| [(":path", "/account"), (":authority", host)];
    assert!(permit(decide(&everything(), &central("app.test"), &acme())).tenant().is_none());
    assert!(permit(decide(&everything(), &central("www.app.test"), &acme())).tenant().is_none());
    assert_eq!(
        code(&decide(&everything(), &central("acme.app.test"), &acme())),
        Some(Code::TenantSelectionForbidden)
    );
    // A browser sends its cookie everywhere.
    let with_cookie = [(":path", "/account"), (":authority", "app.test"), ("cookie", "tenant=globex")];
    assert!(permit(decide(&everything(), &with_cookie, &acme())).tenant().is_none());
}

#[test]
fn a_route_for_which_there_is_no_rule_is_refused() {
    let policy = policy(
        r#"{"sources": [{"path": "/t/{tenant}/**"}], "proofs": [{"name": "main", "jwt_auth": "main", "preset": "auth0"}],
            "routes": [{"path": {"template": "/t/{tenant}/**"}, "methods": ["GET"], "class": "tenant", "sources": {"path": "required"}}]}"#,
    );
    permit(decide(&policy, &[(":path", "/t/acme/x")], &acme()));
    for headers in
        [&[(":path", "/x")][..], &[(":path", "/t/acme/x"), (":method", "POST")], &[(":path", "/t/")]]
    {
        assert_eq!(code(&decide(&policy, headers, &acme())), Some(Code::NoRuleMatched), "{headers:?}");
    }
}

#[test]
fn what_must_not_be_told_apart_is_the_same_answer() {
    let policy = policy(
        r#"{"directory": {"inline": {"tenants": [
            {"id": "t1", "slugs": ["acme"]}, {"id": "t2", "slugs": ["globex"]},
            {"id": "t3", "slugs": ["gone"], "state": "deleted"}, {"id": "t4", "slugs": ["new"], "state": "pending"},
            {"id": "t5", "slugs": ["late"], "state": "suspended"}, {"id": "t6", "slugs": ["frozen"], "state": "read-only"}]}},
        "sources": [{"host": {"bases": ["app.test"]}}],
        "proofs": [{"name": "main", "jwt_auth": "main", "memberships": {"claim": "orgs", "shape": "names"}}],
        "routes": [{"path": {"prefix": "/billing"}, "class": "tenant", "states": ["active", "suspended"]},
                   {"path": {"prefix": "/"}, "class": "tenant"}]}"#,
    );
    let member = Host::token(r#"{"sub":"u1","orgs":["t1","t3","t4","t5","t6"]}"#);
    let ask = |slug: &str, path: &str, method: &str, host: &Host| {
        let authority = format!("{slug}.app.test");
        decide(&policy, &[(":authority", &authority), (":path", path), (":method", method)], host)
    };
    permit(ask("acme", "/", "POST", &member));
    let bodies: Vec<_> = ["globex", "nobody", "gone", "new"]
        .into_iter()
        .map(|slug| match ask(slug, "/", "GET", &member).verdict {
            Verdict::Deny(denial) => (denial.status(), denial.body(), denial.www_authenticate()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(bodies[0].0, 404);
    // Only members learn more.
    let stranger = Host::token(r#"{"sub":"u2","orgs":["t1"]}"#);
    for slug in ["late", "frozen"] {
        assert_eq!(code(&ask(slug, "/", "POST", &stranger)), Some(Code::TenantNotFound));
    }
    assert_eq!(code(&ask("late", "/", "GET", &member)), Some(Code::TenantSuspended));
    permit(ask("late", "/billing", "POST", &member));
    permit(ask("frozen", "/", "GET", &member));
    assert_eq!(code(&ask("frozen", "/", "POST", &member)), Some(Code::TenantReadOnly));
    assert_eq!(code(&ask("frozen", "/billing", "GET", &member)), Some(Code::TenantReadOnly));
    // A framework may take this for the POST that it says it is.
    let overridden = [(":authority", "frozen.app.test"), ("X_HTTP_Method_Override", "POST")];
    assert_eq!(code(&decide(&policy, &overridden, &member)), Some(Code::TenantReadOnly));
}
