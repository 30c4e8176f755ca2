//! What is used of a key set, and why the rest is not.

use alloc::{format, string::ToString, vec::Vec};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use portcullis_crypto::KeyError;

use super::*;

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA";
// RFC 8037 appendix A.2.
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
// RFC 7515 appendix A.3.1.
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn ed(rest: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}"{rest}}}"#)
}

fn ec(rest: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_Y}"{rest}}}"#)
}

fn modulus(bytes: usize) -> Vec<u8> {
    let mut n: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap() | 0x81).collect();
    n[0] = 0xff;
    n
}

fn rsa(n: &[u8], rest: &str) -> String {
    format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"{rest}}}"#, URL_SAFE_NO_PAD.encode(n))
}

fn document(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn parse(keys: &[String], origin: Origin) -> Result<KeySet, KeySetError> {
    KeySet::parse(document(keys).as_bytes(), origin, &Limits::default())
}

/// Why `key` is left out of a set that has another key.
fn reason(key: String, origin: Origin) -> Option<Reason> {
    let set = parse(&[ec(r#","kid":"good""#), key], origin).unwrap();
    assert_eq!(set.by_kid("good").count(), 1);
    assert_eq!(set.keys().len() == 1, set.left_out().len() == 1);
    set.left_out().first().map(|key| key.reason().clone())
}

#[test]
fn keys_of_every_type_are_found_by_their_name() {
    let secret = format!(r#"{{"kty":"oct","k":"{SECRET}","kid":"h"}}"#);
    let keys = [ed(r#","kid":"o""#), ec(r#","kid":"e""#), rsa(&modulus(256), r#","kid":"r""#), secret];
    let set = parse(&keys, Origin::Inline).unwrap();
    for (kid, algorithm) in
        [("o", Algorithm::EdDsa), ("e", Algorithm::Es256), ("r", Algorithm::Ps384), ("h", Algorithm::Hs256)]
    {
        let found: Vec<_> = set.by_kid(kid).collect();
        assert_eq!(found.len(), 1, "{kid}");
        assert!(found[0].permits(algorithm));
        assert!(!found[0].permits(Algorithm::Es512));
        assert!(set.has_thumbprint(&found[0].key().thumbprint()));
    }
    assert_eq!(set.by_kid("E").count(), 0);
    assert_eq!(set.by_kid("").count(), 0);
    assert_eq!(set.left_out(), []);
}

#[test]
fn a_key_with_alg_is_for_that_algorithm_only() {
    let set = parse(&[rsa(&modulus(256), r#","alg":"RS256""#)], Origin::Remote).unwrap();
    let permitted = |algorithm: &&Algorithm| set.keys()[0].permits(**algorithm);
    assert_eq!(Algorithm::ALL.iter().filter(permitted).collect::<Vec<_>>(), [&Algorithm::Rs256]);
    let set = parse(&[ed(r#","alg":"Ed25519""#)], Origin::Remote).unwrap();
    assert!(set.keys()[0].permits(Algorithm::EdDsa));
}

#[test]
fn one_unusable_key_does_not_cost_the_others() {
    let cases = [
        (r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_string(), "unknown_alg"),
        (r#"{"kty":"AKP","pub":"AA"}"#.to_string(), "unknown_kty"),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_string(), "unknown_crv"),
        (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#.to_string(), "unknown_crv"),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_string(), "unknown_crv"),
        ("null".to_string(), "not_an_object"),
        ("[]".to_string(), "not_an_object"),
        ("\"key\"".to_string(), "not_an_object"),
        (ed(r#","kid":"a","kid":"b""#), "not_an_object"),
        (ed(&format!(r#","x5c":{}1{}"#, "[".repeat(40), "]".repeat(40))), "not_an_object"),
        ("{}".to_string(), "member_missing"),
        (r#"{"kty":"RSA","n":"AQAB"}"#.to_string(), "member_missing"),
        (r#"{"kty":1}"#.to_string(), "member_type"),
        (ed(r#","kid":1"#), "member_type"),
        (ed(r#","alg":null"#), "member_type"),
        (ed(r#","use":["sig"]"#), "member_type"),
        (ed(r#","key_ops":"verify""#), "member_type"),
        (ed(r#","key_ops":["verify",1]"#), "member_type"),
        (ed(&format!(r#","kid":"{}""#, "k".repeat(513))), "kid_too_long"),
        (ed(r#","use":"enc""#), "use_is_not_sig"),
        (ed(r#","use":"""#), "use_is_not_sig"),
        (ed(r#","key_ops":[]"#), "key_ops_without_verify"),
        (ed(r#","key_ops":["sign"]"#), "key_ops_without_verify"),
        (ed(r#","key_ops":["verify","verify"]"#), "key_ops_without_verify"),
        (ed(r#","alg":"RSA-OAEP""#), "unknown_alg"),
        (ed(r#","alg":"none""#), "unknown_alg"),
        (ed(r#","alg":"ES256""#), "alg_does_not_fit"),
        (ec(r#","alg":"ES384""#), "alg_does_not_fit"),
        (rsa(&modulus(256), r#","alg":"HS256""#), "alg_does_not_fit"),
        (rsa(&modulus(255), ""), "unsound_key"),
        (rsa(&[&[0], &modulus(256)[..]].concat(), ""), "unsound_key"),
        (ec("").replace(P256_Y, P256_X), "unsound_key"),
        (ec("").replace("P-256", "P-384"), "unsound_key"),
        (ed("").replace(ED25519_X, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "unsound_key"),
        (ed("").replace(ED25519_X, &format!("{ED25519_X}=")), "standard_base64"),
        (ec("").replace(P256_Y, &P256_Y.replace('_', "/")), "standard_base64"),
        (ed("").replace(ED25519_X, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"), "not_base64url"),
        (ed("").replace(ED25519_X, " 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), "not_base64url"),
        (format!(r#"{{"kty":"oct","k":"{SECRET}"}}"#), "secret_from_address"),
        (ed(r#","d":"AA""#), "private_key_from_address"),
        (ec(r#","kid":"good""#), "repeated"),
    ];
    for (key, label) in cases {
        let found = reason(key.clone(), Origin::Remote);
        assert_eq!(found.as_ref().map(Reason::label), Some(label), "{key}");
        assert!(!found.unwrap().to_string().is_empty());
    }
}

#[test]
fn a_key_says_sig_or_verify_or_nothing() {
    for rest in ["", r#","use":"sig""#, r#","key_ops":["verify"]"#, r#","key_ops":["sign","verify"],"x":1"#] {
        let rest = rest.replace(r#","x":1"#, "");
        assert_eq!(reason(ed(&rest), Origin::Remote), None, "{rest}");
    }
}

#[test]
fn standard_base64_gets_a_reason_that_says_so() {
    let n = STANDARD.encode(modulus(256));
    let found = reason(format!(r#"{{"kty":"RSA","e":"AQAB","n":"{n}"}}"#), Origin::Remote).unwrap();
    assert_eq!(found, Reason::StandardBase64 { member: "n" });
    assert_eq!(found.to_string(), "`n` is standard base64; it must be base64url (`-` and `_`, no `=`)");
}

#[test]
fn sizes_are_checked_by_the_crypto_and_said() {
    let found = reason(rsa(&modulus(128), ""), Origin::Remote).unwrap();
    assert_eq!(found, Reason::Key(KeyError::ModulusBits { bits: 1024 }));
    let short = r#"{"kty":"oct","k":"c2hvcnQ"}"#.to_string();
    assert_eq!(reason(short, Origin::Inline), Some(Reason::Key(KeyError::SecretLength { length: 5 })));
}

#[test]
fn a_secret_is_for_the_hashes_that_it_is_long_enough_for() {
    let key = |alg: &str| format!(r#"{{"kty":"oct","k":"{SECRET}","alg":"{alg}"}}"#);
    assert_eq!(reason(key("HS256"), Origin::Inline), None);
    assert_eq!(reason(key("HS512"), Origin::Inline).unwrap().label(), "alg_does_not_fit");
}

#[test]
fn private_members_are_remarked_inline_and_disqualify_a_published_key() {
    let set = parse(&[ed(r#","kid":"p","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#)], Origin::Inline)
        .unwrap();
    assert_eq!(set.notes(), [Note { index: 0, kid: Some("p".into()), remark: Remark::PrivateMembers }]);
    assert!(set.notes()[0].to_string().starts_with("key 0 with kid `p` has private members"));
    assert!(set.keys()[0].permits(Algorithm::EdDsa));
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let found = reason(rsa(&modulus(256), &format!(r#","{member}":"AA""#)), Origin::Remote);
        assert_eq!(found, Some(Reason::PrivateKeyFromAddress), "{member}");
    }
}

#[test]
fn a_certificate_of_another_key_disqualifies() {
    let certificate = |bytes: &[u8]| ed(&format!(r#","x5c":["{}"]"#, STANDARD.encode(bytes)));
    let own = [b"certificate for ", &URL_SAFE_NO_PAD.decode(ED25519_X).unwrap()[..], b"!"].concat();
    assert_eq!(reason(certificate(&own), Origin::Remote), None);
    assert_eq!(reason(certificate(b"for another"), Origin::Remote), Some(Reason::CertificateOfAnotherKey));
    for unreadable in [r#""x5c":"AA""#, r#""x5c":["*"]"#, r#""x5c":[]"#, r#""x5c":[1]"#] {
        let set = parse(&[ed(&format!(",{unreadable}"))], Origin::Remote).unwrap();
        assert_eq!(set.notes()[0].remark, Remark::CertificateUnreadable, "{unreadable}");
    }
}

#[test]
fn keys_of_one_name_are_all_found_up_to_the_limit() {
    let keys: Vec<String> = (0..6)
        .map(|at| rsa(&modulus(256 + at), r#","kid":"same""#))
        .chain([ec(r#","kid":"same""#)])
        .collect();
    let set = parse(&keys, Origin::Remote).unwrap();
    assert_eq!(set.by_kid("same").count(), 4);
    assert_eq!(set.left_out().len(), 3);
    assert_eq!(set.left_out()[0].reason(), &Reason::TooManyNamesakes { limit: 4 });
    let mixed =
        parse(&[ec(r#","kid":"a""#), ed(r#","kid":"a""#), ed(r#","kid":"b""#)], Origin::Remote).unwrap();
    assert_eq!(mixed.by_kid("a").filter(|key| key.permits(Algorithm::EdDsa)).count(), 1);
    assert_eq!(mixed.by_kid("b").count(), 1);
}

#[test]
fn a_key_that_is_left_out_is_found_by_its_name() {
    let set = parse(&[ec(""), ed(r#","kid":"x","use":"enc""#)], Origin::Remote).unwrap();
    assert_eq!(set.left_out_kid("x").unwrap().index(), 1);
    assert_eq!(set.left_out_kid("y"), None);
    assert_eq!(set.by_kid("x").count(), 0);
    let text = set.left_out()[0].to_string();
    assert_eq!(text, "key 1 with kid `x` is left out: `use` is `enc`; it must be `sig`");
}

#[test]
fn a_document_that_is_no_key_set_is_refused_with_the_reason() {
    for (text, label) in [
        ("", "empty"),
        (" \n", "empty"),
        ("<html>sign in</html>", "html"),
        ("  <?xml", "html"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ("Not found", "not_json"),
        ("{\"keys\":[}", "not_json"),
        ("{\"keys\":[]}x", "not_json"),
        ("{\"keys\":[{\"kty\":", "truncated"),
        ("{\"keys\"", "truncated"),
        ("{}", "keys_missing"),
        ("{\"Keys\":[]}", "keys_missing"),
        ("{\"keys\":{}}", "keys_not_an_array"),
        ("{\"keys\":null}", "keys_not_an_array"),
        ("{\"keys\":[]}", "no_keys"),
        ("{\"keys\":[],\"keys\":[]}", "duplicate_member"),
        ("{\"keys\":[],\"\\u006beys\":[]}", "duplicate_member"),
        ("{\"a\":1,\"a\":1,\"keys\":[]}", "duplicate_member"),
        ("{\"keys\":[null]}", "all_left_out"),
        ("{\"keys\":[\"\\ud800\"]}", "all_left_out"),
    ] {
        let error = KeySet::parse(text.as_bytes(), Origin::Remote, &Limits::default()).unwrap_err();
        assert_eq!(error.label(), label, "{text}");
        assert!(!error.to_string().is_empty());
    }
    let not_utf8 = KeySet::parse(b"{\"keys\":[\"\xff\"]}", Origin::Remote, &Limits::default());
    assert_eq!(not_utf8.unwrap_err(), KeySetError::NotUtf8);
}

#[test]
fn size_and_number_of_keys_are_bounded() {
    let limits = Limits { document_bytes: 400, keys: 2, ..Limits::default() };
    let set = |keys: &[String]| KeySet::parse(document(keys).as_bytes(), Origin::Remote, &limits);
    assert!(set(&[ed("")]).is_ok());
    let nulls = ["null".to_string(), "null".to_string(), ed("")];
    assert_eq!(set(&nulls).unwrap_err(), KeySetError::TooManyKeys { keys: 3, limit: 2 });
    assert!(matches!(set(&[rsa(&modulus(512), "")]).unwrap_err(), KeySetError::TooLarge { limit: 400, .. }));
}

#[test]
fn a_set_without_a_usable_key_lists_the_first_reasons() {
    let keys: Vec<String> = (0..20).map(|at| ed(&format!(r#","kid":"k{at}","use":"enc""#))).collect();
    let error = parse(&keys, Origin::Remote).unwrap_err();
    let KeySetError::AllLeftOut { keys, reasons } = &error else { panic!("{error}") };
    assert_eq!((*keys, reasons.len()), (20, 8));
    assert!(error.to_string().ends_with("; and more"));
    assert!(
        error.to_string().starts_with("none of the 20 keys can be used: key 0 with kid `k0` is left out: ")
    );
}

#[test]
fn other_members_of_the_set_are_ignored() {
    let text = format!(r#"{{"x":{{"keys":1}},"keys":[{}],"y":[1]}}"#, ed(""));
    assert_eq!(KeySet::parse(text.as_bytes(), Origin::Remote, &Limits::default()).unwrap().keys().len(), 1);
}

#[test]
fn messages_hold_nothing_that_steers_a_terminal_and_no_secret() {
    let key = format!(r#"{{"kty":"\u001b[31m\n{}","kid":"a\nb"}}"#, "x".repeat(500));
    let set = parse(&[format!(r#"{{"kty":"oct","k":"{SECRET}"}}"#), key], Origin::Inline).unwrap();
    let text = set.left_out()[0].to_string();
    assert!(text.chars().all(|c| !c.is_control()) && text.len() < 300, "{text}");
    assert!(!format!("{set:?}").contains("c2VjcmV0"));
}

#[test]
fn no_cut_or_changed_byte_makes_parsing_panic() {
    let whole = document(&[ed(r#","kid":"o""#), ec(""), rsa(&modulus(256), ""), "null".to_string()]);
    for at in 0..whole.len() {
        assert!(KeySet::parse(&whole.as_bytes()[..at], Origin::Remote, &Limits::default()).is_err());
        for byte in [0, b'"', b'{', b'\\', 0xff] {
            let mut changed = whole.clone().into_bytes();
            changed[at] = byte;
            // Judged one way or another; the others keep their keys unless the frame broke.
            let _ = KeySet::parse(&changed, Origin::Remote, &Limits::default());
        }
    }
}
