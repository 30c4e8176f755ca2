//! Public keys and shared secrets that are known to be good. Building one is the only check there
//! is; what may be verified with it is in [`crate::verify`].

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use rsa::BoxedUint;

use crate::{Algorithm, Curve, KeyError, KeyType, Member, der, prepared, rsa_key, rsa_rules, thumbprint};

/// The length in bytes of the shortest HMAC secret: that of the shortest hash (RFC 7518 section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// A key that signatures are verified with. It cannot be malformed, and it does not change.
///
/// A clone shares the parsed key. The `Debug` form has no key material.
#[derive(Clone)]
pub struct Key(Arc<Parsed>);

struct Parsed {
    material: Material,
    spki: Option<Vec<u8>>,
    thumbprint: [u8; 32],
}

pub(crate) enum Material {
    Rsa(rsa_key::Rsa),
    P256(prepared::P256),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Ed25519(prepared::Ed25519),
    Hmac(Vec<u8>),
}

impl Key {
    /// An RSA public key from its modulus and public exponent, both big-endian and in the fewest
    /// bytes (RFC 7518 sections 6.3.1.1 and 6.3.1.2).
    ///
    /// # Errors
    ///
    /// A number that begins with a zero byte, a modulus that is not 2048 to 8192 bits, is even, or
    /// has the ROCA fingerprint, an exponent that is even, 1, or longer than 32 bits.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        rsa_rules::check(n, e)?;
        let (modulus, exponent) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
        // The crate's own rules are weaker than those above; the error is there for a future one.
        let public = rsa::PublicKey::new(modulus, exponent).map_err(|_| KeyError::ModulusEven)?;
        let material = Material::Rsa(rsa_key::Rsa::new(public, n, e));
        Ok(Self::new(material, Some(der::rsa_spki(n, e)), thumbprint::rsa(n, e)))
    }

    /// An EC public key from its coordinates, both big-endian and of the curve's full width
    /// (RFC 7518 sections 6.2.1.2 and 6.2.1.3).
    ///
    /// # Errors
    ///
    /// A coordinate of another length, and coordinates that are not reduced or are not those of a
    /// point on the curve. The point at infinity has no coordinates.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        for (member, coordinate) in [(Member::X, x), (Member::Y, y)] {
            if coordinate.len() != curve.field_len() {
                return Err(KeyError::CoordinateLength { curve, member, length: coordinate.len() });
            }
        }
        // SEC 1 section 2.3.3: 4 stands for an uncompressed point.
        let point = [&[4], x, y].concat();
        let off = |_| KeyError::NotOnCurve { curve };
        let material = match curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
                .map(|public| Material::P256(prepared::P256::new(&public))),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map(Material::P384),
            Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).map(Material::P521),
        }
        .map_err(off)?;
        Ok(Self::new(material, Some(der::ec_spki(curve, &point)), thumbprint::ec(curve, x, y)))
    }

    /// An Ed25519 public key from its 32 bytes (RFC 8037 section 2).
    ///
    /// # Errors
    ///
    /// Another length, bytes that RFC 8032 section 5.1.3 does not decode (also a coordinate that is
    /// not reduced), and a point of small order.
    pub fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let bytes = x.try_into().map_err(|_| KeyError::Ed25519Length { length: x.len() })?;
        let public =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Ed25519NotAPoint)?;
        if public.is_weak() {
            return Err(KeyError::Ed25519SmallOrder);
        }
        // The crate decodes by ZIP 215, which takes coordinates that are not reduced: a second
        // spelling of the same key.
        if public.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::Ed25519NotAPoint);
        }
        let material = Material::Ed25519(prepared::Ed25519::new(public));
        Ok(Self::new(material, None, thumbprint::ed25519(x)))
    }

    /// A shared secret.
    ///
    /// # Errors
    ///
    /// Fewer than 32 bytes. [`Key::accepts`] asks for more where the hash is longer.
    pub fn hmac(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretLength { length: secret.len() });
        }
        Ok(Self::new(Material::Hmac(secret.to_vec()), None, thumbprint::hmac(secret)))
    }

    fn new(material: Material, spki: Option<Vec<u8>>, thumbprint: [u8; 32]) -> Self {
        Self(Arc::new(Parsed { material, spki, thumbprint }))
    }

    /// What the key is.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match &self.0.material {
            Material::Rsa(_) => KeyType::Rsa,
            Material::P256(_) => KeyType::Ec(Curve::P256),
            Material::P384(_) => KeyType::Ec(Curve::P384),
            Material::P521(_) => KeyType::Ec(Curve::P521),
            Material::Ed25519(_) => KeyType::Ed25519,
            Material::Hmac(_) => KeyType::Hmac,
        }
    }

    /// Whether a signature by `algorithm` can be verified with this key: the algorithm is of the
    /// key's type and curve, and a secret is at least as long as the hash (RFC 7518 section 3.2).
    #[must_use]
    pub fn accepts(&self, algorithm: Algorithm) -> bool {
        let long_enough = match &self.0.material {
            Material::Hmac(secret) => algorithm.hash().is_some_and(|hash| secret.len() >= hash.len()),
            _ => true,
        };
        algorithm.key_type() == self.key_type() && long_enough
    }

    /// The key as a DER SubjectPublicKeyInfo, for a host that verifies RSA or ECDSA. `None` for
    /// Ed25519 keys and for secrets, which are never handed out.
    #[must_use]
    pub fn spki_der(&self) -> Option<&[u8]> {
        self.0.spki.as_deref()
    }

    /// The key's identity: its RFC 7638 thumbprint with SHA-256.
    ///
    /// That of a secret must not be published or logged (RFC 7638 section 7): it lets anyone try
    /// guesses at the secret.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        self.0.thumbprint
    }

    pub(crate) fn material(&self) -> &Material {
        &self.0.material
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.key_type()).finish()
    }
}
