//! The tenant in the host name.

use alloc::{borrow::Cow, collections::BTreeSet, string::String, vec::Vec};

use portcullis_core::{Denial, pattern::label_below};

use super::{Reading, Reference, Source};
use crate::Domain;

/// `{tenant}.base` with exactly one label, and hosts that belong to one tenant.
#[derive(Clone, Debug)]
pub(crate) struct HostSource {
    pub(crate) bases: Vec<String>,
    /// Whether the directory is asked for every other host.
    pub(crate) domains: bool,
    /// Hosts of the product itself, which name no tenant.
    pub(crate) central: BTreeSet<String>,
    /// Labels below a base that are the product's own as well.
    pub(crate) reserved: BTreeSet<String>,
}

impl HostSource {
    pub(super) fn read<'r>(
        &self,
        source: &Source,
        reading: &'r Reading<'_>,
    ) -> Result<Option<Reference<'r>>, Denial> {
        let host = reading.host.as_str();
        if self.central.contains(host) || self.bases.iter().any(|base| base == host) {
            return Ok(None);
        }
        if let Some(label) = self.bases.iter().find_map(|base| label_below(host, base)) {
            if self.reserved.contains(label) {
                return Ok(None);
            }
            return source.reference(label.as_bytes()).map(Some);
        }
        // Another host is a tenant's domain or nobody's.
        if self.domains && Domain::is_valid(host.as_bytes()) {
            return Ok(Some(Reference::Domain(Cow::Borrowed(host))));
        }
        Err(source.invalid("is no host of a tenant"))
    }
}
