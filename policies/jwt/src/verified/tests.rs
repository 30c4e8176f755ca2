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

fn key_of<H: Default + Hasher>(memory: &Tested<H>, token: &str) -> Option<[u8; 32]> {
    memory.recall(token.as_bytes()).known().map(|known| known.thumbprint)
}

fn payload_of<H: Default + Hasher>(memory: &Tested<H>, token: &str) -> Option<String> {
    let recalled = memory.recall(token.as_bytes());
    recalled.known().map(|known| String::from_utf8_lossy(known.payload()).into_owned())
}

/// A request with `token`, which `key` signed, as [`crate::judge`] treats it.
fn come<H: Default + Hasher>(memory: &Tested<H>, token: &str, key: [u8; 32], payload: &str) {
    let recalled = memory.recall(token.as_bytes());
    if recalled.known().is_some_and(|known| known.thumbprint == key) {
        return memory.confirmed();
    }
    memory.verified(&recalled);
    if recalled.comes_again {
        let known = Known::new(key, token.as_bytes(), br#"{"alg":"ES256"}"#, payload.as_bytes());
        memory.keep(&recalled, known.unwrap());
    }
}

fn counted<H>(memory: &Tested<H>) -> [usize; 2] {
    let kept = memory.kept.borrow();
    [&kept.young, &kept.old].map(|generation| generation.entries.values().map(|known| known.bytes()).sum())
}

#[test]
fn a_token_is_known_with_its_key_and_what_it_says_from_its_second_time_on() {
    let memory = memory::<Spread>(1 << 16);
    let hashes = memory.bytes();
    for known in [None, None, Some(KEY), Some(KEY)] {
        assert_eq!(key_of(&memory, "h.p.s"), known);
        come(&memory, "h.p.s", KEY, r#"{"sub":"a"}"#);
        assert_eq!(memory.bytes() > hashes, key_of(&memory, "h.p.s").is_some());
    }
    assert_eq!(payload_of(&memory, "h.p.s").as_deref(), Some(r#"{"sub":"a"}"#));
    assert_eq!(memory.take_counts(), Counts { remembered: 2, verified: 2, forgotten: 0 });
    assert_eq!(memory.take_counts(), Counts::default());
}

#[test]
fn another_key_takes_the_place_of_the_first() {
    let memory = memory::<Spread>(1 << 16);
    for key in [KEY, KEY, OTHER_KEY, OTHER_KEY] {
        come(&memory, "h.p.s", key, "{}");
    }
    assert_eq!(key_of(&memory, "h.p.s"), Some(OTHER_KEY));
    assert_eq!(counted(&memory), [memory.bytes() - memory.hashes(), 0]);
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
        come(&memory, own, KEY, "{}");
        come(&memory, own, KEY, "{}");
        assert_eq!((key_of(&memory, other), key_of(&memory, own)), (None, Some(KEY)), "{other}");
    }
}

#[test]
fn asking_changes_nothing() {
    let memory = memory::<Spread>(2048);
    come(&memory, "h.p.s", KEY, "{}");
    come(&memory, "h.p.s", KEY, "{}");
    let bytes = memory.bytes();
    for number in 0..10_000 {
        let recalled = memory.recall(format!("h.p.{number}").as_bytes());
        assert!(recalled.known().is_none() && !recalled.comes_again);
    }
    assert_eq!((memory.bytes(), key_of(&memory, "h.p.s")), (bytes, Some(KEY)));
}

#[test]
fn the_bytes_are_bounded_whatever_comes() {
    for limit in [1, 100, 1000, 10_000, 100_000] {
        let memory = memory::<Spread>(limit);
        let mut most = 0;
        for number in 0..2000_usize {
            let token = format!("{}.{number}", "m".repeat(number % 700));
            let claims: vec::Vec<String> = (0..number % 40).map(|n| format!(r#""c{n}":[{n}]"#)).collect();
            for _ in 0..2 {
                come(&memory, &token, KEY, &format!("{{{}}}", claims.join(",")));
            }
            most = most.max(memory.bytes());
            assert!(memory.bytes() <= limit, "{} of {limit}", memory.bytes());
            let kept = memory.kept.borrow();
            assert_eq!([kept.young.bytes, kept.old.bytes], counted(&memory));
        }
        assert!(limit < 10_000 || most > limit / 2, "{most} of {limit}");
    }
}

#[test]
fn what_comes_again_stays_while_others_come_and_go() {
    let memory = memory::<Spread>(20_000);
    for _ in 0..2 {
        come(&memory, "h.p.favourite", KEY, "{}");
    }
    for number in 0..1000 {
        for _ in 0..2 {
            come(&memory, &format!("h.p.{number}"), KEY, "{}");
        }
        if number % 10 == 0 {
            assert_eq!(key_of(&memory, "h.p.favourite"), Some(KEY), "{number}");
        }
    }
    assert!(memory.take_counts().forgotten > 500);
}

#[test]
fn what_comes_once_pushes_nothing_out() {
    let memory = memory::<Spread>(20_000);
    for number in 0..20 {
        for _ in 0..2 {
            come(&memory, &format!("h.p.favourite-{number}"), KEY, "{}");
        }
    }
    let bytes = memory.bytes();
    for number in 0..10_000 {
        come(&memory, &format!("h.p.{number}"), KEY, "{}");
    }
    let known = |number| key_of(&memory, &format!("h.p.favourite-{number}")) == Some(KEY);
    assert!((0..20).all(known));
    assert_eq!((memory.bytes(), memory.take_counts().forgotten), (bytes, 0));
}

#[test]
fn without_room_nothing_is_remembered() {
    let memory = memory::<Spread>(0);
    for _ in 0..3 {
        come(&memory, "h.p.s", KEY, "{}");
    }
    assert_eq!((key_of(&memory, "h.p.s"), memory.bytes()), (None, 0));
}
