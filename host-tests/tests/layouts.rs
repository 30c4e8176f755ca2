//! Two versions of a module beside each other, as during a roll-out, whose layouts of shared data are
//! not the same: each keeps to its own keys, also where both have the same `vm_id`. And what a version
//! finds under its keys that it did not write: it is not trusted, and nothing breaks.

#[path = "layouts/foreign.rs"]
mod foreign;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy, Options,
        config::{Bootstrap, Listener, wasm, wasm_holding},
    },
    loopback::{Answer, Endpoint, Reply, Request, Site},
};
use portcullis_issuer::{Seed, Setup, SigningKey, jwk_set};
use portcullis_modules::Module;
use portcullis_tenant::{
    Listed, Membership, Record, Slug, State, TenantId,
    directory::pack::{self, Manifest, Pack},
};
use serde_json::json;

/// What a tenant may ask at once, per layout.
const BURST: usize = 4;

/// The keys of every layout that there is begin so, with this version.
const LAYOUTS: [&str; 3] = ["portcullis/jwt/1/", "portcullis/tenants/1/", "portcullis/quota/1/"];

/// The module as it will be when its layout has another version: the same code, other keys.
fn next_layout(module: &Module) -> Vec<u8> {
    let mut wasm = module.wasm.to_vec();
    let mut changed = 0;
    for layout in LAYOUTS {
        let parts = wasm.windows(layout.len()).enumerate();
        let places: Vec<_> = parts.filter(|(_, part)| *part == layout.as_bytes()).map(|(at, _)| at).collect();
        for at in places {
            wasm[at + layout.len() - 2] = b'2';
            changed += 1;
        }
    }
    assert!(changed > 0, "{} has no layout", module.name);
    wasm
}

fn edition(version: u64, state: State, previous: Option<&Manifest>) -> Result<Pack> {
    let record = Record {
        id: TenantId::new("org_1")?,
        slugs: vec![Slug::new("acme")?],
        domains: vec![],
        state,
        plan: None,
        region: None,
        fields: [].into(),
        issuers: vec![],
        members: vec![Membership { issuer: "main".into(), subject: "alice".into(), roles: vec![] }],
    };
    let listed = Listed::new("tenants", vec![record], &BTreeSet::new())?;
    Ok(pack::pack(&listed, pack::Options { version, seed: pack::Seed(*b"a seed for tests") }, previous)?)
}

fn publish(site: &Site, pack: &Pack) {
    for (name, part) in pack.manifest.parts().iter().zip(&pack.parts) {
        site.put(&format!("/live/parts/{}", name.hex()), "part", part.clone());
    }
    let version = pack.manifest.version().to_string();
    site.put("/live/manifest.json", &version, pack.manifest.write().into_bytes());
}

struct Stage {
    setup: Setup,
    issuer: Endpoint,
    site: Site,
    envoy: Envoy,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// An Envoy with two workers and two ways in: `now` with the modules as they are, `next` with those
    /// of the next layout.
    fn start(binary: &Path) -> Result<Self> {
        Self::start_with(binary, next_layout)
    }

    fn start_with(binary: &Path, next: fn(&Module) -> Vec<u8>) -> Result<Self> {
        let seconds = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
        let setup = Setup::new(&Seed::new([5; 32]), "https://login.example.com", "api", seconds)?;
        let issuer = Endpoint::start(Answer::json(&jwk_set([setup.keys.ec.jwk()])))?;
        let site = Site::start()?;
        let folder = tempfile::tempdir()?;
        let mut jwt_auth = setup.jwt_auth_everywhere();
        jwt_auth["issuers"][0]["jwks"] = json!({"remote": {
            "uri": format!("http://{}/jwks", issuer.address()), "cluster": "idp", "allow_insecure_http": true,
        }});
        let guard = json!({
            "directory": {"fetched": {
                "cluster": "tenants", "uri": format!("http://{}/live/manifest.json", site.address()),
                "allow_insecure_http": true, "refresh": "1s", "max_age": "60s",
            }},
            "sources": [{"header": "x-tenant-id", "use": "required", "by": "slug"}],
            "proofs": [{"name": "main", "jwt_auth": "main", "membership": "directory"}],
            "routes": [
                {"path": {"prefix": "/limited"}, "class": "tenant", "quota": {"class": "limited"}},
                {"path": {"prefix": "/"}, "class": "tenant"},
            ],
            "forward": {"headers": {"id": "x-tenant-id"}},
            "quotas": {"default": "all", "plans": {"all": {
                "rate": "1000/s", "burst": 1000, "classes": {"limited": {"rate": "1/d", "burst": BURST}},
            }}},
        });
        let mut bootstrap =
            Bootstrap::new().cluster("idp", issuer.address()).cluster("tenants", site.address());
        for (name, modules) in [
            (
                "now",
                [portcullis_modules::JWT_AUTH, portcullis_modules::TENANT_GUARD]
                    .map(|module| module.wasm.to_vec()),
            ),
            (
                "next",
                [portcullis_modules::JWT_AUTH, portcullis_modules::TENANT_GUARD].map(|module| next(&module)),
            ),
        ] {
            let paths: Vec<PathBuf> = modules
                .iter()
                .zip(["jwt-auth", "tenant-guard"])
                .map(|(wasm, plugin)| {
                    let path = folder.path().join(format!("{plugin}-{name}.wasm"));
                    std::fs::write(&path, wasm).map(|()| path)
                })
                .collect::<Result<_, _>>()?;
            // The same names and so the same `vm_id`: the worst case.
            let listener = Listener::new(name)
                .filter(wasm("jwt-auth", &paths[0], &jwt_auth))
                .filter(wasm_holding("tenant-guard", &paths[1], &guard));
            bootstrap = bootstrap.listener(listener);
        }
        publish(&site, &edition(1, State::Active, None)?);
        let options = Options { workers: 2, ..Options::default() };
        let envoy = Envoy::start_with(binary, &bootstrap.into_value(), options)?;
        Ok(Self { setup, issuer, site, envoy, _folder: folder })
    }

