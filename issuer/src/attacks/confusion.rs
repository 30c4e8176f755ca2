//! A key under an algorithm, a use or an issuer that it is not for (RFC 8725 sections 2.1 and
//! 3.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_core::Code::{KeyUnusable, SignatureInvalid};

use super::{Cases, Class::Confusion, Setup, bytes};
use crate::{
    keys::{Alg, KeyError, SigningKey},
    mint::Raw,
};

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    to.allow(Confusion, "an honest RS256 token", "RFC 7519", s.token().compact(&s.keys.rsa)?);
    to.allow(Confusion, "an honest ES256 token", "RFC 7519", s.token().compact(&s.keys.ec)?);
    to.allow(Confusion, "an honest EdDSA token", "RFC 8037", s.token().compact(&s.keys.ed)?);
    public_keys_as_secrets(s, to)?;
    families(s, to)?;
    bound_keys(s, to)?;
    strangers(s, to)
}

/// The public key is no secret, so an HMAC with it proves nothing.
fn public_keys_as_secrets(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let key = &s.keys.rsa;
    let (pem, jwk) = (key.public_pem()?, key.bare_jwk());
    let modulus = jwk["n"].as_str().unwrap_or_default();
    let origin = "CVE-2016-5431; CVE-2026-22817; RFC 8725 section 2.1";
    for (name, secret) in [
        ("HS256 keyed with the public key as PEM", pem.clone().into_bytes()),
        ("HS256 keyed with the PEM without its last line break", pem.trim_end().into()),
        ("HS256 keyed with the public key as DER", key.public_der()?),
        ("HS256 keyed with the JWK's text", key.jwk().to_string().into_bytes()),
        ("HS256 keyed with the modulus as text", modulus.into()),
        ("HS256 keyed with the modulus", URL_SAFE_NO_PAD.decode(modulus).map_err(KeyError::new)?),
        ("HS256 keyed with the name of the key", key.kid().into()),
        ("HS256 keyed with nothing", Vec::new()),
        ("HS256 keyed with one NUL", vec![0]),
    ] {
        let forged = s.token().header("alg", "HS256").header("kid", key.kid());
        let token = forged.signed(&SigningKey::hmac("x", secret), Alg::Hs256)?;
        to.deny(Confusion, name, origin, &s.code_for(Alg::Hs256, KeyUnusable), token);
    }
    Ok(())
}

/// The header claims one family, the key that it names is of another.
fn families(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let keys = &s.keys;
    for (name, claimed, kid, signer) in [
        ("RS256 with an EC key", Alg::Rs256, &keys.ec, &keys.ec),
        ("RS256 with an Ed25519 key", Alg::Rs256, &keys.ed, &keys.rsa),
        ("ES256 with an RSA key", Alg::Es256, &keys.rsa, &keys.rsa),
        ("ES256 with an Ed25519 key", Alg::Es256, &keys.ed, &keys.ed),
        ("ES256 with a P-384 key", Alg::Es256, &keys.p384, &keys.p384),
        ("ES384 with a P-256 key", Alg::Es384, &keys.ec, &keys.ec),
        ("ES512 with a P-256 key", Alg::Es512, &keys.ec, &keys.ec),
        ("EdDSA with an EC key", Alg::EdDsa, &keys.ec, &keys.ec),
        ("EdDSA with an RSA key", Alg::EdDsa, &keys.rsa, &keys.rsa),
        ("HS256 with an EC key, ECDSA signature", Alg::Hs256, &keys.ec, &keys.ec),
    ] {
        let token = s.token().header("alg", claimed.as_str()).header("kid", kid.kid());
        let token = token.signed(signer, signer.natural_alg())?;
        to.deny(
            Confusion,
            name,
            "RFC 7518 section 3.1; RFC 8725 section 3.1",
            &s.code_for(claimed, KeyUnusable),
            token,
        );
    }
    for alg in [Alg::Rs384, Alg::Rs512, Alg::Ps256, Alg::Ps384, Alg::Ps512] {
        let name = match alg {
            Alg::Rs384 => "RS384 with a key for RS256",
            Alg::Rs512 => "RS512 with a key for RS256",
            Alg::Ps256 => "PS256 with a key for RS256",
            Alg::Ps384 => "PS384 with a key for RS256",
            _ => "PS512 with a key for RS256",
        };
        let token =
            s.token().header("alg", alg.as_str()).header("kid", keys.rsa.kid()).signed(&keys.rsa, alg)?;
        to.deny(
            Confusion,
            name,
            "RFC 8725 section 3.1; Wycheproof 331-340",
            &s.code_for(alg, KeyUnusable),
            token,
        );
    }
    Ok(())
}

