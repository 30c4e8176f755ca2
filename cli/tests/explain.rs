//! `portcullis explain` as people and scripts see it.

mod common;

use std::{fs, io::Write as _, path::Path, process::Stdio};

use common::{portcullis, run, text};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

struct Scene {
    setup: Setup,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let setup = Setup::new(&Seed::new([3; 32]), "https://issuer", "api", NOW).unwrap();
        let scene = Self { setup, folder: tempfile::tempdir().unwrap() };
        scene.write("jwt-auth.json", &scene.setup.jwt_auth_config());
        scene
    }

    fn write(&self, name: &str, document: &Value) {
        fs::write(self.folder.path().join(name), document.to_string()).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The exit code, and what was printed on both streams.
    fn explain(&self, token: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let config = self.file("jwt-auth.json");
        let fixed = ["explain", "--config", &config, "--at", "2026-01-01T00:00:00Z"];
        let output = run(&[&fixed[..], more, &[token]].concat());
        let (out, err) = (text(&output.stdout).to_owned(), text(&output.stderr).to_owned());
        let signature = token.rsplit('.').next().filter(|signature| signature.len() > 8);
        assert!(
            signature.is_none_or(|signature| !out.contains(signature) && !err.contains(signature)),
            "{out}{err}"
        );
        (output.status.code(), out, err)
    }

    fn json(&self, token: &str, more: &[&str]) -> (Option<i32>, Value) {
        let (code, out, err) = self.explain(token, &[&["--format", "json"], more].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
    }

    fn good(&self) -> String {
        self.setup.token().compact(&self.setup.keys.ec).unwrap()
    }
}

#[test]
fn a_good_token_passes_every_check_and_what_is_forwarded_is_shown() {
    let scene = Scene::new();
    let (code, table, _) =
        scene.explain(&scene.good(), &["--header", "X-Sub: mallory", "--path", "/orders/7"]);
    assert_eq!(code, Some(0), "{table}");
    for line in [
        "key        `ec-1` of main, EC P-256, ES256 (",
        "answer     passes",
        "removed    x-sub",
        "removed    authorization",
        "set        x-sub: alice",
        "published  the claims, as those of `main`",
        "rule       rules[1]",
        "time       2026-01-01T00:00:00Z",
    ] {
        assert!(table.lines().any(|own| own.starts_with(line)), "{line}\n{table}");
    }
    assert!(!table.contains('\u{1b}'), "a pipe gets no colours");
    assert!(!table.contains("failed") && !table.contains("not reached"), "{table}");
}

#[test]
fn every_failure_is_shown_in_order_with_its_reason_and_the_exit_code_is_one() {
    let scene = Scene::new();
    let token = scene.setup.token().claim("exp", json!(1)).claim("aud", json!("billing"));
    let token = token.compact(&scene.setup.keys.mallory_ec.renamed("ec-9")).unwrap();
    let (code, document) = scene.json(&token, &[]);
    assert_eq!((code, &document["passes"]), (Some(1), &json!(false)));
    let of = |outcome: &str| -> Vec<&str> {
        let checks = document["checks"].as_array().unwrap().iter();
        checks
            .filter(|check| check["outcome"] == outcome)
            .map(|check| check["check"].as_str().unwrap())
            .collect()
    };
    assert_eq!(of("failed"), ["key", "audience", "expiry"]);
    assert_eq!(of("not_reached"), ["signature"]);
    assert_eq!(document["refusal"]["code"], "KID_NOT_FOUND");
    assert_eq!(document["refusal"]["status"], 401);
    assert_eq!((&document["keys"], &document["forwarded"]), (&json!([]), &json!(null)));
    assert_eq!(document["claims"]["aud"], "billing");
    let (code, table, _) = scene.explain(&token, &[]);
    assert_eq!(code, Some(1));
    assert!(table.contains("TOKEN_EXPIRED: `exp` is 1, now is 1767225600"), "{table}");
    assert!(table.contains("it needs what `key` would give"), "{table}");
    assert!(table.contains("refused: 401 KID_NOT_FOUND"), "{table}");
}

#[test]
fn redaction_keeps_names_and_hides_every_value_of_the_token() {
    let scene = Scene::new();
    let token =
        scene.setup.token().claim("mail", json!("s3cr3t@example")).claim("deep", json!({ "a": ["s3cr3t"] }));
    let good = token.compact(&scene.setup.keys.ec).unwrap();
    let late = scene.setup.token().claim("exp", json!(1_700_000_001)).compact(&scene.setup.keys.ec).unwrap();
    for format in ["text", "json"] {
        let (code, out, _) = scene.explain(&good, &["--redact", "--format", format]);
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("mail") && out.contains("[redacted]") && out.contains("x-sub"), "{out}");
        assert!(!out.contains("s3cr3t") && !out.contains("alice"), "{out}");
        let (code, out, _) = scene.explain(&late, &["--redact", "--format", format]);
        assert_eq!(code, Some(1), "{out}");
        assert!(!out.contains("1700000001"), "{out}");
    }
}

