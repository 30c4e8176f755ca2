//! Against paths: another customer's segment, and every way to write it.

use portcullis_core::Code::{
    MissingToken, NoRuleMatched, RequestAmbiguous, TenantNotFound, TenantProofInvalid,
    TenantSelectionForbidden, TenantSelectionInvalid,
};
use serde_json::{Value, json};

use super::{Case, Class, Expect};

fn case(class: Class, target: &str) -> Case {
    Case::new("tenant-path.yaml", class, "api.example.com", target)
}

fn acme() -> Value {
    json!({"tenants": ["acme", "initech"]})
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = names();
    all.extend(paths());
    all.extend(disagreement());
    all.extend(identity());
    all.extend(spoofing());
    all
}

fn names() -> Vec<Case> {
    let with = |target: &str| case(Class::Name, target).claims(acme());
    let mut all: Vec<_> = [
        "/t/globex/invoices",
        "/t/nobody/invoices",
        "/t/acmee/x",
        "/t/acm/x",
        "/t/globex",
        "/t/www/x",
        "/t/t/acme/x",
    ]
    .map(|target| with(target).refuse(&[TenantNotFound]))
    .into();
    all.extend(
        [
            "/t/ACME/invoices",
            "/t/Acme/x",
            "/t/acme,globex/x",
            "/t/acme|globex/x",
            "/t/acme%20/x",
            "/t/%20acme/x",
            "/t/acme:x/y",
            "/t/acme%2Cglobex/x",
            "/t/acme@globex/x",
            "/t/*/x",
            "/t/acme./x",
            "/t/.acme/x",
            "/t/acme_/x",
            "/t/-acme/x",
            "/t/xn--acme/x",
            "/t/caf%C3%A9/x",
            "/t/%D0%B0cme/x",
            "/t/acme+globex/x",
            "/t/acme'/x",
            "/t/$acme/x",
            "/t/~acme/x",
            "/t/(acme)/x",
            "/t/%7B%7D/x",
        ]
        .map(|target| with(target).refuse(&[TenantSelectionInvalid])),
    );
    // A route that names no tenant is no route here.
    all.push(with(&format!("/t/{}/x", "a".repeat(64))).refuse(&[TenantSelectionInvalid]));
    all.push(with(&format!("/t/{}/x", "a".repeat(8000))).refuse(&[TenantSelectionInvalid]));
    all.extend(
        ["/t", "/t/", "/", "/x/t/acme", "/invoices", "/api/t/acme/x", "/T/acme/x", "/T/globex/x"]
            .map(|target| with(target).refuse(&[NoRuleMatched])),
    );
    all
}

fn paths() -> Vec<Case> {
    let with = |target: &str| case(Class::Path, target).claims(acme());
    let globex = |target: &str| {
        with(target).refuse(&[RequestAmbiguous]).in_envoy(Expect::Refuse(vec![
            TenantNotFound,
            RequestAmbiguous,
            NoRuleMatched,
            TenantSelectionInvalid,
        ]))
    };
    let mut all: Vec<_> = [
        "/t/acme/../globex/x",
        "/t/acme/%2e%2e/globex/x",
        "/t/acme/.%2e/globex/x",
        "/t/./globex/x",
        "//t/globex/x",
        "/t//globex/x",
        "/t/globex//x",
        "/t/acme/..//globex/x",
        "/t/%67lobex/x",
        "/t/globe%78/x",
        "/t/acme/../../t/globex/x",
        "/status/../t/globex/x",
        "/status/%2e%2e/t/globex/x",
        "/me/../t/globex/x",
        "/t/acme\\..\\globex\\x",
        "/t\\globex\\x",
        "/t/globex;x=acme/x",
        "/t/acme;/../globex/x",
        "/t/globex/x#/t/acme",
        "/t/globex/x%23/t/acme",
    ]
    .map(globex)
    .into();
    all.extend(
        [
            "/t/acme%2f..%2fglobex/x",
            "/t/acme%2Fglobex/x",
            "/t/acme%5c..%5cglobex/x",
            "/t%2fglobex/x",
            "/t/acme%00/x",
            "/t/acme%0d%0a/x",
            "/t/acme%09/x",
            "/t/%00acme/x",
            "/t/acme%/x",
            "/t/acme%g1/x",
            "/t/%2567lobex/x",
            "/t/%25%36%37lobex/x",
            "/t/acme%252f..%252fglobex/x",
            "/t/%c0%ae%c0%ae/globex",
            "/t/acme%ff/x",
            "/t/acme/%2e%2e%2fglobex/x",
        ]
        .map(|target| with(target).refuse(&[RequestAmbiguous])),
    );
    // The same tenant in another spelling is refused here; a connection manager that reads it in
    // the plain one may let it through, for that very tenant.
    all.push(
        with("/t/%61cme/x")
            .refuse(&[RequestAmbiguous])
            .in_envoy(Expect::Forward(vec![("x-tenant-id", vec!["acme"])])),
    );
    all.push(
        with("/t/globex/../acme/x")
            .refuse(&[RequestAmbiguous])
            .in_envoy(Expect::Forward(vec![("x-tenant-id", vec!["acme"]), (":path", vec!["/x"])])),
    );
    all
}

