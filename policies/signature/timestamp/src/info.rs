//! What is signed: the TSTInfo of RFC 3161 section 2.4.2.

use der::{Reader as _, SliceReader, Tag, TagNumber, asn1::ObjectIdentifier};
use jiff::Timestamp;
use sigstore_types::HashAlgorithm;
use x509_cert::{ext::Extension, spki::AlgorithmIdentifierRef};

use crate::{
    Error, hash,
    read::{element, optional, tagged, whole},
    time,
};

#[derive(Debug)]
pub(crate) struct Info<'a> {
    pub(crate) algorithm: HashAlgorithm,
    pub(crate) imprint: &'a [u8],
    pub(crate) time: Timestamp,
}

/// Reads a TSTInfo. Who made the policy, the serial number, the accuracy, the order and the nonce are
/// the authority's and its client's business.
pub(crate) fn read(der: &[u8]) -> Result<Info<'_>, Error> {
    whole(der, |reader| whole(element(reader, Tag::Sequence)?, fields))
}

fn fields<'a>(reader: &mut SliceReader<'a>) -> Result<Info<'a>, Error> {
    if reader.decode::<u8>()? != 1 {
        return Err(Error::Malformed("its TSTInfo is not of version 1".into()));
    }
    reader.decode::<ObjectIdentifier>()?;
    let (algorithm, imprint) = whole(element(reader, Tag::Sequence)?, |reader| {
        Ok::<_, Error>((
            hash(reader.decode::<AlgorithmIdentifierRef<'_>>()?)?,
            element(reader, Tag::OctetString)?,
        ))
    })?;
    element(reader, Tag::Integer)?;
    let text = element(reader, Tag::GeneralizedTime)?;
    let time = time::read(text).ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        Error::Malformed(format!("its time is `{}`, which is not DER", text.escape_default()))
    })?;
    for tag in [Tag::Sequence, Tag::Boolean, Tag::Integer, tagged(TagNumber::N0)] {
        optional(reader, tag)?;
    }
    if let Some(extensions) = optional(reader, tagged(TagNumber::N1))? {
        whole(extensions, |reader| {
            while !reader.is_finished() {
                let extension: Extension = reader.decode()?;
                if extension.critical {
                    let name = extension.extn_id;
                    return Err(Error::Malformed(format!("its extension {name} is critical, and not known")));
                }
            }
            Ok(())
        })?;
    }
    Ok(Info { algorithm, imprint, time })
}
