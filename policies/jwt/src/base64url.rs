//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), decoded up to the first byte
//! that is not of its alphabet: a token's segments are found and decoded in the same pass.
//!
//! A token has one spelling: bits of the last character that stand for nothing must be zero (RFC
//! 4648 section 3.5), so that none slips past a deny list by re-encoding. The crate `base64` is the
//! second opinion in the tests.

/// What is at the front of `text`, decoded to the front of `out`: how many bytes that is, and the
/// text that follows. `None` where the bits do not end with a byte, or the unused ones are not
/// zero, or `out` is too short: three bytes for each four characters are enough.
pub(crate) fn decode<'t>(text: &'t [u8], out: &mut [u8]) -> Option<(usize, &'t [u8])> {
    let (decoded, mut rest) = blocks(text, out);
    let mut groups = decoded / 3;
    for bytes in out.get_mut(decoded..)?.chunks_exact_mut(3) {
        let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() else { break };
        let (a, b, c, d) = (value(*a), value(*b), value(*c), value(*d));
        if (a | b | c | d) > LARGEST {
            break;
        }
        let bits = (u32::from(a) << 18) | (u32::from(b) << 12) | (u32::from(c) << 6) | u32::from(d);
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.copy_from_slice(&[first, second, third]);
        rest = after;
        groups = groups.saturating_add(1);
    }
    let done = groups.saturating_mul(3);
    let last = rest.iter().take_while(|byte| value(**byte) <= LARGEST).count();
    let (end, after) = rest.split_at_checked(last)?;
    let mut places = out.get_mut(done..)?.iter_mut();
    let values = |at: usize| end.get(at).map_or(0, |byte| value(*byte));
    let bits = (u32::from(values(0)) << 18) | (u32::from(values(1)) << 12) | (u32::from(values(2)) << 6);
    let [_, first, second, third] = bits.to_be_bytes();
    let more: &[u8] = match last {
        0 => &[],
        2 if second == 0 => &[first],
        3 if third == 0 => &[first, second],
        _ => return None,
    };
    for byte in more {
        *places.next()? = *byte;
    }
    Some((done.saturating_add(more.len()), after))
}

/// As many blocks at the front of `text` as there are, decoded to the front of `out`: how many bytes
/// that is, a multiple of three, and the text that follows. A byte that is not of the alphabet ends
/// them at the block before.
fn blocks<'t>(text: &'t [u8], out: &mut [u8]) -> (usize, &'t [u8]) {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    {
        let (mut rest, mut decoded) = (text, 0_usize);
        for place in out.as_chunks_mut::<12>().0 {
            let Some((block, after)) = rest.split_first_chunk() else { break };
            let Some(bytes) = vector::decode(block) else { break };
            *place = bytes;
            decoded = decoded.saturating_add(12);
            rest = after;
        }
        (decoded, rest)
    }
    // Elsewhere the table below is fast enough.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    {
        let _ = out;
        (0, text)
    }
}

