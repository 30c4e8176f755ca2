//! How a [`Read`] becomes requests of a registry: token authentication, redirects, and what each
//! status means. An event machine: it says what to send, and is told what came back.
//!
//! A registry says where its tokens come from and where its blobs are. Only hosts that the
//! configuration names are spoken to, and credentials go only where they were given for.

mod challenge;
mod url;

use std::{collections::BTreeMap, time::Duration};

use portcullis_core::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Answer, Base64, Read, ReasonCode, What, encoding};
use challenge::Challenge;
use url::Url;

/// How often one read is sent somewhere else.
const MOST_REDIRECTS: u8 = 3;
/// The longest token that is kept. Registries' are a few kilobytes.
const TOKEN_LENGTH: usize = 65_536;
/// How long a token lives that does not say so (Docker's token specification, "expires_in").
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// How many tokens are kept.
const MOST_TOKENS: usize = 256;

/// What is known about registries. Without an entry a registry is anonymous and its host has its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The host, and port, that answers for it, where that is not its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A user and password, or token, that may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The hosts of its token service, which are given the credentials too. Its own host always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_hosts: Vec<String>,
}

/// Who reads. The `Debug` form has no password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    fn basic(&self) -> String {
        format!("Basic {}", encoding::encode(format!("{}:{}", self.username, self.password).as_bytes()))
    }
}

/// The registries by name, as they are in images' names.
pub type Registries = BTreeMap<String, Registry>;

const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// A request that is to be sent: a GET over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The host, and port.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// Headers beside the pseudo headers.
    pub headers: Vec<(&'static str, String)>,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: &'a [(String, String)],
    /// The body; `None` where it is larger than is read.
    pub body: Option<&'a [u8]>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is to be sent.
    Send(Outgoing),
    /// The read is done.
    Done(Answer),
}

/// The tokens that registries gave, each for one repository.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<(String, String), Token>);

#[derive(Clone, Debug)]
struct Token {
    header: String,
    until: UnixTime,
}

impl Tokens {
    fn get(&self, read: &Read, now: UnixTime) -> Option<String> {
        let token = self.0.get(&(read.registry.clone(), read.repository.clone()))?;
        (now < token.until).then(|| token.header.clone())
    }

    fn keep(&mut self, read: &Read, header: String, until: UnixTime, now: UnixTime) {
        if self.0.len() >= MOST_TOKENS {
            self.0.retain(|_, token| now < token.until);
        }
        if self.0.len() < MOST_TOKENS {
            self.0.insert((read.registry.clone(), read.repository.clone()), Token { header, until });
        }
    }
}

/// One read under way.
#[derive(Clone, Debug)]
pub struct Fetch {
    read: Read,
    host: String,
    asked_for_token: bool,
    waits_for_token: bool,
    redirects: u8,
}

impl Fetch {
    /// Begins a read.
    #[must_use]
    pub fn begin(read: Read, registries: &Registries, tokens: &Tokens, now: UnixTime) -> (Self, Outgoing) {
        let configured = registries.get(&read.registry).and_then(|registry| registry.host.clone());
        let host = configured.unwrap_or_else(|| match read.registry.as_str() {
            DOCKER => DOCKER_HOST.to_owned(),
            name => name.to_owned(),
        });
        let token = tokens.get(&read, now);
        let fetch = Self { read, host, asked_for_token: false, waits_for_token: false, redirects: 0 };
        let outgoing = fetch.outgoing(token);
        (fetch, outgoing)
    }

    /// What is read.
    #[must_use]
    pub const fn read(&self) -> &Read {
        &self.read
    }

    fn outgoing(&self, authorization: Option<String>) -> Outgoing {
        let mut headers = vec![("accept", self.read.accept().to_owned())];
        headers.extend(authorization.map(|header| ("authorization", header)));
        Outgoing { host: self.host.clone(), path: self.read.path(), headers }
    }

    /// What follows from an answer.
    pub fn answered(
        &mut self,
        incoming: Incoming<'_>,
        registries: &Registries,
        tokens: &mut Tokens,
        now: UnixTime,
    ) -> Step {
        if self.waits_for_token {
            self.waits_for_token = false;
            return match token(incoming) {
                Ok((header, life)) => {
                    tokens.keep(&self.read, header.clone(), now.saturating_add(life), now);
                    Step::Send(self.outgoing(Some(header)))
                }
                Err(detail) => failed(ReasonCode::RegistryUnauthorized, detail),
            };
        }
        match incoming.status {
            200 => match incoming.body {
                Some(body) => Step::Done(Answer::Found(Base64(body.to_vec()))),
                None => failed(ReasonCode::RegistryOversized, "the answer is larger than is read".into()),
            },
            404 => Step::Done(Answer::Absent),
            // Registries without the referrers API answer in more than one way.
            400 | 405 | 501 if matches!(self.read.what, What::Referrers(_)) => Step::Done(Answer::Absent),
            401 if !self.asked_for_token && self.redirects == 0 => {
                self.asked_for_token = true;
                self.authorize(incoming, registries)
            }
            301 | 302 | 303 | 307 | 308 => self.redirected(incoming),
            401 | 403 => failed(
                ReasonCode::RegistryUnauthorized,
                format!(
                    "the registry answers {}: may its images be read with the credentials that it is given?",
                    incoming.status
                ),
            ),
            429 => {
                failed(ReasonCode::RegistryRateLimited, "the registry answers 429: too many requests".into())
            }
            // A proxy answers so for a registry that did not in time.
            408 | 504 => failed(ReasonCode::RegistryTimeout, "the registry does not answer in time".into()),
            status => failed(ReasonCode::RegistryUnavailable, format!("the registry answers {status}")),
        }
    }

