//! RFC 3161 timestamps.

mod forgery;

use sha2::{Digest as _, Sha384, Sha512};
use yasna::{DERWriter, Tag, construct_der};

pub use forgery::TokenFault;

use crate::{
    Certificate, Key, KeyKind, StampingCertificate,
    certificate::{StampingKeys, stamping_chain},
    der::{self, oid},
    sha256,
};

const TIMESTAMP_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";

/// The forms in which authorities answer, and one in which they must not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampStyle {
    /// Whole seconds, SHA-256, no certificate in the token: as Sigstore's own authority.
    #[default]
    Plain,
    /// What stands between the seconds and the `Z` of the time: `.25` (RFC 3161 section 2.4.2 allows
    /// a fraction), or what is none in DER.
    Fraction(&'static str),
    /// SHA-384 throughout, as GitHub's authority has it.
    Sha384,
    /// The imprint is a SHA-512; the signature is as plain.
    Sha512Imprint,
    /// The signer's certificate lies in the token.
    WithCertificate,
    /// A time with the fraction `.5`, in a token with this wrong about it.
    Forged(TokenFault),
}

impl TimestampStyle {
    fn fault(self) -> Option<TokenFault> {
        if let Self::Forged(fault) = self { Some(fault) } else { None }
    }

    fn fraction(self) -> &'static str {
        match self {
            Self::Fraction(text) => text,
            Self::Forged(_) => ".5",
            _ => "",
        }
    }

    fn imprint(self) -> Hash {
        match self {
            Self::Sha384 => Hash::Sha384,
            Self::Sha512Imprint => Hash::Sha512,
            _ => Hash::Sha256,
        }
    }

    fn signed(self) -> Hash {
        if self == Self::Sha384 { Hash::Sha384 } else { Hash::Sha256 }
    }
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha256(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn algorithm(self) -> Vec<u8> {
        let name = match self {
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
        };
        der::sequence(|writer| writer.next().write_oid(&oid(name)))
    }
}

/// A timestamp authority.
#[derive(Clone, Debug)]
pub(crate) struct Stamping {
    keys: StampingKeys,
    /// Its certificate, what is between, and the root.
    pub(crate) chain: Vec<Certificate>,
}

impl Stamping {
    pub(crate) fn derive(seed: &[u8; 32], prefix: &str) -> Self {
        let key = |name: &str| Key::derive(seed, &format!("{prefix}/{name}"), KeyKind::P384);
        let keys = StampingKeys {
            leaf: key("stamping"),
            intermediate: key("stamping-intermediate"),
            root: key("stamping-root"),
        };
        let chain = stamping_chain(&keys, StampingCertificate::default());
        Self { keys, chain }
    }

    /// The same authority with another certificate.
    pub(crate) fn certified(self, certificate: StampingCertificate) -> Self {
        let chain = stamping_chain(&self.keys, certificate);
        Self { chain, ..self }
    }