#[test]
fn a_token_comes_from_a_file_standard_input_or_another_place_of_the_request() {
    let scene = Scene::new();
    fs::write(scene.folder.path().join("token"), format!("Bearer {}\n", scene.good())).unwrap();
    let at_file = format!("@{}", scene.file("token"));
    assert_eq!(scene.json(&at_file, &[]).0, Some(0));
    let mut child = portcullis()
        .args(["explain", "--config", &scene.file("jwt-auth.json"), "--at", "1767225600", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(scene.good().as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    let mut config = scene.setup.jwt_auth_config();
    config["issuers"][0]["from"] =
        json!({ "headers": [{ "name": "x-token" }], "cookies": ["s"], "query": ["t"] });
    scene.write("jwt-auth.json", &config);
    for place in ["header:X-Token", "cookie:s", "query:t"] {
        assert_eq!(scene.json(&scene.good(), &["--place", place]).0, Some(0), "{place}");
    }
    let (code, document) = scene.json(&scene.good(), &[]);
    assert_eq!((code, &document["refusal"]["code"]), (Some(1), &json!("MISSING_TOKEN")));
}

#[test]
fn the_keys_of_an_issuer_with_an_address_come_from_a_file() {
    let scene = Scene::new();
    let mut config = scene.setup.jwt_auth_config();
    config["issuers"][0]["jwks"] = json!({ "remote": { "uri": "https://issuer/jwks", "cluster": "idp" } });
    scene.write("jwt-auth.json", &config);
    scene.write("jwks.json", &scene.setup.jwks());
    let jwks = format!("main={}", scene.file("jwks.json"));
    assert_eq!(scene.json(&scene.good(), &["--jwks", &jwks]).0, Some(0));
    let (code, document) = scene.json(&scene.good(), &[]);
    assert_eq!((code, &document["refusal"]["code"]), (Some(1), &json!("KEYS_UNAVAILABLE")));
    assert_eq!(document["issuers_without_keys"], json!(["main"]));
    let other = format!("other={}", scene.file("jwks.json"));
    let (code, _, error) = scene.explain(&scene.good(), &["--jwks", &other]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no issuer of this name has keys at an address; there are: main"), "{error}");
}

#[test]
fn a_rule_that_only_reports_passes_and_says_what_it_would_refuse() {
    let scene = Scene::new();
    let mut config = scene.setup.jwt_auth_config();
    config["rules"] = json!([{
        "path": { "template": "/t/{tenant}" }, "require": { "any": ["main"] }, "report_only": { "header": "x-verdict" },
        "claims": [{ "claim": "sub", "equals_request": { "path_variable": "tenant" } }],
    }]);
    scene.write("jwt-auth.json", &config);
    let (code, document) = scene.json(&scene.good(), &["--path", "/t/bob"]);
    assert_eq!((code, &document["reported"]), (Some(0), &json!("INSUFFICIENT_CLAIMS")));
    assert_eq!(document["forwarded"]["set"], json!([["x-verdict", "INSUFFICIENT_CLAIMS"]]));
    assert_eq!(document["forwarded"]["published"], json!([]));
    let (code, document) = scene.json(&scene.good(), &["--path", "/t/alice"]);
    assert_eq!((code, &document["reported"]), (Some(0), &json!(null)));
    assert_eq!(document["forwarded"]["published"], json!(["main"]));
}

#[test]
fn what_cannot_be_found_out_is_exit_code_two_and_shows_no_token() {
    let scene = Scene::new();
    let good = scene.good();
    scene.write("broken.json", &json!({ "issuers": [], "rules": [] }));
    let broken = scene.file("broken.json");
    for (more, reason) in [
        (&["--header", "x y: 1"][..], "not a header name"),
        (&["--place", "body:x"], "header:NAME"),
        (&["--jwks", "main"], "an issuer's name"),
        (&["another"], "arguments too many"),
    ] {
        let (code, out, error) = scene.explain(&good, more);
        assert_eq!(code, Some(2), "{more:?} {out}");
        assert!(error.contains(reason) && !error.contains(&good[..40]), "{more:?} {error}");
    }
    let output = run(&["explain", "--config", &broken, "--at", "yesterday", &good]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("seconds since 1970"), "{}", text(&output.stderr));
    let output = run(&["explain", "--config", &broken, &good]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`rules`: empty"), "{}", text(&output.stderr));
    let absent = Path::new(&broken).with_file_name("absent.json");
    assert_eq!(run(&["explain", "--config", absent.to_str().unwrap(), &good]).status.code(), Some(2));
}

#[test]
fn what_a_token_says_cannot_steer_the_terminal() {
    let scene = Scene::new();
    let token = scene.setup.token().claim("name", json!("\u{9b}31m\u{202e}evil\u{7f}\u{1b}[2J"));
    let (code, table, _) = scene.explain(&token.compact(&scene.setup.keys.ec).unwrap(), &[]);
    assert_eq!(code, Some(0));
    assert!(!table.contains(['\u{9b}', '\u{202e}', '\u{7f}', '\u{1b}']), "{table:?}");
    assert!(table.contains(r"\u{202e}evil"), "{table}");
}
