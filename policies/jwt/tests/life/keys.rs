//! Keys without private halves: the machine never checks a signature, so any point will do.

use portcullis_crypto::Key;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The public key with this number.
fn point(number: u32) -> [u8; 32] {
    (0_u8..=255)
        .map(|attempt| {
            let mut bytes = [attempt; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            bytes[31] &= 0x7f;
            bytes
        })
        .find(|bytes| Key::ed25519(bytes).is_ok())
        .unwrap()
}

/// The thumbprint of the key with this number.
pub(crate) fn thumbprint(number: u32) -> [u8; 32] {
    Key::ed25519(&point(number)).unwrap().thumbprint()
}

/// A key set of keys with these names and numbers.
pub(crate) fn set(keys: &[(&str, u32)]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(kid, number)| {
            let x = base64url(&point(*number));
            format!(r#"{{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"{kid}","x":"{x}"}}"#)
        })
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}
