//! The signature of a token: who makes it, and what is put together from it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{ForgeError, Mint, Scene, template::hex};
use crate::{
    attacks::bytes,
    keys::{Alg, SigningKey},
};

/// A signature is not made before a part asks for it: a token without one needs no private key.
struct Parts<'p> {
    scene: &'p Scene,
    mint: &'p Mint,
    key: &'p SigningKey,
    header: &'p [u8],
    input: &'p [u8],
}

impl Scene {
    pub(super) fn signature(
        &self,
        mint: &Mint,
        key: &SigningKey,
        header: &[u8],
        input: &[u8],
    ) -> Result<Vec<u8>, ForgeError> {
        let parts = Parts { scene: self, mint, key, header, input };
        match &mint.signature {
            None => parts.own(),
            Some(names) => {
                let mut signature = Vec::new();
                for name in names {
                    signature.extend(parts.part(name)?);
                }
                Ok(signature)
            }
        }
    }
}

impl Parts<'_> {
    /// The signature that the mint asks for.
    fn own(&self) -> Result<Vec<u8>, ForgeError> {
        if let Some(secret) = &self.mint.secret {
            let alg = match &self.mint.signer_alg {
                Some(name) => name.parse()?,
                None => self.header_alg().filter(|alg| alg.as_str().starts_with("HS")).unwrap_or(Alg::Hs256),
            };
            let signer = SigningKey::hmac("secret", self.secret(secret)?);
            return Ok(signer.sign(alg, self.input)?);
        }
        let signer = match &self.mint.signer {
            Some(name) => self.scene.key(name)?,
            None => self.key,
        };
        if let Some(salt) = self.mint.salt {
            return Ok(signer.sign_pss_with_salt(self.input, salt)?);
        }
        Ok(signer.sign(self.alg(signer)?, self.input)?)
    }

    /// What `signer` signs with: what the mint says, else the header's `alg` if it fits.
    fn alg(&self, signer: &SigningKey) -> Result<Alg, ForgeError> {
        match &self.mint.signer_alg {
            Some(name) => name.parse(),
            None => {
                let named = self.header_alg().filter(|alg| alg.fits(signer.kind()));
                Ok(named.unwrap_or_else(|| signer.natural_alg()))
            }
        }
    }

    fn header_alg(&self) -> Option<Alg> {
        let header: serde_json::Value = serde_json::from_slice(self.header).ok()?;
        header.get("alg")?.as_str()?.parse().ok()
    }

    fn secret(&self, name: &str) -> Result<Vec<u8>, ForgeError> {
        let key = self.key;
        Ok(match name {
            "pem" => key.public_pem()?.into_bytes(),
            "pem-trimmed" => key.public_pem()?.trim_end().into(),
            "der" => key.public_der()?,
            "jwk" => key.jwk().to_string().into_bytes(),
            "modulus" => self.modulus()?,
            "modulus-text" => key.bare_jwk()["n"].as_str().unwrap_or_default().into(),
            "kid" => key.kid().into(),
            other => match other.strip_prefix("hex:") {
                Some(digits) => hex(digits)?,
                None => {
                    return Err(ForgeError::Wrong(format!(
                        "no secret is called `{other}`; there is: pem, pem-trimmed, der, jwk, modulus, \
                         modulus-text, kid, hex:…"
                    )));
                }
            },
        })
    }

    fn modulus(&self) -> Result<Vec<u8>, ForgeError> {
        let jwk = self.key.bare_jwk();
        let text = jwk["n"].as_str().ok_or_else(|| ForgeError::Wrong("`modulus` needs an RSA key".into()))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|error| ForgeError::Wrong(error.to_string()))
    }

    /// The signature of the token before anything of it was changed.
    fn honest(&self) -> Result<Vec<u8>, ForgeError> {
        let like = Mint { key: self.mint.key.clone(), alg: self.mint.alg.clone(), ..Mint::default() };
        let token = self.scene.forge(&like)?;
        let text = token.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).map_err(|error| ForgeError::Wrong(error.to_string()))
    }

    fn part(&self, name: &str) -> Result<Vec<u8>, ForgeError> {
        let (word, argument) = name.split_once(':').unwrap_or((name, ""));
        let number =
            || {
                argument.parse::<usize>().ok().filter(|number| *number <= 1 << 16).ok_or_else(|| {
                    ForgeError::Wrong(format!("`{name}`: a number is missing after the colon"))
                })
            };
        let half = |second: bool| {
            let whole = self.own()?;
            let (r, s) = whole.split_at(whole.len() / 2);
            Ok::<_, ForgeError>(if second { s.to_vec() } else { r.to_vec() })
        };
        Ok(match word {
            "signature" => self.own()?,
            "honest" => self.honest()?,
            "r" => half(false)?,
            "s" => half(true)?,
            // n - s verifies as s does.
            "other-s" => bytes::p256_negate(&half(true)?),
            // The same scalar, one order of the group further.
            "s-not-reduced" => bytes::add_le(&half(true)?, &bytes::ED25519_ORDER),
            "signature-not-reduced" => bytes::add_be(&self.own()?, &self.modulus()?),
            "modulus" => self.modulus()?,
            "p256-order" => bytes::P256_ORDER.to_vec(),
            "ed25519-identity" => bytes::ED25519_IDENTITY.to_vec(),
            "padded-digest" => bytes::pkcs1_block(self.input, 256),
            "der" => bytes::ecdsa_der(&self.own()?),
            "hex" => hex(argument)?,
            "zeros" => vec![0; number()?],
            "ones" => vec![0xff; number()?],
            // A number of so many bytes whose value is one.
            "one" => [vec![0; number()?.saturating_sub(1)], vec![1]].concat(),
            "first" => {
                let length = number()?;
                self.own()?.into_iter().take(length).collect()
            }
            "flip" => {
                let at = number()?;
                self.own()?.iter().enumerate().map(|(index, byte)| byte ^ u8::from(index == at)).collect()
            }
            _ => {
                return Err(ForgeError::Wrong(format!(
                    "no part of a signature is called `{name}`; there is: signature, honest, r, s, other-s, \
                     s-not-reduced, signature-not-reduced, modulus, p256-order, ed25519-identity, \
                     padded-digest, der, hex:…, zeros:n, ones:n, one:n, first:n, flip:n"
                )));
            }
        })
    }
}
