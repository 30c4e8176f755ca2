//! What all workers of the proxy count together: the calls under way and the allowance of each tenant.
//!
//! The keys are the numbers of the table's buckets, so there are as many as the table has, whoever
//! asks. What cannot be counted is not let through.

use std::time::Duration;

use portcullis_abi::{
    Refused,
    shared::{self, Shared},
};
use portcullis_fanout::share::{self, Allowance, Bucket, Denied, Lease};

/// How often a change is tried that other workers were faster with.
const TRIES: u8 = 32;

/// Why something was not counted.
#[derive(Clone, Copy)]
pub(crate) enum Uncounted {
    /// The tenant gets no more now.
    Denied(Denied),
    /// The host does not share, or others were faster each time.
    Refused(Refused),
}

/// A value that exists can be compared and swapped; one that does not cannot. Envoy configures a VM on
/// its main thread before it makes those of the workers.
pub(crate) fn prepare() -> Result<(), Refused> {
    for bucket in 0..share::BUCKETS {
        if shared::get(&key(bucket))?.is_none() {
            shared::set(&key(bucket), b"", 0)?;
        }
    }
    Ok(())
}

/// Takes questions out of a tenant's allowance.
pub(crate) fn charge(
    slot: &[u8; 16],
    questions: usize,
    allowance: Allowance,
    now: Duration,
) -> Result<(), Uncounted> {
    change(slot, |bucket| bucket.charge(slot, questions, allowance, now))
}

/// Begins a call.
pub(crate) fn begin(
    slot: &[u8; 16],
    parallel: usize,
    until: Duration,
    now: Duration,
) -> Result<Lease, Uncounted> {
    change(slot, |bucket| bucket.begin(slot, parallel, until, now))
}

/// Ends a call. Where that cannot be written, the lease ends by itself.
pub(crate) fn end(slot: &[u8; 16], lease: Lease) {
    let _ = change(slot, |bucket| {
        bucket.end(slot, lease);
        Ok(())
    });
}

fn change<T>(slot: &[u8; 16], mut act: impl FnMut(&mut Bucket) -> Result<T, Denied>) -> Result<T, Uncounted> {
    let key = key(share::bucket(slot));
    for _ in 0..TRIES {
        let Shared { value, version } =
            shared::get(&key).map_err(Uncounted::Refused)?.ok_or(Uncounted::Refused(Refused::NOT_FOUND))?;
        let mut bucket = Bucket::read(&value).ok_or(Uncounted::Refused(Refused::UNREADABLE))?;
        let done = act(&mut bucket).map_err(Uncounted::Denied)?;
        match shared::set(&key, &bucket.write(), version) {
            Ok(()) => return Ok(done),
            Err(Refused::CAS_MISMATCH) => {}
            Err(refused) => return Err(Uncounted::Refused(refused)),
        }
    }
    Err(Uncounted::Refused(Refused::CAS_MISMATCH))
}

fn key(bucket: u16) -> String {
    format!("portcullis/fanout/1/{bucket}")
}
