//! Any gateway at an address: raw requests over one connection each, so that what is hostile about
//! them arrives as it is.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use hyper::Uri;
use portcullis_issuer::{
    SampleToken, Scene, Seed, Setup, SigningKey,
    attacks::{Request, Seen, Target},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::{Arguments, Gateway};
use crate::document;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer: the code is at its beginning.
const MAX_ANSWER: u64 = 64 * 1024;

/// Answers that say no. Others come from behind the gateway: a 404 is the upstream's.
const REFUSALS: [u16; 9] = [400, 401, 403, 407, 413, 414, 421, 431, 503];

pub(super) struct Remote {
    url: String,
    host: String,
    port: u16,
    authority: String,
    tls: Option<TlsConnector>,
    runtime: Runtime,
}

pub(super) fn prepare(url: &str, arguments: &Arguments) -> anyhow::Result<(Target, Remote)> {
    let uri: Uri = url.parse().with_context(|| format!("`{url}` is no address"))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => bail!("`{url}`: an address begins with http:// or https://"),
    };
    let host = uri.host().context("the address names no host")?.trim_matches(['[', ']']).to_owned();
    let authority = uri.authority().context("the address names no host")?.as_str().to_owned();
    ensure!(!authority.contains('@'), "credentials do not belong in the address");
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let remote = Remote {
        url: url.into(),
        port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        tls: secure.then(connector).transpose()?,
        host,
        authority,
        runtime,
    };
    Ok((target(path, arguments)?, remote))
}

fn present() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn target(path: String, arguments: &Arguments) -> anyhow::Result<Target> {
    let now = present();
    let strangers = Setup::new(&Seed::from_os()?, "", "", now)?.target();
    let mut scene = match (&arguments.key, &arguments.token) {
        (Some(file), _) => {
            let key = read_key(file, arguments.kid.as_deref())?;
            let mut scene = strangers.scene.clone();
            let slot = slot(&key)?;
            let (Some(iss), Some(aud)) = (&arguments.iss, &arguments.aud) else {
                bail!("--key needs --iss and --aud: what an honest token says");
            };
            scene.claims.insert("iss".into(), iss.as_str().into());
            scene.claims.insert("aud".into(), aud.as_str().into());
            scene.keys = [(slot.to_owned(), key)].into();
            scene.key = Some(slot.into());
            scene
        }
        (None, Some(file)) => {
            let text = String::from_utf8(document::read(file)?).context("the token is not text")?;
            let text = text.trim();
            let text = text.strip_prefix("Bearer ").unwrap_or(text);
            // The token itself is in no message.
            let sample = SampleToken::parse(text).context("the sample token")?;
            Scene::of_sample(slot(&sample.key)?, &sample, now, strangers.scene.skew)
        }
        (None, None) => {
            bail!("an attack over the network needs --key or --token: what an honest request has")
        }
    };
    scene.keys.extend(strangers.scene.keys.into_iter().filter(|(name, _)| name.starts_with("mallory")));
    let more = [&arguments.claims, &arguments.header];
    if scene.verbatim.is_some() && more.iter().any(|more| more.is_some()) {
        bail!("--claims and --header change what is signed: they need --key");
    }
    scene.claims.extend(arguments.claims.clone().unwrap_or_default());
    scene.header.extend(arguments.header.clone().unwrap_or_default());
    Ok(Target { scene, path, public_prefix: arguments.public.clone(), ..Target::default() })
}

fn read_key(file: &Path, kid: Option<&str>) -> anyhow::Result<SigningKey> {
    let text = String::from_utf8(document::read(file)?).context("the key is not text")?;
    let name = kid.unwrap_or_default();
    let key = if text.trim_start().starts_with('{') {
        SigningKey::from_jwk(name, &serde_json::from_str(&text)?)
    } else {
        SigningKey::from_pem(name, &text)
    };
    let key = key.with_context(|| format!("`{}`", file.display()))?;
    Ok(match kid {
        Some(kid) => key.renamed(kid),
        None => key,
    })
}

/// What the corpus calls a key of this algorithm.
fn slot(key: &SigningKey) -> anyhow::Result<&'static str> {
    Ok(match key.natural_alg().as_str() {
        "RS256" | "RS384" | "RS512" => "rsa",
        "PS256" | "PS384" | "PS512" => "pss",
        "ES256" => "ec",
        "ES384" => "p384",
        "EdDSA" => "ed",
        // A gateway with a shared secret or P-521: the cases that name no family.
        _ => "other",
    })
}

fn connector() -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Remote {
    /// The request as bytes; header values are not judged.
    fn bytes(&self, request: &Request) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, self.authority)
                .into_bytes();
        for (name, value) in &request.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"connection: close\r\n");
        if request.method != "GET" {
            bytes.extend_from_slice(b"content-length: 0\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    async fn exchange(&self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .with_context(|| format!("connect to {}", self.authority))?;
        match &self.tls {
            None => converse(stream, bytes).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())?;
                converse(tls.connect(name, stream).await.context("TLS")?, bytes).await
            }
        }
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    // A gateway may answer and close before it has read everything; the answer is what counts.
    let written = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = (&mut stream).take(MAX_ANSWER).read_to_end(&mut answer).await;
    if answer.is_empty() {
        written.and(read.map(|_| ())).or_else(|error| match error.kind() {
            // A connection that is closed is an answer: no.
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
    }
    Ok(answer)
}

impl Gateway for Remote {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn now(&self) -> i64 {
        present()
    }

    fn shows_upstream(&self) -> bool {
        false
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<Seen> {
        let bytes = self.bytes(request);
        let answer = self.runtime.block_on(async {
            let answer = tokio::time::timeout(TIMEOUT, self.exchange(&bytes)).await;
            answer.with_context(|| format!("no answer within {} s", TIMEOUT.as_secs()))?
        })?;
        if answer.is_empty() {
            return Ok(Seen::default());
        }
        let status = status(&answer).context("the answer is not HTTP")?;
        Ok(Seen { accepted: !REFUSALS.contains(&status), code: code(&answer), upstream: None })
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// The code of a Portcullis refusal; other gateways have none.
fn code(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (_, body) = text.split_once("\r\n\r\n")?;
    let object = body.get(body.find('{')?..=body.rfind('}')?)?;
    let body: serde_json::Value = serde_json::from_str(object).ok()?;
    Some(body.get("code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_for_its_status_and_code() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\n\r\n1c\r\n{\"code\": \"TOKEN_EXPIRED\"}\r\n0\r\n";
        assert_eq!((status(answer), code(answer).as_deref()), (Some(401), Some("TOKEN_EXPIRED")));
        assert_eq!((status(b"HTTP/1.0 200"), code(b"HTTP/1.0 200 OK\r\n\r\nok")), (Some(200), None));
        assert_eq!(status(b"SSH-2.0"), None);
    }
}
