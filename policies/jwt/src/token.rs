//! The strict front end for a JWS in compact serialization (RFC 7515 section 7.1).
//!
//! Everything here runs on bytes that an attacker chose, before any signature is checked: it only
//! parses, with the token's length as the bound of all work.

use alloc::{borrow::Cow, format, vec, vec::Vec};

use portcullis_core::{Code, Denial, bytes::equal};
use portcullis_crypto::{Algorithm, Verifier, VerifyError};

use crate::{
    base64url,
    json::{self, Value},
    jwks::{JsonWebKey, KeySet},
};

/// Signature checks that one token may cost: keys that share a `kid`, or all keys of the
/// algorithm where the token names none (RFC 7515 section 4.1.4 leaves that open).
pub const MAX_TRIES: usize = 4;

/// The three segments, decoded one after the other.
pub(crate) struct Compact<'t> {
    bytes: Vec<u8>,
    header: usize,
    payload: usize,
    signature: usize,
    signing_input: &'t [u8],
}

impl<'t> Compact<'t> {
    /// Splits and decodes `token`.
    pub(crate) fn parse(token: &'t [u8]) -> Result<Self, Denial> {
        // Three bytes for each group of four characters, of which each segment may begin one.
        let mut bytes = vec![0; (token.len() / 4).saturating_add(3).saturating_mul(3)];
        let (header, rest) = segment("header", token, &mut bytes)?;
        let rest = rest.strip_prefix(b".").ok_or_else(|| malformed(SEGMENTS))?;
        let (payload, rest) = segment("payload", rest, bytes.get_mut(header..).unwrap_or_default())?;
        // The signed part is the token as it was sent: RFC 7515 section 5.2 step 8.
        let signed = token.len().saturating_sub(rest.len());
        let rest = rest.strip_prefix(b".").ok_or_else(|| malformed(SEGMENTS))?;
        let payload = header.saturating_add(payload);
        let (signature, rest) = segment("signature", rest, bytes.get_mut(payload..).unwrap_or_default())?;
        if !rest.is_empty() {
            return Err(malformed(SEGMENTS));
        }
        let signature = payload.saturating_add(signature);
        let signing_input = token.get(..signed).unwrap_or_default();
        Ok(Self { bytes, header, payload, signature, signing_input })
    }

    pub(crate) fn header(&self) -> &[u8] {
        self.bytes.get(..self.header).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(self.header..self.payload).unwrap_or_default()
    }

    fn signature(&self) -> &[u8] {
        self.bytes.get(self.payload..self.signature).unwrap_or_default()
    }

    /// The first of `candidates` that the signature was made with.
    pub(crate) fn verify<'k>(
        &self,
        candidates: Candidates<'k>,
        algorithm: Algorithm,
        verifier: &dyn Verifier,
    ) -> Result<&'k JsonWebKey, Unverified> {
        for key in candidates.0.into_iter().flatten() {
            match verifier.verify(key.key(), algorithm, self.signing_input, self.signature()) {
                Ok(()) => return Ok(key),
                Err(VerifyError::Unavailable) => return Err(Unverified::Unavailable),
                Err(_) => {}
            }
        }
        Err(Unverified::Mismatch)
    }

    /// The key of `set` that the signature was made with, among those that `header` points at.
    pub(crate) fn signer<'k>(
        &self,
        header: Header<'_>,
        set: &'k KeySet,
        verifier: &dyn Verifier,
    ) -> Result<&'k JsonWebKey, Unverified> {
        self.verify(Candidates::new(set, header)?, header.algorithm, verifier)
    }
}

/// A longer token than `max_bytes` is not even decoded.
pub(crate) fn within(token: &[u8], max_bytes: usize) -> Result<(), Denial> {
    let length = token.len();
    if length <= max_bytes {
        return Ok(());
    }
    Err(Denial::new(Code::TokenTooLarge, format!("{length} bytes, more than the limit of {max_bytes}")))
}

