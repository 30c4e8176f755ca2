//! Against subdomains and domains: another customer's host, hosts that are no hosts, spoofed
//! context, tokens that prove nothing, and tenants that are not in use.

use portcullis_core::Code::{
    AuthenticationRequired, MissingToken, RequestAmbiguous, TenantNotFound, TenantProofInvalid,
    TenantReadOnly, TenantRequired, TenantSelectionForbidden, TenantSelectionInvalid, TenantSuspended,
};
use serde_json::{Value, json};

use super::{Case, Class, Expect};

const ACME: &str = "acme.app.example.com";

fn case(class: Class, host: &str, target: &str) -> Case {
    Case::new("tenant-subdomain.yaml", class, host, target)
}

fn acme() -> Value {
    json!({"org_id": "org_Acme01"})
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = hosts();
    all.extend(paths());
    all.extend(spoofing());
    all.extend(identity());
    all.extend(life());
    all.extend(protocol());
    all
}

fn hosts() -> Vec<Case> {
    let with = |host: &str| case(Class::Host, host, "/orders").claims(acme());
    let mut all: Vec<_> = [
        "globex.app.example.com",
        "GLOBEX.App.Example.Com:443",
        "nobody.app.example.com",
        "acm.app.example.com",
        "acmee.app.example.com",
        "orders.globex.example",
        "acme.example",
        "example.org",
        "acme.app.example.com.evil.example",
        "app.example.com.evil.example",
    ]
    .map(|host| with(host).refuse(&[TenantNotFound]))
    .into();
    all.extend(
        [
            "globex.acme.app.example.com",
            "acme.globex.app.example.com",
            "www.acme.app.example.com",
            "xn--acme-9na.app.example.com",
            "-acme.app.example.com",
            "acme_.app.example.com",
            "acme%2e.app.example.com",
            "acme..app.example.com",
            ".app.example.com",
            "127.0.0.1",
            "[::1]",
        ]
        .map(|host| with(host).refuse(&[TenantSelectionInvalid, RequestAmbiguous])),
    );
    // The product's own hosts have no tenant, so tenant routes are not there.
    all.extend(
        ["app.example.com", "www.app.example.com", "example.com", "api.app.example.com"]
            .map(|host| with(host).refuse(&[TenantRequired])),
    );
    all.push(
        with("globex.app.example.com.")
            .refuse(&[RequestAmbiguous])
            .in_envoy(Expect::Refuse(vec![TenantNotFound])),
    );
    all.push(with("acme.app.example.com.").refuse(&[RequestAmbiguous]).in_envoy(Expect::Forward(Vec::new())));
    all.extend(
        [
            "user@acme.app.example.com",
            "acme.app.example.com,globex.app.example.com",
            "acme.app.example.com/x",
        ]
        .map(|host| with(host).refuse(&[RequestAmbiguous, TenantSelectionInvalid])),
    );
    for host in [
        &b"acme.app.example.com\xe2\x84\x80"[..],
        b"\xd0\xb0cme.app.example.com",
        b"acm\xe9.app.example.com",
        b"acme\x00.app.example.com",
        b"",
    ] {
        let mut with = with("");
        with.authority = host.to_vec();
        all.push(with.refuse(&[RequestAmbiguous, TenantSelectionInvalid]));
    }
    all
}

fn paths() -> Vec<Case> {
    let with = |target: &str| case(Class::Path, ACME, target).claims(acme());
    // Out of a public part into a tenant's, past a rule that looked at another path.
    [
        "/login/../orders",
        "/login/%2e%2e/orders",
        "/login/..%2forders",
        "/login\\..\\orders",
        "/login/..;/orders",
        "/login/.././orders",
    ]
    .map(|target| {
        case(Class::Path, "globex.app.example.com", target)
            .claims(acme())
            .refuse(&[RequestAmbiguous])
            .in_envoy(Expect::Refuse(vec![TenantNotFound, RequestAmbiguous]))
    })
    .into_iter()
    .chain(
        [
            "/orders%00",
            "/orders%2f7",
            "/orders%5c7",
            "/%6frders%",
            "/orders%zz",
            "/orders/%252e%252e/7",
            "/orders#/login",
        ]
        .map(|target| with(target).refuse(&[RequestAmbiguous])),
    )
    .collect()
}

