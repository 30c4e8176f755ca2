//! `portcullis test`: suites that pass, suites that fail for the right reason, and suites that make
//! no sense.
#![allow(missing_docs, reason = "tests")]

mod common;

use std::{fs, path::Path, process::Output};

use common::{portcullis, text};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

const REMOTE: &str = r#"{"issuers": [{"name": "main", "issuer": "https://login.example.com", "audiences": ["api"],
  "algorithms": ["RS256", "ES256", "EdDSA"],
  "jwks": {"remote": {"uri": "https://login.example.com/jwks", "cluster": "idp"}},
  "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]}}],
  "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}]}"#;

/// A suite in a folder of its own beside `jwt-auth.json`.
struct Suite {
    folder: tempfile::TempDir,
}

impl Suite {
    fn new(policy: &str, suite: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("jwt-auth.json"), policy).unwrap();
        fs::write(folder.path().join("suite.yaml"), suite).unwrap();
        Self { folder }
    }

    /// A suite with a token called alice for the policy above, and these checks.
    fn of_checks(checks: &str) -> Self {
        Self::new(
            REMOTE,
            &format!(
                "policy: {{file: jwt-auth.json}}\nnow: 2026-01-01T00:00:00Z\ntokens:\n  alice: {{key: main-es256, \
                 claims: {{iss: https://login.example.com, aud: api, sub: alice, exp: now + 5m}}}}\nchecks:\n{checks}"
            ),
        )
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, more: &[&str]) -> Output {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
        let mut command = portcullis();
        command.arg("test").arg("suite.yaml").args(more).env("PORTCULLIS_CACHE", cache);
        command.current_dir(self.path()).output().unwrap()
    }

    fn expect(&self, code: i32) -> String {
        let output = self.run(&[]);
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{all}");
        all
    }

    fn json(&self) -> Value {
        let output = self.run(&["--format", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }
}

#[test]
fn a_suite_of_tokens_minted_tokens_and_requests_runs_as_written() {
    let key = SigningKey::generate(&Seed::new([5; 32]), "reporting-key", Kind::P256).unwrap();
    let token = Token::new()
        .claim("iss", "https://login.example.com")
        .claim("aud", "reporting")
        .claim("exp", NOW + 300)
        .compact(&key)
        .unwrap();
    let suite = Suite::new(
        REMOTE,
        &format!(
            r#"
policy: {{file: jwt-auth.json}}        # or the configuration inline; a check may override it
now: 2026-01-01T00:00:00Z            # optional: the clock of the whole suite
keys:
  main-rs256: {{alg: RS256}}
jwks:
  main: [main-rs256, {{file: production.json}}]
tokens:
  alice: {{key: main-rs256, claims: {{iss: https://login.example.com, aud: api, sub: alice, exp: now + 5m}}}}
checks:
  - name: a reporting token does not open billing
    token: {token}
    expected_failure_codes: [AUDIENCE_MISMATCH]
  - name: five minutes late
    mint: {{key: main-rs256, claims: {{iss: https://login.example.com, aud: api, exp: now - 5m}}}}
    expected_failure_codes: [TOKEN_EXPIRED]
  - name: a good one reaches the upstream with the subject
    request: {{method: GET, path: /orders/7, headers: {{authorization: "Bearer ${{token:alice}}"}}}}
    expect: {{decision: allow, upstream_headers: {{x-sub: alice, authorization: null}}}}
"#
        ),
    );
    fs::write(suite.path().join("production.json"), jwk_set([key.jwk()]).to_string()).unwrap();
    let shown = suite.expect(0);
    assert!(shown.contains("3 passed, 0 failed"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "a pipe gets no colours");
}

#[test]
fn every_finding_counts_and_the_gateway_answers_with_the_first() {
    let suite = Suite::of_checks(
        r#"
  - name: two things are wrong
    mint: {like: alice, claims: {aud: billing, exp: now - 1h}}
    expected_failure_codes: [TOKEN_EXPIRED, AUDIENCE_MISMATCH]
    expect: {status: 401, code: AUDIENCE_MISMATCH}
"#,
    );
    suite.expect(0);
    assert_eq!(
        suite.json()["suites"][0]["checks"][0]["steps"][0]["failure_codes"],
        json!(["AUDIENCE_MISMATCH", "TOKEN_EXPIRED"])
    );
}

#[test]
fn a_wrong_check_fails_for_the_right_reason() {
    let wrong = [
        (
            "mint: {like: alice, claims: {exp: now - 1h}}, expected_failure_codes: [AUDIENCE_MISMATCH]",
            "failure codes",
            "AUDIENCE_MISMATCH",
            "TOKEN_EXPIRED",
        ),
        (
            "mint: {like: alice, claims: {aud: x, exp: now - 1h}}, expected_failure_codes: [TOKEN_EXPIRED]",
            "failure codes",
            "TOKEN_EXPIRED",
            "AUDIENCE_MISMATCH, TOKEN_EXPIRED",
        ),
        (
            "mint: {like: alice, claims: {aud: x}}, expected_failure_codes: [TOKEN_EXPIRED, AUDIENCE_MISMATCH]",
            "failure codes",
            "AUDIENCE_MISMATCH, TOKEN_EXPIRED",
            "AUDIENCE_MISMATCH",
        ),
        ("token: '${token:alice}', expected_failure_codes: [TOKEN_EXPIRED]", "decision", "deny", "allow"),
        ("mint: {like: alice, claims: {aud: x}}", "decision", "allow", "deny"),
        ("token: '${token:alice}', expect: {decision: deny}", "decision", "deny", "allow"),
        (
            "token: '${token:alice}', expect: {upstream_headers: {x-sub: bob}}",
            "upstream header `x-sub`",
            "bob",
            "alice",
        ),
        (
            "token: '${token:alice}', expect: {upstream_headers: {x-sub: null}}",
            "upstream header `x-sub`",
            "none",
            "alice",
        ),
        (
            "expect: {decision: deny, headers: {www-authenticate: Basic}}",
            "reply header `www-authenticate`",
            "Basic",
            "Bearer",
        ),
        ("expect: {status: 403}", "status", "403", "401"),
        ("expect: {code: TOKEN_EXPIRED}", "code", "TOKEN_EXPIRED", "MISSING_TOKEN"),
    ];
    let checks: String = wrong
        .iter()
        .enumerate()
        .map(|(index, (check, ..))| format!("  - {{name: wrong {index}, {check}}}\n"))
        .collect();
    let suite = Suite::of_checks(&checks);
    let shown = suite.expect(1);
    let json = suite.json();
    for (index, (check, what, expected, got)) in wrong.iter().enumerate() {
        let place = format!("FAIL  wrong {index}\n        suite.yaml:{}:5", index + 6);
        assert!(shown.contains(&place), "{place}: {shown}");
        let differences = json["suites"][0]["checks"][index]["steps"][0]["differences"].clone();
        let wanted = json!({ "what": what, "expected": expected, "got": got });
        assert!(differences.as_array().unwrap().contains(&wanted), "{check}: {differences}");
    }
}

#[test]
fn a_rotation_is_a_sequence_with_time_passing() {
    let suite = Suite::new(
        REMOTE,
        r"
policy: {file: jwt-auth.json}
now: 2026-01-01T00:00:00Z
keys: {old: {alg: ES256}, new: {alg: ES256}}
jwks: {main: [old]}
tokens:
  by-old: {key: old, claims: &honest {iss: https://login.example.com, aud: api, sub: alice, exp: now + 2h}}
  by-new: {key: new, claims: *honest}
checks:
  - name: a new key is accepted at once and the old one until it goes
    steps:
      - token: ${token:by-old}
      - name: before the overlap
        token: ${token:by-new}
        expected_failure_codes: [KID_NOT_FOUND]
      - name: the overlap begins
        after: 1m
        jwks: {main: [old, new]}
        token: ${token:by-new}
      - token: ${token:by-old}
      - jwks: {main: [new]}
      - name: the old key is gone
        after: 20m
        token: ${token:by-old}
        expected_failure_codes: [KID_NOT_FOUND]
      - jwks: {main: {down: true}}
      - name: the issuer is down and the keys are stale
        after: 20m
        token: ${token:by-new}
      - name: nothing lasts for ever
        after: 3h
        mint: {key: new, claims: {iss: https://login.example.com, aud: api, exp: now + 5m}}
        expected_failure_codes: [KEYS_UNAVAILABLE]
        expect: {status: 503}
  - name: an issuer that answers nonsense is an outage and not a refusal
    jwks: {main: {body: <html>}}
    token: ${token:by-old}
    expected_failure_codes: [KEYS_UNAVAILABLE]
  - name: an issuer that takes its time is waited for
    jwks: {main: {keys: [old], delay: 2s}}
    token: ${token:by-old}
",
    );
    suite.expect(0);
}

#[test]
fn an_issuer_is_discovered_and_a_set_in_the_configuration_is_replaced() {
    for jwks in [r#"{"discovery": {"cluster": "idp"}}"#, r#"{"inline": {"keys": []}}"#] {
        let policy = REMOTE
            .replace(r#"{"remote": {"uri": "https://login.example.com/jwks", "cluster": "idp"}}"#, jwks);
        let checks = "
checks:
  - {name: good, token: '${token:alice}'}
  - {name: late, mint: {like: alice, claims: {exp: now - 2h}}, expected_failure_codes: [TOKEN_EXPIRED]}
";
        let token = "{key: main-es256, claims: {iss: https://login.example.com, aud: api, exp: now + 5m}}";
        let suite = Suite::new(
            &policy,
            &format!("policy: {{file: jwt-auth.json}}\ntokens: {{alice: {token}}}{checks}"),
        );
        suite.expect(0);
    }
}

#[test]
fn private_keys_of_the_user_sign_against_the_policy_s_own_set() {
    let d = "8PnVxDkl_jdTmFYcaBfMPnXuoyhM5HVoyE2GHuJHYJY";
    let key = SigningKey::from_jwk("mine", &json!({ "kty": "OKP", "crv": "Ed25519", "d": d })).unwrap();
    let set = format!("{{\"inline\": {}}}", jwk_set([key.jwk()]));
    let policy =
        REMOTE.replace(r#"{"remote": {"uri": "https://login.example.com/jwks", "cluster": "idp"}}"#, &set);
    let suite = Suite::new(
        &policy,
        "policy: {file: jwt-auth.json}\nkeys: {mine: {file: mine.json}, other: {alg: EdDSA, kid: mine}}\n\
         tokens: {alice: {key: mine, claims: {iss: https://login.example.com, aud: api, exp: now + 5m}}}\n\
         checks:\n  - {name: mine, token: '${token:alice}'}\n  - {name: theirs, mint: {like: alice, key: other}, \
         expected_failure_codes: [SIGNATURE_INVALID]}\n",
    );
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "d": d });
    fs::write(suite.path().join("mine.json"), jwk.to_string()).unwrap();
    suite.expect(0);
}

#[test]
fn a_policy_is_also_written_inline_and_a_check_has_its_own() {
    let strict = REMOTE.replace("\"audiences\": [\"api\"]", "\"audiences\": [\"billing\"]");
    let suite = Suite::new(
        REMOTE,
        &format!(
            "policy: {REMOTE}\nchecks:\n  - {{name: own, mint: {{key: main-eddsa, claims: {{iss: \
             https://login.example.com, aud: billing, exp: now + 5m}}}}, policy: {{plugin: jwt-auth, config: {strict}}}}}\n  \
             - {{name: file, policy: [{{file: jwt-auth.json}}], expected_failure_codes: [MISSING_TOKEN]}}\n"
        ),
    );
    suite.expect(0);
    let json = Suite::new(
        REMOTE,
        &format!(
            r#"{{"policy": {REMOTE}, "checks": [{{"name": "a", "expected_failure_codes": ["MISSING_TOKEN"]}}]}}"#
        ),
    );
    json.expect(0);
}

#[test]
fn requests_are_sent_as_they_are_written() {
    let suite = Suite::of_checks(
        r#"
  - name: the same header twice
    request: {headers: {authorization: ["Bearer ${token:alice}", "Bearer ${token:alice}"]}}
    expected_failure_codes: [MULTIPLE_TOKENS]
    expect: {status: 400}
  - name: a byte that is no text
    token: ${token:alice}
    request: {headers: {x-odd: "${hex:ff}", authorization: "bearer ${token}"}}
    expect: {upstream_headers: {x-odd: "�"}}
  - name: the upstream's answer comes back
    token: ${token:alice}
    request: {method: POST, body: hello}
    response: {status: 201, headers: {x-a: [b, c]}, body: made}
    expect: {decision: allow, status: 201, headers: {x-a: [b, c]}, body: made}
  - name: a forged signature
    mint: {like: alice, header: {alg: none}, signature: []}
    expected_failure_codes: [ALGORITHM_NOT_ALLOWED]
"#,
    );
    suite.expect(0);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (check, place, expected) in [
        ("{name: x, expected_failure_codes: [TOKEN_EXPIRD]}", "6:40", "is it `TOKEN_EXPIRED`?"),
        ("{name: x, expectd: {}}", "6:15", "unknown field `expectd`"),
        ("{name: x, expect: {upstream_header: {}}}", "6:24", "unknown field `upstream_header`"),
        ("{name: x, token: '${token:bob}'}", "6:22", "no token is called `bob`; there is: alice"),
        ("{name: x, mint: {key: other}}", "6:21", "no key is called `other`; there is: main-es256"),
        ("{name: x, mint: {like: bob}}", "6:21", "no token is called `bob`"),
        ("{name: x, mint: {like: alice, claims: {exp: now + 5 parsecs}}}", "6:21", "write `now`"),
        ("{name: x, token: a.b.c, mint: {like: alice}}", "6:35", "two tokens"),
        ("{name: x, after: soon}", "6:22", "write 5m"),
        ("{name: x, now: yesterday}", "6:20", "write 2026-01-01T00:00:00Z"),
        ("{name: x, policy: {file: none.json}}", "6:23", "none.json"),
        ("{name: x, policy: {plugin: jwt}}", "6:23", "there is: jwt-auth"),
        ("{name: x, policy: {rules: []}}", "6:23", "jwt-auth refuses the configuration: "),
        ("{name: x, jwks: {mian: []}}", "6:28", "no issuer of the policy is called `mian`; there is: main"),
        ("{name: x, jwks: {main: [nobody]}}", "6:28", "no key is called `nobody`"),
        ("{name: x, steps: [{after: 1m, now: 5}]}", "6:23", "a step has no `policy`, `now` or `steps`"),
        ("{name: x, expect: {decision: allow, code: TOKEN_EXPIRED}}", "6:23", "has no code"),
        ("{expect: {status: 401}}", "6:5", "needs a `name`"),
        ("{name: x, request: {headers: {a: {}}}}", "6:24", "a header's value is"),
    ] {
        let suite = Suite::of_checks(&format!("  - {check}\n"));
        let shown = suite.expect(2);
        assert!(shown.contains(expected), "{check}: {shown}");
        let start = format!("error: suite.yaml:{place}");
        assert!(shown.starts_with(&start), "{check}: {start}: {shown}");
    }
    let twice = Suite::of_checks("  - {name: x, token: '${token:alice}'}\n  - {name: x}\n");
    assert!(twice.expect(2).contains("suite.yaml:7:5: another check is called `x` too"));
}

#[test]
fn a_chain_of_plugins_is_tested_as_it_stands() {
    let chain = r#"policy:
  - plugin: jwt-auth
    config:
      issuers:
        - {name: main, issuer: https://issuer, audiences: [api], algorithms: [ES256],
           jwks: {remote: {uri: https://issuer/jwks, cluster: idp}}}
      rules: [{path: {prefix: /}, require: {any: [main]}}]
  - plugin: tenant-guard
    config:
      sources: [{path: "/t/{tenant}/**", use: required}]
      proofs: [{name: main, jwt_auth: main, preset: auth0}]
      routes: [{path: {prefix: /}, class: tenant}]
      forward: {headers: {id: x-tenant-id}}
now: 2026-01-01T00:00:00Z
tokens:
  acme: {key: main-es256, claims: {iss: https://issuer, aud: api, sub: alice, org_id: acme, exp: now + 5m}}
checks:
  - name: a member reads her own
    request: {path: /t/acme/invoices, headers: {authorization: "Bearer ${token:acme}", x-tenant-id: globex}}
    expect: {decision: allow, upstream_headers: {x-tenant-id: acme}}
  - name: and nobody else's
    request: {path: /t/globex/invoices, headers: {authorization: "Bearer ${token:acme}"}}
    expect: {decision: deny, status: 404, code: TENANT_NOT_FOUND}
"#;
    Suite::new("{}", chain).expect(0);
    let said = Suite::new("{}", &chain.replace("x-tenant-id: acme}", "x-tenant-id: globex}")).expect(1);
    assert!(said.contains("acme") && said.contains("1 passed, 1 failed"), "{said}");
}

#[test]
fn a_run_that_checks_nothing_is_no_success() {
    let suite = Suite::of_checks("  - {name: alpha, expected_failure_codes: [MISSING_TOKEN]}\n");
    let output = suite.run(&["--filter", "beta"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--filter selects none of 1 checks"));
    assert_eq!(suite.run(&["--filter", "beta", "--filter", "alph"]).status.code(), Some(0));
    let empty = Suite::new(REMOTE, "policy: {file: jwt-auth.json}\nchecks: []\n");
    assert!(empty.expect(1).contains("suite.yaml has no checks"));
}

#[test]
fn results_are_written_for_programs_too() {
    let suite = Suite::of_checks(
        "  - {name: good, token: '${token:alice}'}\n  - {name: a < b, token: '${token:alice}', expected_failure_codes: [TOKEN_EXPIRED]}\n",
    );
    let output = suite.run(&["--format", "json", "--junit", "report.xml"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["passed"], &json["failed"], &json["ok"]), (&json!(1), &json!(1), &json!(false)));
    assert_eq!(json["suites"][0]["checks"][1]["line"], 7);
    let xml = fs::read_to_string(suite.path().join("report.xml")).unwrap();
    assert!(xml.contains(r#"<testsuite name="suite" tests="2" failures="1" errors="0""#), "{xml}");
    assert!(xml.contains(r#"name="a &lt; b" file="suite.yaml" line="7""#), "{xml}");
    assert!(xml.contains(r#"<failure message="decision: expected deny, got allow">"#), "{xml}");
}

#[test]
fn the_example_in_the_help_runs() {
    let help = text(&portcullis().args(["test", "--help"]).output().unwrap().stdout);
    let (_, example) = help.split_once("Example, suite.yaml:\n").unwrap();
    let (example, _) = example.split_once("\n\n").unwrap();
    let policy = REMOTE.replace("https://login.example.com", "https://issuer");
    Suite::new(&policy, &example.replace("\n  ", "\n")[2..]).expect(0);
}
