//! Checkpoints as signed notes (C2SP signed-note, tlog-checkpoint and tlog-cosignature).

use crate::{Key, KeyKind, base64, merkle::Hash, sha256};

/// The checkpoint's text: what every line of signature below it signs.
pub(crate) fn checkpoint(origin: &str, size: usize, root: &Hash) -> String {
    format!("{origin}\n{size}\n{}\n", base64(root))
}

/// A log's line: it names its key by the start of the log's ID.
pub(crate) fn log_line(text: &str, name: &str, id: &[u8; 32], key: &Key) -> String {
    line(name, id, &key.sign(text.as_bytes()))
}

/// A log's ID. An Ed25519 key's is over its name (C2SP signed-note: type 1); ECDSA has no type
/// there, and its ID is the digest of the public key.
pub(crate) fn log_id(name: &str, key: &Key) -> [u8; 32] {
    match key.kind() {
        KeyKind::Ed25519 => sha256([name.as_bytes(), b"\n\x01", &key.raw_public()].concat()),
        KeyKind::P256 | KeyKind::P384 => key.id(),
    }
}

/// A witness's line (tlog-cosignature, type 4): it signs the text and when it saw it.
pub(crate) fn witness_line(text: &str, name: &str, key: &Key, time: i64) -> String {
    let id = sha256([name.as_bytes(), b"\n\x04", &key.raw_public()].concat());
    let signature = key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    line(name, &id, &[&time.to_be_bytes()[..], &signature].concat())
}

fn line(name: &str, id: &[u8; 32], signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", base64([&id[..4], signature].concat()))
}
