//! RFC 3161 timestamps.

use sha2::{Digest as _, Sha384};
use yasna::{DERWriter, Tag, construct_der};

use crate::{
    Certificate, Key, KeyKind,
    certificate::stamping_chain,
    der::{self, oid},
    sha256,
};

const TIMESTAMP_INFO: &str = "1.2.840.113549.1.9.16.1.4";

/// The forms in which honest authorities answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampStyle {
    /// Whole seconds, SHA-256, no certificate in the token: as Sigstore's own authority.
    #[default]
    Plain,
    /// A fraction of a second in the time (RFC 3161 section 2.4.2 allows it).
    Fractional,
    /// SHA-384 throughout, as GitHub's authority has it.
    Sha384,
    /// The signer's certificate lies in the token.
    WithCertificate,
}

/// A timestamp authority.
#[derive(Clone, Debug)]
pub(crate) struct Stamping {
    key: Key,
    /// Its certificate and the root.
    pub(crate) chain: [Certificate; 2],
}

impl Stamping {
    pub(crate) fn derive(seed: &[u8; 32], prefix: &str) -> Self {
        let key = Key::derive(seed, &format!("{prefix}/stamping"), KeyKind::P384);
        let root = Key::derive(seed, &format!("{prefix}/stamping-root"), KeyKind::P384);
        let chain = stamping_chain(&key, &root);
        Self { key, chain }
    }

    /// The response (a TimeStampResp) for `message` at `at`.
    pub(crate) fn stamp(&self, message: &[u8], at: i64, style: TimestampStyle) -> Vec<u8> {
        let wide = style == TimestampStyle::Sha384;
        let hash = |bytes: &[u8]| if wide { Sha384::digest(bytes).to_vec() } else { sha256(bytes).to_vec() };
        let hash_oid = if wide { "2.16.840.1.101.3.4.2.2" } else { "2.16.840.1.101.3.4.2.1" };
        let algorithm = der::sequence(|writer| writer.next().write_oid(&oid(hash_oid)));
        let fraction = if style == TimestampStyle::Fractional { ".25" } else { "" };

        let info = der::sequence(|writer| {
            writer.next().write_u8(1);
            writer.next().write_oid(&oid("1.3.6.1.4.1.57264.2"));
            writer.next().write_sequence(|writer| {
                writer.next().write_der(&algorithm);
                writer.next().write_bytes(&hash(message));
            });
            // Short of its sign bit, so that the number stays positive.
            writer.next().write_u64(u64::from_be_bytes(first_eight(&sha256(message))) >> 1);
            der::generalized_time(writer.next(), at, fraction);
        });

        let attributes = construct_der(|writer| {
            writer.write_set_of(|writer| {
                attribute(writer.next(), "1.2.840.113549.1.9.3", |writer| {
                    writer.write_oid(&oid(TIMESTAMP_INFO));
                });
                attribute(writer.next(), "1.2.840.113549.1.9.5", |writer| der::certificate_time(writer, at));
                attribute(writer.next(), "1.2.840.113549.1.9.4", |writer| writer.write_bytes(&hash(&info)));
                // RFC 5816: which certificate signs.
                attribute(writer.next(), "1.2.840.113549.1.9.16.2.47", |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_bytes(&sha256(self.chain[0].der()));
                                self.chain[0].write_issuer_serial(writer.next());
                            });
                        });
                    });
                });
            });
        });
        let signature = self.sign(&attributes, wide);
        // The signature is over a SET; in the SignerInfo it is tagged [0] (RFC 5652 section 5.4).
        let mut tagged = attributes;
        tagged[0] = 0xa0;

        der::sequence(|writer| {
            writer.next().write_sequence(|writer| writer.next().write_u8(0));
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid("1.2.840.113549.1.7.2"));
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_u8(3);
                        writer.next().write_set(|writer| writer.next().write_der(&algorithm));
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(TIMESTAMP_INFO));
                            writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(&info));
                        });
                        if style == TimestampStyle::WithCertificate {
                            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                                writer.write_set(|writer| writer.next().write_der(self.chain[0].der()));
                            });
                        }
                        writer.next().write_set(|writer| {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_u8(1);
                                self.chain[0].write_issuer_and_serial(writer.next());
                                writer.next().write_der(&algorithm);
                                writer.next().write_der(&tagged);
                                let kind = if wide { KeyKind::P384 } else { KeyKind::P256 };
                                der::signature_algorithm(writer.next(), kind);
                                writer.next().write_bytes(&signature);
                            });
                        });
                    });
                });
            });
        })
    }

    /// ECDSA with the hash that the token names, whatever the curve.
    fn sign(&self, message: &[u8], wide: bool) -> Vec<u8> {
        if wide { self.key.sign(message) } else { self.key.sign_sha256(message) }
    }
}

fn attribute(writer: DERWriter<'_>, name: &str, value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(name));
        writer.next().write_set(|writer| value(writer.next()));
    });
}

fn first_eight(digest: &[u8; 32]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}
