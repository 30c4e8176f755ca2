//! An Envoy with jwt-auth and tenant-guard, each discovered from a file, before an upstream that
//! reports what reached it; and what is swapped in.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, ensure};
use portcullis_host_tests::{
    envoy::{Discovered, Envoy, Options, config},
    loopback::{Request, Upstream},
};
use portcullis_issuer::{SigningKey, Token, jwk_set, keys};
use serde_json::{Value, json};

use crate::{
    load,
    plan::{Kind, Swap, Target},
};

const LIMIT: Duration = Duration::from_secs(60);
const LISTENER: &str = "gateway";
/// Fresh connections that must see a swap, one after the other: both workers have it.
const IN_A_ROW: usize = 12;

/// The load's tokens.
#[derive(Clone)]
pub struct Tokens {
    pub good: String,
    pub forged: String,
    pub other_audience: String,
    /// Of a tenant that comes and goes.
    pub initech: String,
}

/// What is in force; a refused swap changes none of it.
#[derive(Clone, Copy, Default)]
struct State {
    /// The last sound swap of each filter: it shows in a header at the upstream.
    jwt: usize,
    tenant: usize,
    second_build: bool,
    initech: bool,
    scope: bool,
}

pub struct Stage {
    pub envoy: Envoy,
    pub tokens: Tokens,
    keys: Value,
    jwt_auth: Discovered,
    tenant_guard: Discovered,
    state: State,
    folder: tempfile::TempDir,
    _upstream: Upstream,
}