/// Keys that the issuer publishes and that must not verify a token.
fn bound_keys(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let keys = &s.keys;
    for (name, origin, key) in [
        ("a key for PS256 under RS256", "RFC 7517 section 4.4", keys.pss.clone()),
        ("an RSA key of 1024 bits", "RFC 7518 section 3.3", keys.small.clone()),
        ("a key for encryption", "RFC 7517 section 4.2; Wycheproof 353", keys.rsa.renamed("rsa-enc")),
        ("a key for wrapping keys", "RFC 7517 section 4.3; Wycheproof 355", keys.rsa.renamed("rsa-wrap")),
        ("a point that is not on the curve", "RFC 8725 section 3.4", keys.ec.renamed("ec-off-curve")),
        ("a key for X25519", "RFC 8037 section 3.2", keys.ed.renamed("ed-x25519")),
    ] {
        to.deny(Confusion, name, origin, &[KeyUnusable], s.token().compact(&key)?);
    }
    // With the exponent 1 the padded digest is its own signature: no secret is needed.
    let Raw { header, payload, .. } = s.raw(&keys.rsa.renamed("rsa-e1"));
    let raw = Raw::new(header, payload);
    let forged = bytes::pkcs1_block(raw.signing_input().as_bytes(), 256);
    let token = raw.signature(forged).compact();
    to.deny(Confusion, "an RSA key with the exponent 1", "RFC 8017 section 3.1", &[KeyUnusable], token);
    // R the neutral element and S zero fit every message under a key of small order.
    let forged = [bytes::ED25519_IDENTITY, [0; 32]].concat();
    let token = s.raw(&keys.ed.renamed("ed-small-order")).signature(forged).compact();
    let origin = "RFC 8032 section 5.1.7; small-order keys";
    to.deny(Confusion, "an Ed25519 key of small order", origin, &[KeyUnusable, SignatureInvalid], token);
    Ok(())
}

/// Tokens that are right in everything but who signed them.
fn strangers(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let keys = &s.keys;
    for (name, stranger, kid) in [
        ("RS256 signed by a stranger", &keys.mallory_rsa, keys.rsa.kid()),
        ("ES256 signed by a stranger", &keys.mallory_ec, keys.ec.kid()),
        ("EdDSA signed by a stranger", &keys.mallory_ed, keys.ed.kid()),
    ] {
        to.deny(
            Confusion,
            name,
            "RFC 7515 section 5.2",
            &[SignatureInvalid],
            s.token().compact(&stranger.renamed(kid))?,
        );
    }
    for (name, key) in [
        ("a changed claim under RS256", &keys.rsa),
        ("a changed claim under ES256", &keys.ec),
        ("a changed claim under EdDSA", &keys.ed),
    ] {
        let Raw { signature, .. } = s.raw(key).signed(key, key.natural_alg())?;
        let token = s
            .token()
            .claim("sub", "admin")
            .header("alg", key.natural_alg().as_str())
            .header("kid", key.kid());
        let token = token.raw().signature(signature).compact();
        to.deny(Confusion, name, "RFC 7515 section 5.2; Wycheproof 5", &[SignatureInvalid], token);
    }
    let Raw { signature, .. } = s.raw(&keys.ec).signed(&keys.ec, Alg::Es256)?;
    let token = s.token().header("alg", "ES256").header("kid", keys.ec.kid()).header("x", 1).raw();
    let token = token.signature(signature).compact();
    to.deny(Confusion, "a changed header", "RFC 7515 section 5.2; Wycheproof 2", &[SignatureInvalid], token);
    Ok(())
}
