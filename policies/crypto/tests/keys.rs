//! Which numbers become a key: every reason to refuse one, and the identity of those that are
//! accepted. Signatures are left to the other tests.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_crypto::{Algorithm, Curve, Key, KeyError, KeyType, Member};

const E: &[u8] = &[1, 0, 1];

// The key of RFC 7638 section 3.1.
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

// The key of RFC 9449 section 4.1.
const RFC_9449_X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const RFC_9449_Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";

// The key of RFC 8037 appendix A.2.
const RFC_8037_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

// A product of two primes k * M + (65537^a mod M), M being the product of the first 126 primes.
const ROCA_N: &str = "de4750e51351d92f88c4aa87c8421c80e889e8cd66602e984b7d9b1ff554e6555881e2aa3abded6548fe8da71580a87dfb00bfbf9df5e55e38913c2c3c2e68c23cea78d0bbb99b31b08a6fca7a8e40db2258281437b529f146669eafa806e523a8bb33c83122e9b9b2ee30b455a7dd9b0b626487dbef8bfe240db5808ca06c0aa7c83f059c6203ef5a337dec5786a7b0e963c68fe9b38b324af2c95f1a6c14afe361e5af8dd8afa9ddf16a858d4ad4f428837e031e8b8a79449c33620cebe2abd39c94d10d1306bcb8026b40d9fab2b6e7c33f98aea6c55fdc52a0c93e17dfa7dd2672eeecd9ecba20c1f0e457318b09d3f87fa19e6683672a4330f59a848a9b";

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn n() -> Vec<u8> {
    decode(RFC_7638_N)
}

fn refused(key: Result<Key, KeyError>) -> KeyError {
    key.expect_err("a bad key was accepted")
}

// A modulus of `bits` bits that is odd and nothing else.
fn modulus(bits: usize) -> Vec<u8> {
    let mut number = vec![0x5b; bits.div_ceil(8)];
    number[0] = 1 << ((bits - 1) % 8);
    number
}

#[test]
fn an_rsa_modulus_has_2048_to_8192_bits() {
    for bits in [8, 1024, 2047, 8193, 16384] {
        assert_eq!(refused(Key::rsa(&modulus(bits), E)), KeyError::ModulusBits { bits });
    }
    for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
        assert!(Key::rsa(&modulus(bits), E).is_ok(), "{bits}");
    }
}

#[test]
fn an_rsa_number_has_the_fewest_bytes() {
    let padded = [&[0], n().as_slice()].concat();
    assert_eq!(refused(Key::rsa(&padded, E)), KeyError::NotMinimal { member: Member::N });
    assert_eq!(refused(Key::rsa(&[], E)), KeyError::NotMinimal { member: Member::N });
    for e in [[].as_slice(), &[0], &[0, 1, 0, 1]] {
        assert_eq!(refused(Key::rsa(&n(), e)), KeyError::NotMinimal { member: Member::E });
    }
}

#[test]
fn an_even_modulus_is_refused() {
    let mut even = n();
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(refused(Key::rsa(&even, E)), KeyError::ModulusEven);
}

#[test]
fn a_modulus_with_the_roca_fingerprint_is_refused() {
    let mut number = unhex(ROCA_N);
    assert_eq!(refused(Key::rsa(&number, E)), KeyError::ModulusRoca);
    *number.last_mut().unwrap() ^= 2;
    assert!(Key::rsa(&number, E).is_ok());
}

#[test]
fn an_exponent_is_odd_and_from_3_to_32_bits() {
    assert_eq!(refused(Key::rsa(&n(), &[1])), KeyError::ExponentOne);
    for e in [[2].as_slice(), &[4], &[1, 0, 0]] {
        assert_eq!(refused(Key::rsa(&n(), e)), KeyError::ExponentEven);
    }
    for e in [[1, 0, 0, 0, 1].as_slice(), &[1; 256], &n()] {
        assert_eq!(refused(Key::rsa(&n(), e)), KeyError::ExponentTooLarge);
    }
    for e in [[3].as_slice(), &[17], E, &[0xff; 4]] {
        assert!(Key::rsa(&n(), e).is_ok(), "{e:?}");
    }
}

#[test]
fn a_coordinate_has_the_full_width_of_its_curve() {
    for (curve, width) in [(Curve::P256, 32), (Curve::P384, 48), (Curve::P521, 66)] {
        for length in [0, width - 1, width + 1] {
            let (right, wrong) = (vec![1; width], vec![1; length]);
            let member = Member::X;
            assert_eq!(
                refused(Key::ec(curve, &wrong, &right)),
                KeyError::CoordinateLength { curve, member, length }
            );
            let member = Member::Y;
            assert_eq!(
                refused(Key::ec(curve, &right, &wrong)),
                KeyError::CoordinateLength { curve, member, length }
            );
        }
    }
}