impl Stage {
    pub fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_modules(folder.path())?;
        let key = SigningKey::generate(&keys::Seed::new([1; 32]), "one", keys::Kind::P256)?;
        let keys = jwk_set([key.jwk()]);
        let tokens = tokens(&key)?;
        let upstream = Upstream::start()?;
        let state = State::default();
        let jwt_auth =
            Discovered::create(folder.path(), "jwt-auth", &jwt_config(folder.path(), &keys, &state, 0))?;
        let tenant_guard =
            Discovered::create(folder.path(), "tenant-guard", &tenant_config(folder.path(), &state, 0))?;
        let listener = config::Listener::new(LISTENER)
            .filter(config::discovered("jwt-auth", &jwt_auth))
            .filter(config::discovered("tenant-guard", &tenant_guard))
            .to_cluster("upstream");
        let bootstrap = config::Bootstrap::new().cluster("upstream", upstream.address()).listener(listener);
        let options = Options { workers: 2, ..Options::default() };
        let envoy = Envoy::start_with(binary, &bootstrap.into_value(), options)?;
        let stage = Self { envoy, tokens, keys, jwt_auth, tenant_guard, state, folder, _upstream: upstream };
        stage.wait_reloads(Target::JwtAuth, 1)?;
        stage.wait_reloads(Target::TenantGuard, 1)?;
        stage.until_seen()?;
        Ok(stage)
    }

    pub fn address(&self) -> SocketAddr {
        self.envoy.address(LISTENER)
    }

    pub fn status(&self, path: &str, token: Option<&str>) -> u16 {
        let request = Request::get(path);
        let request = token.map_or_else(|| request.clone(), |token| request.clone().bearer(token));
        self.envoy.connect(LISTENER).unwrap().call(&request).unwrap().status
    }

    /// Makes a sound swap and waits until both workers answer by it.
    pub fn swap(&mut self, swap: &Swap) -> Result<()> {
        match swap.target() {
            Target::JwtAuth => self.state.jwt = swap.number,
            Target::TenantGuard => self.state.tenant = swap.number,
        }
        match swap.kind {
            Kind::Module => self.state.second_build = !self.state.second_build,
            Kind::Directory => self.state.initech = !self.state.initech,
            Kind::Rule => self.state.scope = !self.state.scope,
            _ => {}
        }
        let config = match swap.target() {
            Target::JwtAuth => jwt_config(self.folder.path(), &self.keys, &self.state, swap.number),
            Target::TenantGuard => tenant_config(self.folder.path(), &self.state, swap.number),
        };
        self.put(swap.target(), &config);
        self.until_seen()
    }

    /// Makes a broken swap and sees that it is counted, told of, and without effect.
    pub fn swap_refused(&mut self, swap: &Swap) -> Result<()> {
        let (name, file) = match swap.target() {
            Target::JwtAuth => ("jwt-auth", self.jwt_auth.path().to_owned()),
            Target::TenantGuard => ("tenant-guard", self.tenant_guard.path().to_owned()),
        };
        let (before, said) = (self.refusals(name)?, self.envoy.log()?.len());
        if swap.kind == Kind::CutFile {
            let whole = fs::read(&file)?;
            let beside = file.with_extension("cut");
            fs::write(&beside, &whole[..whole.len() / 2])?;
            fs::rename(&beside, &file)?;
        } else {
            let broken = self.broken(swap);
            self.put(swap.target(), &broken);
        }
        let deadline = Instant::now() + LIMIT;
        loop {
            let log = self.envoy.log()?;
            let news = log.get(said..).unwrap_or_default();
            if self.refusals(name)? > before && news.contains(swap.reason()) {
                break;
            }
            let (now, reason) = (self.refusals(name)?, swap.reason());
            ensure!(
                Instant::now() < deadline,
                "{swap:?}: {before} refusals, then {now}; no `{reason}` in: {news}"
            );
            thread::sleep(Duration::from_millis(10));
        }
        self.until_seen()
    }

    /// How often Envoy has refused what the file of the filter `name` says.
    fn refusals(&self, name: &str) -> Result<u64> {
        let stats = self.envoy.stats()?;
        let counts = ["config_fail", "update_rejected", "update_failure"];
        let full =
            |count: &&str| stats.get(&format!("extension_config_discovery.http_filter.{name}.{count}"));
        Ok(counts.iter().filter_map(full).sum())
    }

    pub fn put(&mut self, target: Target, config: &Value) {
        match target {
            Target::JwtAuth => self.jwt_auth.swap(config).unwrap(),
            Target::TenantGuard => self.tenant_guard.swap(config).unwrap(),
        }
    }

    /// jwt-auth as it was.
    pub fn put_back(&mut self) {
        let config = jwt_config(self.folder.path(), &self.keys, &self.state, self.state.jwt);
        self.put(Target::JwtAuth, &config);
    }

    pub fn wait_reloads(&self, target: Target, count: u64) -> Result<()> {
        let name = if target == Target::JwtAuth { "jwt-auth" } else { "tenant-guard" };
        let stat = format!("extension_config_discovery.http_filter.{name}.config_reload");
        self.envoy.wait_for_stat(&stat, LIMIT, |value| value >= count).map(drop)
    }

    /// jwt-auth's filter with a module that traps for every request.
    pub fn trapping_on_requests(&self) -> Value {
        config::wasm_config("jwt-auth", &self.folder.path().join("traps-on-requests.wasm"), &json!({}))
    }

    /// Waits until both workers answer by what is in force: the headers of the last sound swaps, the
    /// tenant that comes and goes, and the scope that is asked for or not.
    fn until_seen(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut in_a_row = 0;
        while in_a_row < IN_A_ROW {
            in_a_row = if self.is_seen()? { in_a_row + 1 } else { 0 };
            ensure!(Instant::now() < deadline, "not in force after {LIMIT:?}");
        }
        Ok(())
    }

    fn is_seen(&self) -> Result<bool> {
        let mut connection = self.envoy.connect(LISTENER)?;
        let good = connection.call(&Request::get("/t/acme/x").bearer(&self.tokens.good))?;
        ensure!(good.status == 200, "a good request got {}", good.status);
        let seen = good.json()?;
        let jwt = load::values(&seen, &format!("x-jwt-{}", self.state.jwt));
        let tenant = load::values(&seen, &format!("x-guard-{}", self.state.tenant));
        let initech = connection.call(&Request::get("/t/initech/x").bearer(&self.tokens.initech))?.status;
        let scoped = connection.call(&Request::get("/t/acme/scoped").bearer(&self.tokens.good))?.status;
        ensure!(matches!(initech, 200 | 404) && matches!(scoped, 200 | 403), "{initech} and {scoped}");
        Ok(jwt == ["alice"]
            && tenant == ["alice"]
            && (initech == 200) == self.state.initech
            && (scoped == 403) == self.state.scope)
    }

    fn broken(&self, swap: &Swap) -> Value {
        let folder = self.folder.path();
        let mut jwt = jwt_config(folder, &self.keys, &self.state, swap.number);
        let mut policy = jwt_policy(&self.keys, &self.state, swap.number);
        let with_text = |mut config: Value, text: String| {
            config["config"]["configuration"]["value"] = text.into();
            config
        };
        let with_module = |mut config: Value, name: &str| {
            let path = folder.join(name);
            config["config"]["vm_config"]["code"]["local"]["filename"] = path.to_str().unwrap().into();
            config
        };
        match swap.kind {
            Kind::BadJson => with_text(jwt, format!("{policy}}}")),
            Kind::UnknownField => {
                policy["issuers"][0]["audience"] = json!("api");
                with_text(jwt, policy.to_string())
            }
            Kind::KeysMissing => {
                policy["issuers"][0]["jwks"] = json!({"inline": {"keys": []}});
                with_text(jwt, policy.to_string())
            }
            Kind::TruncatedModule => with_module(jwt, "truncated.wasm"),
            Kind::Trap => {
                jwt["config"]["vm_config"]["vm_id"] = "traps".into();
                with_module(jwt, "traps-on-configure.wasm")
            }
            Kind::BadDirectory => {
                let mut guard = tenant_policy(&self.state, swap.number);
                let tenants = guard["directory"]["inline"]["tenants"].as_array_mut().unwrap();
                tenants.push(json!({"id": "ACME", "slugs": ["acme"]}));
                with_text(tenant_config(folder, &self.state, swap.number), guard.to_string())
            }
            _ => unreachable!("{swap:?} is sound"),
        }
    }
}

