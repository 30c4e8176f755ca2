//! `portcullis attack`: against the module, against a gateway over the network, and against one that
//! lets everybody in.
#![allow(missing_docs, reason = "tests")]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Output,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use common::{Gateway, mirror, portcullis, text};
use portcullis_issuer::{SigningKey, Token, jwk_set};
use serde_json::{Value, json};

/// The private key of RFC 8037 appendix A.1.
const PRIVATE: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"main","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;

fn key() -> SigningKey {
    SigningKey::from_jwk("main", &serde_json::from_str(PRIVATE).unwrap()).unwrap()
}

fn policy() -> Value {
    json!({
        "issuers": [{
            "name": "main", "issuer": "https://issuer", "audiences": ["api"],
            "algorithms": ["RS256", "ES256", "EdDSA"], "jwks": { "inline": jwk_set([key().jwk()]) },
            "forward": { "headers": [{ "claim": "sub", "header": "x-sub" }] },
        }],
        "rules": [
            { "path": { "prefix": "/public" }, "require": "none" },
            { "path": { "prefix": "/" }, "require": { "any": ["main"] } },
        ],
    })
}

fn attack(arguments: &[&str], folder: &Path) -> Output {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
    let mut command = portcullis();
    command.arg("attack").args(arguments).env("PORTCULLIS_CACHE", cache).current_dir(folder);
    command.output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwt-auth.json"), policy().to_string()).unwrap();
    fs::write(folder.path().join("key.json"), PRIVATE).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = Token::new().claim("iss", "https://issuer").claim("aud", "api").claim("exp", now + 3600);
    fs::write(folder.path().join("token.txt"), token.compact(&key()).unwrap()).unwrap();
    folder
}

#[test]
fn nothing_gets_past_the_module_and_every_reason_is_the_expected_one() {
    let folder = folder();
    let arguments = ["--config", "jwt-auth.json", "--public", "/public", "--format", "json"];
    let output = attack(&arguments, folder.path());
    let result = json_of(&output);
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert!(result["hostile"].as_u64().unwrap() >= 380, "{}", result["hostile"]);
    assert_eq!((&result["accepted"], &result["ok"]), (&json!(0), &json!(true)));
    let cases = result["cases"].as_array().unwrap();
    let other: Vec<_> = cases.iter().filter(|case| case["verdict"] != "right").collect();
    assert!(other.is_empty(), "{other:#?}");
    let shown = text(&attack(&arguments[..4], folder.path()).stdout);
    assert!(shown.contains("hostile requests did not get in"), "{shown}");
}

#[test]
fn a_gateway_over_the_network_is_attacked_with_a_key_or_a_token() {
    let folder = folder();
    let gateway = Gateway::start(|at| {
        fs::write(at.join("jwt-auth.json"), policy().to_string()).unwrap();
        format!(
            "listen: 127.0.0.1:0\nupstream: {{address: '{}'}}\nplugins: [{{name: jwt-auth, config_file: jwt-auth.json}}]\n",
            mirror()
        )
    });
    let url = format!("http://{}/orders/7", gateway.address);
    let with_key = ["--key", "key.json", "--iss", "https://issuer", "--aud", "api"];
    for (more, least) in [(&with_key[..], 270), (&["--token", "token.txt"][..], 97)] {
        let arguments = [&[url.as_str(), "--public", "/public", "--format", "json"], more].concat();
        let output = attack(&arguments, folder.path());
        let result = json_of(&output);
        let got_in: Vec<_> =
            result["cases"].as_array().unwrap().iter().filter(|case| case["verdict"] == "accepted").collect();
        assert_eq!(output.status.code(), Some(0), "{got_in:#?}");
        assert!(result["hostile"].as_u64().unwrap() >= least, "{more:?}: {}", result["hostile"]);
        let reasons = result["left_out"].to_string();
        assert!(reasons.contains("needs the issuer's key set"), "{reasons}");
    }
}

/// A gateway that takes every token for a good one.
fn credulous() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in socket.incoming().map_while(Result::ok) {
            let mut request = [0; 65536];
            let read = stream.read(&mut request).unwrap_or_default();
            let has_token = request[..read].windows(16).any(|bytes| bytes == b"\r\nauthorization:");
            let status = if has_token { "200 OK" } else { "401 Unauthorized" };
            // The client may have gone.
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn what_got_in_is_listed_with_the_rule_behind_it_and_fails() {
    let folder = folder();
    let url = format!("http://{}/orders", credulous());
    let output = attack(&[&url, "--token", "token.txt"], folder.path());
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("accepted that should not have been"), "{shown}");
    assert!(shown.contains("alg-none") && shown.contains("CVE-2015-9235"), "{shown}");
    let token = fs::read_to_string(folder.path().join("token.txt")).unwrap();
    assert!(!shown.contains(&token), "a sample token is never printed");
    let one =
        attack(&[&url, "--token", "token.txt", "--case", "alg-none", "--format", "json"], folder.path());
    assert_eq!(json_of(&one)["accepted"], 1);
}

#[test]
fn an_attack_that_would_prove_nothing_says_so() {
    let folder = folder();
    let open = format!("http://{}/", mirror());
    let closed = "http://127.0.0.1:1/";
    for (arguments, expected) in [
        (&["--config", "jwt-auth.json", "--path", "/public/x"][..], "`/public/x` needs no token"),
        (&["--config", "jwt-auth.json", "--claims", r#"{"exp": 1}"#], "refused with TOKEN_EXPIRED"),
        (&["--config", "none.json"], "read `none.json`"),
        (&["--config", "jwt-auth.json", "--issuer", "other"], "no issuer is called `other`; there is: main"),
        (&["--config", "jwt-auth.json", "--case", "nope"], "no case is called `nope`"),
        (&["--config", "jwt-auth.json", "--class", "nope"], "possible values: container"),
        (&[&open, "--token", "token.txt"], "needs no token"),
        (&[closed, "--token", "token.txt"], "connect to 127.0.0.1:1"),
        (&["ftp://x/", "--token", "token.txt"], "begins with http:// or https://"),
        (&["http://x/"], "needs --key or --token"),
        (&["http://x/", "--key", "key.json"], "--key needs --iss and --aud"),
        (&["http://x/", "--token", "key.json"], "a token has three parts"),
        (&[], "--config"),
    ] {
        let output = attack(arguments, folder.path());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn the_corpus_can_be_read() {
    let folder = folder();
    let list = json_of(&attack(&["--list", "--format", "json"], folder.path()));
    assert!(list["cases"].as_array().unwrap().len() >= 400);
    let header = text(&attack(&["--list", "--class", "header"], folder.path()).stdout);
    assert!(header.contains("crit-unknown") && header.contains("CRITICAL_HEADER_UNKNOWN"), "{header}");
}

#[test]
fn help_says_where_tokens_are_sent() {
    let help = text(&portcullis().args(["attack", "--help"]).output().unwrap().stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("Tokens are sent to the given URL and nowhere else"), "{help}");
}
