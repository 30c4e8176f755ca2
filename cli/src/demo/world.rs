//! What the demo starts: keys, the issuer, the upstream and the gateway.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::gateway::{Running, chain::Chain, config::Settings};

pub(super) const ISSUER: &str = "https://issuer.demo";
pub(super) const AUDIENCE: &str = "api";
pub(super) const SUBJECT: &str = "alice";
const MAX_BODY: usize = 1 << 20;

pub(super) struct World {
    pub(super) issuer: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) keys: Keys,
    pub(super) now: u64,
    gateway: Running,
}

pub(super) struct Keys {
    pub(super) rsa: SigningKey,
    pub(super) ec: SigningKey,
    pub(super) ed: SigningKey,
    /// A stranger's key under the name of the first.
    pub(super) mallory: SigningKey,
}

impl Keys {
    fn generate() -> anyhow::Result<Self> {
        let seed = Seed::from_os()?;
        let key = |kid, kind| SigningKey::generate(&seed, kid, kind);
        Ok(Self {
            rsa: key("rsa-1", Kind::Rsa(2048))?,
            ec: key("ec-1", Kind::P256)?,
            ed: key("ed-1", Kind::Ed25519)?,
            mallory: key("mallory", Kind::Rsa(2048))?.renamed("rsa-1"),
        })
    }
}

impl World {
    pub(super) async fn start(port: u16) -> anyhow::Result<Self> {
        let keys = Keys::generate().context("make the demo's keys")?;
        let set = jwk_set([keys.rsa.jwk(), keys.ec.jwk(), keys.ed.jwk()]).to_string();
        let issuer = listen(move |request| jwks(&request, &set)).await?;
        let upstream = listen(|request| echo(&request)).await?;
        let configuration = configuration(issuer);
        let clusters = BTreeMap::from([("idp".to_owned(), issuer)]);
        let module = portcullis_modules::JWT_AUTH;
        let settings = Settings::on_loopback(port, upstream, clusters, module, &configuration);
        let chain = Chain::prepare(&settings)?;
        let gateway = Running::start(&settings, chain).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
        Ok(Self { issuer, upstream, keys, now, gateway })
    }

    pub(super) const fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Honest claims for an hour.
    pub(super) fn token(&self) -> Token {
        Token::new()
            .header("typ", "JWT")
            .claim("iss", ISSUER)
            .claim("aud", AUDIENCE)
            .claim("sub", SUBJECT)
            .claim("iat", self.now)
            .claim("exp", self.now.saturating_add(3600))
    }

    pub(super) async fn end(self) {
        self.gateway.end().await;
    }
}

fn configuration(issuer: SocketAddr) -> Value {
    json!({
        "issuers": [{
            "name": "main",
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "algorithms": ["RS256", "ES256", "EdDSA"],
            "jwks": { "remote": {
                "uri": format!("http://{issuer}/jwks"), "cluster": "idp", "timeout": "1s",
                "allow_insecure_http": true,
            } },
            "forward": { "headers": [{ "claim": "sub", "header": "x-sub" }] },
        }],
        "rules": [
            { "path": { "prefix": "/public" }, "require": "none" },
            { "path": { "prefix": "/" }, "require": { "any": ["main"] } },
        ],
    })
}

/// A server on a free port of loopback, for as long as the demo runs.
async fn listen<F>(answer: F) -> anyhow::Result<SocketAddr>
where
    F: Fn(Request<Bytes>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let socket = TcpListener::bind(("127.0.0.1", 0)).await.context("listen on loopback")?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = Limited::new(body, MAX_BODY).collect().await;
                    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                    Ok::<_, Infallible>(answer(Request::from_parts(head, body)))
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    Ok(address)
}

fn jwks(request: &Request<Bytes>, set: &str) -> Response<Full<Bytes>> {
    if request.uri().path() == "/jwks" {
        json_response(200, set.to_owned())
    } else {
        json_response(404, json!({ "error": "the keys are at /jwks" }).to_string())
    }
}

/// The request as it arrived, one entry for each header line.
fn echo(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let lines = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    let seen = json!({
        "method": request.method().as_str(),
        "path": request.uri().path_and_query().map(hyper::http::uri::PathAndQuery::as_str),
        "headers": lines.collect::<Vec<_>>(),
        "body_bytes": request.body().len(),
    });
    json_response(200, format!("{seen:#}\n"))
}

fn json_response(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
