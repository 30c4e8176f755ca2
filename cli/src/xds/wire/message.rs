//! Protocol buffers, as far as they are needed: messages of known shape are written, and the fields of
//! a message are read one by one.

use anyhow::{Context as _, bail};

/// A message that is being written, field by field.
#[derive(Clone, Default)]
pub(in crate::xds) struct Message(Vec<u8>);

impl Message {
    pub(in crate::xds) fn new() -> Self {
        Self::default()
    }

    /// A field with a length: text, bytes or a message (wire type 2).
    pub(in crate::xds) fn put(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(u64::from(number) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A number, an enumeration or a `bool` (wire type 0).
    pub(in crate::xds) fn number(mut self, number: u32, value: u64) -> Self {
        self.varint(u64::from(number) << 3);
        self.varint(value);
        self
    }

    /// A number in a message of its own, as `google.protobuf.BoolValue` and `UInt32Value` have it; and
    /// `google.protobuf.Duration` in seconds.
    pub(in crate::xds) fn wrapped(self, number: u32, value: u64) -> Self {
        self.put(number, Self::new().number(1, value))
    }

    /// `google.protobuf.Any`.
    pub(in crate::xds) fn any(type_url: &str, value: &Self) -> Self {
        Self::new().put(1, type_url).put(2, value)
    }

    pub(in crate::xds) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Calls `each` with every field that has a length; the others are passed over.
///
/// # Errors
///
/// The bytes are no message, or `each` refuses a field.
pub(in crate::xds) fn fields(
    mut bytes: &[u8],
    mut each: impl FnMut(u64, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                each(tag >> 3, take(&mut bytes, length)?)?;
            }
            5 => drop(take(&mut bytes, 4)?),
            other => bail!("wire type {other}"),
        }
    }
    Ok(())
}

/// # Errors
///
/// The bytes are not UTF-8.
pub(in crate::xds) fn text(bytes: &[u8]) -> anyhow::Result<String> {
    Ok(str::from_utf8(bytes).context("a text that is not UTF-8")?.to_owned())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).context("a field beyond the end")?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number beyond the end")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than ten bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_and_a_tag_take_as_many_bytes_as_they_need() {
        let bytes = Message::new().put(1, vec![7; 300]).put(33, "x").number(45, 2).into_bytes();
        assert_eq!(bytes[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(bytes[303..], [0x8a, 0x02, 1, b'x', 0xe8, 0x02, 2]);
        let mut found = Vec::new();
        fields(&bytes, |number, value| {
            found.push((number, value.len()));
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [(1, 300), (33, 1)]);
    }
}
