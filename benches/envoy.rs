//! What a JWT filter costs in the real Envoy: CPU time a request, for no filter, a wasm filter that
//! does nothing, Envoy's own jwt_authn with and without its token cache, and jwt-auth; each also
//! as it leaves the verified claims for later filters.
//!
//! All are listeners of one Envoy with one worker; a round takes them in turn with the same
//! requests. `README.md` says how to read the result.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use portcullis_benches::arena::{Arena, Contender, Load, WARM_UP};
use portcullis_benches::arithmetic::{self, Cost};
use portcullis_benches::report::Spread;
use portcullis_benches::{chart, guard, load, modules, prices, tenants, tokens};
use portcullis_host_tests::envoy::{self, config};
use portcullis_issuer::{SigningKey, jwk_set};
use serde_json::{Map, Value, json};

const NONE: &str = "no filter";
const NOTHING: &str = "wasm that does nothing";
const NATIVE: &str = "jwt_authn";
const NATIVE_CACHE: &str = "jwt_authn with cache";
const NATIVE_PUBLISHED: &str = "jwt_authn, claims published";
const OURS: &str = "jwt-auth";
const OURS_PUBLISHED: &str = "jwt-auth, claims published";
const BESIDE: &str = "jwt-auth, the build beside";
/// The most bytes that the memory of verified tokens may have.
const MOST_REMEMBERED: usize = 1 << 30;

/// CPU time a request in the real Envoy.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds; the medians are over these
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Requests to each listener in a round
    #[arg(long, default_value_t = 800)]
    requests: usize,
    /// A short run that shows whether everything works: its numbers mean little
    #[arg(long)]
    quick: bool,
    /// Only who is calling and whose data it is: jwt-auth with tenant-guard beside jwt_authn with rbac,
    /// which has a policy for each of so many tenants
    #[arg(long, value_name = "TENANTS", num_args = 0..=1, default_missing_value = "10")]
    tenants: Option<usize>,
    /// Only so many tokens that come again and again in turn, with caches in which they all have room
    #[arg(long, value_name = "TOKENS")]
    live: Option<usize>,
    /// Only what it costs to look at answers, beside no guard
    #[arg(long)]
    guard: bool,
    /// Only what single host calls cost
    #[arg(long)]
    prices: bool,
    /// Only what the modules' own arithmetic costs; `--module` and `--beside` are then builds of the
    /// module `vectors`
    #[arg(long)]
    arithmetic: bool,
    /// What to sign with
    #[arg(long, value_delimiter = ',', default_value = "RS256,ES256,EdDSA,HS256")]
    algorithms: Vec<String>,
    /// How many issuers the filters know; tokens are from the last one
    #[arg(long, default_value_t = 1, conflicts_with_all = ["tenants", "guard", "prices", "arithmetic"])]
    issuers: usize,
    /// How many roles are in each token; a hundred make it 3 KB longer
    #[arg(long, default_value_t = 0, conflicts_with_all = ["tenants", "guard", "prices", "arithmetic"])]
    roles: usize,
    /// Only these contenders beside the baseline and `jwt_authn`, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Another build of the measured module than the embedded one
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// One more build of it, beside the other in the same rounds
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Draw the comparison, as an SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// What is not as usual, for the title.
    fn circumstances(&self) -> String {
        let mut unusual = String::new();
        if self.issuers != 1 {
            unusual.push_str(&format!(", {} issuers", self.issuers));
        }
        if self.roles != 0 {
            unusual.push_str(&format!(", {} roles", self.roles));
        }
        unusual
    }
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = options.rounds.min(3);
        options.requests = options.requests.min(300);
    }
    ensure!(options.rounds > 0 && options.requests > 0, "there must be a round and a request");
    ensure!(options.issuers > 0 && options.tenants != Some(0), "there must be an issuer and a tenant");
    let load = Load { warm_up: WARM_UP, rounds: options.rounds, requests: options.requests };
    let binary = envoy::binary()?;
    let folder = tempfile::tempdir()?;
    let mut results = Vec::new();
    if options.prices {
        results.push(prices(&binary, folder.path(), load)?);
    } else if options.guard {
        results.push(guard::measure(&binary, folder.path(), load.rounds)?);
    } else if options.arithmetic {
        results.extend(own_arithmetic(&binary, folder.path(), &options, load)?);
    } else if let Some(count) = options.live {
        for algorithm in &options.algorithms {
            results.push(live(&binary, folder.path(), (algorithm, count), &options, load)?);
        }
    } else if let Some(count) = options.tenants {
        for algorithm in &options.algorithms {
            results.extend(tenants(&binary, folder.path(), (algorithm, count), load)?);
        }
    } else {
        for algorithm in &options.algorithms {
            results.extend(algorithm_by_algorithm(&binary, folder.path(), algorithm, &options, load)?);
        }
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy-comparison.json");
    let document = json!({
        "envoy": envoy::VERSION,
        "rounds": options.rounds,
        "requests": options.requests,
        "comparisons": results,
    });
    fs::write(&path, format!("{document:#}\n"))?;
    println!("written: {}", path.display());
    if let Some(path) = &options.chart {
        fs::write(path, chart::picture(&results, OURS))?;
        println!("written: {}", path.display());
    }
    Ok(())
}

