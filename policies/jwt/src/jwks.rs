//! JWK Sets (RFC 7517): a document in, the keys that may verify signatures out, and for every other
//! key the reason why it may not.
//!
//! One unusable key never costs the others (RFC 7517 section 5). What the document says *about* a
//! key (`use`, `key_ops`, `alg`) is held to here; whether the numbers make a key is decided by
//! [`portcullis_crypto::Key`]. Fetching a document, and how long it is good for, is in
//! [`crate::life`].

mod error;
mod jwk;
mod left_out;

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use portcullis_crypto::{Algorithm, Key};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use error::KeySetError;
pub(crate) use left_out::Quoted;
pub use left_out::{LeftOut, Note, Reason, Remark};

/// Where a key set was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration: it may hold shared secrets.
    Inline,
    /// An address. A shared secret found there is known to everybody who can read the address
    /// (and is how an asymmetric key becomes an HMAC secret: CVE-2016-5431), and a private key
    /// found there lets everybody sign: neither verifies anything.
    Remote,
}

/// What a key set may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document. Sets in the field have 1 to 30 KiB; Nimbus stops at 50 KB, which
    /// sets with certificate chains exceed.
    pub document_bytes: usize,
    /// Keys of the set, usable or not.
    pub keys: usize,
    /// Bytes of one `kid`.
    pub kid_bytes: usize,
    /// Keys with the same `kid` (RFC 7517 section 4.5 allows them, keycloak issue 15114 has them).
    /// A token costs one signature check for each.
    pub keys_per_kid: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 256 * 1024, keys: 128, kid_bytes: 512, keys_per_kid: 4 }
    }
}

/// A key of a set, fit to verify signatures.
#[derive(Clone, Debug)]
pub struct JsonWebKey {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    key: Key,
}

impl JsonWebKey {
    /// The key's name, where it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that the key is for, where the set says so.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Whether `algorithm` may be used with this key: it fits the key's type, and it is the JWK's
    /// `alg` where there is one (RFC 8725 section 3.1).
    #[must_use]
    pub fn permits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.key.accepts(algorithm)
    }

    /// Whether both are the same key, for the same algorithm, under the same name.
    fn repeats(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.algorithm == other.algorithm
            && self.key.thumbprint() == other.key.thumbprint()
    }
}

/// The usable keys of a JWK Set; at least one. A clone shares them.
#[derive(Clone)]
pub struct KeySet(Arc<Inner>);

struct Inner {
    keys: Vec<JsonWebKey>,
    /// Positions in `keys` of those with a `kid`, by `kid`, then as in the document.
    by_kid: Vec<usize>,
    left_out: Vec<LeftOut>,
    notes: Vec<Note>,
}

impl KeySet {
    /// The keys of `document`, which came from `origin`.
    ///
    /// Members of the set other than `keys` are ignored (RFC 7517 section 5).
    ///
    /// # Errors
    ///
    /// [`KeySetError`] where the document is no JWK Set, breaks one of `limits`, or has no key that
    /// can be used.
    pub fn parse(document: &[u8], origin: Origin, limits: &Limits) -> Result<Self, KeySetError> {
        if document.len() > limits.document_bytes {
            return Err(KeySetError::TooLarge { bytes: document.len(), limit: limits.document_bytes });
        }
        let elements = elements(document)?;
        if elements.len() > limits.keys {
            return Err(KeySetError::TooManyKeys { keys: elements.len(), limit: limits.keys });
        }
        if elements.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        let mut set = Inner { keys: Vec::new(), by_kid: Vec::new(), left_out: Vec::new(), notes: Vec::new() };
        for (index, element) in elements.into_iter().enumerate() {
            set.add(index, element, origin, limits);
        }
        if set.keys.is_empty() {
            return Err(KeySetError::all_left_out(set.left_out));
        }
        set.by_kid = set.sorted();
        Ok(Self(Arc::new(set)))
    }

    /// The usable keys in the order of the document.
    #[must_use]
    pub fn keys(&self) -> &[JsonWebKey] {
        &self.0.keys
    }

    /// The usable keys called `kid`, compared as bytes, in the order of the document; at most
    /// [`Limits::keys_per_kid`].
    pub fn by_kid(&self, kid: &str) -> impl Iterator<Item = &JsonWebKey> {
        let name = |at: &usize| self.0.keys.get(*at).and_then(JsonWebKey::kid);
        let start = self.0.by_kid.partition_point(|at| name(at) < Some(kid));
        let rest = self.0.by_kid.get(start..).unwrap_or_default();
        rest.iter().filter_map(|at| self.0.keys.get(*at)).take_while(move |key| key.kid() == Some(kid))
    }

