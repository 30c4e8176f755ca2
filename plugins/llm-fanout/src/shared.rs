//! What all workers of the proxy count together: the calls under way and the allowance of each tenant.
//!
//! The keys are the numbers of the table's buckets, so there are as many as the table has, whoever
//! asks. What cannot be counted is not let through.

use std::time::Duration;

use portcullis_abi::{
    Refused,
    shared::{self, Change},
};
use portcullis_core::gcra::Gcra;
use portcullis_fanout::share::{self, Bucket, Denied, Lease};

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
    (0..share::BUCKETS).try_for_each(|bucket| shared::create(&key(bucket), b""))
}

/// Takes questions out of a tenant's allowance.
pub(crate) fn charge(
    slot: &[u8; 16],
    questions: usize,
    allowance: Gcra,
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
    let changed = shared::change(&key(share::bucket(slot)), TRIES, |value| {
        let mut bucket = Bucket::read(value).ok_or(Refused::UNREADABLE)?;
        Ok(match act(&mut bucket) {
            Ok(done) => Change::Set(bucket.write(), Ok(done)),
            Err(denied) => Change::Keep(Err(denied)),
        })
    });
    changed.map_err(Uncounted::Refused)?.map_err(Uncounted::Denied)
}

fn key(bucket: u16) -> String {
    format!("portcullis/fanout/1/{bucket}")
}
