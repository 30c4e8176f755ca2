//! The calls as people and scripts see them: output, errors, exit codes.

mod common;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use common::{portcullis, run, text};
use serde_json::{Value, json};

const GOOD: &str = r#"{"issuers": [{"name": "main", "issuer": "https://issuer", "audiences": ["api"],
    "algorithms": ["RS256"],
    "jwks": {"remote": {"uri": "https://issuer/jwks", "cluster": "idp"}}}],
    "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}]}"#;

fn check_stdin(document: &str, more: &[&str]) -> Output {
    feed(portcullis().args(["check", "jwt-auth", "-"]).args(more), document)
}

fn feed(command: &mut Command, document: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_demo_keeps_what_it_promises() {
    let output = run(&["demo", "--self-check"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}\n{}", text(&output.stderr));
    assert!(table.contains("17 of 17 answers are as promised"), "{table}");
    assert!(!table.contains('\u{1b}'), "a pipe gets no colours");
}

#[test]
fn the_demo_s_result_is_also_there_for_programs() {
    let output = run(&["demo", "--self-check", "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], true);
    assert_eq!(document["checks"].as_array().unwrap().len(), 17);
    assert_eq!(document["checks"][0]["got"], "200 x-sub: alice");
}

#[test]
fn a_good_configuration_is_accepted_from_a_file_and_from_standard_input() {
    let output = check_stdin(GOOD, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwt-auth.yaml");
    fs::write(&file, "issuers:\n- name: main\n  issuer: https://issuer\n  audiences: [api]\n  algorithms: [RS256]\n  jwks: {remote: {uri: 'https://issuer/jwks', cluster: idp}}\nrules:\n- {path: {prefix: /}, require: {any: [main]}}\n").unwrap();
    let output = run(&["check", "jwt-auth", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("jwt-auth accepts it\n"));
}

#[test]
fn a_refused_configuration_names_the_path_and_the_reason() {
    for (change, expected) in [
        (GOOD.replace("RS256", "none"), "`issuers[0].algorithms"),
        (GOOD.replace("https://issuer/jwks", "http://issuer/jwks"), "`issuers[0].jwks.remote.uri`"),
        (GOOD.replace("\"rules\"", "\"rulez\""), "rulez"),
        (GOOD.replace("[\"main\"]}", "[\"other\"]}"), "`rules[0].require"),
    ] {
        let output = check_stdin(&change, &[]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{change}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{expected}: {error}");
        assert!(error.contains("\n --> -:") && error.contains('^'), "{error}");
        assert!(!error.contains('\u{1b}'), "no colours in a pipe: {error}");
    }
    let empty = check_stdin("", &[]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(text(&empty.stderr).starts_with("error: -: "));
    let output = check_stdin(&GOOD.replace("RS256", "none"), &["--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["accepted"]), (Some(2), &Value::Bool(false)));
    assert!(document["reason"].as_str().unwrap().starts_with("`issuers[0].algorithms"));
    let at = GOOD.lines().position(|line| line.contains("RS256")).unwrap();
    assert_eq!((&document["path"], &document["line"]), (&json!("issuers[0].algorithms[0]"), &json!(at + 1)));
    let column = GOOD.lines().nth(at).unwrap().find("\"RS256\"").unwrap() + 1;
    assert_eq!(document["column"], column);
}

#[test]
fn a_place_on_a_terminal_has_colours() {
    let mut command = portcullis();
    command.args(["check", "jwt-auth", "-"]).env("CLICOLOR_FORCE", "1");
    let error = text(&feed(&mut command, &GOOD.replace("RS256", "none")).stderr);
    assert!(error.contains("\u{1b}[") && error.contains("none"), "{error:?}");
}

#[test]
fn configurations_inside_a_document_of_envoy_are_checked_where_they_stand() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for (file, plugins) in [
        ("envoy/tenant-path.yaml", &["jwt-auth", "tenant-guard"][..]),
        ("envoy/ecds/jwt-auth.yaml", &["jwt-auth"]),
        ("istio/base/jwt-auth.yaml", &["jwt-auth"]),
        ("envoy-gateway/extension-policy.yaml", &["jwt-auth", "tenant-guard"]),
    ] {
        let output = run(&["check", deploy.join(file).to_str().unwrap()]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{file}: {}", text(&output.stderr));
        assert_eq!(said.lines().count(), plugins.len(), "{file}: {said}");
        assert!(
            plugins.iter().all(|plugin| said.contains(&format!("{plugin} accepts it"))),
            "{file}: {said}"
        );
    }
    // One wrong word is found in its line, and the others are judged all the same.
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read_to_string(deploy.join("envoy/tenant-path.yaml")).unwrap();
    let file = folder.path().join("envoy.yaml");
    fs::write(&file, good.replace("\"class\": \"central\"", "\"class\": \"middle\"")).unwrap();
    let at = good.lines().position(|line| line.contains("\"class\": \"central\"")).unwrap() + 1;
    let output = run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("jwt-auth accepts it"));
    let error = text(&output.stderr);
    assert!(error.contains(&format!("{}:{at}:", file.display())) && error.contains("middle"), "{error}");
    let output = run(&["check", "tenant-guard", file.to_str().unwrap(), "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = document["configurations"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["line"], &all[0]["path"]), (1, &json!(at), &json!("routes[1].class")));
    assert_eq!(run(&["check", "jwt-auth", file.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(run(&["check", "llm-fanout", file.to_str().unwrap()]).status.code(), Some(2));
    // Each by itself is good, and together they would let nothing through.
    let name = "\"jwt_auth\": \"main\"";
    assert!(good.contains(name));
    fs::write(&file, good.replace(name, "\"jwt_auth\": \"other\"")).unwrap();
    let output = run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stdout).contains("no issuer called `other`; there is: main"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_schema_is_printed_and_written() {
    let output = run(&["schema", "jwt-auth"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let folder = tempfile::tempdir().unwrap();
    let listed = text(&run(&["schema"]).stdout);
    assert!(run(&["schema", "--out", folder.path().to_str().unwrap()]).status.success());
    for entry in fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(listed.contains(name.strip_suffix(".schema.json").unwrap()), "{name}: {listed}");
    }
    assert!(text(&run(&["schema", "nothing"]).stderr).contains("jwt-auth, tenant-guard"));
}

#[test]
fn wrong_arguments_say_what_would_be_right() {
    for (arguments, expected) in [
        (&["check", "jwt-oauth", "x"][..], "there is: jwt-auth"),
        (&["check", "jwt-auth", "/no/such/file"], "read `/no/such/file`"),
        (&["serve", "--config", "/no/such/file"], "read `/no/such/file`"),
        (&["serve"], "--config"),
        (&["demo", "--format", "json"], "--self-check"),
        (&["fly"], "unrecognized subcommand"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_gateway_with_a_wrong_configuration_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let base = "listen: 127.0.0.1:0\nupstream: {address: 'localhost:1'}\n";
    for (plugins, expected) in [
        ("plugins: []", "`plugins`: empty"),
        ("plugins: [{name: jwt-auth, conf: {}}]", "`plugins[0].conf`: unknown field"),
        ("plugins: [{name: jwt-auth, config: {issuers: [], rules: [], realms: x}}]", ":3:61"),
        ("plugins: [{name: jwt-auth}]\nport: 1", "unknown field `port`"),
        ("plugins: [{name: jwt-auth]", "line 3"),
    ] {
        fs::write(&file, format!("{base}{plugins}\n")).unwrap();
        let output = run(&["serve", "--config", file.to_str().unwrap()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{plugins}: {error}");
        assert!(error.contains(expected) && error.contains(file.to_str().unwrap()), "{plugins}: {error}");
    }
}

#[test]
fn serve_can_check_its_configuration_and_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwt-auth.json"), GOOD).unwrap();
    let file = folder.path().join("gateway.yaml");
    let config = "listen: 127.0.0.1:0\nupstream: {address: 'localhost:1'}\nplugins: [{name: jwt-auth, config_file: jwt-auth.json}]\n";
    fs::write(&file, config).unwrap();
    let output = run(&["serve", "--check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_bundle_has_the_modules_and_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("dist");
    let bundle =
        |more: &[&str]| portcullis().args(["bundle", "--out"]).arg(&out).args(more).output().unwrap();
    let names = || -> std::collections::BTreeSet<_> {
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(bundle(&[]).status.code(), Some(0));
    let first = names();
    assert_eq!(fs::read(out.join("jwt-auth.wasm")).unwrap(), portcullis_modules::JWT_AUTH.wasm);
    let sums = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(&out).output();
    assert!(sums.unwrap().status.success());
    assert_eq!(bundle(&[]).status.code(), Some(0), "again over its own files");
    assert_eq!(names(), first, "no temporary file is left");
    for module in portcullis_modules::ALL {
        assert!(first.contains(&format!("{}.wasm", module.name)), "{first:?}");
    }
}

#[test]
fn a_bundle_does_not_overwrite_what_it_did_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let bundle = |more: &[&str]| portcullis().args(["bundle", "--out"]).arg(out).args(more).output().unwrap();
    fs::write(out.join("jwt-auth.wasm"), "mine").unwrap();
    let refused = bundle(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("not from a bundle"));
    assert_eq!(fs::read(out.join("jwt-auth.wasm")).unwrap(), b"mine");
    assert!(!out.join("SHA256SUMS").exists());
    assert_eq!(bundle(&["--force"]).status.code(), Some(0));
    fs::write(out.join("jwt-auth.wasm"), "mine again").unwrap();
    assert_eq!(bundle(&[]).status.code(), Some(2), "the checksum tells");
    fs::remove_file(out.join("jwt-auth.wasm")).unwrap();
    fs::write(out.join("SHA256SUMS"), "my notes\n").unwrap();
    assert_eq!(bundle(&[]).status.code(), Some(2));
}

#[test]
fn help_teaches_with_examples() {
    for call in ["demo", "serve", "check", "bundle"] {
        let output = run(&[call, "--help"]);
        let help = text(&output.stdout);
        assert!(help.contains(&format!("portcullis {call}")) && help.contains("Example"), "{help}");
    }
}
