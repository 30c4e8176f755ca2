//! `portcullis rotation` as people and CI see it: states, findings, samples, exit codes.

mod common;

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    thread,
};

use common::{portcullis, read_until, run, text};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(&Seed::new([3; 32]), kid, Kind::P256).unwrap()
}

fn token(key: &SigningKey) -> String {
    Token::new().header("typ", "at+jwt").claim("sub", "alice").compact(key).unwrap()
}

/// Two files with key sets.
struct Sets {
    folder: tempfile::TempDir,
    old: PathBuf,
    new: PathBuf,
}

impl Sets {
    fn of(old: &[Value], new: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = [("old.json", old), ("new.json", new)].map(|(name, keys)| {
            let path = folder.path().join(name);
            fs::write(&path, jwk_set(keys.iter().cloned()).to_string()).unwrap();
            path
        });
        Self { folder, old, new }
    }

    fn named(old: &[&str], new: &[&str]) -> Self {
        let jwks = |kids: &[&str]| kids.iter().map(|kid| key(kid).jwk()).collect::<Vec<_>>();
        Self::of(&jwks(old), &jwks(new))
    }

    fn judge(&self, more: &[&str]) -> Output {
        rotation(&self.old, &self.new, more)
    }

    fn json(&self, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.judge(&[&["--format", "json"], more].concat());
        let document = serde_json::from_slice(&output.stdout);
        (output.status.code(), document.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
    }
}

fn rotation(old: &Path, new: &Path, more: &[&str]) -> Output {
    portcullis().arg("rotation").args([old, new]).args(more).output().unwrap()
}

fn codes(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn the_state_decides_the_exit_code() {
    for (old, new, state, code) in [
        (&["a", "b"][..], &["b", "a"][..], "no_change", 0),
        (&["a"], &["a", "b"], "safe_overlap", 0),
        (&["a", "b"], &["b", "c"], "overlap", 1),
        (&["a", "b"], &["b"], "overlap", 1),
        (&["a"], &["b"], "disjoint", 1),
    ] {
        let sets = Sets::named(old, new);
        let output = sets.judge(&[]);
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{state}: {table}");
        assert_eq!(table.lines().next().unwrap(), format!("rotation_state: {state}"));
        assert!(!table.contains('\u{1b}'), "a pipe gets no colours");
        let (exit, document) = sets.json(&[]);
        assert_eq!((exit, &document["rotation_state"]), (Some(code), &json!(state)));
        assert_eq!(document["safe"], code == 0);
    }
}

#[test]
fn the_table_says_what_came_what_went_and_how_long_both_are_needed() {
    let output =
        Sets::named(&["a", "b"], &["b", "c"]).judge(&["--max-token-ttl", "1h", "--cache-ttl", "15m"]);
    let table = text(&output.stdout);
    for line in [
        "stayed `b` ES256",
        "added `c` ES256",
        "removed `a` ES256",
        "error REMOVED_TOO_EARLY change `a` is gone",
        "info PUBLISH_BEFORE_USE change `c` must not sign before",
        "right: publish a key 15m before it signs, and keep it 1h after it signed last: old and new together for 1h 15m",
    ] {
        let found =
            table.lines().any(|have| have.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(line));
        assert!(found, "{line}\n{table}");
    }
}

#[test]
fn programs_get_times_keys_and_findings() {
    let times = ["--max-token-ttl", "10m", "--cache-ttl", "90s"];
    let (exit, document) = Sets::named(&["a"], &["b"]).json(&times);
    assert_eq!(exit, Some(1));
    for (member, expected) in [
        ("max_token_ttl_seconds", 600),
        ("cache_ttl_seconds", 90),
        ("publish_before_use_seconds", 90),
        ("keep_after_use_seconds", 600),
        ("overlap_seconds", 690),
    ] {
        assert_eq!(document[member], expected, "{member}");
    }
    assert_eq!(codes(&document), ["NO_OVERLAP", "REMOVED_TOO_EARLY", "PUBLISH_BEFORE_USE"]);
    let first = &document["findings"][0];
    assert_eq!((&first["severity"], &first["refused_for_seconds"]), (&json!("error"), &json!(600)));
    assert_eq!((&document["added"][0]["kid"], &document["added"][0]["alg"]), (&json!("b"), &json!("ES256")));
    assert_eq!(document["removed"][0]["thumbprint"].as_str().unwrap().len(), 43);
    assert_eq!((&document["stayed"], &document["samples"]), (&json!([]), &json!([])));
    assert_eq!(document["old"]["usable"], 1);
}

#[test]
fn a_name_that_stands_for_another_key_is_found() {
    let (exit, document) = Sets::of(&[key("a").jwk()], &[key("b").renamed("a").jwk()]).json(&[]);
    assert_eq!(exit, Some(1));
    assert!(codes(&document).contains(&"KID_REUSED"), "{document}");
}

#[test]
fn keys_that_others_would_choke_on_are_named_although_the_change_is_safe() {
    let small = SigningKey::generate(&Seed::new([4; 32]), "small", Kind::Rsa(1024)).unwrap().jwk();
    let mut private = key("private").jwk();
    private["d"] = json!("AAAA");
    let twin = key("x").renamed("a").jwk();
    let unknown = json!({ "kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AAAA" });
    let old = [key("a").jwk()];
    let new = [key("a").jwk(), small, private, twin, unknown];
    let (exit, document) = Sets::of(&old, &new).json(&[]);
    assert_eq!((exit, &document["rotation_state"]), (Some(0), &json!("safe_overlap")));
    for (code, kid) in [
        ("SMALL_KEY", "small"),
        ("PRIVATE_MEMBERS", "private"),
        ("DUPLICATE_KID", "a"),
        ("UNKNOWN_TYPE", "pq"),
    ] {
        let found = document["findings"].as_array().unwrap().iter().any(|finding| {
            (&finding["code"], &finding["kid"], &finding["set"]) == (&json!(code), &json!(kid), &json!("new"))
        });
        assert!(found, "{code}: {document}");
    }
}

#[test]
fn samples_say_which_set_verifies_them_and_are_never_printed() {
    let sets = Sets::named(&["a", "b"], &["b", "c"]);
    let [a, b, c] = ["a", "b", "c"].map(|kid| token(&key(kid)));
    let file = sets.folder.path().join("token");
    fs::write(&file, format!("Bearer {b}\n")).unwrap();
    let file = format!("@{}", file.display());
    let samples = ["--sample-old-token", &a, "--sample-new-token", &c, "--sample-token", &file];
    let (exit, document) = sets.json(&samples);
    assert_eq!(exit, Some(1), "the state decides");
    let told: Vec<_> = document["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| {
            let verified = |set: &str| sample[set]["verified"].as_bool().unwrap();
            (
                sample["sample"].as_str().unwrap(),
                verified("old"),
                verified("new"),
                &sample["refused_for_seconds"],
            )
        })
        .collect();
    let (hour, quarter) = (json!(3600), json!(900));
    assert_eq!(
        told,
        [
            ("token", true, true, &Value::Null),
            ("old_token", true, false, &hour),
            ("new_token", false, true, &quarter)
        ]
    );
    assert_eq!(document["samples"][1]["old"]["key"]["kid"], "a");
    assert_eq!(document["samples"][1]["new"]["code"], "KID_NOT_FOUND");
    let table = text(&sets.judge(&samples).stdout);
    assert!(table.contains("--sample-old-token") && table.contains("for up to 1h"), "{table}");
    for token in [&a, &b, &c] {
        for part in token.split('.') {
            assert!(!table.contains(part) && !document.to_string().contains(part), "{table}");
        }
    }
}

#[test]
fn a_sample_of_an_old_key_under_the_same_name_is_refused_by_the_new_set() {
    let sets = Sets::of(&[key("a").jwk()], &[key("b").renamed("a").jwk()]);
    let (_, document) = sets.json(&["--sample-token", &token(&key("a"))]);
    assert_eq!(document["samples"][0]["old"]["verified"], true);
    assert_eq!(document["samples"][0]["new"]["code"], "SIGNATURE_INVALID");
}

#[test]
fn a_sample_that_is_not_what_it_was_said_to_be_is_bad_input() {
    let sets = Sets::named(&["a"], &["a", "b"]);
    let [b, stranger] = ["b", "stranger"].map(|kid| token(&key(kid)));
    let unsigned = Token::new().header("alg", "none").claim("sub", "x").raw().compact();
    for (flag, sample, expected) in [
        ("--sample-old-token", b.as_str(), "the old set does not verify it (KID_NOT_FOUND)"),
        ("--sample-new-token", &stranger, "the new set does not verify it (KID_NOT_FOUND)"),
        ("--sample-token", &stranger, "neither set verifies it (KID_NOT_FOUND)"),
        ("--sample-token", &unsigned, "ALGORITHM_NOT_ALLOWED"),
        ("--sample-token", "secret-but-no-token", "MALFORMED_TOKEN"),
        ("--sample-token", "@/no/such/file", "read `/no/such/file`"),
        ("--sample-token", "", "MALFORMED_TOKEN"),
    ] {
        let output = sets.judge(&[flag, sample]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flag} {sample}: {error}");
        assert!(error.starts_with(&format!("error: `{flag}`: ")) && error.contains(expected), "{error}");
        let all = error + &text(&output.stdout);
        assert!(sample.starts_with('@') || sample.is_empty() || !all.contains(sample), "{all}");
    }
    assert_eq!(sets.judge(&["--sample-new-token", &b]).status.code(), Some(0));
}

#[test]
fn a_token_in_the_wrong_place_is_not_printed() {
    let sets = Sets::named(&["a"], &["a"]);
    let token = token(&key("a"));
    let [old, new] = [&sets.old, &sets.new].map(|path| path.to_str().unwrap());
    for arguments in [
        &["rotation", old, new, "--sample-token", "Bearer", &token][..],
        &["rotation", "--sample-token", "Bearer", &token, old],
        &["rotation", old, &token],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2));
        let all = text(&output.stderr) + &text(&output.stdout);
        assert!(!token.split('.').any(|part| all.contains(part)), "{all}");
    }
}

