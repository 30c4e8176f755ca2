//! Registries that are slow, down, rate-limiting, lying or too talkative: each ends in a refusal
//! that says so, inside the deadline.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use portcullis_mini_sigstore::{Image, KeyKind, Layout, Signing, Sigstore, Upload, Version};
use serde_json::{Value, json};

use crate::{
    common,
    world::{identity, judge, policy},
};

/// A request's path and its `Authorization`.
struct Asked {
    path: String,
    authorization: Option<String>,
}

/// Serves `answer` on loopback: whole HTTP answers, or nothing for a connection that stays silent.
fn serve(answer: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || converse(stream, &*answer));
        }
    });
    address
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Option<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let path = lines[0].split(' ').nth(1).unwrap().to_owned();
        let authorization =
            lines.iter().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
        match answer(&Asked { path, authorization }) {
            Some(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            None => thread::sleep(Duration::from_secs(60)),
        }
    }
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What a registry with a referrers API holds of one signed image.
struct Contents {
    image: Image,
    upload: Upload,
}

impl Contents {
    fn signed(sigstore: &Sigstore) -> Self {
        let image = Image::new("fake");
        let bundle = Signing::keyless(sigstore, identity()).sign(&image.statement()).bundle(Version::V0_3);
        let upload = Upload::bundles(&image, &[bundle], Layout::Referrers);
        Self { image, upload }
    }

    fn answer(&self, path: &str) -> Vec<u8> {
        let last = path.rsplit('/').next().unwrap();
        let index = "content-type: application/vnd.oci.image.index.v1+json\r\n";
        if path.contains("/referrers/") {
            let manifest = &self.upload.manifests[0].1;
            let mut descriptor = manifest.descriptor();
            descriptor["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
            let list = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor],
            });
            return reply("200 OK", index, list.to_string().as_bytes());
        }
        if last == "1.0" || last == self.image.digest() {
            return reply("200 OK", "", &self.image.manifest.bytes);
        }
        let blobs =
            self.upload.blobs.iter().chain(self.upload.manifests.iter().map(|(_, manifest)| manifest));
        match blobs.into_iter().find(|blob| blob.digest() == last) {
            Some(blob) => reply("200 OK", "", &blob.bytes),
            None => reply("404 Not Found", "", b"{}"),
        }
    }
}

fn sigstore() -> Sigstore {
    Sigstore::new([5; 32])
}

/// The verdict on `app:1.0` of the registry at `address`.
fn verdict(address: SocketAddr, more: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let sigstore = sigstore();
    let require = json!({ "signature": { "signer": "release" } });
    let mut policy = policy(&sigstore, &sigstore.key("release", KeyKind::P256), require);
    policy["limits"] = json!({ "bytes": 100_000 });
    fs::write(&path, policy.to_string()).unwrap();
    let image = format!("{address}/app:1.0");
    judge(&image, path.to_str().unwrap(), &[&["--plain-http"], more].concat())
}

fn fails(address: SocketAddr, more: &[&str], code: &str) {
    let (exit, verdict) = verdict(address, more);
    assert_eq!(exit, 2, "{verdict:#}");
    assert_eq!(
        (&verdict["outcome"], &verdict["class"]),
        (&json!("deny"), &json!("transient")),
        "{verdict:#}"
    );
    assert!(verdict.to_string().contains(code), "{code}: {verdict:#}");
}

#[test]
fn a_registry_with_a_referrers_api_is_read_by_it() {
    let contents = Contents::signed(&sigstore());
    let address = serve(move |asked| Some(contents.answer(&asked.path)));
    let (exit, verdict) = verdict(address, &[]);
    assert_eq!(exit, 0, "{verdict:#}");
}

#[test]
fn a_registry_that_is_down_denies() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    fails(address, &[], "REGISTRY_UNAVAILABLE");
    fails(serve(|_| Some(reply("500 Oops", "", b""))), &[], "REGISTRY_UNAVAILABLE");
    fails(serve(|_| Some(b"nonsense\r\n\r\n".to_vec())), &[], "REGISTRY_UNAVAILABLE");
}

