//! One JWK: its members in the order in which they can disqualify it.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use portcullis_crypto::{Algorithm, Curve, Key, KeyType};

use super::{JsonWebKey, Limits, Origin, Reason, Remark};
use crate::json::{self, JsonError, Object, Value};

/// RFC 7518 sections 6.2.2 and 6.3.2; `k` is the whole of a symmetric key and not in this list.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];
/// A longer certificate is not searched; those in the field have 1 to 3 KiB.
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

type Outcome = Result<(JsonWebKey, Vec<Remark>), Reason>;

/// The key that `text` describes, beside its `kid`, which is worth knowing also where the key is
/// of no use.
pub(super) fn parse(text: &str, origin: Origin, limits: &Limits) -> (Option<String>, Outcome) {
    let object = match json::parse(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return (None, Err(Reason::NotAnObject(JsonError::NotAnObject))),
        Err(error) => return (None, Err(Reason::NotAnObject(error))),
    };
    match kid(&object, limits) {
        Ok(kid) => (kid.clone(), usable(&object, kid, origin)),
        Err(reason) => (None, Err(reason)),
    }
}

fn kid(object: &Object<'_>, limits: &Limits) -> Result<Option<String>, Reason> {
    let Some(kid) = optional_text(object, "kid")? else { return Ok(None) };
    if kid.len() > limits.kid_bytes {
        return Err(Reason::KidTooLong { bytes: kid.len(), limit: limits.kid_bytes });
    }
    Ok(Some(kid.into()))
}

fn usable(object: &Object<'_>, kid: Option<String>, origin: Origin) -> Outcome {
    let kty = text(object, "kty")?;
    check_usage(object)?;
    let algorithm = algorithm(object)?;
    let mut remarks = Vec::new();
    if kty != "oct" && PRIVATE_MEMBERS.iter().any(|member| object.get(member).is_some()) {
        if origin == Origin::Remote {
            return Err(Reason::PrivateKeyFromAddress);
        }
        remarks.push(Remark::PrivateMembers);
    }
    let (key, number) = material(object, kty, origin)?;
    if let Some(algorithm) = algorithm.filter(|algorithm| !key.accepts(*algorithm)) {
        return Err(Reason::AlgorithmDoesNotFit { algorithm, key: key.key_type() });
    }
    if key.key_type() != KeyType::Hmac {
        remarks.extend(check_certificate(object, &number)?);
    }
    Ok((JsonWebKey { kid, algorithm, key }, remarks))
}

/// `use` and `key_ops`: both are held to where they are there (RFC 7517 sections 4.2 and 4.3).
fn check_usage(object: &Object<'_>) -> Result<(), Reason> {
    if let Some(usage) = optional_text(object, "use")?.filter(|usage| *usage != "sig") {
        return Err(Reason::UseIsNotSignature(usage.into()));
    }
    let Some(operations) = object.get("key_ops") else { return Ok(()) };
    let wrong = Reason::WrongType { member: "key_ops", wanted: "an array of strings" };
    let operations: Option<Vec<&str>> =
        operations.as_array().and_then(|array| array.iter().map(Value::as_str).collect());
    let mut operations = operations.ok_or(wrong)?;
    operations.sort_unstable();
    let twice = operations.windows(2).any(|pair| pair.first() == pair.last());
    if twice || !operations.contains(&"verify") {
        return Err(Reason::OperationsWithoutVerify);
    }
    Ok(())
}

fn algorithm(object: &Object<'_>) -> Result<Option<Algorithm>, Reason> {
    let Some(name) = optional_text(object, "alg")? else { return Ok(None) };
    Algorithm::from_name(name).map(Some).ok_or_else(|| Reason::UnknownAlgorithm(name.into()))
}

/// The key, and the number that a certificate for it must contain.
fn material(object: &Object<'_>, kty: &str, origin: Origin) -> Result<(Key, Vec<u8>), Reason> {
    match kty {
        "RSA" => {
            let (n, e) = (bytes(object, "n")?, bytes(object, "e")?);
            Ok((Key::rsa(&n, &e).map_err(Reason::Key)?, n))
        }
        "EC" => {
            let name = text(object, "crv")?;
            let curve = [Curve::P256, Curve::P384, Curve::P521].into_iter().find(|own| own.as_str() == name);
            let curve = curve.ok_or_else(|| Reason::UnknownCurve(name.into()))?;
            let (x, y) = (bytes(object, "x")?, bytes(object, "y")?);
            Ok((Key::ec(curve, &x, &y).map_err(Reason::Key)?, x))
        }
        "OKP" => {
            let curve = text(object, "crv")?;
            if curve != "Ed25519" {
                return Err(Reason::UnknownCurve(curve.into()));
            }
            let x = bytes(object, "x")?;
            Ok((Key::ed25519(&x).map_err(Reason::Key)?, x))
        }
        "oct" if origin == Origin::Remote => Err(Reason::SecretFromAddress),
        "oct" => Ok((Key::hmac(&bytes(object, "k")?).map_err(Reason::Key)?, Vec::new())),
        other => Err(Reason::UnknownType(other.to_string())),
    }
}

fn text<'o>(object: &'o Object<'_>, member: &'static str) -> Result<&'o str, Reason> {
    optional_text(object, member)?.ok_or(Reason::Missing { member })
}

fn optional_text<'o>(object: &'o Object<'_>, member: &'static str) -> Result<Option<&'o str>, Reason> {
    let wrong = Reason::WrongType { member, wanted: "a string" };
    object.get(member).map(|value| value.as_str().ok_or(wrong)).transpose()
}

fn bytes(object: &Object<'_>, member: &'static str) -> Result<Vec<u8>, Reason> {
    let text = text(object, member)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        if text.contains(['+', '/', '=']) {
            Reason::StandardBase64 { member }
        } else {
            Reason::NotBase64Url { member }
        }
    })
}

/// RFC 7517 section 4.7: the key in the first certificate must be this one. A certificate spells
/// the modulus or the coordinate as the JWK does, so the number must be somewhere in it; one that
/// merely mentions it gains nothing, for certificates are not used.
fn check_certificate(object: &Object<'_>, number: &[u8]) -> Result<Option<Remark>, Reason> {
    let Some(chain) = object.get("x5c") else { return Ok(None) };
    let first = chain.as_array().and_then(|chain| chain.first()).and_then(Value::as_str);
    let readable = first.filter(|text| text.len() <= MAX_CERTIFICATE_BYTES);
    let Some(der) = readable.and_then(|text| STANDARD.decode(text).ok()) else {
        return Ok(Some(Remark::CertificateUnreadable));
    };
    let same = der.windows(number.len().max(1)).any(|window| window == number);
    if same { Ok(None) } else { Err(Reason::CertificateOfAnotherKey) }
}
