//! The wire form of a header map: a count, then sizes, then names and values, each ended by a
//! zero byte (proxy-wasm ABI 0.2.1, "serialized map").

use crate::Refused;

/// Names and values as bytes, in order, repeated names kept.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn read(bytes: &[u8]) -> Result<Pairs, Refused> {
    // Some hosts give nothing at all for an empty map.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    parse(bytes).ok_or(Refused::UNREADABLE)
}

fn parse(bytes: &[u8]) -> Option<Pairs> {
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

fn text(bytes: &[u8], len: usize) -> Option<(Vec<u8>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    let (zero, rest) = rest.split_first()?;
    (*zero == 0).then(|| (text.to_vec(), rest))
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
        let read = read(&write(&pairs)).unwrap();
        let expected: Pairs = pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_map_cut_anywhere_is_refused() {
        let whole = write(&[(b"name", b"value"), (b"n", b"v")]);
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]), Err(Refused::UNREADABLE), "{end}");
        }
        assert_eq!(read(&[0xff; 64]), Err(Refused::UNREADABLE));
    }
}