#[test]
fn coordinates_are_those_of_a_point() {
    let (x, mut y) = (decode(RFC_9449_X), decode(RFC_9449_Y));
    assert!(Key::ec(Curve::P256, &x, &y).is_ok());
    y[31] ^= 1;
    assert_eq!(refused(Key::ec(Curve::P256, &x, &y)), KeyError::NotOnCurve { curve: Curve::P256 });
}

// All zero is how some libraries write the point at infinity.
#[test]
fn zero_and_all_ones_are_no_coordinates() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        for byte in [0, 0xff] {
            let both = vec![byte; curve.field_len()];
            assert_eq!(refused(Key::ec(curve, &both, &both)), KeyError::NotOnCurve { curve });
        }
    }
}

// The point with x = 0, and the same with x = p: two spellings would be two thumbprints.
#[test]
fn a_coordinate_is_reduced() {
    let y = unhex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4");
    let p = unhex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    assert!(Key::ec(Curve::P256, &[0; 32], &y).is_ok());
    assert_eq!(refused(Key::ec(Curve::P256, &p, &y)), KeyError::NotOnCurve { curve: Curve::P256 });
}

#[test]
fn an_ed25519_key_has_32_bytes() {
    for length in [0, 31, 33, 57, 64] {
        assert_eq!(refused(Key::ed25519(&vec![1; length])), KeyError::Ed25519Length { length });
    }
}

#[test]
fn an_ed25519_key_is_a_point() {
    let mut x = [0; 32];
    x[0] = 2;
    assert_eq!(refused(Key::ed25519(&x)), KeyError::Ed25519NotAPoint);
}

#[test]
fn an_ed25519_key_of_small_order_is_refused_in_every_spelling() {
    for x in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ] {
        assert_eq!(refused(Key::ed25519(&unhex(x))), KeyError::Ed25519SmallOrder, "{x}");
    }
}

// y and y + p are the same field element for y below 19; only the first is a spelling.
#[test]
fn an_ed25519_coordinate_is_reduced() {
    let mut twice = 0;
    for low in 2..19_u8 {
        let (mut reduced, mut other) = ([0; 32], [0xff; 32]);
        reduced[0] = low;
        other[0] = 0xed + low;
        other[31] = 0x7f;
        if Key::ed25519(&reduced).is_ok() {
            assert_eq!(refused(Key::ed25519(&other)), KeyError::Ed25519NotAPoint, "{low}");
            twice += 1;
        }
    }
    assert!(twice > 0);
}

#[test]
fn a_secret_is_as_long_as_the_shortest_hash() {
    for length in [0, 1, 31] {
        assert_eq!(refused(Key::hmac(&vec![b'k'; length])), KeyError::SecretLength { length });
    }
}

#[test]
fn a_secret_is_for_the_hashes_that_are_no_longer_than_it() {
    for (length, want) in [(32, [true, false, false]), (47, [true, false, false]), (48, [true, true, false])]
    {
        let key = Key::hmac(&vec![b'k'; length]).unwrap();
        let accepts = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512].map(|hash| key.accepts(hash));
        assert_eq!(accepts, want, "{length}");
    }
    assert!(Key::hmac(&[b'k'; 64]).unwrap().accepts(Algorithm::Hs512));
}

#[test]
fn a_thumbprint_is_that_of_rfc_7638() {
    let secret = Key::hmac(b"0123456789abcdef0123456789abcdef").unwrap();
    for (key, want) in [
        (Key::rsa(&n(), E).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (
            Key::ec(Curve::P256, &decode(RFC_9449_X), &decode(RFC_9449_Y)).unwrap(),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        ),
        (Key::ed25519(&decode(RFC_8037_X)).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (secret, "XOBEfwKZzZgziWfq7yZzhEKNQfihBMioCzRbNmqUH0Y"),
    ] {
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint()), want, "{key:?}");
    }
}

#[test]
fn the_debug_form_names_the_type_and_nothing_of_the_key() {
    let secret = Key::hmac(b"0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(format!("{secret:?}"), "Key(Hmac)");
    assert_eq!(format!("{:?}", Key::rsa(&n(), E).unwrap()), "Key(Rsa)");
}

#[test]
fn a_secret_has_no_public_form() {
    let secret = Key::hmac(&[7; 64]).unwrap();
    assert_eq!((secret.spki_der(), secret.key_type()), (None, KeyType::Hmac));
}

#[test]
fn an_error_says_which_member_and_what_would_be_right() {
    let short = Key::ec(Curve::P521, &[1; 65], &[1; 66]);
    assert_eq!(refused(short).to_string(), "`x` has 65 bytes; on P-521 it must have 66");
    let small = Key::rsa(&modulus(1024), E);
    assert_eq!(refused(small).to_string(), "`n` has 1024 bits; it must have 2048 to 8192");
}
