//! Against people with several organisations: the cookie, the switch, and who belongs where.

use portcullis_core::Code::{
    AuthenticationRequired, MissingToken, TenantNotFound, TenantProofInvalid, TenantRequired,
    TenantSelectionInvalid, TenantSwitchRefused,
};
use serde_json::{Value, json};

use super::{Case, Class};

fn case(class: Class, target: &str) -> Case {
    Case::new("tenant-organizations.yaml", class, "app.example.com", target)
}

/// Alice as her token says it: also of globex, which the directory does not confirm.
fn alice() -> Value {
    json!({"organizations": [{"id": "acme"}, {"id": "initech"}, {"id": "globex"}]})
}

pub(super) fn cases() -> Vec<Case> {
    let cookie = |class, value: &str| case(class, "/").header("cookie", value).claims(alice());
    let mut all: Vec<_> = ["globex", "nobody", "ACME", "Acme", "acme2"]
        .map(|name| cookie(Class::Identity, &format!("__Host-organization={name}")).refuse(&[TenantNotFound]))
        .into();
    all.extend(
        [
            "__Host-organization=",
            "__Host-organization",
            "__Host-organization=acme; __Host-organization=acme",
            "__Host-organization=acme; __Host-organization=globex",
            "__Host-organization=\"acme\"",
            "__Host-organization=acme,globex",
            "__Host-organization=%61cme",
            "__host-organization=globex",
            "__HOST-ORGANIZATION=acme",
            "__Host-organization=acme|globex",
            "__Host-organization=a c",
            "__Host-organization=acme=globex",
        ]
        .map(|value| cookie(Class::Name, value).refuse(&[TenantSelectionInvalid])),
    );
    all.push(
        case(Class::Name, "/")
            .header("cookie", "__Host-organization=acme")
            .header("cookie", "__Host-organization=globex")
            .claims(alice())
            .refuse(&[TenantSelectionInvalid]),
    );
    all.extend([
        cookie(Class::Disagreement, "__Host-organization=acme")
            .header("x-organization", "initech")
            .refuse(&[TenantNotFound]),
        cookie(Class::Disagreement, "__Host-organization=acme")
            .header("x-organization", "globex")
            .refuse(&[TenantNotFound]),
        cookie(Class::Disagreement, "__Host-organization=globex")
            .header("x-organization", "acme")
            .refuse(&[TenantNotFound]),
        cookie(Class::Disagreement, "__Host-organization=acme")
            .header("x-organization", "")
            .refuse(&[TenantSelectionInvalid]),
    ]);
    let with = |claims: Value| case(Class::Identity, "/").header("x-organization", "acme").claims(claims);
    all.extend([
        // Several and none chosen: nothing is chosen for them.
        case(Class::Identity, "/").claims(alice()).refuse(&[TenantRequired]),
        case(Class::Identity, "/").header("x-organization", "acme").refuse(&[MissingToken]),
        // The directory knows alice as a member, this token does not, and the other way round.
        with(json!({"organizations": [{"id": "initech"}]})).refuse(&[TenantNotFound]),
        with(json!({})).refuse(&[TenantNotFound]),
        with(json!({"sub": "carol", "organizations": [{"id": "acme"}]})).refuse(&[TenantNotFound]),
        with(json!({"sub": "Alice", "organizations": [{"id": "acme"}]})).refuse(&[TenantNotFound]),
        with(json!({"sub": "", "organizations": [{"id": "acme"}]})).refuse(&[TenantNotFound]),
        // The name that people see is no id.
        with(json!({"organizations": {"acme": {"name": "acme"}}})).refuse(&[TenantProofInvalid]),
        with(json!({"organizations": {"acme": {}}})).refuse(&[TenantProofInvalid]),
        with(json!({"organizations": ["acme"]})).refuse(&[TenantProofInvalid]),
        with(json!({"organizations": "acme"})).refuse(&[TenantProofInvalid]),
        with(json!({"organizations": [{"id": ["acme"]}]})).refuse(&[TenantProofInvalid]),
        with(json!({"organizations": [{"id": "acme"}, {"id": "a,b"}]})).refuse(&[TenantProofInvalid]),
    ]);
    let switch = |target: &str| {
        case(Class::Switch, target).method("POST").header("sec-fetch-site", "same-origin").claims(alice())
    };
    all.extend([
        switch("/session/organization?to=globex").refuse(&[TenantNotFound]),
        switch("/session/organization?to=nobody").refuse(&[TenantNotFound]),
        switch("/session/organization").refuse(&[TenantRequired]),
        switch("/session/organization?to=").refuse(&[TenantSelectionInvalid]),
        switch("/session/organization?to=acme&to=globex").refuse(&[TenantSelectionInvalid]),
        switch("/session/organization?to[]=acme").refuse(&[TenantSelectionInvalid]),
        switch("/session/organization?to=acme%0d%0aset-cookie:x").refuse(&[TenantSelectionInvalid]),
        case(Class::Switch, "/session/organization?to=acme")
            .method("POST")
            .header("sec-fetch-site", "same-origin")
            .refuse(&[MissingToken, AuthenticationRequired]),
    ]);
    let from = |method: &'static str, headers: &[(&str, &str)]| {
        let case = case(Class::Switch, "/session/organization?to=initech").method(method).claims(alice());
        let case = headers.iter().fold(case, |case, (name, value)| case.header(name, *value));
        case.refuse(&[TenantSwitchRefused])
    };
    all.extend([
        from("GET", &[("sec-fetch-site", "same-origin")]),
        from("PUT", &[("sec-fetch-site", "same-origin")]),
        from("HEAD", &[("sec-fetch-site", "same-origin")]).without_code(),
        from("POST", &[]),
        from("POST", &[("sec-fetch-site", "cross-site")]),
        from("POST", &[("sec-fetch-site", "same-site")]),
        from("POST", &[("sec-fetch-site", "none")]),
        from("POST", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]),
        from("POST", &[("origin", "https://evil.example")]),
        from("POST", &[("origin", "null")]),
        from("POST", &[("origin", "https://app.example.com.evil.example")]),
        from("POST", &[("origin", "https://app.example.com/"), ("sec-fetch-site", "same-origin")]),
        from("POST", &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")]),
        from("POST", &[("origin", "https://app.example.com"), ("origin", "https://evil.example")]),
    ]);
    all
}
