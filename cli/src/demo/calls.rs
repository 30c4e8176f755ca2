//! The demo's calls: a name, a request, and the answer that is promised.

use std::{fmt, net::SocketAddr};

use portcullis_issuer::KeyError;
use serde_json::Value;

use super::{
    client,
    world::{SUBJECT, World},
};

/// One request to the gateway.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) promised: Promise,
}

/// What an answer says that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) status: u16,
    /// The code of a refusal; for what got through, the values of `x-sub` that the upstream saw.
    pub(super) says: String,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.says)
    }
}

/// What came of a call.
pub(super) struct Verdict<'c> {
    pub(super) call: &'c Call,
    pub(super) got: Promise,
    pub(super) kept: bool,
}

fn through(subject: &str) -> Promise {
    Promise { status: 200, says: format!("x-sub: {subject}") }
}

fn refused(status: u16, code: &str) -> Promise {
    Promise { status, says: code.into() }
}

/// Every call, in the order in which people should meet them.
pub(super) fn all(world: &World) -> Result<Vec<Call>, KeyError> {
    let keys = &world.keys;
    let good = world.token().compact(&keys.rsa)?;
    let hour_ago = world.now.saturating_sub(3600);
    let tomorrow = world.now.saturating_add(86_400);
    let unsigned = world.token().header("alg", "none").header("kid", "rsa-1").raw().compact();
    let unknown = world.token().compact(&keys.rsa.renamed("rsa-2"))?;
    let critical = world.token().header("crit", Value::from(vec!["x-strict"])).compact(&keys.rsa)?;
    let call = |name, path: &str, headers: Vec<(&'static str, String)>, promised| Call {
        name,
        path: path.into(),
        headers,
        promised,
    };
    let orders = |name, headers, promised| call(name, "/orders/7", headers, promised);
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let admin = || ("x-sub", "admin".to_owned());
    let with = |name, token: String, promised| orders(name, vec![bearer(&token)], promised);
    let claim = |claim, value: Value| world.token().claim(claim, value).compact(&keys.rsa);
    Ok(vec![
        with("a valid RS256 token", good.clone(), through(SUBJECT)),
        with("a valid ES256 token", world.token().compact(&keys.ec)?, through(SUBJECT)),
        with("a valid EdDSA token", world.token().compact(&keys.ed)?, through(SUBJECT)),
        orders(
            "a valid token, and an x-sub of the client's own",
            vec![bearer(&good), admin()],
            through(SUBJECT),
        ),
        call(
            "a public path, and an x-sub of the client's own",
            "/public/logo",
            vec![admin()],
            through("(none)"),
        ),
        orders("no token", Vec::new(), refused(401, "MISSING_TOKEN")),
        with("a forged signature", world.token().compact(&keys.mallory)?, refused(401, "SIGNATURE_INVALID")),
        with("an expired token", claim("exp", hour_ago.into())?, refused(401, "TOKEN_EXPIRED")),
        with("a token of tomorrow", claim("nbf", tomorrow.into())?, refused(401, "TOKEN_NOT_YET_VALID")),
        with(
            "a token for another audience",
            claim("aud", "billing".into())?,
            refused(401, "AUDIENCE_MISMATCH"),
        ),
        with(
            "a token of another issuer",
            claim("iss", "https://mallory.demo".into())?,
            refused(401, "ISSUER_MISMATCH"),
        ),
        with("a token without a signature, alg none", unsigned, refused(401, "ALGORITHM_NOT_ALLOWED")),
        with("a token of an unknown key", unknown, refused(401, "KID_NOT_FOUND")),
        with(
            "a token with an extension that nobody knows",
            critical,
            refused(401, "CRITICAL_HEADER_UNKNOWN"),
        ),
        with("something that is no token", "not.a.token".into(), refused(401, "MALFORMED_TOKEN")),
        orders("two tokens", vec![bearer(&good), bearer(&good)], refused(400, "MULTIPLE_TOKENS")),
        call(
            "a path with two readings",
            "/public/..%2forders/7",
            Vec::new(),
            refused(400, "REQUEST_AMBIGUOUS"),
        ),
    ])
}

impl Call {
    /// The line that people copy. No value has a quote in it.
    pub(super) fn curl(&self, gateway: SocketAddr) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!(" -H '{name}: {value}'"));
        format!("curl -si http://{gateway}{}{}", self.path, headers.collect::<String>())
    }

    /// Makes the call.
    pub(super) async fn judge(&self, gateway: SocketAddr) -> anyhow::Result<Verdict<'_>> {
        let (status, body) = client::get(gateway, &self.path, &self.headers).await?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let says = if status == 200 {
            format!("x-sub: {}", subjects(&body))
        } else {
            body["code"].as_str().unwrap_or("(no code)").to_owned()
        };
        let got = Promise { status, says };
        Ok(Verdict { call: self, kept: got == self.promised, got })
    }
}

/// Every `x-sub` that the upstream saw.
fn subjects(echo: &Value) -> String {
    let lines = echo["headers"].as_array().into_iter().flatten();
    let values: Vec<_> =
        lines.filter(|line| line[0] == "x-sub").filter_map(|line| line[1].as_str()).collect();
    if values.is_empty() { "(none)".into() } else { values.join(", ") }
}
