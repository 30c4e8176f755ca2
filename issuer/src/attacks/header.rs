//! Header parameters: the algorithm, extensions, key hints and types (RFC 7515 section 4, RFC
//! 8725 section 3).

use portcullis_core::Code::{
    self, AlgorithmNotAllowed, CriticalHeaderUnknown, KeyUnusable, KidNotFound, MalformedToken,
    SignatureInvalid, TypeMismatch,
};
use serde_json::{Value, json};

use super::{Cases, Class::Header, Setup};
use crate::{
    keys::{Alg, KeyError},
    mint::Token,
};

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    algorithm(s, to)?;
    extensions(s, to)?;
    embedded_keys(s, to)?;
    key_names(s, to)?;
    types(s, to)
}

/// The honest ES256 token with one more header parameter, signed as it stands.
fn with(s: &Setup, name: &str, value: impl Into<Value>) -> Result<String, KeyError> {
    es256(s).header(name, value).signed(&s.keys.ec, Alg::Es256)
}

fn es256(s: &Setup) -> Token {
    s.token().header("alg", "ES256").header("kid", s.keys.ec.kid())
}

fn algorithm(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    for (name, alg) in [
        ("`alg` none without a signature", "none"),
        ("`alg` None without a signature", "None"),
        ("`alg` NONE without a signature", "NONE"),
        ("`alg` nOnE without a signature", "nOnE"),
        ("an empty `alg` without a signature", ""),
        ("`alg` none and a space", "none "),
    ] {
        let origin = "CVE-2015-9235; RFC 8725 section 2.1; Wycheproof 16";
        to.deny(Header, name, origin, &[AlgorithmNotAllowed], es256(s).header("alg", alg).raw().compact());
    }
    for (name, origin, alg) in [
        ("`alg` none over a good signature", "RFC 8725 section 3.2", "none"),
        ("`alg` in lower case", "RFC 7515 section 4.1.1", "es256"),
        ("`alg` with a NUL", "RFC 7515 section 4.1.1", "ES256\0"),
        ("an algorithm that nobody knows", "RFC 8725 section 3.1", "ES257"),
        ("`alg` ES256K", "RFC 8812", "ES256K"),
        ("`alg` ML-DSA-44", "RFC 8725 section 3.1", "ML-DSA-44"),
        ("an encryption algorithm", "RFC 7518 section 4.1", "RSA-OAEP"),
    ] {
        to.deny(Header, name, origin, &[AlgorithmNotAllowed], with(s, "alg", alg)?);
    }
    let missing = es256(s).without_header("alg").signed(&s.keys.ec, Alg::Es256)?;
    to.deny(Header, "`alg` missing", "RFC 7515 section 4.1.1", &[MalformedToken], missing);
    for (name, alg) in [
        ("`alg` a number", json!(256)),
        ("`alg` null", json!(null)),
        ("`alg` an array", json!(["ES256"])),
        ("`alg` an object", json!({ "ES256": true })),
    ] {
        to.deny(Header, name, "RFC 7515 section 4.1.1", &[MalformedToken], with(s, "alg", alg)?);
    }
    Ok(())
}

fn extensions(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let origin = "RFC 7515 section 4.1.11; CVE-2025-59420; CVE-2026-32597";
    for (name, crit) in [
        ("`crit` names what nobody knows", json!(["x-unknown"])),
        ("`crit` is empty", json!([])),
        ("`crit` is a string", json!("exp")),
        ("`crit` is null", json!(null)),
        ("`crit` is an object", json!({})),
        ("`crit` holds a number", json!([1])),
        ("`crit` names `alg`", json!(["alg"])),
        ("`crit` names one thing twice", json!(["x", "x"])),
    ] {
        let token = es256(s).header("crit", crit).header("x", 1).signed(&s.keys.ec, Alg::Es256)?;
        to.deny(Header, name, origin, &[CriticalHeaderUnknown], token);
    }
    let unencoded = es256(s).header("b64", false).header("crit", json!(["b64"]));
    let unencoded = unencoded.signed(&s.keys.ec, Alg::Es256)?;
    to.deny(Header, "`b64` false and critical", "RFC 7797 section 7", &[CriticalHeaderUnknown], unencoded);
    for (name, origin, parameter, value) in [
        ("`b64` false", "RFC 7797 section 6", "b64", json!(false)),
        ("`b64` true", "RFC 7797 section 7", "b64", json!(true)),
        ("`zip` in a JWS", "RFC 7516 section 4.1.3", "zip", json!("DEF")),
    ] {
        to.deny(Header, name, origin, &[CriticalHeaderUnknown], with(s, parameter, value)?);
    }
    for (name, value) in [
        ("a private parameter that is a number", json!(7)),
        ("a private parameter that is an object", json!({ "a": [1] })),
        ("a private parameter that is null", json!(null)),
    ] {
        to.allow(
            Header,
            name,
            "RFC 7515 section 4: ignore what is not understood",
            with(s, "x-private", value)?,
        );
    }
    Ok(())
}

