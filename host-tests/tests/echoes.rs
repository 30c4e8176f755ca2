//! The examples of `docs/echo`, each run by its language behind the real Envoy: what a handler worked
//! for is known, and what it should not have worked for does not leave.
//!
//! A language that is not installed is named in the output; with `PORTCULLIS_VERIFIERS=all` it is a
//! failure.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm, wasm_holding},
    },
    loopback::Request,
};
use portcullis_issuer::{Seed, Setup};
use serde_json::json;

struct Language {
    name: &'static str,
    file: &'static str,
    /// The command; `FILE` and `PORT` stand for what they say.
    command: &'static [&'static str],
    package: &'static str,
}

const fn language(
    name: &'static str,
    file: &'static str,
    command: &'static [&'static str],
    package: &'static str,
) -> Language {
    Language { name, file, command, package }
}

const LANGUAGES: [Language; 6] = [
    language("Python", "echo.py", &["python3", "FILE", "PORT"], "python3"),
    language("Node", "echo.mjs", &["node", "FILE", "PORT"], "nodejs"),
    language("Java", "Echo.java", &["java", "FILE", "PORT"], "default-jdk-headless"),
    language("Go", "echo.go", &["go", "build", "-o", "OUT", "FILE"], "golang-go"),
    language("PHP", "echo.php", &["php", "-S", "127.0.0.1:PORT", "FILE"], "php-cli"),
    language("Ruby", "echo.rb", &["ruby", "FILE", "PORT"], "ruby"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/echo")
}

/// A service that ends when dropped.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the service of a language; nothing where the language is not there.
fn serve(language: &Language, out: &Path) -> Result<Option<Served>> {
    let file = folder().join(language.file);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let binary = out.join(language.name);
    let put = |text: &str| {
        text.replace("FILE", &file.display().to_string())
            .replace("OUT", &binary.display().to_string())
            .replace("PORT", &port.to_string())
    };
    let arguments: Vec<String> = language.command.iter().map(|text| put(text)).collect();
    let (program, arguments) = arguments.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    if language.command.contains(&"OUT") {
        let Ok(built) = command.output() else { return Ok(None) };
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        command = Command::new(&binary);
        command.arg(port.to_string());
    }
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return Ok(None) };
    let served = Served { child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
    let limit = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(served.address).is_err() {
        ensure!(Instant::now() < limit, "{} does not listen", language.name);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(served))
}

#[test]
fn every_language_says_whom_it_answered() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let must = std::env::var("PORTCULLIS_VERIFIERS").is_ok_and(|which| which == "all");
    let folder = tempfile::tempdir()?;
    let mut served = Vec::new();
    for language in &LANGUAGES {
        match serve(language, folder.path())? {
            Some(service) => served.push((language.name, service)),
            None if must => bail!("{} is not installed: apt-get install {}", language.name, language.package),
            None => eprintln!("did not run: {} (apt-get install {})", language.name, language.package),
        }
    }

    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let jwt_auth = setup.jwt_auth_everywhere();
    let guard = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant", "guard": "all"}],
        "guards": {"all": {"echo": {}}},
        "forward": {"headers": {"id": "x-tenant-id"}},
    });
    let (first, second) = (
        portcullis_modules::JWT_AUTH.write_to(folder.path())?,
        portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
    );
    let mut bootstrap = Bootstrap::new();
    for (name, service) in &served {
        let listener = Listener::new(name).filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm_holding(
            "tenant-guard",
            &second,
            &guard,
        ));
        bootstrap = bootstrap.cluster(name, service.address).listener(listener.to_cluster(name));
    }
    let envoy = Envoy::start(&binary, &bootstrap.into_value())?;
    let token = setup.token().claim("sub", json!("u")).claim("org_id", json!("acme"));
    let token = token.compact(&setup.keys.ec)?;
    for (name, _) in &served {
        let ask = |path: &str| {
            let request = Request::get(path).header("x-tenant-id", "acme").bearer(&token);
            envoy.connect(name)?.call(&request)
        };
        let own = ask("/own").with_context(|| (*name).to_owned())?;
        assert_eq!((own.status, own.body.as_slice()), (200, &b"orders of acme"[..]), "{name}");
        assert!(own.all("x-tenant-echo").is_empty(), "{name}: the echo left");
        let stopped = || envoy.stat("wasmcustom.portcullis.tenant.leak.stopped.echo_tenant");
        let before = stopped()?;
        let lost = ask("/lost").with_context(|| (*name).to_owned())?;
        assert_eq!(
            (lost.status, lost.json()?["code"].as_str()),
            (502, Some("TENANT_RESPONSE_LEAK")),
            "{name}"
        );
        assert_eq!(stopped()?, before + 1, "{name}");
    }
    assert!(!served.is_empty() || !must);
    Ok(())
}

#[test]
fn the_lines_in_the_documentation_are_those_that_run() {
    let text = fs::read_to_string(folder().join("../answers.md")).unwrap();
    for Language { name, file, .. } in LANGUAGES {
        let code = fs::read_to_string(folder().join(file)).unwrap();
        let own = code
            .lines()
            .map(str::trim)
            .find(|line| line.contains("x-tenant-echo") && !line.contains("<tenant id>"));
        let own = own.unwrap_or_else(|| panic!("{file} has no such line"));
        assert!(text.contains(own), "docs/answers.md lacks the line in {name}: {own}");
        assert!(text.contains(&format!("(echo/{file})")), "docs/answers.md does not lead to {file}");
    }
}
