//! What keeps tenants apart at a provider that shares caches between its clients.
//!
//! A cache of prompt prefixes answers sooner what somebody asked before, and time tells: who can ask
//! the same provider learns what others have asked (arXiv 2409.20002; vLLM's `cache_salt` is its
//! answer). Every value here is a keyed hash, so that nobody can choose another tenant's, and the
//! provider does not learn who the tenant is.

use alloc::{string::String, vec::Vec};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_core::json::{self, Object};
use sha2::Sha256;

use crate::{DEPTH, Refusal};

/// Members of a body that name its author or a part of a cache. A client's own are refused.
pub(crate) const OWNED: [&str; 5] = ["user", "cache_salt", "prompt_cache_key", "safety_identifier", "cache"];

/// The key, and what is set with it.
#[derive(Clone)]
pub struct Isolation {
    key: Vec<u8>,
    /// Of [`OWNED`], those that are set; sorted.
    pub(crate) members: Vec<String>,
    /// Headers that are set, lower case.
    pub(crate) headers: Vec<String>,
}

/// What stands for one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Members of each body: name and value.
    pub members: Vec<(String, String)>,
    /// Headers of each call: name and value.
    pub headers: Vec<(String, String)>,
    /// What its share of the calls is known by in this proxy.
    pub slot: [u8; 16],
}

impl Isolation {
    pub(crate) const fn new(key: Vec<u8>, members: Vec<String>, headers: Vec<String>) -> Self {
        Self { key, members, headers }
    }

    /// The names of `tenant`. Every use has a hash of its own: who sees a header does not know a salt.
    #[must_use]
    pub fn names(&self, tenant: &[u8]) -> Names {
        let named = |kind: &str, name: &String| {
            let hash = self.hash(&[kind.as_bytes(), name.as_bytes()], tenant);
            (name.clone(), URL_SAFE_NO_PAD.encode(hash))
        };
        let mut slot = [0; 16];
        slot.iter_mut().zip(self.hash(&[b"slot"], tenant)).for_each(|(to, from)| *to = from);
        Names {
            members: self.members.iter().map(|name| named("member", name)).collect(),
            headers: self.headers.iter().map(|name| named("header", name)).collect(),
            slot,
        }
    }

    fn hash(&self, label: &[&[u8]], tenant: &[u8]) -> [u8; 32] {
        // HMAC takes a key of any length (RFC 2104 section 2): the error cannot be.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return [0; 32] };
        mac.update(b"portcullis-fanout/1\0");
        for part in label {
            mac.update(part);
            mac.update(b"\0");
        }
        mac.update(tenant);
        mac.finalize().into_bytes().into()
    }
}

impl Names {
    /// A body of one question with the members of its tenant at its end, otherwise byte for byte.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the body is no JSON object, or has a member that only the gateway may set.
    pub fn isolate(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let object = json::parse_object_within(body, DEPTH)
            .map_err(|error| Refusal::invalid(".", alloc::format!("{error}")))?;
        refuse_owned(&object)?;
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let end = body.iter().rposition(|byte| !space(byte)).unwrap_or_default();
        let mut out = Vec::from(body.get(..end).unwrap_or_default());
        let mut members = String::new();
        for (name, value) in &self.members {
            if !object.is_empty() || !members.is_empty() {
                members.push(',');
            }
            json::write_string(name, &mut members);
            members.push(':');
            json::write_string(value, &mut members);
        }
        members.push('}');
        out.extend_from_slice(members.as_bytes());
        Ok(out)
    }
}

/// Refuses a body that names its author or a part of a cache itself.
pub(crate) fn refuse_owned(object: &Object<'_>) -> Result<(), Refusal> {
    match OWNED.into_iter().find(|name| object.get(name).is_some()) {
        Some(name) => Err(Refusal::invalid(name, "the gateway sets it for the tenant; leave it out")),
        None => Ok(()),
    }
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation")
            .field("members", &self.members)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isolation(key: &[u8]) -> Isolation {
        Isolation::new(key.into(), ["cache_salt".into(), "user".into()].into(), ["x-namespace".into()].into())
    }

    #[test]
    fn a_tenants_names_are_its_own_and_stay() {
        let one = isolation(b"key of at least thirty-two bytes");
        let acme = one.names(b"acme");
        assert_eq!(acme, one.names(b"acme"));
        for (other, why) in [
            (one.names(b"globex"), "another tenant"),
            (isolation(b"another key of thirty-two bytes.").names(b"acme"), "another key"),
        ] {
            assert_ne!(acme.members, other.members, "{why}");
            assert_ne!(acme.headers, other.headers, "{why}");
            assert_ne!(acme.slot, other.slot, "{why}");
        }
    }

    #[test]
    fn a_plain_body_keeps_its_bytes_and_gets_its_tenants_members() {
        let isolation = Isolation::new(alloc::vec![1; 32], ["cache_salt".into()].into(), Vec::new());
        let names = isolation.names(b"acme");
        let salt = &names.members[0].1;
        for (body, expected) in [
            ("{}", alloc::format!("{{\"cache_salt\":\"{salt}\"}}")),
            (" { \"a\" : 1.50 } \n", alloc::format!(" {{ \"a\" : 1.50 ,\"cache_salt\":\"{salt}\"}}")),
        ] {
            assert_eq!(names.isolate(body.as_bytes()).unwrap(), expected.as_bytes());
        }
        for (body, place) in [
            ("", "."),
            ("[]", "."),
            ("{\"a\":1", "."),
            ("{\"a\":1,\"a\":2}", "."),
            ("{\"cache_\\u0073alt\":\"x\"}", "cache_salt"),
            ("{\"user\":\"globex\"}", "user"),
        ] {
            assert_eq!(names.isolate(body.as_bytes()).unwrap_err().param(), Some(place), "{body}");
        }
    }

    #[test]
    fn no_name_tells_another_or_the_tenant() {
        let names = isolation(b"key of at least thirty-two bytes").names(b"acme");
        let values: Vec<&str> =
            names.members.iter().chain(&names.headers).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values.len(), 3);
        for (at, value) in values.iter().enumerate() {
            assert_eq!(value.len(), 43);
            assert!(!value.contains("acme"));
            assert!(!values[at + 1..].contains(value));
        }
    }
}