    fn token(&self, key: &SigningKey) -> Result<String> {
        Ok(self.setup.token().claim("sub", json!("alice")).compact(key)?)
    }

    fn ask(&self, listener: &str, path: &str, token: &str) -> Result<Reply> {
        let request = Request::get(path).bearer(token).header("x-tenant-id", "acme");
        self.envoy.connect(listener)?.call(&request)
    }

    /// Until both ways in answer so on several connections, that is in both workers.
    fn until(&self, token: &str, status: u16, code: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(300);
        let right = |listener: &str| -> Result<bool> {
            let reply = self.ask(listener, "/x", token)?;
            let own = reply.json().ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
            Ok(reply.status == status && own.unwrap_or_default() == code)
        };
        let mut in_a_row = 0;
        while in_a_row < 12 {
            in_a_row = if right("now")? && right("next")? { in_a_row + 1 } else { 0 };
            ensure!(Instant::now() < deadline, "never {status} {code}: {:?}", self.ask("next", "/x", token)?);
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[test]
fn two_layouts_in_one_envoy_each_have_their_own_and_both_follow_every_change() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let stage = Stage::start(&binary)?;
    let (first, second) = (&stage.setup.keys.ec, &stage.setup.keys.ed);
    let token = stage.token(first)?;
    stage.until(&token, 200, "")?;
    // One fetch for each layout: neither has read what the other wrote, and no worker fetches again.
    assert_eq!(stage.issuer.fetches(), 2);

    // A rotation, while both are there.
    stage.issuer.set(Answer::json(&jwk_set([first.jwk(), second.jwk()])));
    stage.until(&stage.token(second)?, 200, "")?;
    stage.until(&token, 200, "")?;
    let forged = stage.token(&stage.setup.keys.mallory_ec.renamed(first.kid()))?;
    stage.until(&forged, 401, "SIGNATURE_INVALID")?;

    // Each has its own buckets, and each keeps what it promises.
    for listener in ["now", "next"] {
        let statuses: Vec<u16> = (0..BURST + 3)
            .map(|_| Ok(stage.ask(listener, "/limited", &token)?.status))
            .collect::<Result<_>>()?;
        let admitted = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((admitted, statuses.last()), (BURST, Some(&429)), "{listener}: {statuses:?}");
    }

    // A directory that changes is changed in both.
    publish(&stage.site, &edition(2, State::Suspended, Some(&edition(1, State::Active, None)?.manifest))?);
    stage.until(&token, 403, "TENANT_SUSPENDED")?;
    publish(&stage.site, &edition(3, State::Active, None)?);
    stage.until(&token, 200, "")?;
    assert_eq!(stage.ask("now", "/limited", &token)?.status, 429);
    assert_eq!(stage.ask("next", "/limited", &token)?.status, 429);
    Ok(())
}

#[test]
fn two_builds_with_one_layout_share_what_two_layouts_do_not() -> Result<()> {
    // The counterpart, without which the test above could not fail.
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let stage = Stage::start_with(&binary, other_build)?;
    stage.until(&stage.token(&stage.setup.keys.ec)?, 200, "")?;
    assert_eq!(stage.issuer.fetches(), 1);
    Ok(())
}

/// The module as another build: other bytes, the same code and keys.
fn other_build(module: &Module) -> Vec<u8> {
    // A custom section (id 0) with the name `build` and no content.
    [module.wasm, b"\x00\x06\x05build"].concat()
}
