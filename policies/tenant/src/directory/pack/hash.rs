//! Where a name is: the keyed hash of what it is and what it says.

use core::{fmt, hash::Hasher as _};

use siphasher::sip::SipHasher13;

/// The key of a directory's hashes. Whoever registers tenants does not know it beforehand, and so
/// cannot choose names that fall together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The hash of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash(pub(super) u64);

impl Seed {
    pub(super) fn id(&self, id: &str) -> Hash {
        self.hash(b'i', &[id.as_bytes()])
    }

    pub(super) fn slug(&self, slug: &str) -> Hash {
        self.hash(b's', &[slug.as_bytes()])
    }

    pub(super) fn domain(&self, domain: &str) -> Hash {
        self.hash(b'd', &[domain.as_bytes()])
    }

    /// An id has no NUL, and neither has an issuer's name (see `build`): the three have one
    /// reading.
    pub(super) fn member(&self, id: &str, issuer: &str, subject: &str) -> Hash {
        self.hash(b'm', &[id.as_bytes(), b"\0", issuer.as_bytes(), b"\0", subject.as_bytes()])
    }

    fn hash(&self, kind: u8, pieces: &[&[u8]]) -> Hash {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(&[kind]);
        for piece in pieces {
            hasher.write(piece);
        }
        Hash(hasher.finish())
    }
}

impl Hash {
    /// The number that the highest `bits` bits are.
    pub(super) fn top(self, bits: u32) -> u32 {
        let shift = 64_u32.saturating_sub(bits);
        u32::try_from(self.0.checked_shr(shift).unwrap_or(0)).unwrap_or(u32::MAX)
    }
}