fn spoofing() -> Vec<Case> {
    let with = || case(Class::Spoofing, ACME, "/orders").claims(acme());
    let told: &[(&str, &[&str])] = &[("x-tenant-slug", &["acme"]), ("x-tenant-user", &["alice"])];
    let gone = |name: &'static str| [(name, &[][..]), ("x-tenant-slug", &["acme"][..])];
    let mut all = vec![
        // A selection where none may be.
        with().header("x-tenant-id", "org_Acme01").refuse(&[TenantSelectionForbidden]),
        with().header("X-Tenant-ID", "org_Globex02").refuse(&[TenantSelectionForbidden]),
        with().header("x-tenant-id", "").refuse(&[TenantSelectionInvalid]),
        with().header("x-tenant-id-bin", "b3JnX0dsb2JleDAy").refuse(&[TenantSelectionInvalid]),
        // Trusted context from outside: replaced or gone.
        with().header("x-tenant-slug", "globex").forward(told),
        with().header("x-tenant-slug", "globex").header("x-tenant-slug", "acme").forward(told),
        with().header("x-tenant-plan", "platinum").forward(&[("x-tenant-plan", &["gold"])]),
        with().header("X-Tenant-Role", "admin").forward(&gone("x-tenant-role")),
        with().header("x-tenant-ctx", "globex").forward(&gone("x-tenant-ctx")),
        with().header("x-tenant-slug-bin", "Z2xvYmV4").forward(&gone("x-tenant-slug-bin")),
        with().header("x-forwarded-host", "globex.app.example.com").forward(&gone("x-forwarded-host")),
        with().header("forwarded", "host=globex.app.example.com").forward(&gone("forwarded")),
        with().header("x-original-url", "/t/globex").forward(&gone("x-original-url")),
        with().header("x-rewrite-url", "/login").forward(&gone("x-rewrite-url")),
        with().header("x-envoy-original-path", "/t/globex").forward(&gone("x-envoy-original-path")),
        with()
            .header("x-forwarded-client-cert", "By=x;URI=spiffe://mesh/tenant/globex/a")
            .forward(&gone("x-forwarded-client-cert")),
        case(Class::Spoofing, ACME, "/healthz")
            .header("x-tenant-id", "org_Globex02")
            .forward(&[("x-tenant-id", &[])]),
        case(Class::Spoofing, ACME, "/login")
            .header("x-tenant-user", "root")
            .forward(&[("x-tenant-user", &[])]),
        case(Class::Spoofing, "app.example.com", "/account")
            .claims(json!({}))
            .header("x-tenant-slug", "globex")
            .forward(&[("x-tenant-slug", &[])]),
    ];
    // Underscores: the connection manager refuses them; the filter strips them without it.
    for name in ["x_tenant_slug", "X_Tenant_Slug", "x-tenant_slug"] {
        let seen: &[(&str, &[&str])] =
            &[("x_tenant_slug", &[]), ("x-tenant_slug", &[]), ("x-tenant-slug", &["acme"])];
        all.push(with().header(name, "globex").forward(seen).in_envoy(Expect::Refuse(Vec::new())));
    }
    // The next hop must not be told to drop what is ours.
    for value in ["close, x-tenant-slug", "X-Tenant-Id", "keep-alive,x_tenant_user", "x-tenant-anything"] {
        all.push(with().header("connection", value).refuse(&[RequestAmbiguous]).in_envoy(Expect::Forward(
            vec![
                ("x-tenant-slug", vec!["acme"]),
                ("x-tenant-id", vec!["org_Acme01"]),
                ("x-tenant-user", vec!["alice"]),
            ],
        )));
    }
    all
}

