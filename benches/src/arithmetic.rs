//! What the module's own arithmetic costs: one signature verified again and again within a request,
//! so that the price of a single time can be told.

use anyhow::{Context as _, Result};
use portcullis_host_tests::loopback::Request;
use portcullis_issuer::{SigningKey, jwk_set};

use crate::arena::{Arena, WARM_UP};
use crate::report::Spread;
use crate::tokens;

/// Verifications within a request that one more is told from.
const TIMES: usize = 20;

/// Microseconds of CPU time.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// With a key that has not verified anything: what is kept for it is made.
    pub first: Spread,
    /// With a key that has.
    pub next: Spread,
}

fn request(key: &SigningKey, token: &str, repeat: usize) -> Vec<u8> {
    Request::get("/")
        .header("x-jws", token)
        .header("x-jwks", jwk_set([key.jwk()]).to_string())
        .header("x-repeat", repeat.to_string())
        .to_bytes()
}

/// What a verification by `algorithm` costs in the contender called `name`, a listener with the
/// module `vectors`.
///
/// # Errors
/// When the key is not known or a signature is refused.
pub fn measure(arena: &Arena, name: &str, algorithm: &str, rounds: usize, requests: usize) -> Result<Cost> {
    let key = tokens::key(algorithm)?;
    let token = tokens::mint(&key, 1, 0)?.pop().context("no token was minted")?;
    let load = |repeat, count| vec![request(&key, &token, repeat); count];
    arena.cost(name, &load(1, WARM_UP))?;
    let (mut first, mut next) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let [none, one, many] = [0, 1, 1 + TIMES].map(|repeat| arena.cost(name, &load(repeat, requests)));
        let (none, one, many) = (none?, one?, many?);
        first.push(one - none);
        next.push((many - one) / TIMES as f64);
    }
    Ok(Cost { first: Spread::of(&first), next: Spread::of(&next) })
}
