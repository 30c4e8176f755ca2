//! What leaves with an answer, what a service can check, and what shadow mode lets pass and writes
//! down: in the real Envoy.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use portcullis_core::UnixTime;
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm},
    },
    loopback::{Answer, Endpoint, Reply, Request, Seen},
};
use portcullis_issuer::{Seed, Setup};
use portcullis_tenant::context::{Context, Key};
use serde_json::{Value, json};

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Scene {
    envoy: Envoy,
    upstream: Endpoint,
    token: String,
    _folder: tempfile::TempDir,
}

fn tenant_guard(mode: &str) -> Value {
    json!({
        "sources": [{"host": {"bases": ["app.test"]}, "by": "id"}, {"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
        "routes": [
            {"path": {"prefix": "/public"}, "class": "public"},
            {"path": {"prefix": "/prices"}, "class": "tenant", "shared": "the same list for all"},
            {"path": {"prefix": "/api"}, "class": "tenant"},
        ],
        "forward": {"headers": {"id": "x-tenant-id"}},
        "signed_context": {"keys": [{"id": "k1", "secret": SECRET}]},
        "audit": {"mode": mode, "salt": "0123456789abcdef"},
    })
}

fn scene(binary: &Path) -> Result<Scene> {
    let folder = tempfile::tempdir()?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([7; 32]), "https://login.example.com", "api", now)?;
    let mut jwt_auth = setup.jwt_auth_config();
    jwt_auth["rules"] = json!([
        {"path": {"prefix": "/public"}, "require": "none"},
        {"path": {"prefix": "/"}, "require": {"any": ["main"]}},
    ]);
    let upstream = Endpoint::start(Answer::status(200))?;
    let (first, second) = (
        portcullis_modules::JWT_AUTH.write_to(folder.path())?,
        portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
    );
    let mut bootstrap = Bootstrap::new().cluster("upstream", upstream.address());
    for mode in ["enforce", "shadow"] {
        let listener = Listener::new(mode).filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm(
            &format!("tenant-guard-{mode}"),
            &second,
            &tenant_guard(mode),
        ));
        bootstrap = bootstrap.listener(listener.to_cluster("upstream"));
    }
    let envoy = Envoy::start(binary, &bootstrap.into_value())?;
    let token = setup.token().claim("sub", json!("user-1")).claim("org_id", json!("acme"));
    Ok(Scene { envoy, upstream, token: token.compact(&setup.keys.ec)?, _folder: folder })
}

impl Scene {
    fn ask(&self, listener: &str, request: Request) -> Result<Reply> {
        self.envoy.connect(listener)?.call(&request.bearer(&self.token))
    }

    /// The answer that leaves where the upstream gives this one.
    fn answer(&self, path: &str, answer: Answer) -> Result<Reply> {
        self.upstream.set(answer);
        self.ask("enforce", Request::new("GET", path).header("host", "acme.app.test"))
    }

    fn last(&self) -> Result<Seen> {
        self.upstream.seen().pop().context("nothing reached the upstream")
    }
}