/// Verifies `token` as a compact JWS with the keys of `set`, whatever its payload is, and gives the
/// payload: the front end alone, for conformance vectors and tools. A policy's decision also
/// checks the issuer and the claims; this is no substitute for it.
///
/// # Errors
///
/// The denial that a decision would give up to and with the signature.
pub fn verify_jws(
    token: &[u8],
    set: &KeySet,
    algorithms: &[Algorithm],
    verifier: &dyn Verifier,
) -> Result<Vec<u8>, Denial> {
    let compact = Compact::parse(token)?;
    let types = Types { accepted: Vec::from(["jwt".into()]), absent: true };
    let header = RawHeader::parse(compact.header())?;
    let header = header.check(algorithms, &types)?;
    compact.signer(header, set, verifier).map_err(|why| {
        let code = match why {
            Unverified::NoKey => Code::KidNotFound,
            Unverified::Unusable => Code::KeyUnusable,
            Unverified::Mismatch => Code::SignatureInvalid,
            Unverified::Unavailable => Code::InternalError,
        };
        Denial::new(code, "the signature does not hold")
    })?;
    Ok(compact.payload().into())
}

const SEGMENTS: &str = "not three segments of base64url separated by dots";

/// The segment at the front of `text`, decoded to the front of `out`, its length, and what follows.
fn segment<'t>(name: &str, text: &'t [u8], out: &mut [u8]) -> Result<(usize, &'t [u8]), Denial> {
    base64url::decode(text, out)
        .ok_or_else(|| malformed(format!("the {name} segment is not canonical base64url")))
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> Denial {
    Denial::new(Code::MalformedToken, detail)
}

/// Why no key verified the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// No key has this `kid`, or none that could have signed.
    NoKey,
    /// The key with this `kid` must not verify this token.
    Unusable,
    /// Keys were tried; none matched.
    Mismatch,
    /// The arithmetic could not be done.
    Unavailable,
}

/// The keys to try, at most [`MAX_TRIES`].
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'k>([Option<&'k JsonWebKey>; MAX_TRIES]);

impl<'k> Candidates<'k> {
    /// The keys of `set` that `header` points at.
    pub(crate) fn new(set: &'k KeySet, header: Header<'_>) -> Result<Self, Unverified> {
        let permits = |key: &&'k JsonWebKey| key.permits(header.algorithm);
        let mut keys = [None; MAX_TRIES];
        let places = keys.iter_mut();
        match header.kid {
            Some(kid) => places.zip(set.by_kid(kid).filter(permits)).for_each(|(at, key)| *at = Some(key)),
            None => places.zip(set.keys().iter().filter(permits)).for_each(|(at, key)| *at = Some(key)),
        }
        if keys.iter().any(Option::is_some) {
            return Ok(Self(keys));
        }
        let known =
            header.kid.is_some_and(|kid| set.by_kid(kid).next().is_some() || set.left_out_kid(kid).is_some());
        Err(if known { Unverified::Unusable } else { Unverified::NoKey })
    }

    /// The one with this RFC 7638 thumbprint.
    pub(crate) fn with_thumbprint(self, thumbprint: &[u8; 32]) -> Option<&'k JsonWebKey> {
        self.0.into_iter().flatten().find(|key| equal(&key.key().thumbprint(), thumbprint))
    }
}

/// What the JOSE header says of the key. `jwk`, `jku`, `x5u` and `x5c` are never looked at: a token
/// does not choose its key (RFC 8725 section 3.10, CVE-2018-0114).
#[derive(Clone, Copy)]
pub(crate) struct Header<'h> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<&'h str>,
}

/// What the header says before the issuer is known.
#[derive(Clone, Debug)]
pub(crate) struct RawHeader<'h> {
    alg: Cow<'h, str>,
    kid: Option<Cow<'h, str>>,
    typ: Option<Cow<'h, str>>,
    cty: Option<Cow<'h, str>>,
    /// A member that changes the meaning of the token in ways that nothing here understands.
    extension: Option<&'static str>,
}