fn disagreement() -> Vec<Case> {
    let with = |target: &str| case(Class::Disagreement, target).claims(acme());
    let mut all: Vec<_> = [
        "/t/acme/x?tenant=globex",
        "/t/globex/x?tenant=acme",
        "/t/acme/x?tenant=initech",
        "/t/acme/x?a=1&tenant=nobody",
    ]
    .map(|target| with(target).refuse(&[TenantNotFound]))
    .into();
    all.extend(
        [
            "/t/acme/x?tenant=acme&tenant=acme",
            "/t/acme/x?tenant=acme&tenant=globex",
            "/t/acme/x?tenant[]=globex",
            "/t/acme/x?tenant[0]=globex",
            "/t/acme/x?tenant%5B%5D=globex",
            "/t/acme/x?%74enant=globex",
            "/t/acme/x?%2574enant=globex",
            "/t/acme/x?Tenant=globex",
            "/t/acme/x?TENANT=acme",
            "/t/acme/x?tenant=",
            "/t/acme/x?tenant",
            "/t/acme/x?a=1;tenant=globex",
            "/t/acme/x?tenant=acme;tenant=globex",
            "/t/acme/x?tenant=acme%00",
            "/t/acme/x?tenant=%61cme",
            "/t/acme/x?tenant=acme,globex",
            "/t/acme/x?tenant=acme|globex",
            "/t/acme/x?+tenant=globex",
            "/t/acme/x?tenant%00=globex",
            "/t/acme/x?tenant=acme+",
            "/t/acme/x?tenant=acme%26tenant=globex",
            "/t/acme/x?tenant=*",
            "/t/acme/x?tenant=acme&tenant[]=globex",
        ]
        .map(|target| with(target).refuse(&[TenantSelectionInvalid])),
    );
    all.push(case(Class::Disagreement, "/me?tenant=acme").claims(acme()).refuse(&[TenantSelectionForbidden]));
    all.push(
        case(Class::Disagreement, "/me?tenant=globex").claims(acme()).refuse(&[TenantSelectionForbidden]),
    );
    all
}

fn identity() -> Vec<Case> {
    let with = |claims: Value| case(Class::Identity, "/t/acme/x").claims(claims);
    let mut all = vec![
        case(Class::Identity, "/t/acme/x").refuse(&[MissingToken]),
        case(Class::Identity, "/me").refuse(&[MissingToken]),
        with(json!({})).refuse(&[TenantNotFound]),
        with(json!({"tenants": null})).refuse(&[TenantNotFound]),
        with(json!({"tenants": []})).refuse(&[TenantNotFound]),
        with(json!({"tenants": ["globex"]})).refuse(&[TenantNotFound]),
        with(json!({"tenants": ["ACME"]})).refuse(&[TenantNotFound]),
        with(json!({"tenants": ["acme2", "initech"]})).refuse(&[TenantNotFound]),
        with(json!({"Tenants": ["acme"]})).refuse(&[TenantNotFound]),
        with(json!({"tenant": "acme"})).refuse(&[TenantNotFound]),
    ];
    for odd in [
        json!("acme"),
        json!("acme,globex"),
        json!({"acme": {}}),
        json!(["acme", 7]),
        json!([["acme"]]),
        json!(["acme", null]),
        json!(["acme", ""]),
        json!(["acme", "*"]),
        json!([{"id": "acme"}]),
        json!(true),
        json!(["acme,globex"]),
        json!(["acme", "globex\u{0}"]),
        json!(["acme", "a/b"]),
    ] {
        all.push(with(json!({ "tenants": odd })).refuse(&[TenantProofInvalid]));
    }
    all
}

fn spoofing() -> Vec<Case> {
    let with = || case(Class::Spoofing, "/t/acme/x").claims(acme());
    let told: &[(&str, &[&str])] =
        &[("x-tenant-id", &["acme"]), ("x-tenant-user", &["alice"]), (":path", &["/x"])];
    vec![
        with().header("x-tenant-id", "globex").forward(told),
        with().header("x-tenant-id", "globex").header("x-tenant-id", "acme").forward(told),
        with().header("X-TENANT-USER", "root").forward(told),
        with().header("x-tenant-id", b"\xff".to_vec()).forward(told),
        with().header("x-envoy-original-path", "/t/globex/x").forward(&[("x-envoy-original-path", &[])]),
        with().header("x-original-uri", "/t/globex/x").forward(&[("x-original-uri", &[])]),
        with().header("x-forwarded-prefix", "/t/globex").forward(&[("x-forwarded-prefix", &[])]),
    ]
}