fn tokens(key: &SigningKey) -> Result<Tokens> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = |audience: &str, tenant: &str| {
        Token::new()
            .claim("iss", "https://issuer.example")
            .claim("aud", audience)
            .claim("sub", "alice")
            .claim("tid", tenant)
            .claim("exp", now + 3 * 3600)
    };
    let forged =
        claims("api", "acme").header("alg", "ES256").header("kid", "one").raw().signature([7; 64]).compact();
    Ok(Tokens {
        good: claims("api", "acme").compact(key)?,
        forged,
        other_audience: claims("billing", "acme").compact(key)?,
        initech: claims("api", "initech").compact(key)?,
    })
}

fn jwt_policy(keys: &Value, state: &State, number: usize) -> Value {
    let mut rules = vec![json!({"path": {"prefix": "/"}, "require": {"any": ["main"]}})];
    if state.scope {
        rules.insert(
            0,
            json!({"path": {"exact": "/t/acme/scoped"}, "require": {"any": ["main"]}, "scopes": ["more"]}),
        );
    }
    json!({
        "issuers": [{
            "name": "main", "issuer": "https://issuer.example", "audiences": ["api"], "algorithms": ["ES256"],
            "jwks": {"inline": keys},
            "forward": {"headers": [
                {"claim": "sub", "header": "x-sub"}, {"claim": "sub", "header": format!("x-jwt-{number}")}]},
        }],
        "rules": rules,
    })
}

fn jwt_config(folder: &Path, keys: &Value, state: &State, number: usize) -> Value {
    let module = if state.second_build { "jwt-auth-2.wasm" } else { "jwt-auth-1.wasm" };
    config::wasm_config("jwt-auth", &folder.join(module), &jwt_policy(keys, state, number))
}

fn tenant_policy(state: &State, number: usize) -> Value {
    let mut tenants =
        vec![json!({"id": "acme", "slugs": ["acme"]}), json!({"id": "globex", "slugs": ["globex"]})];
    if state.initech {
        tenants.push(json!({"id": "initech", "slugs": ["initech"]}));
    }
    json!({
        "sources": [{"path": "/t/{tenant}/**", "use": "required"}],
        "proofs": [{"name": "main", "jwt_auth": "main", "tenant": "tid"}],
        "directory": {"inline": {"tenants": tenants}},
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id", "subject": format!("x-guard-{number}")}},
    })
}

fn tenant_config(folder: &Path, state: &State, number: usize) -> Value {
    config::wasm_config("tenant-guard", &folder.join("tenant-guard.wasm"), &tenant_policy(state, number))
}

/// The module in two builds (another section, so another code for Envoy), cut, and two that trap.
fn write_modules(folder: &Path) -> Result<()> {
    let jwt_auth = portcullis_modules::JWT_AUTH.wasm;
    // A custom section: id 0, its length, the length of its name, the name.
    let second = [jwt_auth, b"\0\x07\x06second"].concat();
    let put = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    put("jwt-auth-1.wasm", jwt_auth)?;
    put("jwt-auth-2.wasm", &second)?;
    put("tenant-guard.wasm", portcullis_modules::TENANT_GUARD.wasm)?;
    put("truncated.wasm", &jwt_auth[..jwt_auth.len() / 2])?;
    put("traps-on-configure.wasm", &trapping("proxy_on_configure", "(param i32 i32) (result i32)")?)?;
    put(
        "traps-on-requests.wasm",
        &trapping("proxy_on_request_headers", "(param i32 i32 i32) (result i32)")?,
    )?;
    Ok(())
}

/// The smallest plugin, which traps in one callback.
fn trapping(callback: &str, signature: &str) -> Result<Vec<u8>> {
    let configure = if callback == "proxy_on_configure" {
        String::new()
    } else {
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))"#.to_owned()
    };
    Ok(wat::parse_str(format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "_initialize"))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
            {configure}
            (func (export "{callback}") {signature} unreachable))"#
    ))?)
}
