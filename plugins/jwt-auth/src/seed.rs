//! The keyed hash of the memory of verified tokens.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

/// Random bytes that the hash begins with, so that nobody can choose tokens that collide.
#[derive(Clone, Copy)]
pub(crate) struct Seed([u8; 16]);

impl Seed {
    /// A seed from the host. Without randomness there is none, and nothing may be remembered.
    pub(crate) fn draw() -> Option<Self> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).ok()?;
        Some(Self(seed))
    }
}

/// SipHash-1-3 with the seed in front of what is hashed.
impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher
    }
}

/// What stands for a seed where there is no memory.
impl Default for Seed {
    fn default() -> Self {
        Self([0; 16])
    }
}
