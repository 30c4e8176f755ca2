//! Workers, an issuer that rotates, clients good and bad, and a network that is slow, cut, lying
//! or broken: all from one seed, under a virtual clock, against the properties that must hold.
//!
//! `LIFE_SEEDS=10000 cargo test -p portcullis-jwt --test life -- any_seed` runs more seeds,
//! `LIFE_SEED=7` tells the story of one.

#[path = "simulation/issuer.rs"]
mod issuer;
#[path = "simulation/world.rs"]
mod world;

use std::time::Duration;

pub(crate) use issuer::Issuer;
pub(crate) use world::World;

/// An xorshift generator: enough for a story, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `low` up to, not including, `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.within(0, 100) < percent
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.within(low, high))
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn any_seed_keeps_every_promise() {
    if let Some(seed) = number("LIFE_SEED") {
        let world = World::run(seed);
        println!("{}", world.story());
        assert_eq!(world.broken(), &[] as &[String]);
        return;
    }
    let mut total = world::Totals::default();
    for seed in 0..number("LIFE_SEEDS").unwrap_or(100) {
        let world = World::run(seed);
        assert!(
            world.broken().is_empty(),
            "seed {seed} breaks: {:#?}\n{}\nagain with LIFE_SEED={seed}",
            world.broken(),
            world.story()
        );
        total.add(&world.totals);
    }
    // A simulation in which nothing happens proves nothing.
    let world::Totals { accepted, waited, checked, unavailable, fetches, rotations } = total;
    println!("{total:?}");
    for (what, count) in [
        ("accepted", accepted),
        ("waited", waited),
        ("refused as checked", checked),
        ("refused as unavailable", unavailable),
        ("fetched", fetches),
        ("rotated", rotations),
    ] {
        assert!(count > 50, "nothing was {what}");
    }
}
