//! Signature arithmetic in the host, where it offers Envoy's foreign function `verify_signature`:
//! native code is an order of magnitude faster than the same arithmetic in wasm.
//!
//! The function takes the protobuf message `{string hash_function = 1; bytes public_key = 2;
//! bytes signature = 3; bytes text = 4}` with a DER SubjectPublicKeyInfo, and answers
//! `{bool result = 1; string error = 2}`. It does RSASSA-PKCS1-v1_5, and ECDSA with a DER
//! signature; everything else stays in wasm.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_crypto::{
    Algorithm, Curve, Key, KeyType, Software, Verifier, VerifyError, check_shape, ecdsa_der,
};

use crate::foreign;

const FUNCTION: &str = "verify_signature";

/// The arithmetic of this VM: the host's where it has shown that it works, else the crates'.
#[derive(Debug)]
pub struct Arithmetic {
    host: bool,
    buffers: RefCell<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    argument: Vec<u8>,
    signature: Vec<u8>,
}

impl Arithmetic {
    /// Asks the host once: a known good signature must verify, the same one over another text must
    /// not, and the good one must verify again. A host that answers otherwise is not asked again.
    #[must_use]
    pub fn probe() -> Self {
        let arithmetic = Self { host: true, buffers: RefCell::default() };
        let Some(known) = KnownSignature::new() else { return Self { host: false, ..arithmetic } };
        let answer =
            |text: &str| arithmetic.ask_host(&known.key, Algorithm::Es256, text.as_bytes(), &known.signature);
        let host = answer(KNOWN_TEXT) == Some(Ok(()))
            && answer("another text") == Some(Err(VerifyError::Mismatch))
            && answer(KNOWN_TEXT) == Some(Ok(()));
        Self { host, ..arithmetic }
    }

    /// Whether the host does the arithmetic that it can do.
    #[must_use]
    pub const fn uses_host(&self) -> bool {
        self.host
    }

    /// The host's answer; `None` where it gives none.
    fn ask_host(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<(), VerifyError>> {
        let hash = algorithm.hash()?;
        let public_key = key.spki_der()?;
        let mut buffers = self.buffers.try_borrow_mut().ok()?;
        let Buffers { argument, signature: der } = &mut *buffers;
        let signature = match algorithm.key_type() {
            KeyType::Ec(curve) => {
                der.clear();
                if let Err(error) = ecdsa_der(curve, signature, der) {
                    return Some(Err(error));
                }
                der.as_slice()
            }
            _ => signature,
        };
        argument.clear();
        for (field, bytes) in [(1, hash.as_str().as_bytes()), (2, public_key), (3, signature), (4, message)] {
            write_field(field, bytes, argument);
        }
        let answer = foreign(FUNCTION, argument).ok()?;
        Some(if is_true(&answer) { Ok(()) } else { Err(VerifyError::Mismatch) })
    }
}

impl Verifier for Arithmetic {
    fn verify(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        check_shape(key, algorithm, signature)?;
        let for_host = self.host && offered(algorithm);
        let answer = if for_host { self.ask_host(key, algorithm, message, signature) } else { None };
        // A host that fails once may succeed later; the crates answer in the meantime.
        answer.unwrap_or_else(|| Software.verify(key, algorithm, message, signature))
    }
}

/// What the host says of `signature` over `text`, for a caller that has everything in the host's own
/// forms: `hash` is `sha256`, `sha384` or `sha512`, the key a DER SubjectPublicKeyInfo, an ECDSA
/// signature DER. `None` where the host does not say.
#[must_use]
pub fn by_host(hash: &str, public_key: &[u8], signature: &[u8], text: &[u8]) -> Option<bool> {
    let mut argument = Vec::new();
    for (field, bytes) in [(1, hash.as_bytes()), (2, public_key), (3, signature), (4, text)] {
        write_field(field, bytes, &mut argument);
    }
    foreign(FUNCTION, &argument).ok().map(|answer| is_true(&answer))
}

const fn offered(algorithm: Algorithm) -> bool {
    use Algorithm::{Es256, Es384, Es512, Rs256, Rs384, Rs512};
    matches!(algorithm, Rs256 | Rs384 | Rs512 | Es256 | Es384 | Es512)
}

/// A length-delimited protobuf field.
fn write_field(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    const LENGTH_DELIMITED: u8 = 2;
    out.push((field << 3) | LENGTH_DELIMITED);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
    out.extend_from_slice(bytes);
}

/// Whether the answer's field 1 is `true`. A message of any other form is a no.
fn is_true(answer: &[u8]) -> bool {
    const RESULT_TRUE: [u8; 2] = [0x08, 0x01];
    answer == RESULT_TRUE
}

// RFC 7515 appendix A.3: ES256 with the key and signature given there.
const KNOWN_TEXT: &str = "eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const KNOWN_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const KNOWN_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const KNOWN_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

struct KnownSignature {
    key: Key,
    signature: Vec<u8>,
}

impl KnownSignature {
    fn new() -> Option<Self> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let key = Key::ec(Curve::P256, &decode(KNOWN_X)?, &decode(KNOWN_Y)?).ok()?;
        Some(Self { key, signature: decode(KNOWN_SIGNATURE)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_signature_is_good() {
        let known = KnownSignature::new().unwrap();
        let verify =
            |text: &str| Software.verify(&known.key, Algorithm::Es256, text.as_bytes(), &known.signature);
        assert_eq!(verify(KNOWN_TEXT), Ok(()));
        assert_eq!(verify("another text"), Err(VerifyError::Mismatch));
    }

    #[test]
    fn only_the_exact_yes_is_a_yes() {
        assert!(is_true(&[8, 1]));
        for answer in [&[][..], &[8, 0], &[8], &[8, 2], &[16, 1], &[8, 1, 8, 0], &[8, 0, 8, 1], &[10, 1, 1]] {
            assert!(!is_true(answer), "{answer:?}");
        }
    }

    #[test]
    fn a_host_without_the_function_leaves_the_arithmetic_to_the_crates() {
        // Outside wasm every host call is refused.
        let arithmetic = Arithmetic::probe();
        assert!(!arithmetic.uses_host());
        let known = KnownSignature::new().unwrap();
        let verify =
            |text: &str| arithmetic.verify(&known.key, Algorithm::Es256, text.as_bytes(), &known.signature);
        assert_eq!(verify(KNOWN_TEXT), Ok(()));
        assert_eq!(verify("another text"), Err(VerifyError::Mismatch));
    }

    #[test]
    fn long_fields_have_long_lengths() {
        let mut out = Vec::new();
        write_field(4, &[7; 300], &mut out);
        assert_eq!(out[..3], [0x22, 0xac, 0x02]);
        assert_eq!(out.len(), 303);
    }
}
