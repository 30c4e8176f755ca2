//! Pieces of DER, borrowed from the token: `der` refuses lengths that are longer than they must be.

use der::{Decode as _, Reader as _, Result, SliceReader, Tag, TagNumber, Tagged as _, asn1::AnyRef};

pub(crate) const fn tagged(number: TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: true, number }
}

/// The contents of the next element, which must have this tag.
pub(crate) fn element<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8]> {
    let any = AnyRef::decode(reader)?;
    any.tag().assert_eq(tag)?;
    Ok(any.value())
}

/// The contents of the next element, if it has this tag.
pub(crate) fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<Option<&'a [u8]>> {
    if reader.is_finished() || reader.peek_tag()? != tag {
        return Ok(None);
    }
    element(reader, tag).map(Some)
}

/// Reads all of `bytes`.
pub(crate) fn whole<'a, T, E: From<der::Error>>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> core::result::Result<T, E>,
) -> core::result::Result<T, E> {
    let mut reader = SliceReader::new(bytes)?;
    let value = read(&mut reader)?;
    Ok(reader.finish(value)?)
}