/// Sixteen characters at a time, with the instructions of WebAssembly's 128-bit vectors.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vector {
    use core::arch::wasm32::{
        i32x4_dot_i16x8, i32x4_splat, u8x16, u8x16_all_true, u8x16_eq, u8x16_lt, u8x16_splat, u8x16_sub,
        u8x16_swizzle, u16x8_shl, u16x8_shr, u16x8_splat, u64x2, u64x2_extract_lane, v128, v128_and, v128_or,
    };

    /// The bytes of one block; `None` where a character is not of the alphabet.
    pub(super) fn decode(block: &[u8; 16]) -> Option<[u8; 12]> {
        let (low, high) = halves(block);
        let text = u64x2(low, high);
        let range = |first: u8, count: u8| u8x16_lt(u8x16_sub(text, u8x16_splat(first)), u8x16_splat(count));
        let single = |byte: u8| u8x16_eq(text, u8x16_splat(byte));
        // For each class of characters, what is to be subtracted from them.
        let classes = [
            (range(b'A', 26), b'A'),
            (range(b'a', 26), b'a' - 26),
            (range(b'0', 10), b'0'.wrapping_sub(52)),
            (single(b'-'), b'-'.wrapping_sub(62)),
            (single(b'_'), b'_' - 63),
        ];
        let (mut known, mut shift) = (u8x16_splat(0), u8x16_splat(0));
        for (class, subtracted) in classes {
            known = v128_or(known, class);
            shift = v128_or(shift, v128_and(class, u8x16_splat(subtracted)));
        }
        u8x16_all_true(known).then(|| pack(u8x16_sub(text, shift)))
    }

    /// Four times four values of six bits as four times three bytes.
    fn pack(values: v128) -> [u8; 12] {
        // In each pair of bytes, then in each pair of those: the first one is the higher one.
        let first = u16x8_shl(v128_and(values, u16x8_splat(0xff)), 6);
        let pairs = v128_or(first, u16x8_shr(values, 8));
        let groups = i32x4_dot_i16x8(pairs, i32x4_splat(0x0001_1000));
        let bytes = u8x16_swizzle(groups, u8x16(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 255, 255, 255, 255));
        let mut out = [0; 12];
        let (low, high) = (u64x2_extract_lane::<0>(bytes), u64x2_extract_lane::<1>(bytes));
        let (front, back) = out.split_at_mut(8);
        front.copy_from_slice(&low.to_le_bytes());
        let [a, b, c, d, ..] = high.to_le_bytes();
        back.copy_from_slice(&[a, b, c, d]);
        out
    }

    fn halves(block: &[u8; 16]) -> (u64, u64) {
        let both = u128::from_le_bytes(*block);
        (both as u64, (both >> 64) as u64)
    }
}

const LARGEST: u8 = 63;

fn value(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(u8::MAX)
}

/// The value of each byte; above [`LARGEST`] for those that are not of the alphabet.
static VALUES: [u8; 256] = {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [u8::MAX; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        #[expect(clippy::indexing_slicing, reason = "the compiler computes it")]
        {
            values[ALPHABET[at] as usize] = at as u8;
            at += 1;
        }
    }
    values
};

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec, vec::Vec};

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn whole(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; text.len()];
        let (length, rest) = decode(text, &mut out)?;
        out.truncate(length);
        rest.is_empty().then_some(out)
    }

    #[test]
    fn every_text_of_three_characters_is_read_as_the_crate_reads_it() {
        // The alphabet, and the bytes beside it.
        let bytes: Vec<u8> = (0..=255).filter(|byte: &u8| byte.is_ascii() || *byte > 250).collect();
        for first in &bytes {
            assert_eq!(whole(&[*first]), URL_SAFE_NO_PAD.decode([*first]).ok());
            for second in &bytes {
                let text = [*first, *second];
                assert_eq!(whole(&text), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
                for third in &bytes {
                    let text = [*first, *second, *third];
                    assert_eq!(whole(&text), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_of_any_length_with_any_byte_changed_is_read_as_the_crate_reads_it() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(89).wrapping_add(7)).collect();
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            assert_eq!(whole(text.as_bytes()), Some(bytes));
            for at in 0..text.len() {
                for change in 0..=255 {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = change;
                    assert_eq!(whole(&changed), URL_SAFE_NO_PAD.decode(&changed).ok(), "{changed:?}");
                }
            }
        }
    }

    #[test]
    fn what_follows_is_given_back() {
        let mut out = [0; 8];
        assert_eq!(decode(b"YWJj.ZA", &mut out), Some((3, &b".ZA"[..])));
        assert_eq!(decode(b"YWI.", &mut out), Some((2, &b"."[..])));
        assert_eq!(decode(b"=", &mut out), Some((0, &b"="[..])));
        assert_eq!(decode(b"Y.", &mut out), None);
        assert_eq!(decode(b"", &mut out), Some((0, &b""[..])));
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let text = String::from("YWJjZGVm");
        for size in 0..6 {
            assert_eq!(decode(text.as_bytes(), &mut vec![0; size]), None, "{size}");
        }
        assert_eq!(decode(text.as_bytes(), &mut [0; 6]), Some((6, &b""[..])));
    }
}
