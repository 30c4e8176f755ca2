//! The envelope: a CMS SignedData (RFC 5652 section 5) around the TSTInfo.

use der::{
    Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber,
    asn1::{AnyRef, ObjectIdentifier, OctetStringRef},
};
use sigstore_crypto::KeyAlgorithm;
use sigstore_types::{DerPublicKey, HashAlgorithm, SignatureBytes};
use x509_cert::{Certificate, name::Name, serial_number::SerialNumber, spki::AlgorithmIdentifierRef};

use crate::{
    Error, digest, hash,
    read::{element, optional, tagged, whole},
};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");

/// A token of which nothing is believed yet.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// The TSTInfo.
    pub(crate) info: &'a [u8],
    signer: Signer<'a>,
}

#[derive(Debug)]
struct Signer<'a> {
    id: SignerId<'a>,
    hash: HashAlgorithm,
    /// The contents of the signed attributes.
    attributes: &'a [u8],
    signature: &'a [u8],
}

#[derive(Debug)]
enum SignerId<'a> {
    Issued(Box<Name>, SerialNumber),
    Key(&'a [u8]),
}

/// Reads a TimeStampResp, or the ContentInfo that is in one: the first begins with a sequence, the
/// second with an identifier.
pub(crate) fn read(der: &[u8]) -> Result<Token<'_>, Error> {
    let contents = whole(der, |reader| element(reader, Tag::Sequence))?;
    whole(contents, |reader| match optional(reader, Tag::Sequence)? {
        Some(status) => {
            // Granted, or granted with changes; what else the status says is for people.
            if SliceReader::new(status)?.decode::<u8>()? > 1 {
                return Err(Error::Malformed("the authority did not grant it".into()));
            }
            whole(element(reader, Tag::Sequence)?, content)
        }
        None => content(reader),
    })
}

fn content<'a>(reader: &mut SliceReader<'a>) -> Result<Token<'a>, Error> {
    named(reader, SIGNED_DATA, "a CMS SignedData")?;
    whole(element(reader, tagged(TagNumber::N0))?, |reader| {
        whole(element(reader, Tag::Sequence)?, signed_data)
    })
}

fn signed_data<'a>(reader: &mut SliceReader<'a>) -> Result<Token<'a>, Error> {
    element(reader, Tag::Integer)?;
    element(reader, Tag::Set)?;
    let info = whole(element(reader, Tag::Sequence)?, |reader| {
        named(reader, TST_INFO, "a TSTInfo")?;
        whole(element(reader, tagged(TagNumber::N0))?, |reader| {
            Ok::<_, Error>(element(reader, Tag::OctetString)?)
        })
    })?;
    // Certificates and revocation lists: the authority's own certificate is the one that counts.
    optional(reader, tagged(TagNumber::N0))?;
    optional(reader, tagged(TagNumber::N1))?;
    let signer = whole(element(reader, Tag::Set)?, |reader| {
        let signer = whole(element(reader, Tag::Sequence)?, signer)?;
        if !reader.is_finished() {
            return Err(Error::Malformed("it has more than one signer".into()));
        }
        Ok(signer)
    })?;
    Ok(Token { info, signer })
}

fn signer<'a>(reader: &mut SliceReader<'a>) -> Result<Signer<'a>, Error> {
    element(reader, Tag::Integer)?;
    let key = Tag::ContextSpecific { constructed: false, number: TagNumber::N0 };
    let id = match optional(reader, key)? {
        Some(key) => SignerId::Key(key),
        None => whole(element(reader, Tag::Sequence)?, |reader| {
            Ok::<_, Error>(SignerId::Issued(Box::new(reader.decode()?), reader.decode()?))
        })?,
    };
    let hash = hash(reader.decode::<AlgorithmIdentifierRef<'_>>()?)?;
    // Without them the signature would be over the TSTInfo, and one over attributes could be taken
    // for one over content (RFC 5652 section 5.3 demands them of any content but plain data).
    let attributes = optional(reader, tagged(TagNumber::N0))?
        .ok_or_else(|| Error::Malformed("it has no signed attributes".into()))?;
    // The key says which algorithm it is for.
    element(reader, Tag::Sequence)?;
    let signature = element(reader, Tag::OctetString)?;
    optional(reader, tagged(TagNumber::N1))?;
    Ok(Signer { id, hash, attributes, signature })
}

fn named(reader: &mut SliceReader<'_>, expected: ObjectIdentifier, what: &str) -> Result<(), Error> {
    let found: ObjectIdentifier = reader.decode()?;
    if found == expected { Ok(()) } else { Err(Error::Malformed(format!("{found} is not {what}"))) }
}

impl Token<'_> {
    /// Whether the holder of `certificate` signed the TSTInfo.
    pub(crate) fn signed_by(&self, certificate: &Certificate) -> Result<(), Error> {
        let Signer { id, hash, attributes, signature } = &self.signer;
        if !id.names(certificate) {
            return Err(Error::Signature("it is not by the authority's certificate".into()));
        }
        let signed = attributes_of(attributes, |name, value| match name {
            CONTENT_TYPE => ObjectIdentifier::from_der(value) == Ok(TST_INFO),
            MESSAGE_DIGEST => OctetStringRef::from_der(value)
                .is_ok_and(|found| found.as_bytes() == digest(*hash, self.info)),
            _ => true,
        })?;
        let refused = |error: sigstore_crypto::Error| Error::Signature(error.to_string());
        let key = DerPublicKey::new(certificate.tbs_certificate.subject_public_key_info.to_der()?);
        let scheme = KeyAlgorithm::from_spki(&key)
            .and_then(|key| key.resolve_signing_scheme(*hash))
            .map_err(refused)?;
        let signature = SignatureBytes::from_bytes(signature);
        sigstore_crypto::verify_signature(&key, &signed, &signature, scheme).map_err(refused)
    }
}

impl SignerId<'_> {
    fn names(&self, certificate: &Certificate) -> bool {
        let body = &certificate.tbs_certificate;
        match self {
            Self::Issued(issuer, serial) => **issuer == body.issuer && *serial == body.serial_number,
            Self::Key(key) => body.extensions.iter().flatten().any(|extension| {
                extension.extn_id == KEY_IDENTIFIER
                    && OctetStringRef::from_der(extension.extn_value.as_bytes())
                        .is_ok_and(|found| found.as_bytes() == *key)
            }),
        }
    }
}

/// The signed attributes as they were signed, a SET OF in DER order (RFC 5652 section 5.4), where
/// the content's type and its digest are there once each with one value, and `holds` of both.
fn attributes_of(contents: &[u8], holds: impl Fn(ObjectIdentifier, &[u8]) -> bool) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut seen = Vec::new();
    whole(contents, |reader| {
        while !reader.is_finished() {
            let attribute = reader.tlv_bytes()?;
            all.push(attribute);
            let (name, values) = whole(attribute, |reader| {
                whole(element(reader, Tag::Sequence)?, |reader| {
                    Ok::<_, Error>((reader.decode::<ObjectIdentifier>()?, element(reader, Tag::Set)?))
                })
            })?;
            if !holds(name, values) {
                return Err(Error::Signature(format!("the signed attribute {name} is of something else")));
            }
            seen.push(name);
        }
        Ok(())
    })?;
    for name in [CONTENT_TYPE, MESSAGE_DIGEST] {
        if seen.iter().filter(|seen| **seen == name).count() != 1 {
            return Err(Error::Signature(format!("the signed attribute {name} is not there once")));
        }
    }
    all.sort_unstable();
    let all = all.concat();
    Ok(AnyRef::new(Tag::Set, &all)?.to_der()?)
}
