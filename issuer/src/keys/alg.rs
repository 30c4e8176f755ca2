//! The names of the signature algorithms (RFC 7518 section 3.1, RFC 8037, RFC 9864).

use std::fmt;

use super::Kind;

macro_rules! algs {
    ($($variant:ident $name:literal $foreign:expr;)*) => {
        /// A signature algorithm that this issuer can sign with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Alg {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl Alg {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of `alg` in a header.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What jsonwebtoken calls it, where it knows it.
            pub(crate) const fn foreign(self) -> Option<jsonwebtoken::Algorithm> {
                match self { $(Self::$variant => $foreign,)* }
            }
        }
    };
}

algs! {
    Rs256 "RS256" Some(jsonwebtoken::Algorithm::RS256);
    Rs384 "RS384" Some(jsonwebtoken::Algorithm::RS384);
    Rs512 "RS512" Some(jsonwebtoken::Algorithm::RS512);
    Ps256 "PS256" Some(jsonwebtoken::Algorithm::PS256);
    Ps384 "PS384" Some(jsonwebtoken::Algorithm::PS384);
    Ps512 "PS512" Some(jsonwebtoken::Algorithm::PS512);
    Es256 "ES256" Some(jsonwebtoken::Algorithm::ES256);
    Es384 "ES384" Some(jsonwebtoken::Algorithm::ES384);
    Es512 "ES512" None;
    EdDsa "EdDSA" Some(jsonwebtoken::Algorithm::EdDSA);
    Hs256 "HS256" Some(jsonwebtoken::Algorithm::HS256);
    Hs384 "HS384" Some(jsonwebtoken::Algorithm::HS384);
    Hs512 "HS512" Some(jsonwebtoken::Algorithm::HS512);
}

impl Alg {
    /// Whether a key of this kind can sign with it.
    #[must_use]
    pub const fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Rsa(_) => {
                matches!(self, Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384)
                    || matches!((self, kind), (Self::Ps512, Kind::Rsa(1040..)))
            }
            Kind::P256 => matches!(self, Self::Es256),
            Kind::P384 => matches!(self, Self::Es384),
            Kind::P521 => matches!(self, Self::Es512),
            Kind::Ed25519 => matches!(self, Self::EdDsa),
            Kind::Hmac(_) => matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512),
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