/// All contenders for one algorithm, with tokens that are all different and with one repeated.
fn algorithm_by_algorithm(
    binary: &Path,
    folder: &Path,
    algorithm: &str,
    options: &Options,
    load: Load,
) -> Result<Vec<Value>> {
    let key = tokens::key(algorithm)?;
    eprintln!("minting {} {algorithm} tokens", load.total());
    let tokens = tokens::mint(&key, load.total(), options.roles)?;
    let arena = Arena::start(binary, contenders(folder, &key, options)?)?;
    let good = tokens.first().context("no tokens were minted")?;
    arena.check(&tokens::forged(good), |name| if [NONE, NOTHING].contains(&name) { 200 } else { 401 })?;
    // The warm-up's requests, then those of each round: no token is sent twice to a listener.
    let different: Vec<_> = tokens.iter().map(|token| load::request(token)).collect();
    let repeated = vec![load::request(good); tokens.len()];
    let mut results = Vec::new();
    for (title, requests) in [("all tokens different", different), ("one token repeated", repeated)] {
        let title = format!("{algorithm}{}, {title}", options.circumstances());
        let comparison = arena.compare(title, NATIVE, &requests, load)?;
        println!("{}", comparison.to_markdown());
        results.push(comparison.to_json());
    }
    Ok(results)
}

/// `count` tokens that come again and again.
fn live(
    binary: &Path,
    folder: &Path,
    (algorithm, count): (&str, usize),
    options: &Options,
    load: Load,
) -> Result<Value> {
    let key = tokens::key(algorithm)?;
    eprintln!("minting {count} {algorithm} tokens");
    let tokens = tokens::mint(&key, count, options.roles)?;
    let module = module(folder, options)?;
    let arena = Arena::start(
        binary,
        vec![
            Contender::new(NONE, None),
            Contender::new(NOTHING, [nothing(folder)?]),
            Contender::new(
                NATIVE_CACHE,
                [native(&key, options.issuers, &json!({"jwt_cache_config": {"jwt_cache_size": count}}))],
            ),
            Contender::new(
                OURS,
                [ours(
                    "jwt-auth",
                    &module,
                    tokens::jwt_auth(&key, options.issuers),
                    json!({"publish_claims": false, "limits": {"verified_tokens_bytes": MOST_REMEMBERED}}),
                )],
            ),
        ],
    )?;
    let good = tokens.first().context("no tokens were minted")?;
    arena.check(&tokens::forged(good), |name| if [NONE, NOTHING].contains(&name) { 200 } else { 401 })?;
    // Twice until a token is remembered, and once until its memory has moved on.
    let load = Load { warm_up: count.saturating_mul(3).max(load.warm_up), ..load };
    let requests: Vec<_> =
        tokens.iter().map(|token| load::request(token)).cycle().take(load.total()).collect();
    let title = format!("{algorithm}{}, {count} tokens in turn", options.circumstances());
    let comparison = arena.compare(title, NATIVE_CACHE, &requests, load)?;
    println!("{}", comparison.to_markdown());
    Ok(comparison.to_json())
}

