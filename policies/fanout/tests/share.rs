//! What a tenant may have, and what no other tenant can take from it.

use std::time::Duration;

use portcullis_core::gcra::Gcra;
use portcullis_fanout::share::{Bucket, Denied, bucket};

const ACME: [u8; 16] = [1; 16];
const GLOBEX: [u8; 16] = [2; 16];
const ALLOWANCE: Gcra = Gcra { interval: 1_000_000_000, burst: 10 };

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn other(number: u8) -> [u8; 16] {
    [100 + number; 16]
}

#[test]
fn n_questions_cost_n_and_come_back_one_by_one() {
    let mut bucket = Bucket::default();
    let mut charge = |count, now| bucket.charge(&ACME, count, ALLOWANCE, at(now));
    assert_eq!(charge(5, 100), Ok(()));
    assert_eq!(charge(5, 100), Ok(()));
    assert_eq!(charge(5, 100), Err(Denied::Allowance(at(5))));
    assert_eq!(charge(1, 100), Err(Denied::Allowance(at(1))));
    assert_eq!(charge(3, 103), Ok(()));
    assert_eq!(charge(1, 103), Err(Denied::Allowance(at(1))));
    assert_eq!(charge(10, 1000), Ok(()));
    assert_eq!(charge(11, 2000), Err(Denied::Allowance(at(1))));
}

#[test]
fn a_clock_that_stands_still_gives_nothing() {
    let mut bucket = Bucket::default();
    assert_eq!(bucket.charge(&ACME, 10, ALLOWANCE, at(100)), Ok(()));
    for now in [100, 99, 0] {
        assert!(bucket.charge(&ACME, 1, ALLOWANCE, at(now)).is_err(), "{now}");
    }
}

#[test]
fn a_share_is_full_until_a_call_ends_or_its_lease_does() {
    let mut bucket = Bucket::default();
    let first = bucket.begin(&ACME, 2, at(30), at(0)).unwrap();
    bucket.begin(&ACME, 2, at(40), at(0)).unwrap();
    assert_eq!(bucket.begin(&ACME, 2, at(40), at(1)), Err(Denied::Share));
    bucket.end(&ACME, first);
    bucket.end(&ACME, first);
    assert_eq!(bucket.under_way(&ACME, at(1)), 1);
    bucket.begin(&ACME, 2, at(50), at(1)).unwrap();
    assert_eq!(bucket.begin(&ACME, 2, at(50), at(39)), Err(Denied::Share));
    // The worker of the second one has died.
    assert!(bucket.begin(&ACME, 2, at(60), at(40)).is_ok());
}

#[test]
fn one_tenant_takes_nothing_from_another() {
    let mut bucket = Bucket::default();
    bucket.charge(&ACME, 10, ALLOWANCE, at(0)).unwrap();
    bucket.begin(&ACME, 1, at(30), at(0)).unwrap();
    assert_eq!(bucket.charge(&GLOBEX, 10, ALLOWANCE, at(0)), Ok(()));
    assert!(bucket.begin(&GLOBEX, 1, at(30), at(0)).is_ok());
    assert_eq!(bucket.begin(&ACME, 1, at(30), at(0)), Err(Denied::Share));
}

#[test]
fn a_place_is_given_away_only_where_nothing_is_forgotten() {
    let mut bucket = Bucket::default();
    bucket.charge(&ACME, 10, ALLOWANCE, at(0)).unwrap();
    for number in 0..6 {
        bucket.charge(&other(number), 1, ALLOWANCE, at(0)).unwrap();
    }
    bucket.begin(&GLOBEX, 1, at(30), at(0)).unwrap();
    assert_eq!(bucket.charge(&other(6), 1, ALLOWANCE, at(0)), Err(Denied::Full));
    // The six have all of their allowance again: their places are free.
    for number in 6..12 {
        bucket.charge(&other(number), 10, ALLOWANCE, at(2)).unwrap();
    }
    assert_eq!(bucket.charge(&other(12), 1, ALLOWANCE, at(2)), Err(Denied::Full));
    assert_eq!(bucket.charge(&ACME, 3, ALLOWANCE, at(2)), Err(Denied::Allowance(at(1))));
    assert_eq!(bucket.begin(&GLOBEX, 1, at(40), at(2)), Err(Denied::Share));
}

#[test]
fn what_is_shared_reads_back_and_nothing_else_is_read() {
    let mut bucket = Bucket::default();
    bucket.charge(&ACME, 3, ALLOWANCE, at(7)).unwrap();
    bucket.begin(&ACME, 2, at(30), at(7)).unwrap();
    bucket.begin(&GLOBEX, 2, at(31), at(7)).unwrap();
    let bytes = bucket.write();
    assert_eq!(Bucket::read(&bytes), Some(bucket));
    assert_eq!(Bucket::read(&[]), Some(Bucket::default()));
    let whole = [26 + 8, bytes.len()];
    for end in 1..bytes.len() {
        assert_eq!(Bucket::read(&bytes[..end]).is_some(), whole.contains(&end), "{end}");
    }
    assert_eq!(Bucket::read(&[0; 26 * 9]), None, "more places than there are");
}

#[test]
fn buckets_are_within_the_table() {
    for first in 0..=255 {
        assert!(bucket(&[first; 16]) < 256);
    }
}
