//! How a configuration says with which keys contexts are signed.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_core::{ConfigError, HeaderName, UnixTime, config::duration::Span};
use serde::Deserialize;

use super::{Context, InvalidKey, Key};

const DEFAULT_HEADER: &str = "x-tenant-context";
/// A service may take a request up from a queue; a client never sees the header.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);
/// Two are enough for a rotation.
const MAX_KEYS: usize = 8;

/// The tenant context that services can check.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header that carries it. Default: `x-tenant-context`.
    #[serde(default)]
    header: Option<String>,
    /// How long it is good, `1s` to `1h`. Default: `60s`.
    #[serde(default)]
    lifetime: Option<Span>,
    /// The keys, 1 to 8; the first one signs.
    keys: Vec<KeyConfig>,
}

/// A key as the document has it. Not printed: it is a secret.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct KeyConfig {
    /// 1 to 32 letters, digits, `-` and `_`, such as `2026-01`.
    id: String,
    /// Base64 of 32 to 128 bytes: `openssl rand -base64 32`.
    secret: String,
}

impl core::fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyConfig").field("id", &self.id).finish_non_exhaustive()
    }
}

/// With what contexts are signed.
#[derive(Clone, Debug)]
pub struct Signing {
    header: HeaderName,
    lifetime: Duration,
    /// The one that signs first; the others are for whoever verifies.
    keys: Vec<Key>,
}

impl Config {
    /// The checked form; `path` is where the document has it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the place and the reason, never with a secret.
    pub fn resolve(self, path: &str) -> Result<Signing, ConfigError> {
        let Self { header, lifetime, keys: raw } = self;
        let wrong = |member: &str, reason: &str| ConfigError::new(format!("{path}.{member}"), reason);
        let header = header.as_deref().unwrap_or(DEFAULT_HEADER);
        let header = HeaderName::new(header).map_err(|error| wrong("header", &format!("{error}")))?;
        let lifetime = lifetime.map_or(DEFAULT_LIFETIME, |span| span.0);
        if lifetime < Duration::from_secs(1) || lifetime > LONGEST {
            return Err(wrong("lifetime", "not from `1s` to `1h`"));
        }
        if raw.is_empty() || raw.len() > MAX_KEYS {
            return Err(wrong("keys", "not 1 to 8 keys; the first one signs"));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (at, KeyConfig { id, secret }) in raw.into_iter().enumerate() {
            let secret = STANDARD
                .decode(&secret)
                .map_err(|_| wrong(&format!("keys[{at}].secret"), "not base64 (RFC 4648 section 4)"))?;
            let key = Key::new(&id, secret).map_err(|invalid| match invalid {
                InvalidKey::Id => {
                    wrong(&format!("keys[{at}].id"), "not 1 to 32 letters, digits, `-` and `_`")
                }
                InvalidKey::Secret => {
                    let reason = "not 32 to 128 bytes; make one: openssl rand -base64 32";
                    wrong(&format!("keys[{at}].secret"), reason)
                }
            })?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(wrong(&format!("keys[{at}].id"), "another key has this id"));
            }
            keys.push(key);
        }
        Ok(Signing { header, lifetime, keys })
    }
}

impl Signing {
    /// The header that carries the context: one that clients must not send.
    #[must_use]
    pub const fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Every key, the one that signs first.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The header's value for a request as the upstream will see it: of `tenant`, by `subject`.
    #[must_use]
    pub fn sign(
        &self,
        (tenant, subject, request_id): (&str, &str, &str),
        (method, target): (&str, &str),
        now: UnixTime,
    ) -> String {
        let expires = u64::try_from(now.saturating_add(self.lifetime).as_secs()).unwrap_or(0);
        let context = Context {
            tenant: tenant.into(),
            subject: subject.into(),
            request_id: request_id.into(),
            expires,
        };
        // INVARIANT: there is a first key.
        self.keys.first().map(|key| context.sign(key, method, target)).unwrap_or_default()
    }
}
