//! What honest clients of the four products send: none of it may be refused.

use serde_json::json;

use super::{Case, Class};

pub(super) fn cases() -> Vec<Case> {
    let mut all = subdomain();
    all.extend(path());
    all.extend(header());
    all.extend(organizations());
    all
}

fn subdomain() -> Vec<Case> {
    let case = |host, target| Case::new("tenant-subdomain.yaml", Class::Ordinary, host, target);
    let acme = || json!({"org_id": "org_Acme01"});
    let told: &[(&str, &[&str])] = &[
        ("x-tenant-id", &["org_Acme01"]),
        ("x-tenant-slug", &["acme"]),
        ("x-tenant-plan", &["gold"]),
        ("x-tenant-region", &["eu"]),
        ("x-tenant-user", &["alice"]),
    ];
    let nobody: &[(&str, &[&str])] = &[("x-tenant-id", &[]), ("x-tenant-slug", &[]), ("x-tenant-user", &[])];
    let mut all: Vec<_> = [
        ("acme.app.example.com", "/"),
        ("ACME.App.Example.Com", "/orders/7"),
        ("acme.app.example.com:8443", "/orders?page=2&q=a%20b&filter[x]=1"),
        ("acme.app.example.com", "/t/globex/not-a-tenant-here"),
        ("acme.app.example.com", "/files/caf%C3%A9/a%20b"),
        ("acme.app.example.com", "/next?next=/t/globex&tenant=globex"),
        ("orders.acme.example", "/"),
        ("acme.app.example.com", "/billing/invoices"),
        ("acme.app.example.com", "/help"),
    ]
    .into_iter()
    .map(|(host, target)| case(host, target).claims(acme()).forward(told))
    .collect();
    all.extend(
        ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].map(|method| {
            case("acme.app.example.com", "/orders").method(method).claims(acme()).forward(told)
        }),
    );
    all.extend([
        case("acme.app.example.com", "/healthz").forward(nobody),
        case("app.example.com", "/healthz").forward(nobody),
        case("acme.app.example.com", "/login?next=/orders").forward(nobody),
        case("app.example.com", "/login").method("POST").forward(nobody),
        case("app.example.com", "/help").forward(nobody),
        case("app.example.com", "/account").claims(acme()).forward(nobody),
        case("www.app.example.com", "/account/settings").claims(json!({})).forward(nobody),
        case("initech.app.example.com", "/billing")
            .claims(json!({"org_id": "org_Initech03"}))
            .forward(&[("x-tenant-id", &["org_Initech03"]), ("x-tenant-plan", &[])]),
        case("umbra.app.example.com", "/")
            .claims(json!({"org_id": "org_Umbra04"}))
            .forward(&[("x-tenant-id", &["org_Umbra04"])]),
        // Bytes that are no text, a list, an empty header: other people's headers are not ours.
        case("acme.app.example.com", "/")
            .header("x-note", b"caf\xe9".to_vec())
            .header("accept-language", "de, en;q=0.5")
            .header("x-empty", "")
            .header("cookie", "theme=dark; tenant=globex; a=b")
            .claims(acme())
            .forward(told),
        // An upgrade is a request like others, and so is an upstream that does not take it.
        case("acme.app.example.com", "/ws")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .claims(acme())
            .forward(told),
        // A preflight goes without a token and without a tenant.
        case("acme.app.example.com", "/orders")
            .method("OPTIONS")
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "PUT")
            .forward(nobody),
    ]);
    all
}

