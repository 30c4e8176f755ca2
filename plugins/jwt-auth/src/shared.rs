//! One issuer's life in the data that all workers of the proxy share, so that they fetch once.
//!
//! The keys are bound to the issuer and its sources, never to anything that a client sends, so
//! their number is that of the configured issuers. They outlive a VM and a configuration.

use portcullis_abi::{
    Refused,
    shared::{self, Shared},
};
use portcullis_jwt::life::Ledger;

/// The names under which a life is shared, and what this worker has seen of it.
pub(crate) struct SharedLife {
    snapshot: String,
    /// Changes with the snapshot, and is small: what a worker reads to know whether to read more.
    marker: String,
    ledger: String,
    seen: Option<u32>,
}

impl SharedLife {
    /// The life of the issuer and sources that `identity` stands for.
    pub(crate) fn new(identity: &[u8; 32]) -> Self {
        let identity: String = identity.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = |what: &str| format!("portcullis/jwt/1/{identity}/{what}");
        let shared = Self { snapshot: key("set"), marker: key("marker"), ledger: key("ledger"), seen: None };
        shared.prepare();
        shared
    }

    /// A value that exists can be compared and swapped; one that does not cannot. Envoy configures
    /// a VM on its main thread before it makes those of the workers.
    fn prepare(&self) {
        // A host that shares nothing has one worker per life: nothing is lost.
        let _ = shared::create(&self.ledger, b"");
    }

    /// What another worker has published since the last time.
    pub(crate) fn news(&mut self) -> Option<Vec<u8>> {
        let marker = shared::get(&self.marker).ok()??;
        if self.seen == Some(marker.version) {
            return None;
        }
        let snapshot = shared::get(&self.snapshot).ok()??;
        self.seen = Some(marker.version);
        Some(snapshot.value)
    }

    /// What is shared now: the snapshot, and the ledger with its version.
    pub(crate) fn read(&self) -> (Option<Vec<u8>>, Option<Shared>) {
        let get = |key| shared::get(key).ok().flatten();
        (get(&self.snapshot).map(|shared| shared.value), get(&self.ledger))
    }

    /// Whether the ledger was still the one of `version`, and is now this one.
    pub(crate) fn write_ledger(&self, ledger: &[u8], version: u32) -> bool {
        match shared::set(&self.ledger, ledger, version) {
            Err(Refused::CAS_MISMATCH) => false,
            // A host that shares nothing: this worker fetches for itself, within its own bound.
            Ok(()) | Err(_) => true,
        }
    }

    /// Gives `snapshot` to the other workers, and the lease back.
    pub(crate) fn publish(&self, snapshot: &[u8], owner: u64) {
        // The marker last: who sees it finds the snapshot.
        let _ = shared::set(&self.snapshot, snapshot, 0);
        let _ = shared::set(&self.marker, b"1", 0);
        self.release(owner);
    }

    /// Gives the lease back, so that another worker may fetch.
    pub(crate) fn release(&self, owner: u64) {
        if let Ok(Some(ledger)) = shared::get(&self.ledger)
            && let Some(released) = Ledger::release(Some(&ledger.value), owner)
        {
            // Not taken: another worker has the lease already.
            let _ = shared::set(&self.ledger, &released, ledger.version);
        }
    }
}
