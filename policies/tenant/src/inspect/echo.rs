//! The upstream says whom it answered.
//!
//! Its own idea of the tenant catches a handler that lost its scope; the request's id catches a
//! connection or a queue that is out of step, which hands one client's answer to the next (the
//! classes of CVE-2023-28858 and of response queue poisoning). The header is `<tenant>;<request id>`.

use alloc::vec::Vec;

use portcullis_core::{HeaderName, HeaderPair};

use super::{Asked, Leak};

/// The echo of one guard.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    pub(super) header: HeaderName,
    pub(super) required: bool,
    pub(super) enforced: bool,
}

impl Echo {
    /// The header's names as the answer spells them.
    pub(super) fn spellings(&self, headers: &[HeaderPair<'_>]) -> Vec<Vec<u8>> {
        headers
            .iter()
            .filter(|(name, _)| self.header.is_spelled(name))
            .map(|(name, _)| name.to_vec())
            .collect()
    }

    pub(super) fn judge(&self, asked: Asked<'_>, headers: &[HeaderPair<'_>]) -> Option<Leak> {
        let mut values =
            headers.iter().filter(|(name, _)| self.header.is_spelled(name)).map(|(_, value)| *value);
        let Some(value) = values.next() else { return self.required.then_some(Leak::EchoMissing) };
        // Two of them are two answers.
        if values.next().is_some() {
            return Some(Leak::EchoTenant);
        }
        let mut parts = value.splitn(2, |byte| *byte == b';');
        if parts.next().map(<[u8]>::trim_ascii) != Some(asked.tenant.as_bytes()) {
            return Some(Leak::EchoTenant);
        }
        let id = parts.next().map(<[u8]>::trim_ascii);
        match (asked.request_id, id) {
            // A request without an id cannot be told from another one.
            (None, _) => None,
            (Some(_), None) => Some(Leak::EchoMissing),
            (Some(own), Some(id)) => (own != id).then_some(Leak::EchoRequest),
        }
    }
}
