//! What can be wrong with a timestamp token that its authority's key signed, or that is made of parts
//! that it signed.

use yasna::construct_der;

use super::{CONTENT_TYPE, MESSAGE_DIGEST, attribute};
use crate::{
    der::{self, oid},
    sha256,
};

/// One thing that is wrong with a token; everything else about it stays right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The imprint is said to be a SHA-384, and is a SHA-256.
    ImprintOfOtherHash,
    /// The imprint is the start of the right one.
    ShortImprint,
    /// The imprint is empty.
    NoImprint,
    /// The time is an earlier one than was signed.
    OtherTime,
    /// The time that was signed has lost its fraction.
    FractionCutOff,
    /// The authority's key signed other bytes.
    SignatureOverOther,
    /// The signature is over the TSTInfo itself.
    NoSignedAttributes,
    /// The signature is over the TSTInfo, and attributes are there that nobody signed.
    UnsignedAttributes,
    /// The signed attributes do not say what kind of content they are about.
    NoContentType,
    /// They say that it is plain data.
    OtherContentType,
    /// They have no digest.
    NoDigest,
    /// Their digest is of other content.
    OtherDigest,
    /// They have the right digest and another one.
    TwoDigests,
    /// One attribute has the right digest and another one as its values.
    TwoValues,
    /// There are two signers: the authority, twice.
    TwoSigners,
    /// There is no signer.
    NoSigner,
    /// The content is said to be plain data.
    OtherContent,
    /// The TSTInfo is of version 2.
    Version,
    /// The authority says that it refused.
    Rejected,
    /// It has an extension that must be understood.
    CriticalExtension,
    /// A byte follows the response.
    TrailingByte,
    /// A byte follows the TSTInfo within what was signed.
    TrailingInInfo,
    /// The response's length has a byte more than it needs, as BER allows.
    LongLength,
    /// The response is of indefinite length, as BER allows.
    IndefiniteLength,
    /// Nothing: an extension that may be ignored.
    NoneWithExtension,
    /// Nothing: the token without the response around it.
    NoneWithoutResponse,
}

impl TokenFault {
    /// Every one of which nothing may be believed.
    pub const ALL: [Self; 24] = [
        Self::ImprintOfOtherHash,
        Self::ShortImprint,
        Self::NoImprint,
        Self::OtherTime,
        Self::FractionCutOff,
        Self::SignatureOverOther,
        Self::NoSignedAttributes,
        Self::UnsignedAttributes,
        Self::NoContentType,
        Self::OtherContentType,
        Self::NoDigest,
        Self::OtherDigest,
        Self::TwoDigests,
        Self::TwoValues,
        Self::TwoSigners,
        Self::NoSigner,
        Self::OtherContent,
        Self::Version,
        Self::Rejected,
        Self::CriticalExtension,
        Self::TrailingByte,
        Self::TrailingInInfo,
        Self::LongLength,
        Self::IndefiniteLength,
    ];
}

pub(super) fn imprint(fault: Option<TokenFault>, mut digest: Vec<u8>) -> Vec<u8> {
    match fault {
        Some(TokenFault::ShortImprint) => digest.truncate(16),
        Some(TokenFault::NoImprint) => digest.clear(),
        _ => {}
    }
    digest
}

/// Whether there is an extension, and whether it must be understood.
pub(super) fn extension(fault: Option<TokenFault>) -> Option<bool> {
    match fault {
        Some(TokenFault::CriticalExtension) => Some(true),
        Some(TokenFault::NoneWithExtension) => Some(false),
        _ => None,
    }
}

