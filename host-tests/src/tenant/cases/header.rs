//! Against a header: spoofed, doubled, listed, encoded; machine tokens that prove nothing.

use portcullis_core::Code::{
    MissingToken, NoRuleMatched, TenantNotFound, TenantProofInvalid, TenantRequired, TenantSelectionInvalid,
};
use serde_json::{Value, json};

use super::{Case, Class, Expect};

fn case(class: Class, target: &str) -> Case {
    Case::new("tenant-header.yaml", class, "metrics.example.com", target)
}

fn acme() -> Value {
    json!({"tenant_id": "acme"})
}

pub(super) fn cases() -> Vec<Case> {
    let with = |value: &str| case(Class::Name, "/api/v1/push").header("x-scope-orgid", value).claims(acme());
    let mut all: Vec<_> = ["globex", "ACME", "Acme", "acme2", "nobody", "acme-", "acme_"]
        .map(|value| with(value).refuse(&[TenantNotFound]))
        .into();
    all.extend(
        [
            "",
            "acme,globex",
            "acme, globex",
            "acme|globex",
            "acme|acme",
            "acme;globex",
            "acme globex",
            "acme%2C",
            "%61cme",
            "*",
            ".",
            "..",
            "../globex",
            "a/b",
            "acme.",
            ".acme",
            "-acme",
            "_acme",
            "acme:meta",
            "acme\u{e9}",
            "аcme",
            "acme\u{2100}",
            "'acme'",
            "\"acme\"",
            "a.b.c",
            "null\u{0}x",
            "{acme}",
            "acme#",
            "acme?x",
            "acme=globex",
            "acme\\globex",
        ]
        .map(|value| with(value).refuse(&[TenantSelectionInvalid])),
    );
    all.push(with(&"a".repeat(151)).refuse(&[TenantSelectionInvalid]));
    all.push(with(&"a".repeat(50_000)).refuse(&[TenantSelectionInvalid]));
    let twice = |first: (&str, &str), second: (&str, &str)| {
        case(Class::Disagreement, "/api/v1/push")
            .header(first.0, first.1)
            .header(second.0, second.1)
            .claims(acme())
    };
    let own = ("x-scope-orgid", "acme");
    all.extend([
        twice(own, ("x-scope-orgid", "globex")).refuse(&[TenantSelectionInvalid]),
        twice(("x-scope-orgid", "globex"), own).refuse(&[TenantSelectionInvalid]),
        twice(own, own).refuse(&[TenantSelectionInvalid]),
        twice(own, ("X-Scope-OrgID", "globex")).refuse(&[TenantSelectionInvalid]),
        twice(own, ("x-scope-orgid", "")).refuse(&[TenantSelectionInvalid]),
        twice(own, ("x-scope-orgid-bin", "Z2xvYmV4")).refuse(&[TenantSelectionInvalid]),
        twice(own, ("X-Scope-OrgID-Bin", "")).refuse(&[TenantSelectionInvalid]),
    ]);
    for other in ["x_scope_orgid", "X-Scope_OrgID", "x-scope_orgid"] {
        let both = twice(own, (other, "globex")).refuse(&[TenantSelectionInvalid]);
        all.push(both.in_envoy(Expect::Refuse(Vec::new())));
    }
    // Other punctuation folds as well in CGI servers, and no connection manager looks at it.
    for other in ["x.scope.orgid", "x~scope~orgid", "x-scope.orgid"] {
        all.push(twice(own, (other, "globex")).refuse(&[TenantSelectionInvalid]));
    }
    all.extend([b"\xff".to_vec(), b"acme\xff".to_vec(), b"\xc3\x28".to_vec(), b"acm\xe9".to_vec()].map(
        |bytes| {
            case(Class::Name, "/api/v1/push")
                .header("x-scope-orgid", bytes)
                .claims(acme())
                .refuse(&[TenantSelectionInvalid])
        },
    ));
    let grpc = |value: &str| {
        case(Class::Protocol, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-scope-orgid", value)
    };
    all.extend([
        grpc("globex").claims(acme()).refuse(&[TenantNotFound]),
        grpc("acme,globex").claims(acme()).refuse(&[TenantSelectionInvalid]),
        grpc("acme").header("x-scope-orgid-bin", "Z2xvYmV4").claims(acme()).refuse(&[TenantSelectionInvalid]),
        grpc("acme").refuse(&[MissingToken]),
    ]);
    let id =
        |claims: Value| case(Class::Identity, "/api/v1/push").header("x-scope-orgid", "acme").claims(claims);
    all.extend([
        case(Class::Identity, "/api/v1/push").header("x-scope-orgid", "acme").refuse(&[MissingToken]),
        case(Class::Identity, "/api/v1/push").claims(acme()).refuse(&[TenantRequired]),
        case(Class::Identity, "/api/v1/push")
            .header("x-tenant-id", "acme")
            .claims(acme())
            .refuse(&[TenantRequired]),
        case(Class::Identity, "/other")
            .header("x-scope-orgid", "acme")
            .claims(acme())
            .refuse(&[NoRuleMatched]),
        id(json!({})).refuse(&[TenantNotFound]),
        id(json!({"tenant_id": "globex"})).refuse(&[TenantNotFound]),
        id(json!({"tenant_id": "ACME"})).refuse(&[TenantNotFound]),
        id(json!({"tenant_id": ""})).refuse(&[TenantProofInvalid]),
        id(json!({"tenant_id": ["acme"]})).refuse(&[TenantProofInvalid]),
        id(json!({"tenant_id": "acme|globex"})).refuse(&[TenantProofInvalid]),
        id(json!({"tenant_id": "acme", "grants": {"roles": 7}})).refuse(&[TenantProofInvalid]),
        id(json!({"tenant_id": "acme", "grants": "admin"})).refuse(&[TenantProofInvalid]),
    ]);
    all
}
