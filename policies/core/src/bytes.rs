//! Comparing and searching bytes without a call for it: in WebAssembly `memcmp` is a loop over single
//! bytes, and a token is many of them.

/// Whether `a` and `b` are the same. It stops at the first difference: not for secrets.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    let ((chunks, end), (other_chunks, other_end)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let same = |a: &[u8; 16], b: &[u8; 16]| u128::from_ne_bytes(*a) == u128::from_ne_bytes(*b);
    a.len() == b.len()
        && chunks.iter().zip(other_chunks).all(|(a, b)| same(a, b))
        && end.iter().zip(other_end).all(|(a, b)| a == b)
}

/// Whether `byte` is somewhere in `bytes`. It always looks at all of them, so that the compiler can
/// take many at a time.
#[must_use]
pub fn has(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().fold(false, |found, own| found | (*own == byte))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_difference_anywhere_is_seen_at_any_length() {
        for length in 0..70 {
            let own = vec![7_u8; length];
            assert!(equal(&own, &own.clone()));
            assert!(!equal(&own, &vec![7; length + 1]));
            assert!(!has(&own, 8));
            for at in 0..length {
                let mut other = own.clone();
                other[at] = 8;
                assert!(!equal(&own, &other), "{at} of {length}");
                assert!(has(&other, 8), "{at} of {length}");
            }
        }
    }
}
