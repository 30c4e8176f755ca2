//! What must hold of every token, over generated ones.
//!
//! `PORTCULLIS_TOKENS=1000000` tries more than usual, `PORTCULLIS_FIRST_SEED=7` others.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::Code;
use portcullis_host_tests::{generated::Generator, subject::Native};
use portcullis_issuer::{Kind, Mint, Seed, SigningKey};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;
/// Tokens of each property in an ordinary run.
const ORDINARY: usize = 2000;

fn count() -> Result<usize> {
    match std::env::var("PORTCULLIS_TOKENS") {
        Ok(text) => text.parse().context("PORTCULLIS_TOKENS"),
        Err(_) => Ok(ORDINARY),
    }
}

fn generator(salt: u64) -> Result<Generator> {
    let first = match std::env::var("PORTCULLIS_FIRST_SEED") {
        Ok(text) => text.parse().context("PORTCULLIS_FIRST_SEED")?,
        Err(_) => 1_u64,
    };
    Generator::new(first.wrapping_mul(0x1_0000).wrapping_add(salt), NOW)
}

#[test]
fn one_byte_changed_anywhere_in_a_token_denies() -> Result<()> {
    let mut generator = generator(1)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    let mut accepted = 0;
    for round in 0..count()? {
        // A token is changed in several ways: making one costs more than judging it.
        let (token, _) = generator.honest()?;
        if round % 16 == 0 {
            assert_eq!(native.code(token.as_bytes(), NOW), None);
            accepted += 1;
        }
        let mut bytes = token.clone().into_bytes();
        let at = generator.random().below(bytes.len());
        let old = bytes[at];
        while bytes[at] == old {
            bytes[at] = u8::try_from(generator.random().below(256))?;
        }
        assert!(native.code(&bytes, NOW).is_some(), "byte {at}, {old} to {}: {token}", bytes[at]);
    }
    assert!(accepted > 0);
    Ok(())
}

/// The decoded bytes: base64url hides which of them a character belongs to.
#[test]
fn one_byte_changed_in_header_payload_or_signature_denies() -> Result<()> {
    let mut generator = generator(2)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    for _ in 0..count()? {
        let (token, _) = generator.honest()?;
        let mut parts =
            token.split('.').map(|part| Ok(URL_SAFE_NO_PAD.decode(part)?)).collect::<Result<Vec<_>>>()?;
        let part = generator.random().below(3);
        let at = generator.random().below(parts[part].len());
        let change = 1 + u8::try_from(generator.random().below(255))?;
        parts[part][at] ^= change;
        let changed = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".");
        let code = native.code(changed.as_bytes(), NOW);
        assert!(code.is_some(), "part {part}, byte {at}, xor {change}: {token}");
    }
    Ok(())
}

#[test]
fn one_byte_changed_in_the_key_denies() -> Result<()> {
    let mut generator = generator(3)?;
    // A configuration is read for each: fewer of these.
    for _ in 0..count()?.div_ceil(20).min(2000) {
        let (token, name) = generator.honest()?;
        let mut configuration = generator.configuration();
        let keys = configuration["issuers"][0]["jwks"]["inline"]["keys"].as_array_mut().context("keys")?;
        let key = keys.iter_mut().find(|key| key["kid"] == name).context("the key")?;
        let member =
            ["k", "n", "x"].into_iter().find(|member| key.get(member).is_some()).context("a member")?;
        let mut bytes = URL_SAFE_NO_PAD.decode(key[member].as_str().unwrap_or_default())?;
        let at = generator.random().below(bytes.len());
        bytes[at] ^= 1 + u8::try_from(generator.random().below(255))?;
        key[member] = json!(URL_SAFE_NO_PAD.encode(bytes));
        let code = Native::load(&configuration, NOW)?.code(token.as_bytes(), NOW);
        assert!(
            matches!(code, Some(Code::SignatureInvalid | Code::KeyUnusable)),
            "byte {at} of `{member}` of {name}: {code:?}"
        );
    }
    Ok(())
}

#[test]
fn an_unrelated_claim_or_header_parameter_never_changes_a_decision() -> Result<()> {
    let mut generator = generator(4)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    let values = [json!(null), json!(1.5), json!("x"), json!([1, {}]), json!({ "iss": "x", "exp": 0 })];
    let scene = generator.scene().clone();
    for round in 0..count()? {
        let exp = ["now - 2m", "now + 1h"][generator.random().below(2)];
        let aud = ["api", "billing"][generator.random().below(2)];
        let mut mint = Mint { key: Some(generator.key().into()), ..Mint::default() };
        mint.claims.insert("exp".into(), json!(exp));
        mint.claims.insert("aud".into(), json!(aud));
        let before = native.code(&scene.forge(&mint)?, NOW);
        let value = values[generator.random().below(values.len())].clone();
        let name = format!("x-{round}");
        mint.claims.insert(name.clone(), value.clone());
        mint.header.insert(name, value);
        assert_eq!(native.code(&scene.forge(&mint)?, NOW), before, "{mint:?}");
    }
    Ok(())
}

