//! `portcullis init`: every folder that it writes is accepted, passes its own suite, and enforces the
//! issuer in the real Envoy.
#![allow(missing_docs, reason = "tests")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{portcullis, text};
use portcullis_host_tests::{
    envoy::{self, Envoy},
    loopback::{Reply, Request, Site, Upstream},
};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};

/// An issuer on loopback, with its key.
struct Issuer {
    site: Site,
    key: SigningKey,
    /// As it calls itself.
    name: String,
}

impl Issuer {
    fn start() -> Self {
        let key = SigningKey::generate(&Seed::new([9; 32]), "own", Kind::P256).unwrap();
        let site = Site::start().unwrap();
        let name = format!("http://{}", site.address());
        let issuer = Self { site, key, name };
        issuer.say(&issuer.name);
        issuer.site.put("/jwks", "1", jwk_set([issuer.key.jwk()]).to_string().into_bytes());
        issuer
    }

    /// Calls itself so in its discovery document.
    fn say(&self, name: &str) {
        let document = json!({"issuer": name, "jwks_uri": format!("{}/jwks", self.name)});
        self.site.put("/.well-known/openid-configuration", name, document.to_string().into_bytes());
    }

    fn token(&self, issuer: &str, claims: &Value) -> Token {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut token = Token::new()
            .header("typ", "JWT")
            .claim("iss", issuer)
            .claim("aud", "api")
            .claim("sub", "alice")
            .claim("exp", now + 300);
        for (name, value) in claims.as_object().into_iter().flatten() {
            token = token.claim(name, value.clone());
        }
        token
    }
}

/// A folder that was written.
struct Written {
    folder: tempfile::TempDir,
    upstream: Upstream,
}