impl<'h> RawHeader<'h> {
    /// Parses the header and checks the types of the members that decide something.
    pub(crate) fn parse(bytes: &'h [u8]) -> Result<Self, Denial> {
        let mut object =
            json::parse_object(bytes).map_err(|error| malformed(format!("the header is {error}")))?;
        let mut text = |name| match object.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(format!("`{name}` in the header is not a string"))),
        };
        let (typ, cty, kid) = (text("typ")?, text("cty")?, text("kid")?);
        let alg = text("alg").ok().flatten();
        let alg = alg.ok_or_else(|| malformed("`alg` in the header is missing or not a string"))?;
        let extension = ["crit", "b64", "zip"].into_iter().find(|name| object.get(name).is_some());
        Ok(Self { alg, kid, typ, cty, extension })
    }

    /// Bytes of the texts that are not borrowed.
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = [Some(&self.alg), self.kid.as_ref(), self.typ.as_ref(), self.cty.as_ref()];
        texts.into_iter().flatten().map(json::text_bytes).fold(0, usize::saturating_add)
    }

    /// Refuses what changes the meaning of the token in ways that nothing here understands.
    pub(crate) fn check_extensions(&self) -> Result<(), Denial> {
        match self.extension {
            None => Ok(()),
            Some(name) => Err(Denial::new(Code::CriticalHeaderUnknown, format!("the header has `{name}`"))),
        }
    }

    /// `alg`, if it is one of `allowed`.
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, Denial> {
        Algorithm::from_name(&self.alg)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| Denial::new(Code::AlgorithmNotAllowed, "`alg` is not one of the issuer's"))
    }

    /// `typ` and `cty`.
    pub(crate) fn check_type(&self, types: &Types) -> Result<(), Denial> {
        types.check(self.typ.as_deref(), self.cty.as_deref())
    }

    /// Everything about the header, in the order of the checks.
    pub(crate) fn check(&self, algorithms: &[Algorithm], types: &Types) -> Result<Header<'_>, Denial> {
        self.check_extensions()?;
        let algorithm = self.algorithm(algorithms)?;
        self.check_type(types)?;
        Ok(self.pointer(algorithm))
    }

    /// What points at the key, with the `algorithm` that was found to be allowed.
    pub(crate) fn pointer(&self, algorithm: Algorithm) -> Header<'_> {
        Header { algorithm, kid: self.kid.as_deref() }
    }
}

/// The values of `typ` that an issuer's tokens may have.
#[derive(Clone, Debug)]
pub(crate) struct Types {
    /// Media types without `application/`, lower case (RFC 7515 section 4.1.9).
    pub(crate) accepted: Vec<alloc::string::String>,
    /// Whether a token without `typ` passes.
    pub(crate) absent: bool,
}

impl Types {
    fn check(&self, typ: Option<&str>, cty: Option<&str>) -> Result<(), Denial> {
        // A nested token's payload is another token, not claims (RFC 7519 section 5.2).
        let nested = |cty| ["jwt", "jose", "jose+json"].iter().any(|own| is_media_type(cty, own));
        if cty.is_some_and(nested) {
            return Err(Denial::new(Code::TypeMismatch, "`cty` says that the payload is another token"));
        }
        match typ {
            None if self.absent => Ok(()),
            None => Err(Denial::new(Code::TypeMismatch, "`typ` is absent")),
            Some(typ) if self.accepted.iter().any(|own| is_media_type(typ, own)) => Ok(()),
            Some(_) => Err(Denial::new(Code::TypeMismatch, "`typ` is not one that the issuer uses")),
        }
    }
}

/// Whether `text` is the media type `own`, which is as [`media_type`] makes it.
fn is_media_type(text: &str, own: &str) -> bool {
    const PREFIX: &str = "application/";
    let rest = match text.split_at_checked(PREFIX.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(PREFIX) => rest,
        _ => text,
    };
    rest.eq_ignore_ascii_case(own)
}

/// `text` in lower case without the prefix `application/`.
pub(crate) fn media_type(text: &str) -> alloc::string::String {
    let lower = text.to_ascii_lowercase();
    lower.strip_prefix("application/").map(Into::into).unwrap_or(lower)
}
