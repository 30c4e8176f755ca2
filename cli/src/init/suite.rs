//! `suite.yaml`: what the gateway must let through and what it must refuse, as a start.

use serde_json::{Value, json};

use super::{
    Provider, Tenants,
    plan::{Plan, Proof},
    quoted,
};

pub(super) fn render(plan: &Plan) -> String {
    let policy = if plan.has_tenants() {
        "[{file: envoy.yaml}, {plugin: tenant-guard, file: envoy.yaml}]"
    } else {
        "{file: envoy.yaml}"
    };
    let key =
        format!("main-{}", plan.algorithms.first().map_or("rs256", String::as_str).to_ascii_lowercase());
    let mut claims = json!({"sub": "alice", "exp": "now + 5m"});
    if plan.has_tenants() {
        proves(plan, "acme", &mut claims);
    }
    let audience = plan.audiences.first().map_or("", String::as_str);
    let claims = claims.to_string();
    let claims =
        format!("{{\"iss\": {}, \"aud\": {}, {}", quoted(&plan.issuer), quoted(audience), &claims[1..]);
    let (request, upstream) = match plan.tenants {
        Tenants::None => ("{path: /orders}".to_owned(), "x-sub: alice"),
        _ => (request(plan, "acme"), "x-sub: alice, x-tenant-id: acme"),
    };
    let mut text = format!(
        "# What the gateway must let through and what it must refuse. `portcullis test suite.yaml` runs it in\n\
         # the module that runs in Envoy; docs/testing.md of Portcullis has every field.\n\
         policy: {policy}\n\
         now: 2026-01-01T00:00:00Z\n\
         # Keys of this name are made for the test, and stand among the issuer's own there.\n\
         tokens:\n  alice:\n    key: {key}\n    claims: {claims}\n\
         request: {request}\n\
         checks:\n"
    );
    let mut check = |name: &str, rest: &str| {
        text.push_str(&format!("  - name: \"{name}\"\n{}\n", super::indented(rest, 4).trim_end()));
    };
    check(
        "a good token reaches the upstream, with the caller in a header that no client can set",
        &format!("token: ${{token:alice}}\nexpect: {{decision: allow, upstream_headers: {{{upstream}}}}}"),
    );
    check("no token", "expected_failure_codes: [MISSING_TOKEN]");
    check(
        "a token that has expired",
        "mint: {like: alice, claims: {exp: now - 5m}}\nexpected_failure_codes: [TOKEN_EXPIRED]",
    );
    check(
        "a token for another service",
        "mint: {like: alice, claims: {aud: another-service}}\nexpected_failure_codes: [AUDIENCE_MISMATCH]",
    );
    check(
        "a token of another issuer",
        "mint: {like: alice, claims: {iss: \"https://issuer.invalid\"}}\nexpected_failure_codes: [ISSUER_MISMATCH]",
    );
    check(
        "a forged token: other claims under an honest signature",
        "mint: {like: alice, claims: {sub: admin}, signature: [honest]}\nexpected_failure_codes: [SIGNATURE_INVALID]",
    );
    check(
        "a token without a signature",
        "mint: {like: alice, header: {alg: none}, signature: []}\nexpected_failure_codes: [ALGORITHM_NOT_ALLOWED]",
    );
    if plan.has_tenants() {
        check(
            "another customer's data: the same answer as for a customer that there is not",
            &format!(
                "token: ${{token:alice}}\nrequest: {}\nexpect: {{decision: deny, status: 404, code: TENANT_NOT_FOUND}}",
                self::request(plan, "globex")
            ),
        );
        check(
            "a client that sets the context itself",
            &format!(
                "token: ${{token:alice}}\nrequest: {}\nexpect: {{decision: allow, upstream_headers: {{x-tenant-id: acme, x-tenant-user: alice}}}}",
                spoofed(plan)
            ),
        );
    }
    text
}

/// A request for the data of `tenant`.
fn request(plan: &Plan, tenant: &str) -> String {
    match plan.tenants {
        Tenants::None => "{path: /orders}".into(),
        Tenants::Path => format!("{{path: /t/{tenant}/orders}}"),
        Tenants::Subdomain => {
            format!("{{path: /orders, host: {}}}", quoted(&format!("{tenant}.{}", plan.domain)))
        }
        Tenants::Header => format!("{{path: /orders, headers: {{x-tenant-id: {tenant}}}}}"),
        Tenants::Organizations => {
            format!("{{path: /orders, headers: {{cookie: \"__Host-organization={tenant}\"}}}}")
        }
    }
}

/// The same for `acme`, with headers that only the gateway may set.
fn spoofed(plan: &Plan) -> String {
    let headers = match plan.tenants {
        // The header is where the tenant is named: it cannot be two things.
        Tenants::Header => "x-tenant-id: acme, x-tenant-user: root",
        Tenants::Organizations => {
            "cookie: \"__Host-organization=acme\", x-tenant-id: globex, x-tenant-user: root"
        }
        _ => "x-tenant-id: globex, x-tenant-user: root",
    };
    let request = request(plan, "acme");
    let bare = request.split(", headers: ").next().unwrap_or_default().trim_end_matches('}');
    format!("{bare}, headers: {{{headers}}}}}")
}

/// The claims with which a token says that it is for `tenant`.
fn proves(plan: &Plan, tenant: &str, claims: &mut Value) {
    match &plan.proof {
        Proof::Claim(claim) => claims[claim] = json!([tenant]),
        Proof::Provider(Provider::Auth0 | Provider::Workos) => claims["org_id"] = json!(tenant),
        Proof::Provider(Provider::Clerk) => claims["o"] = json!({"id": tenant}),
        Proof::Provider(Provider::Zitadel) => {
            claims["urn:zitadel:iam:user:resourceowner:id"] = json!(tenant);
        }
        Proof::Provider(Provider::Stytch) => {
            claims["https://stytch.com/organization"] = json!({"organization_id": tenant});
        }
        Proof::Provider(Provider::Keycloak) => claims["organization"] = json!({"the-alias": {"id": tenant}}),
    }
}
