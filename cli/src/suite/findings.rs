//! Everything that is wrong with a request, out of the native policy: the module answers with the
//! first of these.

use std::collections::BTreeMap;

use portcullis_core::UnixTime;
use portcullis_crypto::Software;
use portcullis_jwt::{HeaderPair, KeySource, Policy, Request, jwks::KeySet};

use super::upstreams::Upstreams;

struct Sets(BTreeMap<usize, KeySet>);

impl KeySource for Sets {
    fn key_set(&self, issuer: usize) -> Option<&KeySet> {
        self.0.get(&issuer)
    }
}

/// What the native policy finds.
pub(super) struct Found {
    pub(super) codes: Vec<String>,
    /// The request passes: also with findings, under a rule that only reports.
    pub(super) permitted: bool,
}

/// The codes of all findings, in the order of the checks, each once. `keys` is whether the module
/// had keys: what it has fetched is known, not what it has given up.
pub(super) fn codes(
    policy: &Policy,
    request: &[HeaderPair<'_>],
    upstreams: &Upstreams,
    keys: bool,
    now: std::time::Duration,
) -> Found {
    let sets = policy.remote_keys().filter(|_| keys);
    let sets = sets.filter_map(|(index, name, _)| Some((index, upstreams.given(name)?))).collect();
    let now = UnixTime::from_secs(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let examination = policy.examine(&Request::new(request), &Sets(sets), &Software, now);
    let mut codes: Vec<String> = Vec::new();
    for (_, denial) in examination.failures() {
        let code = denial.code().as_str();
        if codes.iter().all(|known| known != code) {
            codes.push(code.into());
        }
    }
    Found { codes, permitted: examination.permit().is_some() }
}
