use alloc::{format, string::String, vec};
use core::hash::{BuildHasherDefault, Hasher};

use super::*;

/// Every token collides with every other.
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

type Tested<H> = Verified<BuildHasherDefault<H>>;

fn memory<H>(limit: usize) -> Tested<H> {
    Verified::new(limit, BuildHasherDefault::default())
}

const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

fn said(payload: &str) -> Read {
    let header = RawHeader::parse(br#"{"alg":"ES256"}"#).unwrap().into_owned();
    let claims = Claims::parse(payload.as_bytes()).unwrap().into_owned();
    Read { header, claims, payload: payload.as_bytes().into() }
}

fn key_of<H: Default + Hasher>(memory: &Tested<H>, token: &str) -> Option<[u8; 32]> {
    memory.recall(token.as_bytes()).thumbprint().copied()
}

fn payload_of<H: Default + Hasher>(memory: &Tested<H>, token: &str) -> Option<String> {
    let recalled = memory.recall(token.as_bytes());
    recalled.read().map(|read| String::from_utf8_lossy(&read.payload).into_owned())
}

fn verify<H: Default + Hasher>(memory: &Tested<H>, token: &str, key: [u8; 32]) {
    memory.verified(&memory.recall(token.as_bytes()), token.as_bytes(), key);
}

fn read<H: Default + Hasher>(memory: &Tested<H>, token: &str, key: [u8; 32], payload: &str) {
    memory.read(&memory.recall(token.as_bytes()), token.as_bytes(), key, said(payload));
}

fn counted<H>(memory: &Tested<H>) -> [usize; 2] {
    let kept = memory.kept.borrow();
    [&kept.young, &kept.old].map(|generation| generation.entries.values().map(Entry::bytes).sum())
}

#[test]
fn a_verified_token_is_known_with_its_key_and_later_with_what_it_says() {
    let memory = memory::<Spread>(1 << 16);
    assert_eq!(key_of(&memory, "h.p.s"), None);
    verify(&memory, "h.p.s", KEY);
    assert_eq!((key_of(&memory, "h.p.s"), payload_of(&memory, "h.p.s")), (Some(KEY), None));
    read(&memory, "h.p.s", KEY, r#"{"sub":"a"}"#);
    assert_eq!(payload_of(&memory, "h.p.s").as_deref(), Some(r#"{"sub":"a"}"#));
    memory.confirmed();
    assert_eq!(memory.take_counts(), Counts { remembered: 1, verified: 1, forgotten: 0 });
    assert_eq!(memory.take_counts(), Counts::default());
}

#[test]
fn another_key_takes_the_place_of_the_first() {
    let memory = memory::<Spread>(1 << 16);
    read(&memory, "h.p.s", KEY, "{}");
    verify(&memory, "h.p.s", OTHER_KEY);
    assert_eq!((key_of(&memory, "h.p.s"), payload_of(&memory, "h.p.s")), (Some(OTHER_KEY), None));
    assert_eq!([memory.bytes(), 0], counted(&memory));
}

#[test]
fn what_differs_in_anything_is_unknown_even_where_all_hashes_collide() {
    let own = "header.payload.signature";
    for other in [
        "header.payload.signaturX",
        "header.payloaX.signature",
        "Xeader.payload.signature",
        "header.payload.signatur",
        "header.payload.signature.",
        "eader.payload.signature",
        "",
    ] {
        let memory = memory::<Constant>(1 << 16);
        verify(&memory, own, KEY);
        assert_eq!((key_of(&memory, other), key_of(&memory, own)), (None, Some(KEY)), "{other}");
    }
}

#[test]
fn asking_changes_nothing() {
    let memory = memory::<Spread>(2048);
    verify(&memory, "h.p.s", KEY);
    let bytes = memory.bytes();
    for number in 0..10_000 {
        assert_eq!(key_of(&memory, &format!("h.p.{number}")), None);
    }
    assert_eq!((memory.bytes(), key_of(&memory, "h.p.s")), (bytes, Some(KEY)));
}

#[test]
fn the_bytes_are_bounded_whatever_is_verified() {
    for limit in [1, 100, 1000, 10_000, 100_000] {
        let memory = memory::<Spread>(limit);
        for number in 0..2000_usize {
            let token = format!("{}.{number}", "m".repeat(number % 700));
            verify(&memory, &token, KEY);
            if number % 3 == 0 && key_of(&memory, &token).is_some() {
                let claims: vec::Vec<String> = (0..number % 40).map(|n| format!(r#""c{n}":[{n}]"#)).collect();
                read(&memory, &token, KEY, &format!("{{{}}}", claims.join(",")));
            }
            assert!(memory.bytes() <= limit, "{} of {limit}", memory.bytes());
            let kept = memory.kept.borrow();
            assert_eq!([kept.young.bytes, kept.old.bytes], counted(&memory));
        }
    }
}

#[test]
fn what_comes_again_stays_while_others_come_and_go() {
    let memory = memory::<Spread>(10_000);
    verify(&memory, "h.p.favourite", KEY);
    for number in 0..1000 {
        verify(&memory, &format!("h.p.{number}"), KEY);
        if number % 10 == 0 {
            assert_eq!(key_of(&memory, "h.p.favourite"), Some(KEY), "{number}");
        }
    }
    assert!(memory.take_counts().forgotten > 500);
}

#[test]
fn without_room_nothing_is_remembered() {
    let memory = memory::<Spread>(0);
    verify(&memory, "h.p.s", KEY);
    read(&memory, "h.p.s", KEY, "{}");
    assert_eq!((key_of(&memory, "h.p.s"), memory.bytes()), (None, 0));
}