/// The signed attributes as a SET OF in DER order.
pub(super) fn attributes(fault: Option<TokenFault>, all: Vec<Vec<u8>>) -> Vec<u8> {
    let [kind, time, digest, certificate] = <[Vec<u8>; 4]>::try_from(all).expect("four attributes");
    let other = sha256(b"another TSTInfo");
    let other_digest = attribute(MESSAGE_DIGEST, |writer| writer.write_bytes(&other));
    let data = attribute(CONTENT_TYPE, |writer| writer.write_oid(&oid("1.2.840.113549.1.7.1")));
    let mut all = match fault {
        Some(TokenFault::NoContentType) => vec![time, digest, certificate],
        Some(TokenFault::OtherContentType) => vec![data, time, digest, certificate],
        Some(TokenFault::NoDigest) => vec![kind, time, certificate],
        Some(TokenFault::OtherDigest) => vec![kind, time, other_digest, certificate],
        Some(TokenFault::TwoDigests) => vec![kind, time, digest, other_digest, certificate],
        Some(TokenFault::TwoValues) => {
            let right = digest[digest.len() - 32..].to_vec();
            let both = der::sequence(|writer| {
                writer.next().write_oid(&oid(MESSAGE_DIGEST));
                writer.next().write_set_of(|writer| {
                    writer.next().write_bytes(&right);
                    writer.next().write_bytes(&other);
                });
            });
            vec![kind, time, both, certificate]
        }
        _ => vec![kind, time, digest, certificate],
    };
    all.sort();
    construct_der(|writer| {
        writer.write_set(|writer| {
            for attribute in &all {
                writer.next().write_der(attribute);
            }
        });
    })
}

/// What the authority's key signs.
pub(super) fn signed(fault: Option<TokenFault>, info: &[u8], attributes: &[u8]) -> Vec<u8> {
    match fault {
        Some(TokenFault::SignatureOverOther) => [attributes, b"!"].concat(),
        Some(TokenFault::NoSignedAttributes | TokenFault::UnsignedAttributes) => info.to_vec(),
        _ => attributes.to_vec(),
    }
}

/// The bytes of a TSTInfo as they are signed.
pub(super) fn info_to_sign(fault: Option<TokenFault>, info: Vec<u8>) -> Vec<u8> {
    if fault == Some(TokenFault::TrailingInInfo) { [&info[..], &[0]].concat() } else { info }
}

/// What is done to the TSTInfo once it is signed.
pub(super) fn info_after_signing(fault: Option<TokenFault>, info: Vec<u8>, at: i64) -> Vec<u8> {
    let with_time = |seconds, fraction| {
        let time =
            |seconds, fraction| construct_der(|writer| der::generalized_time(writer, seconds, fraction));
        let (old, new) = (time(at, ".5"), time(seconds, fraction));
        let place = info.windows(old.len()).position(|window| window == old).expect("the time is in it");
        let [tag, rest @ ..] = &info[..] else { unreachable!("a TSTInfo is not empty") };
        let header = if rest[0] & 0x80 == 0 { 2 } else { 3 };
        let contents = [&info[header..place], &new, &info[place + old.len()..]].concat();
        assert_eq!(*tag, 0x30);
        der::sequence(|writer| writer.next().write_der(&contents))
    };
    match fault {
        Some(TokenFault::OtherTime) => with_time(at - 60, ".5"),
        Some(TokenFault::FractionCutOff) => with_time(at, ""),
        _ => info,
    }
}

/// What is done to the whole response.
pub(super) fn response(fault: Option<TokenFault>, response: Vec<u8>) -> Vec<u8> {
    // Longer than 255 bytes: a tag, 0x82 and two bytes of length.
    let contents = &response[4..];
    match fault {
        Some(TokenFault::TrailingByte) => [&response[..], &[0]].concat(),
        Some(TokenFault::LongLength) => [&[0x30, 0x83, 0], &response[2..4], contents].concat(),
        Some(TokenFault::IndefiniteLength) => [&[0x30, 0x80], contents, &[0, 0]].concat(),
        // After the status, which is a sequence of one small number.
        Some(TokenFault::NoneWithoutResponse) => contents[5..].to_vec(),
        _ => response,
    }
}
