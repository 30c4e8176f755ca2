//! Every kind of claim rule, the profile and reports, through every subject: one table, one answer.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::{
    envoy,
    subject::{ArithmeticIn, Hosted, Judgement, Native, Real, Subject, judgement},
};
use portcullis_issuer::{Seed, Setup, attacks::Request};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const FIXED: i64 = 1_767_225_600;

/// A rule by the name of its path, what its conditions are, and requests with the token's claims and
/// the code that each gets; no code is a permit.
struct Row {
    rule: &'static str,
    conditions: Value,
    asks: Vec<Ask>,
}

struct Ask {
    below: &'static str,
    header: Option<(&'static str, &'static str)>,
    claims: Value,
    code: Option<&'static str>,
}

const DENIED: Option<&str> = Some("INSUFFICIENT_CLAIMS");
const TWO_READINGS: Option<&str> = Some("REQUEST_AMBIGUOUS");

fn ask(claims: Value, code: Option<&'static str>) -> Ask {
    Ask { below: "/acme", header: None, claims, code }
}

fn row(rule: &'static str, conditions: Value, asks: Vec<Ask>) -> Row {
    Row { rule, conditions, asks }
}

fn table() -> Vec<Row> {
    vec![
        row(
            "equals",
            json!([{ "path": ["https://a.example/plan", "name"], "equals": "gold" }]),
            vec![
                ask(json!({ "https://a.example/plan": { "name": "gold" } }), None),
                ask(json!({ "https://a.example/plan": { "name": "Gold" } }), DENIED),
                ask(json!({ "https://a.example/plan": { "name": null } }), DENIED),
                ask(json!({}), DENIED),
            ],
        ),
        row(
            "number",
            json!([{ "claim": "level", "at_least": 2 }, { "claim": "level", "less_than": 9.5 }]),
            vec![
                ask(json!({ "level": 2 }), None),
                ask(json!({ "level": 9.5 }), DENIED),
                ask(json!({ "level": "3" }), DENIED),
            ],
        ),
        row(
            "set",
            json!([
                { "claim": "roles", "contains": ["reader", "writer"] },
                { "claim": "roles", "elements": "none", "one_of": ["suspended"] },
            ]),
            vec![
                ask(json!({ "roles": ["writer", "x", "reader"] }), None),
                ask(json!({ "roles": ["writer"] }), DENIED),
                ask(json!({ "roles": ["writer", "reader", "suspended"] }), DENIED),
                ask(json!({ "roles": ["writer", "reader", ["suspended"]] }), DENIED),
            ],
        ),
        row(
            "text",
            json!([{ "any": [
                { "claim": "mail", "suffix": "@corp.example" },
                { "claim": "group", "prefix": "team-" },
                { "claim": "job", "matches": "build|deploy-[a-z]+" },
            ] }]),
            vec![
                ask(json!({ "mail": "a@corp.example" }), None),
                ask(json!({ "mail": "a@corp.example.evil", "group": "team-a" }), None),
                ask(json!({ "job": "deploy-web" }), None),
                ask(json!({ "job": "xbuild" }), DENIED),
                ask(json!({ "job": "build\n" }), DENIED),
                ask(json!({}), DENIED),
            ],
        ),
        row(
            "none",
            json!([{ "none": [{ "claim": "country", "one_of": ["XX"] }] }]),
            vec![
                ask(json!({ "country": "DE" }), None),
                ask(json!({ "country": "XX" }), DENIED),
                ask(json!({ "country": 7 }), DENIED),
                ask(json!({}), DENIED),
            ],
        ),
        row(
            "variable",
            json!([{ "claim": "tenants", "equals_request": { "path_variable": "tenant" } }]),
            vec![
                ask(json!({ "tenants": ["other", "acme"] }), None),
                ask(json!({ "tenants": "ACME" }), DENIED),
                Ask { below: "/a%20b", header: None, claims: json!({ "tenants": "a b" }), code: None },
            ],
        ),
        row(
            "header",
            json!([{ "claim": "tenant", "equals_request": { "header": "x-tenant" } }]),
            vec![
                Ask { header: Some(("x-tenant", "acme")), ..ask(json!({ "tenant": "acme" }), None) },
                Ask { header: Some(("x-tenant", "evil")), ..ask(json!({ "tenant": "acme" }), DENIED) },
                ask(json!({ "tenant": "acme" }), DENIED),
            ],
        ),
        row(
            "host",
            json!([{ "claim": "site", "equals_request": "host" }]),
            vec![ask(json!({ "site": "Gateway" }), None), ask(json!({ "site": "gateway2" }), DENIED)],
        ),
        row(
            "query",
            json!([{ "claim": "tenant", "equals_request": { "query": "tenant" } }]),
            vec![
                Ask {
                    below: "/x?tenant=acme",
                    header: None,
                    claims: json!({ "tenant": "acme" }),
                    code: None,
                },
                Ask {
                    below: "/x?tenant=acme&tenant=evil",
                    header: None,
                    claims: json!({ "tenant": "acme" }),
                    code: TWO_READINGS,
                },
                Ask {
                    below: "/x?tenant=acme&tenant%5B%5D=evil",
                    header: None,
                    claims: json!({ "tenant": "acme" }),
                    code: TWO_READINGS,
                },
                ask(json!({ "tenant": "acme" }), DENIED),
            ],
        ),
    ]
}