impl Written {
    fn path(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().unwrap();
        let address = upstream.address().to_string();
        let output = init(folder.path(), &[arguments, &["--upstream", &address]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let written = Self { folder, upstream };
        written.passes_its_own_tests();
        written
    }

    fn passes_its_own_tests(&self) {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules");
        for arguments in [["check", "envoy.yaml"], ["test", "suite.yaml"]] {
            let mut command = portcullis();
            command.args(arguments).current_dir(self.path()).env("PORTCULLIS_CACHE", &cache);
            let output = command.output().unwrap();
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{arguments:?}: {said}\n{}", self.file("envoy.yaml"));
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Starts what was written, but for its ports, which may be taken here.
    fn start(&self, binary: &Path) -> Envoy {
        let written = self.file("envoy.yaml");
        let free = written
            .replace("{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}")
            .replace("{address: \"127.0.0.1\", port_value: 10000}", "{address: 127.0.0.1, port_value: 0}");
        assert_eq!(free.matches("port_value: 0}").count(), 2, "{free}");
        let file = self.folder.path().join("free.yaml");
        fs::write(&file, free).unwrap();
        Envoy::start_file(binary, &file, &self.path()).unwrap()
    }
}

fn init(folder: &Path, arguments: &[&str]) -> Output {
    portcullis().arg("init").args(arguments).current_dir(folder).output().unwrap()
}

fn call(envoy: &Envoy, request: &Request) -> Reply {
    envoy.connect("gateway").unwrap().call(request).unwrap()
}

/// Waits for the first fetch of keys.
fn call_until(envoy: &Envoy, request: &Request, status: u16) -> Reply {
    let started = Instant::now();
    loop {
        let reply = call(envoy, request);
        if reply.status == status || started.elapsed() > Duration::from_secs(20) {
            return reply;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn code(reply: &Reply) -> String {
    reply.json().unwrap()["code"].as_str().unwrap_or_default().to_owned()
}

/// A request as the choice of tenants has it for acme, and the same for globex.
fn requests(tenants: &str) -> (Request, Option<Request>) {
    match tenants {
        "none" => (Request::get("/orders"), None),
        "path" => (Request::get("/t/acme/orders"), Some(Request::get("/t/globex/orders"))),
        "subdomain" => {
            let to =
                |tenant| Request::new("GET", "/orders").header("host", format!("{tenant}.app.example.com"));
            (to("acme"), Some(to("globex")))
        }
        "header" => {
            let to = |tenant| Request::get("/orders").header("x-tenant-id", tenant);
            (to("acme"), Some(to("globex")))
        }
        "organizations" => {
            let to =
                |tenant| Request::get("/orders").header("cookie", format!("__Host-organization={tenant}"));
            (to("acme"), Some(to("globex")))
        }
        other => panic!("{other}"),
    }
}

/// What the gateway of `written` does with tokens of `issuer`, who calls itself `name`.
fn enforces(written: &Written, binary: &Path, issuer: &Issuer, name: &str, tenants: &str) {
    let envoy = written.start(binary);
    let (own, other) = requests(tenants);
    let claims = json!({"tenants": ["acme"]});
    let token = issuer.token(name, &claims);
    let good = token.compact(&issuer.key).unwrap();

    let reply = call_until(&envoy, &own.clone().bearer(&good), 200);
    assert_eq!(reply.status, 200, "{tenants}: {reply:?}\n{}", envoy.log().unwrap());
    let seen = written.upstream.take_seen().pop().unwrap();
    assert_eq!(seen.all("x-sub"), [b"alice"], "{tenants}");
    assert!(seen.all("authorization").is_empty(), "{tenants}");
    if other.is_some() {
        assert_eq!(seen.all("x-tenant-id"), [b"acme"], "{tenants}");
    }

    // Signed by a stranger who uses the key's name, the same claims under another's signature, nobody.
    let stranger = SigningKey::generate(&Seed::new([8; 32]), "own", Kind::P256).unwrap();
    let forged = token.compact(&stranger).unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let changed =
        issuer.token(name, &json!({"tenants": ["acme"], "sub": "admin"})).compact(&issuer.key).unwrap();
    let (changed, _) = changed.rsplit_once('.').unwrap();
    for (token, expected) in [
        (forged, "SIGNATURE_INVALID"),
        (format!("{changed}.{signature}"), "SIGNATURE_INVALID"),
        (issuer.token(name, &json!({"aud": "another"})).compact(&issuer.key).unwrap(), "AUDIENCE_MISMATCH"),
        (issuer.token("https://other", &claims).compact(&issuer.key).unwrap(), "ISSUER_MISMATCH"),
    ] {
        let reply = call(&envoy, &own.clone().bearer(&token));
        assert_eq!((reply.status, code(&reply).as_str()), (401, expected), "{tenants}");
    }
    assert_eq!(code(&call(&envoy, &own)), "MISSING_TOKEN", "{tenants}");
    if let Some(other) = other {
        let reply = call(&envoy, &other.bearer(&good));
        assert_eq!((reply.status, code(&reply).as_str()), (404, "TENANT_NOT_FOUND"), "{tenants}");
    }
    assert!(written.upstream.seen().is_empty(), "{tenants}: something refused went through");
}

const TENANTS: [&str; 5] = ["none", "path", "subdomain", "header", "organizations"];

#[test]
fn a_folder_for_keys_in_a_file_enforces_them_in_envoy() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let issuer = Issuer::start();
    let keys = tempfile::NamedTempFile::new().unwrap();
    fs::write(keys.path(), jwk_set([issuer.key.jwk()]).to_string()).unwrap();
    for tenants in TENANTS {
        let written = Written::new(&[
            "--issuer",
            "urn:issuer",
            "--audience",
            "api",
            "--jwks",
            keys.path().to_str().unwrap(),
            "--tenants",
            tenants,
            "--domain",
            "app.example.com",
        ]);
        assert!(!written.file("envoy.yaml").contains("name: idp"), "nothing is fetched");
        enforces(&written, &binary, &issuer, "urn:issuer", tenants);
    }
}

#[test]
fn a_folder_for_an_issuer_with_an_address_enforces_it_in_envoy() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let issuer = Issuer::start();
    for tenants in TENANTS {
        let domain = ["--domain", "app.example.com"];
        let arguments = ["--issuer", &issuer.name, "--audience", "api", "--tenants", tenants];
        let written = Written::new(&[&arguments[..], &domain].concat());
        let text = written.file("envoy.yaml");
        assert!(text.contains(&format!("\"uri\": \"{}/jwks\"", issuer.name)), "{text}");
        assert!(text.contains("\"algorithms\": [\"ES256\"]"), "those of the issuer's keys: {text}");
        enforces(&written, &binary, &issuer, &issuer.name, tenants);
    }
}

#[test]
fn a_folder_that_asked_nobody_finds_the_keys_in_envoy() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let issuer = Issuer::start();
    let written = Written::new(&["--issuer", &issuer.name, "--audience", "api", "--offline"]);
    assert!(written.file("envoy.yaml").contains("\"discovery\""));
    enforces(&written, &binary, &issuer, &issuer.name, "none");
}

#[test]
fn every_provider_has_a_suite_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, jwk_set([Issuer::start().key.jwk()]).to_string()).unwrap();
    for provider in ["auth0", "clerk", "keycloak", "stytch", "workos", "zitadel"] {
        for tenants in ["header", "organizations"] {
            Written::new(&[
                "--issuer",
                "https://issuer",
                "--audience",
                "api",
                "--jwks",
                keys.to_str().unwrap(),
                "--tenants",
                tenants,
                "--provider",
                provider,
            ]);
        }
    }
}

#[test]
fn nothing_is_overwritten_unless_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--issuer", "https://issuer", "--audience", "api", "--offline"];
    assert!(init(folder.path(), &arguments).status.success());
    // The same again is no change.
    assert!(init(folder.path(), &arguments).status.success());
    for name in ["envoy.yaml", "suite.yaml", "README.md", "jwt-auth.wasm"] {
        let path = folder.path().join("gateway").join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let output = init(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(&format!("gateway/{name}` is there already")));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert!(init(folder.path(), &[&arguments[..], &["--force"]].concat()).status.success());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn an_issuer_that_calls_itself_otherwise_is_told() {
    let issuer = Issuer::start();
    issuer.say(&format!("{}/", issuer.name));
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path(), &["--issuer", &issuer.name, "--audience", "api"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("--issuer {}/", issuer.name)), "{said}");
    assert!(!folder.path().join("gateway").exists());
}

#[test]
fn what_would_let_too_much_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let private = json!({"keys": [{"kty": "EC", "crv": "P-256", "d": "AA", "x": "9BTVBLQpisY_nmvjYUR6pQetfbOcSABCKDG47S7i4Y8",
        "y": "9PdDr2TX9wzkAKioHWBTw0w4uN9S22TkvMIP-O9xHC4"}]});
    fs::write(folder.path().join("private.json"), private.to_string()).unwrap();
    fs::write(folder.path().join("empty.json"), "{\"keys\": []}").unwrap();
    for (arguments, expected) in [
        (&["--issuer", "https://issuer"][..], "`--audience`"),
        (&["--audience", "api"], "`--issuer`"),
        (&["--issuer", "urn:x", "--audience", "api"], "`--jwks`"),
        (&["--issuer", "x", "--audience", "api", "--jwks", "private.json"], "private key"),
        (&["--issuer", "x", "--audience", "api", "--jwks", "empty.json"], "empty.json"),
        (&["--issuer", "x", "--audience", "", "--jwks", "empty.json"], "an audience is empty"),
        (&["--issuer", "https://x", "--audience", "a", "--offline", "--tenants", "subdomain"], "`--domain`"),
        (&["--issuer", "https://169.254.169.254/x", "--audience", "a", "--offline"], "link-local"),
    ] {
        let output = init(folder.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!folder.path().join("gateway").exists(), "{arguments:?}");
    }
}

#[test]
fn text_of_the_arguments_stays_text() {
    // Quotes and line ends neither end a text nor begin another member.
    let folder = tempfile::tempdir().unwrap();
    let issuer = "https://issuer/\"],\"audiences\":[\"*";
    let keys = folder.path().join("keys.json");
    fs::write(&keys, jwk_set([Issuer::start().key.jwk()]).to_string()).unwrap();
    let written = Written::new(&[
        "--issuer",
        issuer,
        "--audience",
        "a\n  \"b\": {{x}}",
        "--jwks",
        keys.to_str().unwrap(),
    ]);
    let document: Value =
        serde_json::to_value(serde_saphyr::from_str::<Value>(&written.file("envoy.yaml")).unwrap()).unwrap();
    let filter = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        ["http_filters"][0];
    let configuration = filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap();
    let configuration: Value = serde_json::from_str(configuration).unwrap();
    assert_eq!(configuration["issuers"][0]["issuer"], issuer);
    assert_eq!(configuration["issuers"][0]["audiences"].as_array().unwrap().len(), 1);
}

/// Runs a command on a terminal of its own, and answers each question once it is asked.
const TERMINAL: &str = r#"
import json, os, pty, select, sys, time
arguments, answers = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(arguments[0], arguments)
shown, end = "", time.time() + 60
while time.time() < end:
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part.decode("utf-8", "replace")
    if answers and answers[0][0] in shown:
        time.sleep(0.2)
        os.write(terminal, answers.pop(0)[1].encode())
        shown = ""
print(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or (3 if answers else 0))
"#;

#[test]
fn what_no_flag_says_is_asked_on_a_terminal() {
    let issuer = Issuer::start();
    let folder = tempfile::tempdir().unwrap();
    let program = portcullis().get_program().to_str().unwrap().to_owned();
    let out = folder.path().join("asked");
    let arguments = json!([program, "init", "--out", out]);
    let answers = json!([
        ["Who signs your tokens", format!("{}\r", issuer.name)],
        ["What is `aud`", "api\r"],
        // One down: the path.
        ["Where do requests name the customer", "\u{1b}[B\r"],
        ["Which claim lists", "\r"],
        ["Where is your service", "127.0.0.1:9\r"],
        ["Write it into", "y\r"],
    ]);
    let output = std::process::Command::new("python3")
        .args(["-c", TERMINAL, &arguments.to_string(), &answers.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let written = fs::read_to_string(out.join("envoy.yaml")).unwrap();
    assert!(written.contains(&format!("\"issuer\": \"{}\"", issuer.name)), "{written}");
    assert!(written.contains("/t/{tenant}/**") && written.contains("\"claim\": \"tenants\""), "{written}");
    assert!(written.contains("address: \"127.0.0.1\", port_value: 9}"), "{written}");
}