/// A token does not choose its key: these parameters are never looked at, so the token stands or
/// falls with the published key.
fn embedded_keys(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let mallory = &s.keys.mallory_rsa;
    let address = "http://169.254.169.254/latest/meta-data";
    for (name, origin, parameter, value) in [
        ("an embedded `jwk` of the attacker", "CVE-2018-0114; Wycheproof 32", "jwk", mallory.jwk()),
        ("a `jku` of the attacker", "RFC 8725 section 3.10; SSRF", "jku", json!(address)),
        ("an `x5u` of the attacker", "RFC 8725 section 3.10; SSRF", "x5u", json!(address)),
        ("an `x5c` of the attacker", "RFC 8725 section 3.10", "x5c", json!(["AAAA"])),
    ] {
        let forged = s.token().header("alg", "RS256").header("kid", "rsa-1").header(parameter, value.clone());
        to.deny(Header, name, origin, &[SignatureInvalid], forged.signed(mallory, Alg::Rs256)?);
    }
    let unnamed = s.token().header("alg", "RS256").header("kid", "mallory-rsa").header("jwk", mallory.jwk());
    let unnamed = unnamed.signed(mallory, Alg::Rs256)?;
    to.deny(Header, "an embedded `jwk` under its own `kid`", "CVE-2018-0114", &[KidNotFound], unnamed);
    let honest = with(s, "jwk", mallory.jwk())?;
    to.allow(Header, "a good signature beside an embedded `jwk`", "RFC 7515 section 4.1.3: ignored", honest);
    Ok(())
}

fn key_names(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    for (name, kid) in [
        ("an unknown `kid`", "no-such-key".into()),
        ("a `kid` that climbs the file system", "../../../../dev/null".into()),
        ("a `kid` that speaks SQL", "x' UNION SELECT 'secret".into()),
        ("a `kid` that is an address", "http://169.254.169.254/".into()),
        ("a `kid` in another case", "EC-1".into()),
        ("a `kid` with a space behind", "ec-1 ".into()),
        ("a `kid` with a line break", "ec-1\r\nx-sub: admin".into()),
        ("a `kid` of 8 KB", "k".repeat(8192)),
    ] {
        let codes: &[Code] = if kid.len() > 512 { &[KidNotFound, MalformedToken] } else { &[KidNotFound] };
        to.deny(Header, name, "RFC 8725 section 3.10", codes, with(s, "kid", kid)?);
    }
    to.deny(
        Header,
        "an empty `kid`",
        "RFC 7515 section 4.1.4",
        &[KidNotFound, MalformedToken],
        with(s, "kid", "")?,
    );
    for (name, kid) in
        [("`kid` a number", json!(1)), ("`kid` null", json!(null)), ("`kid` an array", json!(["ec-1"]))]
    {
        to.deny(Header, name, "RFC 7515 section 4.1.4", &[MalformedToken], with(s, "kid", kid)?);
    }
    let unnamed = s.token().header("alg", "ES256");
    let origin = "RFC 7515 section 4.1.4: `kid` is optional";
    to.allow(Header, "no `kid`", origin, unnamed.signed(&s.keys.ec, Alg::Es256)?);
    let forged = unnamed.signed(&s.keys.mallory_ec, Alg::Es256)?;
    to.deny(Header, "no `kid`, signed by a stranger", "RFC 7515 section 5.2", &[SignatureInvalid], forged);
    for (name, key) in [
        ("a name that two keys share, RS256", &s.keys.rsa),
        ("a name that two keys share, ES256", &s.keys.ec),
    ] {
        to.allow(
            Header,
            name,
            "RFC 7517 section 4.5; keycloak issue 15114",
            s.token().compact(&key.renamed("shared"))?,
        );
    }
    let other = s.token().header("alg", "EdDSA").header("kid", "shared").signed(&s.keys.ed, Alg::EdDsa)?;
    to.deny(
        Header,
        "a shared name, neither key of the family",
        "RFC 7517 section 4.5",
        &[KeyUnusable],
        other,
    );
    Ok(())
}

fn types(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    for (name, typ) in [
        ("a DPoP proof", "dpop+jwt"),
        ("a logout token", "logout+jwt"),
        ("a security event", "secevent+jwt"),
        ("an authorization request", "oauth-authz-req+jwt"),
        ("a token introspection answer", "token-introspection+jwt"),
        ("an SD-JWT", "dc+sd-jwt"),
        ("the type JOSE", "JOSE"),
        ("an empty type", ""),
        ("a type with a parameter", "JWT;v=2"),
    ] {
        to.deny(Header, name, "RFC 8725 section 3.11", &[TypeMismatch], with(s, "typ", typ)?);
    }
    to.deny(
        Header,
        "a type that is a number",
        "RFC 7515 section 4.1.9",
        &[MalformedToken],
        with(s, "typ", 1)?,
    );
    to.deny(
        Header,
        "a nested token by `cty`",
        "RFC 7519 section 5.2",
        &[TypeMismatch],
        with(s, "cty", "JWT")?,
    );
    for (name, typ) in [
        ("the type at+jwt", "at+jwt"),
        ("the type application/at+jwt", "application/at+jwt"),
        ("the type AT+JWT", "AT+JWT"),
        ("the type application/jwt", "application/jwt"),
    ] {
        to.allow(Header, name, "RFC 9068 section 4; RFC 7515 section 4.1.9", with(s, "typ", typ)?);
    }
    let untyped = es256(s).without_header("typ").signed(&s.keys.ec, Alg::Es256)?;
    to.allow(Header, "no type", "RFC 7519 section 5.1: `typ` is optional", untyped);
    Ok(())
}