#[test]
fn bad_input_names_the_path_and_the_reason() {
    let sets = Sets::named(&["a"], &["b"]);
    let bad = sets.folder.path().join("bad.json");
    for (content, expected) in [
        (&b"<html>"[..], "HTML or XML instead of JSON"),
        (br#"{"keys":[{"kty""#, "ends before it is complete"),
        (br#"{"keys":[]}"#, "`keys` is empty"),
        (br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "none of the 1 keys can be used"),
        (b"\xff", "not UTF-8"),
        (&[b' '; 300 * 1024], "307200 bytes; a key set may have 262144"),
        (b"", "empty"),
    ] {
        fs::write(&bad, content).unwrap();
        for (old, new) in [(&bad, &sets.new), (&sets.old, &bad)] {
            let output = rotation(old, new, &["--format", "json"]);
            let error = text(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{expected}: {error}");
            assert!(error.contains(bad.to_str().unwrap()) && error.contains(expected), "{error}");
        }
    }
    let old = sets.old.to_str().unwrap();
    for (arguments, expected) in [
        (&["rotation", old][..], "<NEW>"),
        (&["rotation", old, "/no/such/file"], "read `/no/such/file`"),
        (&["rotation", "-", "-"], "standard input can be read once"),
        (&["rotation", old, "-", "--sample-token", "@-"], "standard input can be read once"),
        (&["rotation", old, old, "--cache-ttl", "soon"], "not a duration"),
        (&["rotation", old, "http://169.254.169.254/jwks"], "link-local or metadata address"),
        (&["rotation", old, "https://user@idp.example/"], "not an address"),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_set_can_come_from_standard_input() {
    let sets = Sets::named(&["a"], &["a", "b"]);
    let mut child = portcullis()
        .args(["rotation", "-"])
        .arg(&sets.new)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&sets.old).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("rotation_state: safe_overlap\nold: -: 1 usable"));
}

/// Answers one request with `answer` and gives the request's head.
fn origin(answer: Vec<u8>) -> (SocketAddr, thread::JoinHandle<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let served = thread::spawn(move || {
        let mut stream = common::accept(&socket);
        let head = read_until(&mut stream, "\r\n\r\n");
        // Who reads no more than it must closes early.
        let _ = stream.write_all(&answer);
        text(&head)
    });
    (address, served)
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_set_can_come_from_an_address() {
    let sets = Sets::named(&["a"], &["a", "b"]);
    let (address, served) = origin(answer("200 OK", &fs::read(&sets.old).unwrap()));
    let output = rotation(Path::new(&format!("http://{address}/jwks?v=1")), &sets.new, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("plain http"));
    let head = served.join().unwrap();
    assert!(head.starts_with("GET /jwks?v=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
}

#[test]
fn an_address_that_answers_something_else_is_bad_input() {
    let sets = Sets::named(&["a"], &["a"]);
    for (wire, expected) in [
        (answer("302 Found", b""), "answered 302"),
        (answer("503 Service Unavailable", b"{}"), "answered 503"),
        (answer("200 OK", b"<html>"), "HTML or XML"),
        (answer("200 OK", &vec![b' '; 2 << 20]), "at most 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec(), "read the answer"),
        (b"SSH-2.0\r\n".to_vec(), "jwks: "),
    ] {
        let (address, served) = origin(wire);
        let output = rotation(&sets.old, Path::new(&format!("http://{address}/jwks")), &[]);
        served.join().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{expected}: {error}");
        assert!(error.contains(expected) && error.contains(&format!("http://{address}/jwks")), "{error}");
    }
}

/// An https origin on loopback for two connections, and its certificate.
fn secure_origin(body: &[u8]) -> (SocketAddr, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let private = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private)
        .unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let wire = answer("200 OK", body);
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            for _ in 0..2 {
                let (stream, _) = socket.accept().await.unwrap();
                // Who does not trust the certificate goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&wire).await;
                let _ = stream.shutdown().await;
            }
        });
    });
    (address, made.cert.pem())
}

#[test]
fn https_needs_a_certificate_that_is_trusted() {
    let sets = Sets::named(&["a"], &["a", "b"]);
    let (address, pem) = secure_origin(&fs::read(&sets.old).unwrap());
    let url = format!("https://localhost:{}/jwks", address.port());
    let refused = rotation(Path::new(&url), &sets.new, &[]);
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains(": TLS: ") && error.contains(&url), "{error}");
    let ca = sets.folder.path().join("ca.pem");
    fs::write(&ca, pem).unwrap();
    let output = rotation(Path::new(&url), &sets.new, &["--ca-file", ca.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn help_teaches_with_examples() {
    let help = text(&run(&["rotation", "--help"]).stdout);
    for expected in ["portcullis rotation", "Examples:", "Exit codes:", "safe_overlap", "[default: 15m]"] {
        assert!(help.contains(expected), "{help}");
    }
    assert!(!help.contains("REST") && !help.contains("clap would print"), "{help}");
}
