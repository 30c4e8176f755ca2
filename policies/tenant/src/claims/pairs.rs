//! Envoy's serialized map: a count, the sizes, then names and values, each ended by a zero byte.

use alloc::vec::Vec;

/// The names and values, in order; nothing where `bytes` are not exactly such a map.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = number(bytes)?;
    let (mut sizes, mut data) = rest.split_at_checked(count.checked_mul(8)?)?;
    // The sizes were there, so the count is bounded by what came.
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
    data.is_empty().then_some(pairs)
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn write(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let size = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
        let mut out = Vec::from(size(pairs.len()));
        for (name, value) in pairs {
            out.extend(size(name.len()));
            out.extend(size(value.len()));
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(text);
            out.push(0);
        }
        out
    }

    #[test]
    fn a_map_reads_back_and_one_cut_or_extended_anywhere_does_not() {
        let whole = write(&[(b"name", b"value"), (b"n", b"")]);
        assert_eq!(read(&whole), Some(alloc::vec![(&b"name"[..], &b"value"[..]), (b"n", b"")]));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        assert_eq!(read(&[whole, alloc::vec![0]].concat()), None);
        assert_eq!(read(&[0xff; 64]), None);
        assert_eq!(read(b"acme"), None);
    }
}