fn path() -> Vec<Case> {
    let case = |target| Case::new("tenant-path.yaml", Class::Ordinary, "api.example.com", target);
    let both = || json!({"tenants": ["acme", "initech"]});
    vec![
        case("/t/acme/invoices").claims(both()).forward(&[
            (":path", &["/invoices"]),
            ("x-tenant-id", &["acme"]),
            ("x-tenant-user", &["alice"]),
        ]),
        case("/t/initech/invoices/7?x=1&y=/t/globex")
            .claims(both())
            .forward(&[(":path", &["/invoices/7?x=1&y=/t/globex"]), ("x-tenant-id", &["initech"])]),
        case("/t/acme/").claims(both()).forward(&[(":path", &["/"]), ("x-tenant-id", &["acme"])]),
        case("/t/acme").claims(both()).forward(&[(":path", &["/"]), ("x-tenant-id", &["acme"])]),
        case("/t/acme/invoices?tenant=acme")
            .claims(both())
            .forward(&[(":path", &["/invoices?tenant=acme"]), ("x-tenant-id", &["acme"])]),
        case("/t/acme/a%20b/caf%C3%A9").claims(both()).forward(&[(":path", &["/a%20b/caf%C3%A9"])]),
        case("/t/acme/invoices").method("POST").claims(both()).forward(&[("x-tenant-id", &["acme"])]),
        case("/status").forward(&[("x-tenant-id", &[])]),
        case("/status/deep").header("x-tenant-id", "globex").forward(&[("x-tenant-id", &[])]),
        case("/me").claims(both()).forward(&[("x-tenant-id", &[])]),
    ]
}

fn header() -> Vec<Case> {
    let case = |target| Case::new("tenant-header.yaml", Class::Ordinary, "metrics.example.com", target);
    let acme = || json!({"tenant_id": "acme", "grants": {"roles": ["writer", "a,b"]}});
    vec![
        case("/api/v1/push")
            .method("POST")
            .header("X-Scope-OrgID", "acme")
            .claims(acme())
            .forward(&[("x-scope-orgid", &["acme"]), ("x-tenant-roles", &["writer,a%2Cb"])]),
        case("/api/v1/query?query=up%7Btenant%3D%22x%22%7D")
            .header("x-scope-orgid", "acme")
            .claims(acme())
            .forward(&[("x-scope-orgid", &["acme"])]),
        case("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-scope-orgid", "acme")
            .claims(acme())
            .forward(&[("x-scope-orgid", &["acme"])]),
        case("/ready").forward(&[("x-scope-orgid", &[])]),
        case("/ready").header("x-scope-orgid", "globex").forward(&[("x-scope-orgid", &[])]),
    ]
}

fn organizations() -> Vec<Case> {
    let case = |target| Case::new("tenant-organizations.yaml", Class::Ordinary, "app.example.com", target);
    let alice = || json!({"organizations": {"Acme Inc.": {"id": "acme"}, "Initech": {"id": "initech"}}});
    let list = || json!({"organizations": [{"id": "acme"}, {"id": "initech"}]});
    let initech: &[(&str, &[&str])] =
        &[("x-tenant-id", &["initech"]), ("x-tenant-roles", &["reader,billing"]), ("x-tenant-theme", &[])];
    vec![
        case("/").header("cookie", "__Host-organization=acme").claims(alice()).forward(&[
            ("x-tenant-id", &["acme"]),
            ("x-tenant-roles", &["owner"]),
            ("x-tenant-theme", &["dark"]),
            ("x-tenant-user", &["alice"]),
        ]),
        case("/").header("cookie", "a=b; __Host-organization=initech; c=d").claims(alice()).forward(initech),
        case("/").header("x-organization", "initech").claims(list()).forward(initech),
        case("/")
            .header("x-organization", "initech")
            .header("cookie", "__Host-organization=initech")
            .claims(list())
            .forward(initech),
        case("/organizations").claims(alice()).forward(&[("x-tenant-id", &[])]),
        case("/organizations")
            .header("cookie", "__Host-organization=acme")
            .header("x-organization", "acme")
            .claims(alice())
            .forward(&[("x-tenant-id", &[]), ("x-organization", &[])]),
        case("/assets/app.js").forward(&[("x-tenant-id", &[])]),
        case("/session/organization?to=initech")
            .method("POST")
            .header("origin", "https://app.example.com")
            .header("sec-fetch-site", "same-origin")
            .claims(alice())
            .answer(204, "__Host-organization=initech; Path=/; Secure; HttpOnly; SameSite=Lax"),
        case("/session/organization?to=acme")
            .method("POST")
            .header("sec-fetch-site", "same-origin")
            .header("cookie", "__Host-organization=initech")
            .claims(alice())
            .answer(204, "__Host-organization=acme; Path=/; Secure; HttpOnly; SameSite=Lax"),
    ]
}