    /// The response (a TimeStampResp) for `message` at `at`.
    pub(crate) fn stamp(&self, message: &[u8], at: i64, style: TimestampStyle) -> Vec<u8> {
        let fault = style.fault();
        let info = forgery::info_to_sign(fault, info(message, at, style));
        let attributes = forgery::attributes(fault, self.attributes(&info, at, style.signed()));
        let mut signers = vec![self.signer(&info, &attributes, style)];
        match fault {
            Some(TokenFault::TwoSigners) => {
                let other = forgery::attributes(None, self.attributes(&info, at + 1, style.signed()));
                signers.push(self.signer(&info, &other, style));
                signers.sort();
            }
            Some(TokenFault::NoSigner) => signers.clear(),
            _ => {}
        }
        let info = forgery::info_after_signing(fault, info, at);
        let kind =
            if fault == Some(TokenFault::OtherContent) { "1.2.840.113549.1.7.1" } else { TIMESTAMP_INFO };
        let status = u8::from(fault == Some(TokenFault::Rejected)) * 2;
        let response = der::sequence(|writer| {
            writer.next().write_sequence(|writer| writer.next().write_u8(status));
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(SIGNED_DATA));
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_u8(3);
                        writer
                            .next()
                            .write_set(|writer| writer.next().write_der(&style.signed().algorithm()));
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(kind));
                            writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(&info));
                        });
                        if style == TimestampStyle::WithCertificate {
                            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                                writer.write_set(|writer| writer.next().write_der(self.chain[0].der()));
                            });
                        }
                        writer.next().write_set(|writer| {
                            for signer in &signers {
                                writer.next().write_der(signer);
                            }
                        });
                    });
                });
            });
        });
        forgery::response(fault, response)
    }

    fn attributes(&self, info: &[u8], at: i64, hash: Hash) -> Vec<Vec<u8>> {
        let leaf = &self.chain[0];
        vec![
            attribute(CONTENT_TYPE, |writer| writer.write_oid(&oid(TIMESTAMP_INFO))),
            attribute("1.2.840.113549.1.9.5", |writer| der::certificate_time(writer, at)),
            attribute(MESSAGE_DIGEST, |writer| writer.write_bytes(&hash.of(info))),
            // RFC 5816: which certificate signs.
            attribute("1.2.840.113549.1.9.16.2.47", |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_bytes(&sha256(leaf.der()));
                            leaf.write_issuer_serial(writer.next());
                        });
                    });
                });
            }),
        ]
    }

    /// A SignerInfo over `attributes`, a SET.
    fn signer(&self, info: &[u8], attributes: &[u8], style: TimestampStyle) -> Vec<u8> {
        let fault = style.fault();
        let wide = style == TimestampStyle::Sha384;
        let signature = self.sign(&forgery::signed(fault, info, attributes), wide);
        // The signature is over a SET; in the SignerInfo it is tagged [0] (RFC 5652 section 5.4).
        let mut tagged = attributes.to_vec();
        tagged[0] = 0xa0;
        der::sequence(|writer| {
            writer.next().write_u8(1);
            self.chain[0].write_issuer_and_serial(writer.next());
            writer.next().write_der(&style.signed().algorithm());
            if fault != Some(TokenFault::NoSignedAttributes) {
                writer.next().write_der(&tagged);
            }
            der::signature_algorithm(writer.next(), if wide { KeyKind::P384 } else { KeyKind::P256 });
            writer.next().write_bytes(&signature);
        })
    }

    /// ECDSA with the hash that the token names, whatever the curve.
    fn sign(&self, message: &[u8], wide: bool) -> Vec<u8> {
        if wide { self.keys.leaf.sign(message) } else { self.keys.leaf.sign_sha256(message) }
    }
}

/// The TSTInfo.
fn info(message: &[u8], at: i64, style: TimestampStyle) -> Vec<u8> {
    let fault = style.fault();
    let hash = style.imprint();
    let claimed = if fault == Some(TokenFault::ImprintOfOtherHash) { Hash::Sha384 } else { hash };
    der::sequence(|writer| {
        writer.next().write_u8(if fault == Some(TokenFault::Version) { 2 } else { 1 });
        writer.next().write_oid(&oid("1.3.6.1.4.1.57264.2"));
        writer.next().write_sequence(|writer| {
            writer.next().write_der(&claimed.algorithm());
            writer.next().write_bytes(&forgery::imprint(fault, hash.of(message)));
        });
        // Short of its sign bit, so that the number stays positive.
        writer.next().write_u64(u64::from_be_bytes(first_eight(&sha256(message))) >> 1);
        der::generalized_time(writer.next(), at, style.fraction());
        if let Some(critical) = forgery::extension(fault) {
            writer.next().write_tagged_implicit(Tag::context(1), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid("1.3.6.1.4.1.57264.3"));
                        if critical {
                            writer.next().write_bool(true);
                        }
                        writer.next().write_bytes(b"only after tomorrow");
                    });
                });
            });
        }
    })
}

fn attribute(name: &str, value: impl FnOnce(DERWriter<'_>)) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&oid(name));
            writer.next().write_set(|writer| value(writer.next()));
        });
    })
}

fn first_eight(digest: &[u8; 32]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}