    /// The keys that are not used, with the reason.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.0.left_out
    }

    /// The first key called `kid` that is not used.
    #[must_use]
    pub fn left_out_kid(&self, kid: &str) -> Option<&LeftOut> {
        self.0.left_out.iter().find(|key| key.kid() == Some(kid))
    }

    /// What is remarkable about keys that are used.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.0.notes
    }

    /// Whether a key of the set has this RFC 7638 thumbprint: what a cached verification asks
    /// before it is believed again.
    #[must_use]
    pub fn has_thumbprint(&self, thumbprint: &[u8; 32]) -> bool {
        self.0.keys.iter().any(|key| key.key.thumbprint() == *thumbprint)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.0.keys).field("left_out", &self.0.left_out).finish()
    }
}

impl Inner {
    fn add(&mut self, index: usize, element: &str, origin: Origin, limits: &Limits) {
        let (kid, outcome) = jwk::parse(element, origin, limits);
        let outcome = outcome.and_then(|(key, remarks)| self.fits(key, limits).map(|key| (key, remarks)));
        match outcome {
            Ok((key, remarks)) => {
                let note = |remark| Note { index, kid: key.kid.clone(), remark };
                self.notes.extend(remarks.into_iter().map(note));
                self.keys.push(key);
            }
            Err(reason) => self.left_out.push(LeftOut { index, kid, reason }),
        }
    }

    fn fits(&self, key: JsonWebKey, limits: &Limits) -> Result<JsonWebKey, Reason> {
        let namesakes = self.keys.iter().filter(|other| key.kid.is_some() && other.kid == key.kid);
        if self.keys.iter().any(|other| other.repeats(&key)) {
            return Err(Reason::Repeated);
        }
        if namesakes.count() >= limits.keys_per_kid {
            return Err(Reason::TooManyNamesakes { limit: limits.keys_per_kid });
        }
        Ok(key)
    }

    fn sorted(&self) -> Vec<usize> {
        let kid = |at: &usize| self.keys.get(*at).and_then(JsonWebKey::kid);
        let mut named: Vec<usize> = (0..self.keys.len()).filter(|at| kid(at).is_some()).collect();
        named.sort_by(|one, other| kid(one).cmp(&kid(other)));
        named
    }
}

/// The elements of `keys` as text, so that one that is malformed does not cost the others.
fn elements(document: &[u8]) -> Result<Vec<&str>, KeySetError> {
    let text = core::str::from_utf8(document).map_err(|_| KeySetError::NotUtf8)?;
    let start = text.trim_start_matches([' ', '\t', '\r', '\n']);
    match start.bytes().next() {
        Some(b'{') => {}
        Some(b'<') => return Err(KeySetError::Html),
        None => return Err(KeySetError::Empty),
        Some(_) => {
            let json = serde_json::from_str::<IgnoredAny>(text);
            return Err(json.map_or_else(|error| KeySetError::syntax(&error), |_| KeySetError::NotAnObject));
        }
    }
    let members: TopLevel<'_> = serde_json::from_str(text).map_err(|error| {
        // The only data error that the visitor raises.
        if error.is_data() { KeySetError::DuplicateMember } else { KeySetError::syntax(&error) }
    })?;
    let keys = members.keys.ok_or(KeySetError::KeysMissing)?;
    let elements: Vec<&RawValue> =
        serde_json::from_str(keys.get()).map_err(|_| KeySetError::KeysNotAnArray)?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// The members of the set, of which only `keys` is kept.
struct TopLevel<'a> {
    keys: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for TopLevel<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SetVisitor;
        impl<'de> Visitor<'de> for SetVisitor {
            type Value = TopLevel<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JWK Set")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TopLevel<'de>, A::Error> {
                let mut names: Vec<String> = Vec::new();
                let mut keys = None;
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if name == "keys" {
                        keys = Some(value);
                    }
                    names.push(name);
                }
                names.sort_unstable();
                if names.windows(2).any(|pair| pair.first() == pair.last()) {
                    return Err(A::Error::custom("the same member twice"));
                }
                Ok(TopLevel { keys })
            }
        }
        deserializer.deserialize_map(SetVisitor)
    }
}

#[cfg(test)]
mod tests;
