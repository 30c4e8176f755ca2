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
    let mut rest = text;
    let mut groups = 0_usize;
    for bytes in out.chunks_exact_mut(3) {
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
