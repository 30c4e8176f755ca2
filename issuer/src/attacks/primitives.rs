//! Signature values: zero, too long, too short, in another encoding, out of range (RFC 7518
//! section 3, RFC 8017, RFC 8032).

use portcullis_core::Code::SignatureInvalid;

use super::{Cases, Class::Primitive, Setup, bytes};
use crate::keys::{Alg, KeyError};

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    ecdsa(s, to)?;
    rsa(s, to)?;
    pss(s, to)?;
    ed25519(s, to)
}

fn ecdsa(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let raw = s.raw(&s.keys.ec);
    let good = raw.clone().signed(&s.keys.ec, Alg::Es256)?.signature;
    let (r, v) = good.split_at(32);
    let (zero, order) = (&[0; 32][..], &bytes::P256_ORDER[..]);
    let one = [&[0; 31][..], &[1]].concat();
    let flipped: Vec<_> = good.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 40)).collect();
    for (name, origin, signature) in [
        ("ES256, no signature", "RFC 7515 section 5.2", Vec::new()),
        ("ES256, all zero", "CVE-2022-21449", vec![0; 64]),
        ("ES256, r zero", "CVE-2022-21449; Wycheproof 381", [zero, v].concat()),
        ("ES256, s zero", "CVE-2022-21449; Wycheproof 382", [r, zero].concat()),
        ("ES256, r the order", "Wycheproof 383", [order, v].concat()),
        ("ES256, s the order", "Wycheproof 384", [r, order].concat()),
        ("ES256, r and s one", "Wycheproof 387", [&one[..], &one].concat()),
        ("ES256, all ones", "Wycheproof 401", vec![0xff; 64]),
        ("ES256, r and s exchanged", "RFC 7518 section 3.4", [v, r].concat()),
        ("ES256, DER", "RFC 7518 section 3.4", bytes::ecdsa_der(&good)),
        ("ES256, both halves padded", "Wycheproof 379", [&[0][..], r, &[0], v].concat()),
        ("ES256, one byte short", "RFC 7518 section 3.4", good.iter().take(63).copied().collect()),
        ("ES256, one byte more", "Wycheproof 385", [&good[..], &[0]].concat()),
        ("ES256, one bit changed", "Wycheproof 8", flipped),
        ("ES256, the signature twice", "RFC 7518 section 3.4", [&good[..], &good].concat()),
    ] {
        to.deny(Primitive, name, origin, &[SignatureInvalid], raw.clone().signature(signature).compact());
    }
    let high = [r, &bytes::p256_negate(v)].concat();
    let origin = "RFC 7518 section 3.4: both s and n - s verify";
    to.allow(Primitive, "ES256, the other s", origin, raw.signature(high).compact());
    Ok(())
}

fn rsa(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let raw = s.raw(&s.keys.rsa);
    let input = raw.signing_input();
    let good = raw.clone().signed(&s.keys.rsa, Alg::Rs256)?.signature;
    let modulus = URL_SAFE_NO_PAD
        .decode(s.keys.rsa.bare_jwk()["n"].as_str().unwrap_or_default())
        .map_err(KeyError::new)?;
    let flipped: Vec<_> = good.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 200)).collect();
    let one = [&[0; 255][..], &[1]].concat();
    for (name, origin, signature) in [
        ("RS256, no signature", "RFC 7515 section 5.2", Vec::new()),
        ("RS256, all zero", "RFC 8017 section 8.2.2", vec![0; 256]),
        ("RS256, the number one", "RFC 8017 section 8.2.2", one),
        ("RS256, all ones", "RFC 8017 section 5.2.2", vec![0xff; 256]),
        ("RS256, the modulus", "RFC 8017 section 5.2.2", modulus.clone()),
        ("RS256, not reduced", "Wycheproof 312", bytes::add_be(&good, &modulus)),
        ("RS256, a zero in front", "Wycheproof 313", [&[0][..], &good].concat()),
        ("RS256, a zero behind", "Wycheproof 314", [&good[..], &[0]].concat()),
        ("RS256, one byte short", "Wycheproof 315", good.iter().take(255).copied().collect()),
        ("RS256, one bit changed", "Wycheproof 8", flipped),
        (
            "RS256, the padded digest itself",
            "RFC 8017 section 9.2",
            bytes::pkcs1_block(input.as_bytes(), 256),
        ),
        (
            "RS256, signed with SHA-512",
            "RFC 7518 section 3.3",
            s.keys.rsa.sign(Alg::Rs512, input.as_bytes())?,
        ),
        ("RS256, signed with PSS", "RFC 7518 section 3.3", s.keys.rsa.sign(Alg::Ps256, input.as_bytes())?),
    ] {
        to.deny(Primitive, name, origin, &[SignatureInvalid], raw.clone().signature(signature).compact());
    }
    Ok(())
}

fn pss(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    if !s.algorithms.contains(&Alg::Ps256) {
        return Ok(());
    }
    let key = &s.keys.pss;
    let raw = s.token().header("alg", "PS256").header("kid", key.kid()).raw();
    let input = raw.signing_input();
    let sign = |salt| key.sign_pss_with_salt(input.as_bytes(), salt);
    to.allow(
        Primitive,
        "PSS, a salt of 32 bytes",
        "RFC 7518 section 3.5",
        raw.clone().signature(sign(32)?).compact(),
    );
    for (name, origin, signature) in [
        ("PSS, no salt", "RFC 7518 section 3.5; Wycheproof 281", sign(0)?),
        ("PSS, a salt of 20 bytes", "RFC 7518 section 3.5; Wycheproof 282", sign(20)?),
        ("PSS, a salt of 64 bytes", "RFC 7518 section 3.5; Wycheproof 286", sign(64)?),
        ("PSS, signed with PKCS #1 v1.5", "RFC 7518 section 3.5", key.sign(Alg::Rs256, input.as_bytes())?),
        ("PSS, signed with SHA-512", "RFC 7518 section 3.5", key.sign(Alg::Ps512, input.as_bytes())?),
    ] {
        to.deny(Primitive, name, origin, &[SignatureInvalid], raw.clone().signature(signature).compact());
    }
    Ok(())
}

fn ed25519(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let raw = s.raw(&s.keys.ed);
    let good = raw.clone().signed(&s.keys.ed, Alg::EdDsa)?.signature;
    let (r, v) = good.split_at(32);
    let identity = &bytes::ED25519_IDENTITY[..];
    for (name, origin, signature) in [
        ("EdDSA, no signature", "RFC 7515 section 5.2", Vec::new()),
        ("EdDSA, all zero", "RFC 8032 section 5.1.7", vec![0; 64]),
        (
            "EdDSA, S not reduced",
            "RFC 8032 section 5.1.7",
            [r, &bytes::add_le(v, &bytes::ED25519_ORDER)].concat(),
        ),
        ("EdDSA, R the neutral element", "RFC 8032 section 5.1.7", [identity, v].concat()),
        ("EdDSA, R neutral and S zero", "RFC 8032 section 5.1.7", [identity, &[0; 32]].concat()),
        ("EdDSA, one byte short", "RFC 8032 section 5.1.7", good.iter().take(63).copied().collect()),
        ("EdDSA, one byte more", "RFC 8032 section 5.1.7", [&good[..], &[0]].concat()),
        ("EdDSA, R and S exchanged", "RFC 8032 section 5.1.7", [v, r].concat()),
    ] {
        to.deny(Primitive, name, origin, &[SignatureInvalid], raw.clone().signature(signature).compact());
    }
    Ok(())
}
