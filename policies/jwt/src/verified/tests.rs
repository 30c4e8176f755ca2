use alloc::{format, vec, vec::Vec};
use core::{
    cell::Cell,
    hash::{BuildHasherDefault, Hasher},
};

use super::*;

/// Every signature collides with every other.
#[derive(Default)]
struct Constant;

impl Hasher for Constant {
    fn finish(&self) -> u64 {
        7
    }

    fn write(&mut self, _: &[u8]) {}
}

/// FNV-1a: good enough where nobody attacks.
struct Spread(u64);

impl Default for Spread {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

type Memory<H> = RefCell<Verified<BuildHasherDefault<H>>>;

fn memory<H>(limit: usize) -> Memory<H> {
    RefCell::new(Verified::new(limit, BuildHasherDefault::default()))
}

/// Says yes to signatures that begin with `+`, and counts how often it is asked.
#[derive(Default)]
struct Asked(Cell<usize>);

impl Verifier for Asked {
    fn verify(&self, _: &Key, _: Algorithm, _: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        self.0.set(self.0.get().saturating_add(1));
        if signature.starts_with(b"+") { Ok(()) } else { Err(VerifyError::Mismatch) }
    }
}

fn key(byte: u8) -> Key {
    Key::hmac(&[byte; 64]).unwrap()
}

/// How often the arithmetic was done for these questions, and the answers.
fn ask<H: Default + Hasher>(
    memory: &Memory<H>,
    questions: &[(u8, Algorithm, &[u8], &[u8])],
) -> (usize, Vec<bool>) {
    let asked = Asked::default();
    let answers = questions.iter().map(|(own, algorithm, message, signature)| {
        Remembering::new(&asked, memory).verify(&key(*own), *algorithm, message, signature).is_ok()
    });
    let answers = answers.collect();
    (asked.0.get(), answers)
}

const HS256: Algorithm = Algorithm::Hs256;

#[test]
fn a_signature_is_verified_once() {
    let memory = memory::<Spread>(1 << 16);
    let question: (u8, Algorithm, &[u8], &[u8]) = (1, HS256, b"h.p", b"+s");
    assert_eq!(ask(&memory, &[question; 3]), (1, vec![true; 3]));
    assert_eq!(memory.borrow_mut().take_counts(), Counts { remembered: 2, verified: 1, forgotten: 0 });
}

#[test]
fn what_differs_in_anything_is_verified_even_where_all_hashes_collide() {
    let known: (u8, Algorithm, &[u8], &[u8]) = (1, HS256, b"header.payload", b"+signature");
    let others: [(u8, Algorithm, &[u8], &[u8]); 9] = [
        (2, HS256, b"header.payload", b"+signature"),
        (1, Algorithm::Hs384, b"header.payload", b"+signature"),
        (1, HS256, b"header.payloaX", b"+signature"),
        (1, HS256, b"Xeader.payload", b"+signature"),
        (1, HS256, b"header.payloa", b"d+signature"),
        (1, HS256, b"header.payload+", b"signature"),
        (1, HS256, b"header.payload", b"+signaturX"),
        (1, HS256, b"header.payload", b"+signatur"),
        (1, HS256, b"", b"header.payload+signature"),
    ];
    for other in others {
        let memory = memory::<Constant>(1 << 16);
        let (asked, answers) = ask(&memory, &[known, other]);
        assert_eq!((asked, answers), (2, vec![true, other.3.starts_with(b"+")]), "{other:?}");
    }
}

#[test]
fn a_signature_that_does_not_hold_is_never_remembered_and_pushes_nothing_out() {
    let memory = memory::<Spread>(2048);
    let good: (u8, Algorithm, &[u8], &[u8]) = (1, HS256, b"h.p", b"+s");
    ask(&memory, &[good]);
    let bytes = memory.borrow().bytes();
    for number in 0..10_000 {
        let forged = format!("-{number}");
        assert_eq!(ask(&memory, &[(1, HS256, b"h.p", forged.as_bytes())]), (1, vec![false]));
    }
    assert_eq!(memory.borrow().bytes(), bytes);
    assert_eq!(ask(&memory, &[good]), (0, vec![true]));
}

#[test]
fn the_bytes_are_bounded_whatever_is_verified() {
    for limit in [1, 100, 1000, 10_000, 100_000] {
        let memory = memory::<Spread>(limit);
        for number in 0..2000_usize {
            let message = vec![b'm'; number % 700];
            let signature = format!("+{number}");
            ask(&memory, &[(1, HS256, &message, signature.as_bytes())]);
            let memory = memory.borrow();
            assert!(memory.bytes() <= limit, "{} of {limit}", memory.bytes());
            let counted = |generation: &Generation| generation.entries.values().map(Entry::bytes).sum();
            assert_eq!(
                (memory.young.bytes, memory.old.bytes),
                (counted(&memory.young), counted(&memory.old))
            );
        }
    }
}

#[test]
fn what_is_asked_for_again_stays_while_others_come_and_go() {
    let memory = memory::<Spread>(10_000);
    let favourite: (u8, Algorithm, &[u8], &[u8]) = (1, HS256, b"h.p", b"+favourite");
    ask(&memory, &[favourite]);
    for number in 0..1000 {
        let signature = format!("+{number}");
        ask(&memory, &[(1, HS256, b"h.p", signature.as_bytes())]);
        if number % 10 == 0 {
            assert_eq!(ask(&memory, &[favourite]), (0, vec![true]), "{number}");
        }
    }
    assert!(memory.borrow_mut().take_counts().forgotten > 500);
}

#[test]
fn without_room_every_signature_is_verified() {
    let memory = memory::<Spread>(0);
    let question: (u8, Algorithm, &[u8], &[u8]) = (1, HS256, b"h.p", b"+s");
    assert_eq!(ask(&memory, &[question; 3]), (3, vec![true; 3]));
    assert_eq!(memory.borrow().bytes(), 0);
}