#[test]
fn a_registry_that_is_silent_denies_at_the_deadline() {
    fails(serve(|_| None), &["--timeout", "300ms"], "REGISTRY_TIMEOUT");
    // The tag is there; what is read after it is not.
    let contents = Contents::signed(&sigstore());
    let half = move |asked: &Asked| asked.path.ends_with("/1.0").then(|| contents.answer(&asked.path));
    fails(serve(half), &["--timeout", "500ms"], "REGISTRY_TIMEOUT");
}

#[test]
fn a_registry_that_limits_denies_unless_a_short_wait_helps() {
    fails(serve(|_| Some(reply("429 Too Many", "retry-after: 3600\r\n", b""))), &[], "REGISTRY_RATE_LIMITED");
    let (contents, asked) = (Contents::signed(&sigstore()), AtomicUsize::new(0));
    let address = serve(move |request| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        Some(if first {
            reply("429 Too Many", "retry-after: 0\r\n", b"")
        } else {
            contents.answer(&request.path)
        })
    });
    assert_eq!(verdict(address, &[]).0, 0);
}

#[test]
fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let endless = vec![b' '; 200_000];
    fails(serve(move |_| Some(reply("200 OK", "", &endless))), &[], "REGISTRY_OVERSIZED");
    // One that only says so.
    let claims = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".to_vec();
    fails(serve(move |_| Some(claims.clone())), &["--timeout", "2s"], "REGISTRY_");
}

#[test]
fn a_registry_that_lies_about_a_digest_denies() {
    let contents = Contents::signed(&sigstore());
    let address = serve(move |asked| {
        let other = Image::new("other");
        let blob = asked.path.contains("/blobs/");
        Some(if blob { reply("200 OK", "", &other.manifest.bytes) } else { contents.answer(&asked.path) })
    });
    let (exit, verdict) = verdict(address, &[]);
    assert_ne!(exit, 0, "{verdict:#}");
    assert!(verdict.to_string().contains("CONTENT_DIGEST_MISMATCH"), "{verdict:#}");
}