#[test]
fn answers_leave_clean_and_contexts_can_be_checked() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;

    let plain = scene.answer("/api/x", Answer::status(200))?;
    assert_eq!(plain.all("cache-control"), ["private, no-store"]);

    let cached = Answer::status(200)
        .header("cache-control", "public, max-age=60")
        .header("cdn-cache-control", "max-age=60");
    let reply = scene.answer("/api/x", cached.clone())?;
    assert_eq!(
        (reply.all("cache-control"), reply.all("cdn-cache-control").len()),
        (vec!["private, no-store".into()], 0)
    );
    let reply = scene.answer("/prices", cached)?;
    assert_eq!(reply.all("cache-control"), ["public, max-age=60"]);

    let cookies = Answer::status(200)
        .header("set-cookie", "a=1; Domain=.app.test; Secure")
        .header("set-cookie", "b=2; HttpOnly")
        .header("x-tenant-id", "acme")
        .header("x_tenant_context", "v1.secret");
    let reply = scene.answer("/api/x", cookies.clone())?;
    assert_eq!(reply.all("set-cookie"), ["a=1; Secure", "b=2; HttpOnly"]);
    assert_eq!((reply.one("x-tenant-id"), reply.one("x_tenant_context")), (None, None));
    let reply = scene.answer("/public/x", cookies)?;
    assert_eq!((reply.one("x-tenant-id"), reply.all("set-cookie").len()), (None, 2));

    let away = Answer::status(302).header("location", "https://globex.app.test/x");
    let reply = scene.answer("/api/x", away)?;
    assert_eq!((reply.status, reply.json()?["code"].as_str()), (502, Some("TENANT_RESPONSE_REFUSED")));
    assert_eq!(reply.one("location"), None);
    let home = Answer::status(302).header("location", "https://acme.app.test/x");
    assert_eq!(scene.answer("/api/x", home)?.status, 302);

    // The service checks who the proxy let through, for what.
    scene.upstream.set(Answer::status(200));
    let request = Request::new("GET", "/api/orders?page=2")
        .header("host", "acme.app.test")
        .header("x-tenant-context", "v1.k1.9999999999.Z2xvYmV4....");
    ensure!(scene.ask("enforce", request)?.status == 200);
    let seen = scene.last()?;
    let [context] = seen.all("x-tenant-context")[..] else { anyhow::bail!("not one context") };
    let key = Key::new("k1", (0..32).collect()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let now = UnixTime::from_secs(i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?);
    let text = std::str::from_utf8(context)?;
    let verified = Context::verify(text, std::slice::from_ref(&key), ("GET", "/api/orders?page=2"), now)
        .map_err(|error| anyhow::anyhow!("{text}: {error:?}"))?;
    assert_eq!((verified.tenant.as_str(), verified.subject.as_str()), ("acme", "user-1"));
    assert_eq!(seen.all("x-request-id"), [verified.request_id.as_bytes()]);
    assert!(Context::verify(text, &[key], ("GET", "/api/orders?page=3"), now).is_err());
    Ok(())
}

#[test]
fn shadow_mode_refuses_nobody_and_writes_down_whom_it_would() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    let foreign =
        || Request::new("GET", "/api/x").header("host", "globex.app.test").header("x-tenant-id", "acme");
    assert_eq!(scene.ask("enforce", foreign())?.status, 404);
    assert_eq!(scene.ask("shadow", foreign())?.status, 200);
    let seen = scene.last()?;
    assert_eq!(
        (seen.all("x-tenant-id").len(), seen.all("x-tenant-context").len()),
        (0, 0),
        "no context is told"
    );
    assert_eq!(
        scene.ask("shadow", Request::new("GET", "/nowhere").header("host", "acme.app.test"))?.status,
        200
    );
    assert_eq!(
        scene.ask("shadow", Request::new("GET", "/api/x").header("host", "acme.app.test"))?.status,
        200
    );

    let wanted = [
        r#""event":"refused","code":"TENANT_NOT_FOUND","reason":"disagreement""#,
        r#""event":"would_refuse","code":"TENANT_NOT_FOUND","reason":"disagreement""#,
        r#""event":"would_refuse","code":"NO_RULE_MATCHED","reason":"no_route""#,
        r#""event":"passed""#,
    ];
    let limit = std::time::Instant::now();
    let missing = |log: &str| wanted.into_iter().find(|event| !log.contains(event));
    while let Some(event) = missing(&scene.envoy.log()?) {
        ensure!(limit.elapsed() < Duration::from_secs(10), "the log has no {event}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = scene.envoy.log()?;
    let events: Vec<&str> = log.lines().filter(|line| line.contains("portcullis_audit ")).collect();
    assert!(events.iter().all(|event| !event.contains("globex") && !event.contains("acme")), "{events:?}");
    Ok(())
}