fn contenders(folder: &Path, key: &SigningKey, options: &Options) -> Result<Vec<Contender>> {
    let native = |more| [native(key, options.issuers, &more)];
    let ours = |name, module: &Path, more| [ours(name, module, tokens::jwt_auth(key, options.issuers), more)];
    let module = module(folder, options)?;
    let mut contenders = vec![
        Contender::new(NONE, None),
        Contender::new(NOTHING, [nothing(folder)?]),
        Contender::new(NATIVE, native(json!({}))),
        Contender::new(NATIVE_PUBLISHED, native(json!({"payload_in_metadata": "payload"}))),
        Contender::new(NATIVE_CACHE, native(json!({"jwt_cache_config": {"jwt_cache_size": 1000}}))),
        Contender::new(OURS, ours("jwt-auth", &module, json!({"publish_claims": false}))),
        Contender::new(OURS_PUBLISHED, ours("published", &module, json!({}))),
    ];
    if let Some(module) = &options.beside {
        let more = json!({"publish_claims": false});
        contenders.push(Contender::new(BESIDE, ours("beside", &existing(module)?, more)));
    }
    if !options.only.is_empty() {
        contenders
            .retain(|own| [NONE, NATIVE, BESIDE].contains(&&*own.name) || options.only.contains(&own.name));
    }
    Ok(contenders)
}

/// What it costs to ask whose data it is as well: the native filters compare with a list that stands
/// in their configuration, tenant-guard with whatever the token says.
fn tenants(
    binary: &Path,
    folder: &Path,
    (algorithm, count): (&str, usize),
    load: Load,
) -> Result<Vec<Value>> {
    let key = tokens::key(algorithm)?;
    eprintln!("minting {} {algorithm} tokens", load.total());
    let tokens = tokens::mint(&key, load.total(), 0)?;
    let jwt_auth = folder.join("jwt-auth.wasm");
    let tenant_guard = folder.join("tenant-guard.wasm");
    fs::write(&jwt_auth, portcullis_modules::JWT_AUTH.wasm)?;
    fs::write(&tenant_guard, portcullis_modules::TENANT_GUARD.wasm)?;
    let guard = |name: &str, configuration: &Value| config::wasm(name, &tenant_guard, configuration);
    let before = |name| ours(name, &jwt_auth, tokens::jwt_auth(&key, 1), json!({}));
    let behind_ours = guard("tenant-guard", &tenants::behind_jwt_auth());
    let behind_native = guard("tenant-guard-beside", &tenants::behind_jwt_authn());
    let arena = Arena::start(
        binary,
        vec![
            Contender::new(NONE, None),
            Contender::new(tenants::NATIVE, [tenants::jwt_authn(&key, false), tenants::rbac(count)]),
            Contender::new(tenants::NATIVE_CACHE, [tenants::jwt_authn(&key, true), tenants::rbac(count)]),
            Contender::new(tenants::BESIDE, [tenants::jwt_authn(&key, true), behind_native]),
            Contender::new(OURS, [before("jwt-auth")]),
            Contender::new(tenants::OURS, [before("jwt-auth-before"), behind_ours]),
        ],
    )?;
    let good = tokens.first().context("no tokens were minted")?;
    arena.check(&tokens::forged(good), |name| if name == NONE { 200 } else { 401 })?;
    arena.check_request(&tenants::foreign(good), |name| match name {
        NONE | OURS => 200,
        tenants::NATIVE | tenants::NATIVE_CACHE => 403,
        _ => 404,
    })?;
    let different: Vec<_> = tokens.iter().map(|token| tenants::request(token).to_bytes()).collect();
    let repeated = vec![tenants::request(good).to_bytes(); tokens.len()];
    let mut results = Vec::new();
    for (title, requests) in [("all tokens different", different), ("one token repeated", repeated)] {
        let title = format!("{count} tenants, {algorithm}, {title}");
        let comparison = arena.compare(title, tenants::NATIVE, &requests, load)?;
        println!("{}", comparison.to_markdown());
        results.push(comparison.to_json());
    }
    Ok(results)
}

/// What single host calls cost: modules that make one of them many times a request, and modules that
/// make one more than the one before, each once.
fn prices(binary: &Path, folder: &Path, load: Load) -> Result<Value> {
    let (often, steps) = (prices::modules()?, prices::steps()?);
    let mut contenders = vec![Contender::new(NONE, None), Contender::new(NOTHING, [nothing(folder)?])];
    let listener = |kind: &str, place: usize| format!("{kind}-{place}");
    for (kind, modules) in [("often", &often), ("step", &steps)] {
        for (place, module) in modules.iter().enumerate() {
            let name = listener(kind, place);
            let path = folder.join(format!("{name}.wasm"));
            fs::write(&path, &module.wasm)?;
            contenders.push(Contender::new(&name, [config::wasm(&name, &path, &json!({}))]));
        }
    }
    let arena = Arena::start(binary, contenders)?;
    let key = tokens::key("RS256")?;
    let token = tokens::mint(&key, 1, 0)?.pop().context("no token was minted")?;
    let requests = vec![load::request(&token); load.total()];
    let comparison = arena.compare("host calls", NOTHING, &requests, load)?;
    let more = |name: &str, than: &str, times: usize| {
        let (own, other) = (comparison.added(name), comparison.added(than));
        let each: Vec<_> = own.iter().zip(&other).map(|(own, other)| (own - other) / times as f64).collect();
        Spread::of(&each)
    };
    println!("| one call, of many in a request | µs |\n|---|--:|");
    for (place, module) in often.iter().enumerate() {
        println!("| {} | {} |", module.name, more(&listener("often", place), NOTHING, module.times));
    }
    println!("\n| one call after the other | all so far, µs | this one |\n|---|--:|--:|");
    for (place, module) in steps.iter().enumerate() {
        let (own, before) = (listener("step", place), place.checked_sub(1).map(|at| listener("step", at)));
        let before = before.as_deref().unwrap_or(NOTHING);
        println!("| {} | {} | {} |", module.name, more(&own, NOTHING, 1), more(&own, before, 1));
    }
    Ok(comparison.to_json())
}