#[test]
fn an_unrelated_key_never_changes_a_decision() -> Result<()> {
    let mut generator = generator(5)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    let mut configuration = generator.configuration();
    let keys = configuration["issuers"][0]["jwks"]["inline"]["keys"].as_array_mut().context("keys")?;
    for (index, kind) in
        [Kind::P256, Kind::Ed25519, Kind::Rsa(2048), Kind::Hmac(32), Kind::P384].iter().enumerate()
    {
        let key = SigningKey::generate(&Seed::new([77; 32]), format!("other-{index}"), *kind)?;
        keys.insert(index, key.jwk());
    }
    keys.push(json!({ "kty": "AKP", "kid": "other", "pub": "AAAA" }));
    let with_more = Native::load(&configuration, NOW)?;
    for _ in 0..count()? {
        let token = generator.next_token()?;
        // Without a name every key that fits is asked, up to a bound.
        if token.features.contains(&"kid-absent") {
            continue;
        }
        let (before, after) =
            (native.code(token.token.as_bytes(), NOW), with_more.code(token.token.as_bytes(), NOW));
        assert_eq!(before, after, "{:?}: {}", token.features, token.token);
    }
    Ok(())
}

/// Before its beginning a token is too early, in its window it is good, after its end it has
/// expired, and nothing of this ever goes back.
#[test]
fn decisions_are_monotone_in_time() -> Result<()> {
    let mut generator = generator(6)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    let scene = generator.scene().clone();
    let skew = scene.skew;
    for _ in 0..count()?.div_ceil(4) {
        let start = i64::try_from(generator.random().below(4000))? - 2000;
        let length = i64::try_from(generator.random().below(4000))?;
        let mut mint = Mint { key: Some(generator.key().into()), ..Mint::default() };
        mint.claims.insert("nbf".into(), json!(NOW + start));
        mint.claims.insert("iat".into(), json!(NOW + start));
        mint.claims.insert("exp".into(), json!(NOW + start + length));
        let token = scene.forge(&mint)?;
        let (opens, closes) = (NOW + start - skew, NOW + start + length + skew);
        for _ in 0..4 {
            let at = opens - 200
                + i64::try_from(generator.random().below(usize::try_from(closes - opens)? + 400))?;
            let expected = match at {
                at if at >= closes => Some(Code::TokenExpired),
                at if at < opens => Some(Code::TokenNotYetValid),
                _ => None,
            };
            assert_eq!(native.code(&token, at), expected, "at {at}, from {opens} to {closes}");
        }
        for (at, expected) in [
            (opens - 1, Some(Code::TokenNotYetValid)),
            (opens, None),
            (closes - 1, None),
            (closes, Some(Code::TokenExpired)),
        ] {
            assert_eq!(native.code(&token, at), expected, "at {at}, from {opens} to {closes}");
        }
    }
    Ok(())
}

#[test]
fn no_input_panics_and_no_noise_is_accepted() -> Result<()> {
    let mut generator = generator(7)?;
    let native = Native::load(&generator.configuration(), NOW)?;
    for _ in 0..count()? {
        let mut bytes = generator.next_token()?.token.into_bytes();
        // Splices, cuts and noise: what is left of the token rarely makes sense.
        for _ in 0..1 + generator.random().below(6) {
            let at = generator.random().below(bytes.len() + 1);
            match generator.random().below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(generator.random().below(256))?),
                2 => {
                    let tail = bytes.split_off(at);
                    bytes.splice(0..0, tail);
                }
                _ => {
                    let copy = bytes[at..].to_vec();
                    bytes.extend(copy.into_iter().take(64));
                }
            }
        }
        let noise: Vec<u8> = (0..generator.random().below(80))
            .map(|_| u8::try_from(generator.random().below(256)).unwrap_or_default())
            .collect();
        assert!(native.code(&noise, NOW).is_some(), "{noise:?}");
        // A change may have been undone by another: only what differs must be refused.
        let _ = native.code(&bytes, NOW);
    }
    Ok(())
}

#[test]
fn no_configuration_of_noise_panics() -> Result<()> {
    let mut generator = generator(8)?;
    let text = generator.configuration().to_string().into_bytes();
    for _ in 0..count()?.min(20_000) {
        let mut bytes = text.clone();
        for _ in 0..1 + generator.random().below(3) {
            let at = generator.random().below(bytes.len());
            bytes[at] = u8::try_from(generator.random().below(256))?;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            // Refused or not, it must come back.
            let _ = Native::load(&value, NOW);
        }
    }
    Ok(())
}
