//! The wire form of a header map: a count, then sizes, then names and values, each ended by a
//! zero byte (proxy-wasm ABI 0.2.1, "serialized map").

use portcullis_core::HeaderPair;

use crate::Refused;

/// A header map as the host wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers(pub(crate) Vec<u8>);

impl Headers {
    /// Names and values as bytes, in order, repeated names kept.
    ///
    /// # Errors
    ///
    /// [`Refused::UNREADABLE`] where the host wrote something else.
    pub fn list(&self) -> Result<Vec<HeaderPair<'_>>, Refused> {
        // Some hosts give nothing at all for an empty map.
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        parse(&self.0).ok_or(Refused::UNREADABLE)
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<HeaderPair<'_>>> {
    let (count, rest) = number(bytes)?;
    let sizes_len = count.checked_mul(8)?;
    let (mut sizes, mut data) = rest.split_at_checked(sizes_len)?;
    // The sizes were there, so the count is bounded by what the host sent.
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_len, after_name) = number(sizes)?;
        let (value_len, after_value) = number(after_name)?;
        sizes = after_value;
        let (name, after_name) = text(data, name_len)?;
        let (value, after_value) = text(after_name, value_len)?;
        data = after_value;
        pairs.push((name, value));
    }
    Some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*head)).ok()?, rest))
}

fn text(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    let (zero, rest) = rest.split_first()?;
    (*zero == 0).then_some((text, rest))
}

/// The wire form of `pairs`; names and values longer than 4 GiB do not exist in a 32-bit guest.
pub(crate) fn write(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::from(size(pairs.len()));
    for (name, value) in pairs {
        out.extend(size(name.len()));
        out.extend(size(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            out.extend_from_slice(text);
            out.push(0);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_reads_back_as_it_was_written() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"x", b"\xff\x00"), (b"x", b"")];
        assert_eq!(Headers(write(&pairs)).list().unwrap(), pairs);
    }

    #[test]
    fn a_map_cut_anywhere_is_refused() {
        let whole = write(&[(b"name", b"value"), (b"n", b"v")]);
        for end in 1..whole.len() {
            assert_eq!(Headers(whole[..end].to_vec()).list(), Err(Refused::UNREADABLE), "{end}");
        }
        assert_eq!(Headers(vec![0xff; 64]).list(), Err(Refused::UNREADABLE));
    }
}
