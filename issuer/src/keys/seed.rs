//! Where a key's randomness comes from.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use sha2::{Digest as _, Sha256};

use super::{KeyError, Kind};

/// 32 bytes from which keys are made. A fixed seed gives the same keys on every machine, so tests
/// need no key files; such keys protect nothing.
#[derive(Clone, Copy)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A fixed seed.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from the operating system.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn from_os() -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(KeyError::new)?;
        Ok(Self(bytes))
    }

    /// The randomness of one key: independent of all other keys of the seed.
    pub(super) fn rng(&self, kid: &str, kind: Kind) -> ChaCha20Rng {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(format!("{kind:?}/{kid}"));
        ChaCha20Rng::from_seed(hash.finalize().into())
    }
}
