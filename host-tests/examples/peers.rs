//! The attack corpus against two filters in one real Envoy: its own jwt_authn, and jwt-auth.
//!
//! `cargo run --example peers` writes the table that is in
//! `docs/attacks.md`; `-- --check` fails if jwt-auth accepts anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy, VERSION,
        config::{self, Bootstrap, Listener},
    },
    loopback::{self, Connection, Upstream},
};
use portcullis_issuer::{
    Seed, Setup,
    attacks::{Case, Class, Seen, Verdict, catalogue, published},
    jwk_set,
};
use serde_json::{Value, json};

const OURS: &str = "jwt-auth";
const NATIVE: &str = "jwt_authn";

/// Cases that no filter decides here: the clocks are real, so the last second of the skew has passed
/// when a token arrives; and Envoy's connection manager normalizes these paths before any filter
/// sees them, so that they can be read in one way only.
const ELSEWHERE: [&str; 6] =
    ["exp-last-second", "nbf-limit", "path-dot", "path-double-slash", "path-letter", "path-empty-segment"];

fn main() -> Result<()> {
    let check = std::env::args().any(|argument| argument == "--check");
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let setup = Setup::new(&Seed::new([7; 32]), "https://issuer", "api", now)?;
    let cases: Vec<_> =
        catalogue(&setup)?.into_iter().filter(|case| !ELSEWHERE.contains(&case.id.as_str())).collect();
    let mut arena = Arena::start(&setup)?;
    let mut verdicts = BTreeMap::new();
    for gateway in [NATIVE, OURS] {
        for case in &cases {
            verdicts.insert((gateway, case.id.as_str()), arena.verdict(gateway, case)?);
        }
    }
    print!("{}", markdown(&cases, &verdicts, &arena.refused_keys));
    let ours = cases.iter().filter(|case| verdicts[&(OURS, case.id.as_str())].is_hole()).count();
    ensure!(!check || ours == 0, "jwt-auth accepts {ours} hostile requests");
    Ok(())
}

/// One Envoy with the filters, an upstream behind it, and a listener of jwt_authn for each odd key:
/// one key that it cannot read would make it refuse the whole set.
struct Arena {
    envoy: Envoy,
    upstream: Upstream,
    /// The listener of jwt_authn that has the key of this name.
    listeners: BTreeMap<String, String>,
    /// Keys with which Envoy refuses the configuration.
    refused_keys: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Arena {
    fn start(setup: &Setup) -> Result<Self> {
        let binary = envoy::binary()?;
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("jwt-auth.wasm");
        fs::write(&module, portcullis_modules::JWT_AUTH.wasm)?;
        let upstream = Upstream::start()?;
        let ours = config::wasm(OURS, &module, &setup.jwt_auth_config());
        let mut bootstrap = Bootstrap::new()
            .cluster("upstream", upstream.address())
            .listener(Listener::new(OURS).filter(ours).to_cluster("upstream"));
        let (honest, odd) = key_sets(setup)?;
        let plain = Listener::new(NATIVE).filter(native(setup, &honest)).to_cluster("upstream");
        bootstrap = bootstrap.listener(plain);
        let mut listeners = BTreeMap::new();
        let mut refused_keys = Vec::new();
        for (kid, keys) in odd {
            let name = format!("{NATIVE}-{kid}");
            let mut all = honest.clone();
            all.extend(keys);
            let listener = Listener::new(&name).filter(native(setup, &all)).to_cluster("upstream");
            let alone = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener.clone());
            let file = folder.path().join("alone.json");
            fs::write(&file, alone.into_value().to_string())?;
            if envoy::validate(&binary, &file, folder.path()).is_ok() {
                bootstrap = bootstrap.listener(listener);
                listeners.insert(kid, name);
            } else {
                refused_keys.push(kid);
            }
        }
        let envoy = Envoy::start(&binary, &bootstrap.into_value())?;
        Ok(Self { envoy, upstream, listeners, refused_keys, _folder: folder })
    }

    fn verdict(&mut self, gateway: &str, case: &Case) -> Result<Verdict> {
        let kid = odd_kid(case);
        let listener = match (gateway, kid) {
            (NATIVE, Some(kid)) => match self.listeners.get(&kid) {
                Some(listener) => listener.clone(),
                // Envoy never has that key: nothing can get in with it.
                None if self.refused_keys.contains(&kid) => return Ok(Verdict::Right),
                None => NATIVE.to_owned(),
            },
            (gateway, _) => gateway.to_owned(),
        };
        let mut bytes =
            loopback::Request::new(&case.request.method, &case.request.path).header("host", "gateway");
        for (name, value) in &case.request.headers {
            bytes = bytes.header(name, value);
        }
        drop(self.upstream.take_seen());
        let mut connection = Connection::open(self.envoy.address(&listener))?;
        let reply = connection.call(&bytes).with_context(|| case.id.clone())?;
        let seen = self.upstream.take_seen();
        let upstream = seen.first().map(|seen| {
            seen.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
        });
        let code = serde_json::from_slice::<Value>(&reply.body)
            .ok()
            .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
        Ok(case.verdict(&Seen { accepted: upstream.is_some(), code, upstream }))
    }
}

