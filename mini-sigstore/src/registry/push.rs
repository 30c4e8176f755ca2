//! The push half of the OCI distribution protocol, over one connection per request: small, and
//! for loopback only.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Blob, Upload};

/// For one request; a registry on loopback answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 1 << 20;

pub(super) fn push(address: SocketAddr, repository: &str, upload: &Upload) -> io::Result<()> {
    for blob in &upload.blobs {
        push_blob(address, repository, blob)?;
    }
    for (reference, manifest) in &upload.manifests {
        let path = format!("/v2/{repository}/manifests/{reference}");
        expect(201, &call(address, "PUT", &path, &manifest.media_type, &manifest.bytes)?)?;
    }
    Ok(())
}

fn push_blob(address: SocketAddr, repository: &str, blob: &Blob) -> io::Result<()> {
    let started = call(address, "POST", &format!("/v2/{repository}/blobs/uploads/"), "text/plain", b"")?;
    expect(202, &started)?;
    let location = header(&started, "location")
        .and_then(|location| location.split_once("/v2/").map(|(_, rest)| format!("/v2/{rest}")))
        .ok_or_else(|| io::Error::other("the registry named no place for an upload"))?;
    let separator = if location.contains('?') { '&' } else { '?' };
    let path = format!("{location}{separator}digest={}", blob.digest());
    expect(201, &call(address, "PUT", &path, "application/octet-stream", &blob.bytes)?)
}

/// The answer's head and body.
fn call(address: SocketAddr, method: &str, path: &str, media_type: &str, body: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {media_type}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn expect(status: u16, answer: &str) -> io::Result<()> {
    if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
        return Ok(());
    }
    Err(io::Error::other(format!("{status} was expected, not: {answer}")))
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let lines = answer.lines().take_while(|line| !line.is_empty());
    let mut pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