fn identity() -> Vec<Case> {
    let with = |claims: Value| case(Class::Identity, ACME, "/orders").claims(claims);
    let mut all = vec![
        case(Class::Identity, ACME, "/orders").refuse(&[MissingToken]),
        case(Class::Identity, ACME, "/help").refuse(&[AuthenticationRequired]),
        case(Class::Identity, "app.example.com", "/account").refuse(&[MissingToken]),
        // No tenant in the token is no tenant, never a default.
        with(json!({})).refuse(&[TenantNotFound]),
        with(json!({"org_id": null})).refuse(&[TenantNotFound]),
        with(json!({"org_name": "acme"})).refuse(&[TenantNotFound]),
        with(json!({"org": {"id": "org_Acme01"}})).refuse(&[TenantNotFound]),
        // The slug, another case and a namespace are not the id.
        with(json!({"org_id": "acme"})).refuse(&[TenantNotFound]),
        with(json!({"org_id": "org_acme01"})).refuse(&[TenantNotFound]),
        with(json!({"org_id": "ORG_ACME01"})).refuse(&[TenantNotFound]),
        with(json!({"org_id": "org_Globex02"})).refuse(&[TenantNotFound]),
        case(Class::Identity, "globex.app.example.com", "/help").claims(acme()).refuse(&[TenantNotFound]),
        // `/account` is central on the product's own hosts only; here it is the tenant's.
        case(Class::Identity, "globex.app.example.com", "/account").claims(acme()).refuse(&[TenantNotFound]),
    ];
    for odd in [
        json!(""),
        json!(" "),
        json!("org_Acme01 "),
        json!("org_Acme01,org_Globex02"),
        json!("org_Acme01|org_Globex02"),
        json!("org_Acme01\u{0}"),
        json!("main.org_Acme01"),
        json!("../org_Acme01"),
        json!("*"),
        json!(["org_Acme01"]),
        json!({"id": "org_Acme01"}),
        json!(1),
        json!(true),
        json!("а"),
        json!("a".repeat(65)),
        json!("a".repeat(4000)),
    ] {
        all.push(with(json!({ "org_id": odd })).refuse(&[TenantProofInvalid]));
    }
    all
}

fn life() -> Vec<Case> {
    let with = |host: &str, target: &str, org: &str| {
        case(Class::Life, host, target).claims(json!({ "org_id": org }))
    };
    vec![
        // Members are told that their tenant is suspended; nobody else is.
        with("initech.app.example.com", "/", "org_Initech03").refuse(&[TenantSuspended]),
        with("initech.app.example.com", "/orders", "org_Initech03").method("POST").refuse(&[TenantSuspended]),
        with("initech.app.example.com", "/", "org_Acme01").refuse(&[TenantNotFound]),
        with("initech.app.example.com", "/billing", "org_Acme01").refuse(&[TenantNotFound]),
        with("umbra.app.example.com", "/orders", "org_Umbra04").method("POST").refuse(&[TenantReadOnly]),
        with("umbra.app.example.com", "/orders", "org_Umbra04").method("DELETE").refuse(&[TenantReadOnly]),
        with("umbra.app.example.com", "/orders", "org_Acme01").method("POST").refuse(&[TenantNotFound]),
        // Gone is gone, for its members as well.
        with("oldco.app.example.com", "/", "org_Old05").refuse(&[TenantNotFound]),
        with("oldco.app.example.com", "/billing", "org_Old05").refuse(&[TenantNotFound]),
        with("oldco.app.example.com", "/", "org_Acme01").refuse(&[TenantNotFound]),
    ]
}

fn protocol() -> Vec<Case> {
    let upgrade = |host: &str| {
        case(Class::Protocol, host, "/ws")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    vec![
        upgrade("globex.app.example.com").claims(acme()).refuse(&[TenantNotFound]),
        upgrade(ACME).refuse(&[MissingToken]),
        upgrade("nobody.app.example.com").claims(acme()).refuse(&[TenantNotFound]),
        case(Class::Protocol, "globex.app.example.com", "/x.Y/Z")
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .claims(acme())
            .refuse(&[TenantNotFound]),
        case(Class::Protocol, ACME, "/x.Y/Z")
            .method("POST")
            .header("content-type", "application/grpc")
            .header("x-tenant-id", "org_Globex02")
            .claims(acme())
            .refuse(&[TenantSelectionForbidden]),
        // Not a preflight that a browser makes.
        case(Class::Protocol, "globex.app.example.com", "/orders")
            .method("OPTIONS")
            .claims(acme())
            .refuse(&[TenantNotFound]),
        case(Class::Protocol, ACME, "/orders").method("OPTIONS").refuse(&[MissingToken]),
        // A header as large as a proxy takes.
        case(Class::Protocol, ACME, "/orders")
            .header("x-tenant-id", "a".repeat(40_000))
            .claims(acme())
            .refuse(&[TenantSelectionInvalid]),
        case(Class::Protocol, ACME, "/orders")
            .header("x-tenant-id", b"\xff\xfe".to_vec())
            .claims(acme())
            .refuse(&[TenantSelectionInvalid]),
        case(Class::Protocol, ACME, "/orders").method("TRACE").claims(json!({})).refuse(&[TenantNotFound]),
    ]
}