/// The `kid` that the case's token names, where it is in the request.
fn odd_kid(case: &Case) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    if case.class != Class::KeySet {
        return None;
    }
    let (_, value) = case.request.headers.first()?;
    let text = String::from_utf8(value.clone()).ok()?;
    let header = URL_SAFE_NO_PAD.decode(text.strip_prefix("Bearer ")?.split('.').next()?).ok()?;
    Some(serde_json::from_slice::<Value>(&header).ok()?["kid"].as_str()?.to_owned())
}

/// Keys by the names that they are published under.
type ByName = BTreeMap<String, Vec<Value>>;

/// The keys that everybody can read, and the others by their names.
fn key_sets(setup: &Setup) -> Result<(Vec<Value>, ByName)> {
    let target = setup.target();
    let names: BTreeSet<_> = ["rsa-1", "ec-1", "ed-1", "rsa-pss", "p384-1"].into();
    let (mut honest, mut odd) = (Vec::new(), ByName::new());
    for entry in published().map_err(|reason| anyhow::anyhow!(reason))? {
        let jwk = target.publish(&entry)?;
        let kid = jwk["kid"].as_str().unwrap_or_default().to_owned();
        if names.contains(kid.as_str()) {
            honest.push(jwk);
        } else {
            odd.entry(kid).or_default().push(jwk);
        }
    }
    Ok((honest, odd))
}

/// jwt_authn as strict as it can be made.
fn native(setup: &Setup, keys: &[Value]) -> Value {
    config::jwt_authn(&json!({
        "providers": { "main": {
            "issuer": setup.issuer,
            "audiences": [setup.audience],
            "require_expiration": true,
            "clock_skew_seconds": setup.clock_skew,
            "local_jwks": { "inline_string": jwk_set(keys.iter().cloned()).to_string() },
            "claim_to_headers": [{ "claim_name": "sub", "header_name": setup.subject_header }],
        }},
        "rules": [
            { "match": { "path_separated_prefix": setup.public_prefix } },
            { "match": { "prefix": "/" }, "requires": { "provider_name": "main" } },
        ],
    }))
}

fn markdown(cases: &[Case], verdicts: &BTreeMap<(&str, &str), Verdict>, refused_keys: &[String]) -> String {
    let hostile = || cases.iter().filter(|case| case.is_hostile());
    let holes = |gateway, class: Option<Class>| {
        hostile()
            .filter(|case| class.is_none_or(|class| case.class == class))
            .filter(|case| verdicts[&(gateway, case.id.as_str())].is_hole())
            .count()
    };
    let mut out =
        format!("Envoy {VERSION}, {} cases, {} of them hostile.\n\n", cases.len(), hostile().count());
    out.push_str("| class | hostile requests | jwt_authn lets in | jwt-auth lets in |\n|---|---|---|---|\n");
    for class in Class::ALL {
        let count = hostile().filter(|case| case.class == *class).count();
        let row = [NATIVE, OURS].map(|gateway| holes(gateway, Some(*class)));
        out.push_str(&format!("| {class} | {count} | {} | {} |\n", row[0], row[1]));
    }
    out.push_str(&format!(
        "| **all** | **{}** | **{}** | **{}** |\n\n",
        hostile().count(),
        holes(NATIVE, None),
        holes(OURS, None)
    ));
    out.push_str("What jwt_authn lets in:\n\n| case | what | rule |\n|---|---|---|\n");
    for case in hostile() {
        match &verdicts[&(NATIVE, case.id.as_str())] {
            Verdict::Accepted => {
                out.push_str(&format!("| `{}` | {} | {} |\n", case.id, case.name, case.origin));
            }
            Verdict::Leaked(name, values) => out.push_str(&format!(
                "| `{}` | {}: the upstream sees `{name}` as {values:?} | {} |\n",
                case.id, case.name, case.origin
            )),
            _ => {}
        }
    }
    for gateway in [NATIVE, OURS] {
        let refused: Vec<_> = cases
            .iter()
            .filter(|case| matches!(verdicts[&(gateway, case.id.as_str())], Verdict::HonestRefused(_)))
            .map(|case| format!("`{}`", case.id))
            .collect();
        out.push_str(&format!(
            "\nRefused by {gateway} though honest: {}.\n",
            if refused.is_empty() { "none".into() } else { refused.join(", ") }
        ));
    }
    if !refused_keys.is_empty() {
        let names: Vec<_> = refused_keys.iter().map(|kid| format!("`{kid}`")).collect();
        out.push_str(&format!(
            "\nWith one of these keys in the set jwt_authn refuses the whole configuration (a remote set: \
             all of its keys): {}.\n",
            names.join(", ")
        ));
    }
    out
}