#[test]
fn a_list_of_referrers_without_end_is_cut() {
    let contents = Contents::signed(&sigstore());
    let address = serve(move |asked| {
        if !asked.path.contains("/referrers/") {
            return Some(contents.answer(&asked.path));
        }
        let many: Vec<_> = (0..300)
            .map(|number| {
                let mut descriptor = Image::new(&number.to_string()).manifest.descriptor();
                descriptor["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
                descriptor
            })
            .collect();
        let list = json!({ "schemaVersion": 2, "manifests": many });
        Some(reply("200 OK", "", list.to_string().as_bytes()))
    });
    let (exit, verdict) = verdict(address, &[]);
    assert_ne!(exit, 0, "{verdict:#}");
}

#[test]
fn a_token_is_fetched_once_and_goes_to_the_registry_only() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let contents = Contents::signed(&sigstore());
    let elsewhere = {
        let (seen, contents) = (Arc::clone(&seen), Contents::signed(&sigstore()));
        serve(move |asked| {
            seen.lock().unwrap().push(("storage", asked.path.clone(), asked.authorization.clone()));
            Some(contents.answer(&asked.path))
        })
    };
    let tokens = {
        let seen = Arc::clone(&seen);
        serve(move |asked| {
            seen.lock().unwrap().push(("tokens", asked.path.clone(), asked.authorization.clone()));
            Some(reply("200 OK", "", br#"{"token":"t0ken","expires_in":60}"#))
        })
    };
    let address = serve(move |asked| {
        if asked.authorization.as_deref() != Some("Bearer t0ken") {
            let challenge = format!(
                "www-authenticate: Bearer realm=\"http://{tokens}/token\",service=\"test\",scope=\"repository:app:pull\"\r\n"
            );
            return Some(reply("401 Unauthorized", &challenge, b"{}"));
        }
        if asked.path.contains("/blobs/") {
            let location = format!("location: http://{elsewhere}{}\r\n", asked.path);
            return Some(reply("307 Temporary Redirect", &location, b""));
        }
        Some(contents.answer(&asked.path))
    });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    fs::write(&config, json!({ "auths": { address.to_string(): { "auth": "dXNlcjpwYXNz" } } }).to_string())
        .unwrap();
    let (exit, verdict) = verdict(address, &["--credentials", config.to_str().unwrap()]);
    assert_eq!(exit, 0, "{verdict:#}");

    let seen = seen.lock().unwrap();
    let of = |place: &str| seen.iter().filter(|(found, ..)| *found == place).collect::<Vec<_>>();
    assert_eq!(of("tokens").len(), 1, "{seen:?}");
    assert_eq!(of("tokens")[0].1, "/token?scope=repository:app:pull&service=test");
    assert_eq!(of("tokens")[0].2.as_deref(), Some("Basic dXNlcjpwYXNz"));
    assert!(
        !of("storage").is_empty()
            && of("storage").iter().all(|(_, _, authorization)| authorization.is_none())
    );
}

#[test]
fn a_registry_that_refuses_denies_and_says_what_was_tried() {
    let basic = serve(|_| Some(reply("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", b"")));
    fails(basic, &[], "REGISTRY_UNAUTHORIZED");
    fails(serve(|_| Some(reply("403 Forbidden", "", b""))), &[], "REGISTRY_UNAUTHORIZED");
    // A token service that is not on this machine would get the password over plain HTTP.
    let realm = "www-authenticate: Bearer realm=\"http://192.0.2.1/token\"\r\n";
    fails(serve(move |_| Some(reply("401 Unauthorized", realm, b""))), &[], "not at an https address");
    // Neither does a redirect leave HTTPS, or this machine.
    let contents = Contents::signed(&sigstore());
    let leads_away = move |asked: &Asked| {
        let blob = asked.path.contains("/blobs/");
        let location = "location: http://192.0.2.1/x\r\n";
        Some(if blob { reply("307 Away", location, b"") } else { contents.answer(&asked.path) })
    };
    fails(serve(leads_away), &[], "not https");
}

#[test]
fn plain_http_is_spoken_only_when_asked_for() {
    let contents = Contents::signed(&sigstore());
    let address = serve(move |asked| Some(contents.answer(&asked.path)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let sigstore = sigstore();
    let require = json!({ "signature": { "signer": "release" } });
    let policy = policy(&sigstore, &sigstore.key("release", KeyKind::P256), require);
    fs::write(&path, policy.to_string()).unwrap();
    let (exit, verdict) = judge(&format!("{address}/app:1.0"), path.to_str().unwrap(), &["--timeout", "5s"]);
    assert_eq!(exit, 2, "{verdict:#}");
    assert!(verdict.to_string().contains("TLS"), "{verdict:#}");
}

#[test]
fn a_registry_is_spoken_to_over_https_with_the_authorities_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let transport =
        portcullis_mini_sigstore::registry::Transport::Https { certificate: &certificate, key: &key };
    let registry = portcullis_mini_sigstore::registry::Registry::start(folder.path(), transport).unwrap();
    let path = folder.path().join("policy.json");
    let sigstore = sigstore();
    let require = json!({ "signature": { "signer": "release" } });
    let policy = policy(&sigstore, &sigstore.key("release", KeyKind::P256), require);
    fs::write(&path, policy.to_string()).unwrap();
    let image = format!("{}/app:1.0", registry.host());
    // The registry is empty; that it says so is what is shown.
    let (exit, verdict) =
        judge(&image, path.to_str().unwrap(), &["--ca-file", certificate.to_str().unwrap()]);
    assert_eq!(exit, 1, "{verdict:#}");
    assert!(verdict.to_string().contains("IMAGE_NOT_FOUND"), "{verdict:#}");
    let (exit, verdict) = judge(&image, path.to_str().unwrap(), &[]);
    assert_eq!(exit, 2, "{verdict:#}");
    assert!(common::text(verdict.to_string().as_bytes()).contains("TLS"), "{verdict:#}");
}
