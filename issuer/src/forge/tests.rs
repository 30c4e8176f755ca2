use serde_json::json;

use super::*;
use crate::keys::{Kind, Seed};

fn scene() -> Scene {
    let seed = Seed::new([3; 32]);
    let keys = [("ec", Kind::P256), ("mallory", Kind::Ed25519)];
    let keys = keys.map(|(name, kind)| (name.into(), SigningKey::generate(&seed, name, kind).unwrap()));
    let mut variables = Variables::default();
    variables.set("issuer", "https://issuer");
    Scene { keys: keys.into(), key: Some("ec".into()), now: 1000, skew: 60, variables, ..Scene::default() }
}

fn mint(value: Value) -> Mint {
    serde_json::from_value(value).unwrap()
}

fn parts(token: &[u8]) -> (Value, Value) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let text = std::str::from_utf8(token).unwrap();
    let mut parts =
        text.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).ok());
    (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
}

#[test]
fn a_mint_sets_and_leaves_out_claims_and_parameters() {
    let mut scene = scene();
    scene.claims.insert("sub".into(), json!("alice"));
    scene.claims.insert("aud".into(), json!("api"));
    let token = scene
        .forge(&mint(json!({
            "header": { "typ": "JWT" }, "without_header": ["kid"], "without": ["aud"],
            "claims": { "iss": "${issuer}/", "exp": "now + 5m" }, "claims_text": { "nbf": "${now - skew}.5" },
        })))
        .unwrap();
    let (header, payload) = parts(&token);
    assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT" }));
    assert_eq!(payload, json!({ "sub": "alice", "iss": "https://issuer/", "exp": 1300, "nbf": 940.5 }));
}

#[test]
fn a_mint_over_another_keeps_what_it_does_not_say() {
    let base = mint(json!({ "key": "ec", "claims": { "sub": "alice", "aud": "api" }, "without": ["iat"] }));
    let all = mint(json!({ "claims": { "aud": "billing", "iat": 1 } })).over(&base);
    assert_eq!(all.key.as_deref(), Some("ec"));
    assert_eq!(Value::Object(all.claims), json!({ "sub": "alice", "aud": "billing", "iat": 1 }));
    assert!(all.without.is_empty());
}

#[test]
fn texts_and_signatures_are_put_together_from_parts() {
    let scene = scene();
    let forge = |value| String::from_utf8(scene.forge(&mint(value)).unwrap()).unwrap();
    assert!(forge(json!({ "signature": [] })).ends_with('.'));
    assert!(forge(json!({ "compact": "${header}..${payload}" })).contains(".."));
    assert!(forge(json!({ "signature": ["zeros:1", "hex:ff", "one:2"] })).ends_with(".AP8AAQ"));
    let text = forge(json!({ "payload_text": "${open}\"x\":1}", "signature": [] }));
    assert_eq!(parts(text.as_bytes()).1, json!({ "x": 1 }));
    assert_eq!(forge(json!({ "compact": "${repeat:3:ab}" })), "ababab");
}

#[test]
fn a_missing_key_is_told_apart_from_a_wrong_description() {
    let scene = scene();
    let error = |value| scene.forge(&mint(value)).unwrap_err();
    assert!(matches!(error(json!({ "key": "rsa" })), ForgeError::NoKey(name) if name == "rsa"));
    for (wrong, expected) in [
        (json!({ "signature": ["q"] }), "no part of a signature is called `q`"),
        (json!({ "secret": "q" }), "no secret is called `q`"),
        (json!({ "compact": "${q}" }), "nothing is called `${q}` here; there is: `${header}`"),
        (json!({ "compact": "${" }), "`${` is not closed"),
        (json!({ "claims": { "exp": "now + x" } }), "`now + x` is no time"),
        (json!({ "signer_alg": "RS257" }), "nothing signs with `RS257`"),
        (json!({ "signer": "mallory", "signer_alg": "RS256" }), "`RS256` does not fit"),
    ] {
        let text = error(wrong).to_string();
        assert!(text.contains(expected), "{text}");
    }
}
