//! Swaps in the real Envoy with two workers under steady load: configurations, module versions,
//! tenant directories and rules, mixed with broken ones. Every request of the load has one right
//! answer under every good configuration, so any other answer, and any connection that ends, is a
//! fault. `PORTCULLIS_SWAPS` sets how many swaps there are.

#[path = "hot_swap/load.rs"]
mod load;
#[path = "hot_swap/plan.rs"]
mod plan;
#[path = "hot_swap/stage.rs"]
mod stage;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use plan::{Swap, Target};
use portcullis_host_tests::envoy;
use stage::Stage;

/// Enough for every kind of swap twice.
const SWAPS: usize = 24;
/// What Envoy may hold at the end beyond what it held when every kind had been swapped in once: what
/// an allocator keeps. One set of VMs that is not given back is more than 8 MiB.
const ROOM: u64 = 96 << 20;

/// How many of the swaps are made before memory is compared.
fn warm(swaps: usize) -> usize {
    (swaps / 2).min(40)
}

#[test]
fn swaps_under_load_answer_no_request_wrongly_and_lose_no_connection() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let swaps = env::var("PORTCULLIS_SWAPS").map_or(SWAPS, |text| text.parse().expect("a number of swaps"));
    let mut stage = Stage::start(&binary).unwrap();
    let load = load::Load::start(stage.address(), &stage.tokens, 4);
    thread::sleep(Duration::from_millis(500));

    let (mut refused, mut taken) = (0, 0);
    let mut warm_memory = 0;
    let mut convergence = Vec::new();
    for number in 1..=swaps {
        let swap = Swap::of(number);
        let start = Instant::now();
        if swap.is_sound() {
            stage.swap(&swap).unwrap();
            convergence.push(start.elapsed());
            taken += 1;
        } else {
            stage.swap_refused(&swap).unwrap();
            refused += 1;
        }
        load.assert_sound(&format!("after swap {number}, {swap:?}"));
        if number == warm(swaps) {
            warm_memory = stage.envoy.resident_memory().unwrap();
        }
    }

    let memory = stage.envoy.resident_memory().unwrap();
    let outcome = load.end();
    convergence.sort_unstable();
    println!("{swaps} swaps: {taken} taken, {refused} refused with a reason");
    println!(
        "{} requests, {} of them across a swap; faults: {:?}",
        outcome.requests, outcome.slow, outcome.faults
    );
    println!("until both workers had it: median {:?}", convergence.get(convergence.len() / 2));
    println!("memory: {} MiB after {}, {} MiB at the end", warm_memory >> 20, warm(swaps), memory >> 20);
    assert_eq!(outcome.faults, Vec::<String>::new());
    assert!(outcome.requests > 20 * swaps, "no load: {}", outcome.requests);
    assert!(outcome.slow > 0, "no request was under way during a swap");
    assert!(refused >= swaps / 3 && taken >= swaps / 3, "{refused} and {taken}");
    assert!(memory < warm_memory + ROOM, "{warm_memory} bytes became {memory}");
    assert!(stage.envoy.is_running().unwrap());
}

#[test]
fn a_module_that_traps_on_requests_lets_nothing_through_and_can_be_swapped_out() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let mut stage = Stage::start(&binary).unwrap();

    stage.put(Target::JwtAuth, &stage.trapping_on_requests());
    stage.wait_reloads(Target::JwtAuth, 2).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut in_a_row = 0;
    while in_a_row < 10 {
        let status = stage.status("/t/acme/x", Some(&stage.tokens.good));
        assert!(matches!(status, 200 | 503), "{status}");
        assert!(matches!(stage.status("/t/acme/x", None), 401 | 503));
        in_a_row = if status == 503 { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < deadline, "the trapping module is not used");
    }

    stage.put_back();
    in_a_row = 0;
    while in_a_row < 10 {
        let (good, none) =
            (stage.status("/t/acme/x", Some(&stage.tokens.good)), stage.status("/t/acme/x", None));
        assert!(matches!((good, none), (200 | 503, 401 | 503)), "{good} and {none}");
        in_a_row = if (good, none) == (200, 401) { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < deadline, "the sound module is not used");
    }
}
