//! Some minutes at a gateway: ordinary requests, and what an operator looks at a dashboard for.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, anyhow};
use portcullis_host_tests::{
    envoy::{
        Discovered, Envoy, Options,
        config::{Bootstrap, Listener, discovered, wasm_config, wasm_holding},
    },
    loopback::{Answer, Endpoint, Request, Service},
};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};

/// When, as parts of the whole.
const LENGTH: u32 = 180;
const FORGERIES: (u32, u32) = (30, 45);
const ROTATION: u32 = 60;
const NOSY: (u32, u32) = (75, 90);
const SWAP: u32 = 95;
const BROKEN_SWAP: u32 = 100;
const NOISY: (u32, u32) = (110, 130);
const OUTAGE: (u32, u32) = (135, 165);

pub struct Scene {
    envoy: Arc<Envoy>,
    issuer: Endpoint,
    keys: [SigningKey; 2],
    jwt_auth: Discovered,
    folder: tempfile::TempDir,
    _upstream: Service,
}

fn configuration(realm: &str) -> Value {
    // Sets that live so shortly that their life shows within minutes.
    let remote = json!({
        "uri": "http://idp/jwks", "cluster": "idp", "allow_insecure_http": true,
        "life": {"min_fresh": "10s", "refresh_ahead": "5s", "backoff_max": "10s", "fetches_per_minute": 30},
    });
    json!({
        "issuers": [{
            "name": "main", "issuer": "https://login.example.com", "audiences": ["api"],
            "algorithms": ["ES256"], "jwks": {"remote": remote},
        }],
        "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}],
        "realm": realm,
    })
}

impl Scene {
    pub fn start(binary: &Path) -> Result<Self> {
        let key =
            |number| SigningKey::generate(&Seed::new([number; 32]), format!("key-{number}"), Kind::P256);
        let keys = [key(1)?, key(2)?];
        let issuer = Endpoint::start(set(&keys[..1]))?;
        let upstream = Service::start(|_| Answer::status(200).after(Duration::from_millis(50)))?;
        let folder = tempfile::tempdir()?;
        portcullis_modules::JWT_AUTH.write_to(folder.path())?;
        let guard_module = portcullis_modules::TENANT_GUARD.write_to(folder.path())?;
        let guard = json!({
            "sources": [{"path": "/t/{tenant}/**", "use": "required"}],
            "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "org_id"}],
            "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
            "quotas": {"default": "all", "plans": {"all": {"rate": "50/s", "burst": 50}}},
            "concurrency": {"classes": {"default": {"total": 100}}},
        });
        let jwt_auth =
            Discovered::create(folder.path(), "jwt-auth", &module(folder.path(), &configuration("api")))?;
        let listener = Listener::new("gateway")
            .filter(discovered("jwt-auth", &jwt_auth))
            .filter(wasm_holding("tenant-guard", &guard_module, &guard))
            .to_cluster("upstream");
        let bootstrap = Bootstrap::new()
            .cluster("idp", issuer.address())
            .cluster("upstream", upstream.address())
            .listener(listener)
            .into_value();
        let envoy = Envoy::start_with(binary, &bootstrap, Options { workers: 2, ..Options::default() })?;
        let reloads = "extension_config_discovery.http_filter.jwt-auth.config_reload";
        envoy.wait_for_stat(reloads, Duration::from_secs(60), |count| count > 0)?;
        Ok(Self { envoy: Arc::new(envoy), issuer, keys, jwt_auth, folder, _upstream: upstream })
    }

    pub fn envoy(&self) -> Arc<Envoy> {
        Arc::clone(&self.envoy)
    }

    /// Lets it all happen within `length`; from when to when, in seconds since 1970.
    pub fn play(&mut self, length: Duration) -> Result<(f64, f64)> {
        let (start, began) = (Instant::now(), since_1970()?);
        let at = |part: u32| length * part / LENGTH;
        let (envoy, keys) = (&self.envoy, &self.keys);
        let forged = SigningKey::generate(&Seed::new([9; 32]), "key-1", Kind::P256)?;
        // Who signs, for whom, on whose path, how often a second, and between when and when.
        let callers = [
            (&keys[0], "acme", "acme", 40, (0, ROTATION)),
            (&keys[1], "acme", "acme", 40, (ROTATION, LENGTH)),
            (&keys[0], "globex", "globex", 15, (0, ROTATION)),
            (&keys[1], "globex", "globex", 15, (ROTATION, LENGTH)),
            (&forged, "acme", "acme", 25, FORGERIES),
            (&keys[1], "globex", "acme", 10, NOSY),
            (&keys[1], "initech", "initech", 120, NOISY),
        ];
        thread::scope(|scope| -> Result<()> {
            let mut calling = Vec::new();
            for (key, tenant, path, rate, (from, to)) in callers {
                calling.push(scope.spawn(move || -> Result<()> {
                    let requests =
                        (0..30).map(|at| request(key, tenant, path, at)).collect::<Result<Vec<_>>>()?;
                    thread::sleep(at(from).saturating_sub(start.elapsed()));
                    // Enough connections that the upstream's time does not slow the rate down.
                    let mut connections =
                        (0..rate).map(|_| envoy.connect("gateway")).collect::<Result<Vec<_>>>()?;
                    let mut due = at(from);
                    for (request, number) in requests.iter().cycle().zip(0_usize..) {
                        due += Duration::from_secs(1) / rate;
                        if due >= at(to) {
                            break;
                        }
                        thread::sleep(due.saturating_sub(start.elapsed()));
                        let places = connections.len();
                        let connection = &mut connections[number % places];
                        if number >= places {
                            connection.reply(false)?;
                        }
                        connection.send(request)?;
                    }
                    Ok(())
                }));
            }
            let wait = |part| thread::sleep(at(part).saturating_sub(start.elapsed()));
            wait(ROTATION - 5);
            // Both for as long as tokens of the first one are about.
            self.issuer.set(set(keys));
            wait(SWAP);
            self.jwt_auth.swap(&module(self.folder.path(), &configuration("api.example.com")))?;
            wait(BROKEN_SWAP);
            self.jwt_auth.swap(&module(self.folder.path(), &json!({"issuers": "main"})))?;
            wait(OUTAGE.0);
            self.issuer.set(Answer::status(503));
            wait(OUTAGE.1);
            self.issuer.set(set(&keys[1..]));
            wait(LENGTH);
            calling
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        Ok((began, began + length.as_secs_f64()))
    }
}

fn since_1970() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

fn module(folder: &Path, configuration: &Value) -> Value {
    wasm_config("jwt-auth", &folder.join("jwt-auth.wasm"), configuration)
}

fn set(keys: &[SigningKey]) -> Answer {
    Answer::json(&jwk_set(keys.iter().map(SigningKey::jwk))).header("cache-control", "max-age=20")
}

fn request(key: &SigningKey, tenant: &str, path: &str, number: u32) -> Result<Vec<u8>> {
    let token = Token::new()
        .claim("iss", "https://login.example.com")
        .claim("aud", "api")
        .claim("sub", format!("user-{number}"))
        .claim("org_id", tenant)
        .claim("exp", since_1970()? as u64 + 600)
        .compact(key)?;
    Ok(Request::get(format!("/t/{path}/orders")).bearer(&token).to_bytes())
}
