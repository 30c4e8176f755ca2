//! The signed context: what a service behind the proxy can check instead of trusting a header
//! that anybody inside the network could send.
//!
//! ```text
//! v1.<key>.<expires>.<tenant>.<subject>.<request id>.<request>.<mac>
//! ```
//!
//! - `key` names the key: letters, digits, `-` and `_`.
//! - `expires` is a Unix time in decimal seconds; the context is good before it.
//! - `tenant`, `subject` and `request id` are base64url without padding (RFC 4648 section 5) of
//!   their UTF-8 bytes; an empty one is a caller without subject, a request without id.
//! - `request` is base64url of the SHA-256 of method, a line feed, and the target with its query,
//!   as the service receives them.
//! - `mac` is base64url of the HMAC-SHA-256 (RFC 2104) under the named key over everything before
//!   the last dot.
//!
//! None of the fields can have a dot, so the text has one reading, and the MAC is over the text
//! itself: nothing is encoded a second time to be compared. Who takes a context out of one request
//! and puts it into another has to find a request with the same method and target, and only until
//! it expires.

mod config;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_core::UnixTime;
use sha2::{Digest as _, Sha256};

pub use config::{Config, Signing};

const VERSION: &str = "v1";
/// Most bytes of a context that is verified: a subject of 255 bytes, an id of 129 and room.
const MAX_CONTEXT: usize = 2048;

/// A key with the name that contexts call it by.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Not a key: its id or its secret is of the wrong form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// The id is not 1 to 32 letters, digits, `-` and `_`.
    Id,
    /// The secret has less than 32 bytes (RFC 2104 section 3: as many as the hash) or more than 128.
    Secret,
}

impl Key {
    /// The key called `id`.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`].
    pub fn new(id: &str, secret: Vec<u8>) -> Result<Self, InvalidKey> {
        let named = (1..=32).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        match (named, (32..=128).contains(&secret.len())) {
            (false, _) => Err(InvalidKey::Id),
            (true, false) => Err(InvalidKey::Secret),
            (true, true) => Ok(Self { id: id.to_string(), secret }),
        }
    }

    /// The name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// HMAC takes a key of any length: there is always one.
    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.secret).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

/// What a context says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The tenant's id.
    pub tenant: String,
    /// The caller's subject; empty where it has none.
    pub subject: String,
    /// The id of the request; empty where it has none.
    pub request_id: String,
    /// Unix time in seconds from which on it is good no more.
    pub expires: u64,
}

/// Why a context is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextError {
    /// Not of this form.
    Malformed,
    /// No key has this name.
    UnknownKey,
    /// The MAC is another one.
    Forged,
    /// It was made for another method or target.
    OtherRequest,
    /// Its time is over.
    Expired,
}

impl Context {
    /// The header's value, for a request with this method and target.
    #[must_use]
    pub fn sign(&self, key: &Key, method: &str, target: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let mut text = format!(
            "{VERSION}.{}.{}.{}.{}.{}.{}",
            key.id,
            self.expires,
            encode(&self.tenant),
            encode(&self.subject),
            encode(&self.request_id),
            URL_SAFE_NO_PAD.encode(request(method, target)),
        );
        // Without a MAC nobody takes it.
        let mac = key.mac(&text).map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        text.push('.');
        text.push_str(&mac.unwrap_or_default());
        text
    }

    /// The context that `text` is, for a request with this method and target at `now`.
    ///
    /// # Errors
    ///
    /// [`ContextError`]; whatever it is, nothing that the text says is proven.
    pub fn verify(
        text: &str,
        keys: &[Key],
        (method, target): (&str, &str),
        now: UnixTime,
    ) -> Result<Self, ContextError> {
        if text.len() > MAX_CONTEXT {
            return Err(ContextError::Malformed);
        }
        let (signed, mac) = text.rsplit_once('.').ok_or(ContextError::Malformed)?;
        let fields: Vec<&str> = signed.split('.').collect();
        let [VERSION, id, expires, tenant, subject, request_id, bound] = fields.as_slice() else {
            return Err(ContextError::Malformed);
        };
        let key = keys.iter().find(|key| key.id == *id).ok_or(ContextError::UnknownKey)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| ContextError::Malformed)?;
        let own = key.mac(signed).ok_or(ContextError::Forged)?;
        own.verify_slice(&mac).map_err(|_| ContextError::Forged)?;
        let decode = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ContextError::Malformed)?;
            String::from_utf8(bytes).map_err(|_| ContextError::Malformed)
        };
        let context = Self {
            tenant: decode(tenant)?,
            subject: decode(subject)?,
            request_id: decode(request_id)?,
            expires: expires.parse().map_err(|_| ContextError::Malformed)?,
        };
        if URL_SAFE_NO_PAD.encode(request(method, target)) != **bound {
            return Err(ContextError::OtherRequest);
        }
        if now.as_secs() >= i128::from(context.expires) {
            return Err(ContextError::Expired);
        }
        Ok(context)
    }
}

/// A method has no line feed (RFC 9110 section 9.1), so the two have one reading.
fn request(method: &str, target: &str) -> [u8; 32] {
    Sha256::new().chain_update(method).chain_update("\n").chain_update(target).finalize().into()
}
