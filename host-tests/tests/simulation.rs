//! The built module in the wasmtime host: proxies with workers, an issuer that rotates its keys, a
//! network that is slow, cut or lying, clients good and bad; all from one seed, under one virtual
//! clock, against the promises in `simulation/judge.rs`.
//!
//! `PORTCULLIS_SEEDS=10000 cargo test --test simulation` runs more seeds than usual, from
//! `PORTCULLIS_FIRST_SEED` on, `PORTCULLIS_SEED=7` tells the story of one, `PORTCULLIS_JWT_AUTH=FILE`
//! takes another build of the module.

#[path = "simulation/issuer.rs"]
mod issuer;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/setting.rs"]
mod setting;
#[path = "simulation/tokens.rs"]
mod tokens;
#[path = "simulation/world.rs"]
mod world;

use std::{
    borrow::Cow,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use portcullis_host::{Engine, Module};
use tokens::Tokens;
use world::Totals;

/// Seeds in an ordinary test run.
const SEEDS: u64 = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: `{text}`")))
}

fn module() -> Module {
    let wasm = match std::env::var_os("PORTCULLIS_JWT_AUTH") {
        Some(file) => Cow::Owned(std::fs::read(&file).unwrap()),
        None => Cow::Borrowed(portcullis_modules::JWT_AUTH.wasm),
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-modules");
    Module::cached(&Engine::new().unwrap(), &wasm, &folder).unwrap()
}

/// Plays the seeds of `range` on all processors; stops at the first that breaks a promise.
fn play(module: &Module, range: std::ops::Range<u64>) -> (Totals, Option<u64>) {
    let (next, stop) = (AtomicU64::new(range.start), AtomicBool::new(false));
    let found = Mutex::new((Totals::default(), None));
    let tokens = Tokens::default();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.end {
                        return;
                    }
                    let ended = world::play(module, &tokens, seed, false);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.0.add(&ended.totals);
                    if !ended.broken.is_empty() {
                        stop.store(true, Ordering::Relaxed);
                        found.1 = Some(found.1.map_or(seed, |other: u64| other.min(seed)));
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Plays one seed and prints its story.
fn tell(module: &Module, seed: u64) {
    let ended = world::play(module, &Tokens::default(), seed, true);
    println!("{}", ended.story);
    assert!(
        ended.broken.is_empty(),
        "seed {seed} breaks a promise: {:#?}\nagain, alone: PORTCULLIS_SEED={seed} cargo test --test \
         simulation -- --nocapture",
        ended.broken
    );
}

#[test]
fn every_seed_keeps_every_promise() {
    let module = module();
    if let Some(seed) = number("PORTCULLIS_SEED") {
        return tell(&module, seed);
    }
    let first = number("PORTCULLIS_FIRST_SEED").unwrap_or(0);
    let count = number("PORTCULLIS_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();

    let (totals, broken) = play(&module, first..first.saturating_add(count));

    if let Some(seed) = broken {
        tell(&module, seed);
        panic!("seed {seed} breaks a promise once and keeps it the second time");
    }
    let took = start.elapsed();
    println!("{count} seeds in {took:?}, {:.1} a second: {totals:?}", count as f64 / took.as_secs_f64());
    // A simulation in which nothing happens proves nothing.
    let Totals { accepted, waited, refused_401, refused_503, fetches, rotations, upsets } = totals;
    for (what, times, least) in [
        ("accepted", accepted, 100),
        ("waited", waited, 5),
        ("called bad", refused_401, 2),
        ("called unavailable", refused_503, 1),
        ("fetched", fetches, 10),
        ("rotated", rotations, 2),
        ("upset", upsets, 1),
    ] {
        assert!(times >= least.min(count), "hardly anything was {what}: {times}");
    }
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    let module = module();
    let stories = [(); 2].map(|()| world::play(&module, &Tokens::default(), 1, true).story);
    assert!(stories[0].contains("fetches /jwks"), "{}", stories[0]);
    assert_eq!(stories[0], stories[1]);
}