fn setup(now: i64) -> Result<Setup> {
    Ok(Setup::new(&Seed::new([11; 32]), "https://issuer", "api", now)?)
}

/// The setup's issuer as it is and once more with the profile, and a rule for each row, each report
/// and the profile.
fn configuration(setup: &Setup) -> Value {
    let mut document = setup.jwt_auth_config();
    let mut rules: Vec<Value> = table()
        .iter()
        .map(|row| {
            json!({
                "path": { "template": format!("/{}/{{tenant}}/**", row.rule) },
                "require": { "any": ["main"] },
                "claims": row.conditions,
            })
        })
        .collect();
    let any = json!({ "any": ["main"] });
    rules.extend([
        json!({ "path": { "prefix": "/scopes" }, "require": any, "scopes": ["a"], "any_scopes": ["b", "c"] }),
        json!({ "path": { "prefix": "/told" }, "require": any, "scopes": ["a"], "report_only": { "header": "x-verdict" } }),
        json!({ "path": { "prefix": "/quiet" }, "require": any, "report_only": {} }),
        json!({ "path": { "prefix": "/profiled" }, "require": { "any": ["profiled"] } }),
    ]);
    document["rules"] = json!(rules);
    let mut profiled = document["issuers"][0].clone();
    profiled["name"] = json!("profiled");
    profiled["issuer"] = json!("https://profiled");
    profiled["profile"] = json!("oauth-access-token");
    profiled["departs_from_profile"] = json!(["jti"]);
    profiled.as_object_mut().unwrap().remove("algorithms");
    document["issuers"].as_array_mut().unwrap().push(profiled);
    document
}

fn with_claims(setup: &Setup, claims: &Value) -> Result<String> {
    let mut token = setup.token();
    for (name, value) in claims.as_object().context("claims")? {
        token = token.claim(name, value.clone());
    }
    Ok(token.compact(&setup.keys.ec)?)
}

fn code(judgement: &Judgement) -> Option<String> {
    match judgement {
        Judgement::Forwarded(_) => None,
        Judgement::Refused(refusal) => refusal.code.clone(),
    }
}

fn judge_everything(setup: &Setup, subject: &mut dyn Subject) -> Result<()> {
    for Row { rule, asks, .. } in table() {
        for Ask { below, header, claims, code: expected } in asks {
            let token = with_claims(setup, &claims)?;
            let mut request = Request::get().path(format!("/{rule}{below}")).bearer(token);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let judgement = subject.judge(&request)?;
            let name = subject.name();
            ensure!(code(&judgement).as_deref() == expected, "{name}: {rule}{below} {claims}: {judgement:?}");
            if let Judgement::Refused(refusal) = &judgement
                && expected == DENIED
            {
                let challenge = refusal.challenge.as_deref().unwrap_or_default();
                ensure!(
                    refusal.status == 403 && challenge.contains("insufficient_scope"),
                    "{name}: {refusal:?}"
                );
                ensure!(!challenge.contains("scope=\""), "{name}: {challenge}");
            }
        }
    }
    scopes(setup, subject)?;
    reports(setup, subject)?;
    profile(setup, subject)
}

fn scopes(setup: &Setup, subject: &mut dyn Subject) -> Result<()> {
    for (claims, expected) in [
        (json!({ "scope": "a c" }), None),
        (json!({ "scp": ["b", "a"] }), None),
        (json!({ "scope": "a", "scp": "b" }), None),
        (json!({ "scope": "a" }), Some("INSUFFICIENT_SCOPE")),
        (json!({ "scope": "b c" }), Some("INSUFFICIENT_SCOPE")),
        (json!({ "scope": ["a b"] }), Some("INSUFFICIENT_SCOPE")),
    ] {
        let judgement =
            subject.judge(&Request::get().path("/scopes").bearer(with_claims(setup, &claims)?))?;
        ensure!(code(&judgement).as_deref() == expected, "{}: {claims}: {judgement:?}", subject.name());
    }
    Ok(())
}