/// What the modules' own arithmetic costs, without the host's.
fn own_arithmetic(binary: &Path, folder: &Path, options: &Options, load: Load) -> Result<Vec<Value>> {
    let path = folder.join("vectors.wasm");
    fs::write(&path, portcullis_modules::VECTORS.wasm)?;
    let path = options.module.as_deref().map_or(Ok(path), existing)?;
    let filter = |name: &str, path: &Path| config::wasm(name, path, &json!({}));
    let mut contenders = vec![Contender::new("this build", [filter("vectors", &path)])];
    if let Some(beside) = &options.beside {
        contenders.push(Contender::new("the build beside", [filter("beside", &existing(beside)?)]));
    }
    let names: Vec<_> = contenders.iter().map(|contender| contender.name.clone()).collect();
    let arena = Arena::start(binary, contenders)?;
    let mut results = Vec::new();
    println!("| in the module, µs | a key's first | each further one |\n|---|--:|--:|");
    for algorithm in &options.algorithms {
        for name in &names {
            let Cost { first, next } =
                arithmetic::measure(&arena, name, algorithm, load.rounds, load.requests)?;
            println!("| {algorithm}, {name} | {first} | {next} |");
            results.push(json!({
                "algorithm": algorithm, "build": name, "first": first.to_json(), "next": next.to_json(),
            }));
        }
    }
    Ok(results)
}

/// The module to measure: the one that was asked for, or the bundle's own.
fn module(folder: &Path, options: &Options) -> Result<PathBuf> {
    if let Some(path) = &options.module {
        return existing(path);
    }
    let path = folder.join("jwt-auth.wasm");
    fs::write(&path, portcullis_modules::JWT_AUTH.wasm)?;
    Ok(path)
}

fn existing(module: &Path) -> Result<PathBuf> {
    module.canonicalize().with_context(|| format!("no module `{}`", module.display()))
}

fn nothing(folder: &Path) -> Result<Value> {
    let path = folder.join("nothing.wasm");
    fs::write(&path, modules::nothing()?)?;
    Ok(config::wasm("nothing", &path, &json!({})))
}

/// Envoy's own filter for so many `issuers`; `more` are further settings of each provider.
fn native(key: &SigningKey, issuers: usize, more: &Value) -> Value {
    let all = tokens::issuers(issuers);
    let provider = |(name, issuer): &(String, String)| {
        let provider = json!({
            "issuer": issuer,
            "audiences": [tokens::AUDIENCE],
            "local_jwks": {"inline_string": jwk_set([key.jwk()]).to_string()},
            "claim_to_headers": [{"claim_name": "sub", "header_name": "x-sub"}],
        });
        (name.clone(), extended(provider, more.clone()))
    };
    let any: Vec<_> = all.iter().map(|(name, _)| json!({"provider_name": name})).collect();
    let requires = match any.as_slice() {
        [one] => one.clone(),
        _ => json!({"requires_any": {"requirements": any}}),
    };
    config::jwt_authn(&json!({
        "providers": all.iter().map(provider).collect::<Map<_, _>>(),
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
    }))
}

/// jwt-auth in a VM of its own, called `name`: a token that another one has seen is news to it.
/// `more` are further settings.
fn ours(name: &str, module: &Path, configuration: Value, more: Value) -> Value {
    config::wasm(name, module, &extended(configuration, more))
}

/// `document` with the members of `more`.
fn extended(mut document: Value, more: Value) -> Value {
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}
