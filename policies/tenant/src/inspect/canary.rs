//! Canaries: a token that is planted in a tenant's data and must never be seen in another's answer.
//!
//! A canary is made of a secret and the tenant, so that whoever sees one need not know all of them: any
//! that is not the request's own is another tenant's, with a million tenants as with two.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use hmac::{Hmac, KeyInit as _, Mac as _};
use memchr::memmem::Finder;
use sha2::Sha256;

/// Hexadecimal digits after the prefix: 96 bits.
const DIGITS: usize = 24;

/// How canaries look here.
#[derive(Clone)]
pub struct Canaries {
    prefix: String,
    secret: Vec<u8>,
    finder: Arc<Finder<'static>>,
}

impl core::fmt::Debug for Canaries {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Canaries").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Canaries {
    /// Canaries that begin with `prefix`: 6 to 32 ASCII letters and digits, and `_` or `-` between or
    /// after them. Of the secret at least 16 bytes.
    #[must_use]
    pub fn new(prefix: &str, secret: &[u8]) -> Option<Self> {
        let sound = (6..=32).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            // Not to be taken for digits.
            && !prefix.bytes().all(|byte| byte.is_ascii_hexdigit())
            && secret.len() >= 16;
        let finder = || Arc::new(Finder::new(prefix).into_owned());
        sound.then(|| Self { prefix: prefix.into(), secret: secret.into(), finder: finder() })
    }

    /// The canary of the tenant with this id: the prefix and 24 hexadecimal digits of HMAC-SHA-256
    /// over `canary:` and the id.
    #[must_use]
    pub fn of(&self, tenant: &str) -> String {
        let mut out = self.prefix.clone();
        // HMAC takes keys of any length (RFC 2104 section 2).
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.secret) {
            let tag = mac.chain_update(b"canary:").chain_update(tenant.as_bytes()).finalize().into_bytes();
            out.extend(tag.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")));
        }
        out
    }
}

/// How much of a canary the last bytes were.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    own: Vec<u8>,
    finder: Arc<Finder<'static>>,
    prefix: usize,
    /// Bytes of the prefix that the last bytes were, wherever it begins.
    matched: usize,
    /// Bytes of a canary after a whole prefix; nothing where there is none.
    digits: Option<usize>,
    /// Whether the digits so far are those of the own canary.
    is_own: bool,
}

impl Watch {
    pub(super) fn new(canaries: &Canaries, tenant: &str) -> Self {
        let prefix = canaries.prefix.len();
        let finder = Arc::clone(&canaries.finder);
        Self { own: canaries.of(tenant).into_bytes(), finder, prefix, matched: 0, digits: None, is_own: true }
    }

    /// Reads on; where in `chunk` another tenant's canary is complete.
    pub(super) fn read(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at: usize = 0;
        while let Some(rest) = chunk.get(at..) {
            if self.matched == 0 && self.digits.is_none() {
                // To the next prefix, or to what may be the beginning of one that goes on later.
                let last = rest.len().saturating_sub(self.prefix.saturating_sub(1));
                at = at.saturating_add(self.finder.find(rest).unwrap_or(last));
            }
            let byte = chunk.get(at)?;
            at = at.saturating_add(1);
            if self.byte(*byte) {
                return Some(at);
            }
        }
        None
    }

    fn byte(&mut self, byte: u8) -> bool {
        if let Some(read) = self.digits {
            let digit = byte.to_ascii_lowercase();
            self.is_own &= self.own.get(read) == Some(&digit);
            self.digits = digit.is_ascii_hexdigit().then(|| read.saturating_add(1));
        }
        self.matched = self.after(byte);
        if self.matched == self.prefix {
            self.matched = 0;
            self.digits = Some(self.prefix);
            self.is_own = true;
        }
        if self.digits != Some(self.own.len()) {
            return false;
        }
        self.digits = None;
        !self.is_own
    }

    /// The longest beginning of the prefix that ends with `byte`, after `matched` bytes of it.
    fn after(&self, byte: u8) -> usize {
        let mut matched = self.matched;
        loop {
            let (Some(next), Some(seen)) = (self.own.get(matched), self.own.get(..matched)) else { return 0 };
            if *next == byte {
                return matched.saturating_add(1);
            }
            // Short and rare enough not to need a table.
            let shorter =
                (0..matched).rev().find(|to| seen.get(..*to).is_some_and(|start| seen.ends_with(start)));
            let Some(shorter) = shorter else { return 0 };
            matched = shorter;
        }
    }
}