fn reports(setup: &Setup, subject: &mut dyn Subject) -> Result<()> {
    let good = with_claims(setup, &json!({ "scope": "a" }))?;
    let expired = setup.token().claim("exp", json!(1)).compact(&setup.keys.ec)?;
    let forged = setup.token().compact(&setup.keys.mallory_ec.renamed("ec-1"))?;
    let nobody: &[&str] = &[];
    for (path, token, verdict, subject_header) in [
        ("/told", &good, &["allow"][..], &["alice"][..]),
        ("/told", &expired, &["TOKEN_EXPIRED"], nobody),
        ("/told", &forged, &["SIGNATURE_INVALID"], nobody),
        ("/quiet", &expired, nobody, nobody),
        ("/quiet", &good, nobody, &["alice"]),
    ] {
        let spoofed = Request::get().path(path).header("x-sub", "mallory").header("x-verdict", "allow");
        let judgement = subject.judge(&spoofed.bearer(token))?;
        let name = subject.name();
        let seen = |header: &str| judgement.upstream(header).context("refused");
        ensure!(seen("x-verdict")? == verdict, "{name}: {path}: {judgement:?}");
        ensure!(seen("x-sub")? == subject_header, "{name}: {path}: {judgement:?}");
        // A token that was not verified is left for who is behind.
        ensure!(
            seen("authorization")?.is_empty() != subject_header.is_empty(),
            "{name}: {path}: {judgement:?}"
        );
    }
    Ok(())
}

fn profile(setup: &Setup, subject: &mut dyn Subject) -> Result<()> {
    let token = |typ: &str| {
        let token = setup.token().claim("iss", json!("https://profiled")).claim("client_id", json!("web"));
        token.claim("iat", json!(setup.now)).header("typ", json!(typ))
    };
    for (token, expected) in [
        (token("at+jwt").without_claim("jti"), None),
        (token("JWT"), Some("TYPE_MISMATCH")),
        (token("at+jwt").without_claim("client_id"), Some("MISSING_CLAIM")),
        (token("at+jwt").without_claim("sub"), Some("MISSING_CLAIM")),
        (token("at+jwt").claim("client_id", json!(["web"])), Some("CLAIM_MISMATCH")),
        (token("at+jwt").claim("iss", json!("https://issuer")), Some("ISSUER_MISMATCH")),
    ] {
        let request = Request::get().path("/profiled").bearer(token.compact(&setup.keys.ec)?);
        let judgement = subject.judge(&request)?;
        ensure!(code(&judgement).as_deref() == expected, "{}: {expected:?}: {judgement:?}", subject.name());
    }
    Ok(())
}

#[test]
fn the_native_policy_and_the_module_agree_on_every_rule() -> Result<()> {
    let setup = setup(FIXED)?;
    let configuration = configuration(&setup);
    judge_everything(&setup, &mut Native::load(&configuration, FIXED)?)?;
    let wasm = portcullis_modules::JWT_AUTH.wasm;
    let mut hosted = Hosted::load(wasm, &configuration, FIXED, ArithmeticIn::Host)?;
    judge_everything(&setup, &mut hosted)?;
    let metric = |name: &str| hosted.process().metrics().get(&format!("portcullis.jwt.{name}")).copied();
    assert_eq!(metric("reported.token_expired"), Some(2));
    assert_eq!(metric("reported.signature_invalid"), Some(1));
    assert_eq!(metric("denied.token_expired"), Some(0));
    let told = hosted.process().log().into_iter().filter(|line| line.text.starts_with("only reported: "));
    let told: Vec<_> = told.map(|line| line.text).collect();
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], format!("only reported: would be denied: TOKEN_EXPIRED: `exp` is 1, now is {FIXED}"));
    Ok(())
}

#[test]
fn the_module_in_the_real_envoy_agrees_on_every_rule() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let setup = setup(now)?;
    let wasm = portcullis_modules::JWT_AUTH.wasm;
    judge_everything(&setup, &mut Real::load(&binary, wasm, &configuration(&setup))?)
}

#[test]
fn a_claim_is_compared_with_the_certificate_that_the_host_read() -> Result<()> {
    let setup = setup(FIXED)?;
    let mut document = setup.jwt_auth_config();
    document["rules"] = json!([{
        "path": { "prefix": "/" },
        "require": { "any": ["main"] },
        "claims": [{ "claim": "spiffe", "equals_request": { "peer_san": "uri" } }],
    }]);
    let process =
        Process::builder().clock(VirtualClock::at_unix_seconds(FIXED.unsigned_abs())).seed(1).build();
    let module = Module::compile(&Engine::new()?, portcullis_modules::JWT_AUTH.wasm)?;
    let mut worker = Worker::new(&process);
    worker.add(&module, Plugin::new("jwt-auth").configuration(document.to_string()))?;
    let bearer = format!("Bearer {}", with_claims(&setup, &json!({ "spiffe": "spiffe://a/web" }))?);
    for (san, expected) in [
        (Some("spiffe://a/web"), None),
        (Some("spiffe://a/web2"), DENIED),
        (Some(""), DENIED),
        (None, DENIED),
    ] {
        let mut info = StreamInfo::new();
        if let Some(san) = san {
            info = info.property(["connection", "uri_san_peer_certificate"], san);
        }
        let stream = worker.open(info);
        let headers = [
            (":method", "GET"),
            (":path", "/"),
            (":authority", "a"),
            ("authorization", bearer.as_str()),
            ("x-forwarded-client-cert", "URI=spiffe://a/web"),
        ];
        let outcome = worker.request_headers(stream, headers.to_vec(), true);
        worker.close(stream);
        assert_eq!(code(&judgement(&outcome)?).as_deref(), expected, "{san:?}");
    }
    Ok(())
}