    /// What follows from no answer.
    #[must_use]
    pub fn unanswered(code: ReasonCode, detail: impl Into<String>) -> Answer {
        Answer::Failed { code, detail: detail.into() }
    }

    /// RFC 9110 section 11.6.1, and Docker's token specification.
    fn authorize(&mut self, incoming: Incoming<'_>, registries: &Registries) -> Step {
        let registry = registries.get(&self.read.registry);
        let credentials = registry.and_then(|registry| registry.credentials.as_ref());
        let challenges: Vec<&str> = values(incoming, "www-authenticate").collect();
        let bearer = challenges.iter().find_map(|text| Challenge::bearer(text));
        let Some(challenge) = bearer else {
            let basic = challenges.iter().any(|text| text.to_ascii_lowercase().starts_with("basic"));
            return match credentials.filter(|_| basic) {
                Some(credentials) => Step::Send(self.outgoing(Some(credentials.basic()))),
                None => failed(ReasonCode::RegistryUnauthorized, "the registry asks for credentials".into()),
            };
        };
        let Some(realm) = Url::absolute(&challenge.realm) else {
            return failed(
                ReasonCode::RegistryUnauthorized,
                "the registry's token service is not an address".into(),
            );
        };
        let trusted = realm.host == self.host
            || registry.is_some_and(|registry| registry.token_hosts.contains(&realm.host));
        let mut headers = vec![("accept", "application/json".to_owned())];
        headers.extend(
            credentials.filter(|_| trusted).map(|credentials| ("authorization", credentials.basic())),
        );
        // The scope is ours to say: what the registry says could be more than a read of this one.
        let scope = format!("repository:{}:pull", self.read.repository);
        let path = realm.with_query(&[("service", &challenge.service), ("scope", &scope)]);
        self.waits_for_token = true;
        Step::Send(Outgoing { host: realm.host, path, headers })
    }

    /// Blobs are often somewhere else. The registry's authorization stays with the registry.
    fn redirected(&mut self, incoming: Incoming<'_>) -> Step {
        self.redirects = self.redirects.saturating_add(1);
        if self.redirects > MOST_REDIRECTS {
            return failed(ReasonCode::RegistryUnavailable, "the registry redirects in a circle".into());
        }
        let location = values(incoming, "location").next().unwrap_or_default();
        match Url::within(location, &self.host) {
            Some(url) => {
                self.host.clone_from(&url.host);
                let headers = vec![("accept", self.read.accept().to_owned())];
                Step::Send(Outgoing { host: url.host, path: url.path, headers })
            }
            None => failed(ReasonCode::RegistryUnavailable, "the registry redirects to no address".into()),
        }
    }
}

fn failed(code: ReasonCode, detail: String) -> Step {
    Step::Done(Answer::Failed { code, detail })
}

fn values<'a>(incoming: Incoming<'a>, name: &'static str) -> impl Iterator<Item = &'a str> {
    incoming.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The token in a token service's answer, and how long it lives.
fn token(incoming: Incoming<'_>) -> Result<(String, Duration), String> {
    if incoming.status != 200 {
        return Err(format!("the token service answers {}", incoming.status));
    }
    let body: Value = incoming
        .body
        .and_then(|body| encoding::json(body).ok())
        .ok_or("the token service's answer is not JSON")?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token =
        text("token").or_else(|| text("access_token")).ok_or("the token service's answer has no token")?;
    // What goes into a header is a header's value.
    if token.len() > TOKEN_LENGTH || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token service's token is not one".to_owned());
    }
    let life = body.get("expires_in").and_then(Value::as_u64).map_or(TOKEN_LIFE, Duration::from_secs);
    // Some of it is spent on the way.
    let life = life.saturating_sub(Duration::from_secs(5)).min(Duration::from_secs(3_600));
    Ok((format!("Bearer {token}"), life))
}

#[cfg(test)]
mod tests;
