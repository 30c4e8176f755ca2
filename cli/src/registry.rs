//! A client that reads from OCI registries, and does no more than it is told to: which reads there
//! are is the policy's plan. Every answer is bounded in bytes and time, and what is not an answer is
//! said in the policy's words.

mod auth;
mod connection;
mod credentials;
mod push;

use std::{path::PathBuf, time::Duration};

use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE},
};
use portcullis_signature::{Answer, Base64, Read, ReasonCode, What};
use tokio::time::{Instant, sleep, timeout_at};

use auth::Tokens;
use connection::{Connections, Received};
use credentials::Credentials;

/// Registries hand blobs out from elsewhere, by one redirect; some content networks add one more.
const MAX_REDIRECTS: usize = 3;
/// Longest wait that a registry may ask for before the one retry.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// For a registry that is overloaded and does not say for how long.
const PAUSE: Duration = Duration::from_millis(300);
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// How registries are reached.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Plain HTTP to registries on this machine; everywhere else it is HTTPS.
    pub(crate) plain_http: bool,
    /// Certificates to trust instead of the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// Docker's configuration file, for credentials.
    pub(crate) credentials: Option<PathBuf>,
    /// Bytes of one answer at most.
    pub(crate) max_bytes: usize,
    /// Until when the last answer must be there.
    pub(crate) deadline: Instant,
}

/// A client for the reads of one verification.
pub(crate) struct Registry {
    options: Options,
    connections: Connections,
    tokens: Tokens,
    credentials: Credentials,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ReasonCode,
    detail: String,
}

impl Failure {
    fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ReasonCode::RegistryUnavailable, detail)
    }
}

impl Registry {
    /// # Errors
    ///
    /// A file with certificates or credentials cannot be read.
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let connector = crate::tls::connector(options.ca_file.as_deref())?;
        let credentials = Credentials::read(options.credentials.as_deref())?;
        Ok(Self { connections: Connections::new(connector), tokens: Tokens::default(), credentials, options })
    }

    /// What the registry answers, before the deadline.
    pub(crate) async fn read(&self, read: &Read) -> Answer {
        let answer = timeout_at(self.options.deadline, self.try_read(read)).await;
        let late = || Failure::new(ReasonCode::RegistryTimeout, "no answer before the deadline");
        match answer.unwrap_or_else(|_| Err(late())) {
            Ok(Some(body)) => Answer::Found(Base64(body)),
            Ok(None) => Answer::Absent,
            Err(Failure { code, detail }) => {
                Answer::Failed { code, detail: format!("{}: {detail}", read.registry) }
            }
        }
    }

    /// The body, or that there is none.
    async fn try_read(&self, read: &Read) -> Result<Option<Vec<u8>>, Failure> {
        let host = host_of(&read.registry);
        let scheme = if self.speaks_plainly(host) { "http" } else { "https" };
        let uri: Uri = format!("{scheme}://{host}{}", read.path())
            .parse()
            .map_err(|_| Failure::unavailable("its name is no host"))?;
        let scope = format!("repository:{}:pull", read.repository);
        let mut authorization = self.tokens.known(host, &scope);
        let mut retried = false;
        let mut challenged = false;
        loop {
            let received = self.get(&uri, read.accept(), authorization.as_deref()).await?;
            let pause = pause(&received.headers);
            match received.status {
                StatusCode::UNAUTHORIZED if !challenged => {
                    challenged = true;
                    authorization = Some(self.authorize(host, &scope, &received.headers).await?);
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    if !retried
                        && pause.is_some_and(|pause| Instant::now() + pause < self.options.deadline) =>
                {
                    retried = true;
                    sleep(pause.unwrap_or_default()).await;
                }
                status if status.is_redirection() && !matches!(read.what, What::Referrers(_)) => {
                    return self.follow(uri, received, read.accept()).await.map(Some);
                }
                StatusCode::OK => return Ok(Some(received.body)),
                StatusCode::NOT_FOUND => return Ok(None),
                status => return Err(refused(status, &received.headers)),
            }
        }
    }

    async fn authorize(&self, host: &str, scope: &str, headers: &HeaderMap) -> Result<String, Failure> {
        let challenges: Vec<_> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        let challenge = auth::Challenge::choose(&challenges).ok_or_else(|| {
            Failure::new(ReasonCode::RegistryUnauthorized, "it asks for a login of an unknown kind")
        })?;
        let login = self.credentials.for_registry(host);
        let missing = |detail: String| {
            let hint = self.credentials.hint(host);
            Failure::new(ReasonCode::RegistryUnauthorized, format!("{detail}{hint}"))
        };
        match challenge {
            auth::Challenge::Basic => login
                .map(|login| format!("Basic {login}"))
                .ok_or_else(|| missing("it asks for a user name and password, and there are none".into())),
            auth::Challenge::Bearer(challenge) => {
                self.tokens
                    .fetch(host, scope, async || {
                        let uri = challenge.address(scope)?;
                        if !self.may_call(&uri) {
                            return Err(Failure::unavailable("its token service is not at an https address"));
                        }
                        let basic = login.map(|login| format!("Basic {login}"));
                        let received = self.get(&uri, "application/json", basic.as_deref()).await?;
                        match received.status {
                            StatusCode::OK => auth::token(&received.body),
                            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                                Err(missing("its token service refuses".into()))
                            }
                            status => Err(refused(status, &received.headers)),
                        }
                    })
                    .await
            }
        }
    }

    /// Follows a redirect without credentials: what is signed stands on its digest, not on where
    /// it came from.
    async fn follow(&self, mut uri: Uri, mut received: Received, accept: &str) -> Result<Vec<u8>, Failure> {
        for _ in 0..MAX_REDIRECTS {
            let location = received.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| resolve(&uri, location));
            uri = next.ok_or_else(|| Failure::unavailable("it redirects to no address"))?;
            if !self.may_call(&uri) {
                return Err(Failure::unavailable("it redirects to an address that is not https"));
            }
            received = self.get(&uri, accept, None).await?;
            if !received.status.is_redirection() {
                break;
            }
        }
        match received.status {
            StatusCode::OK => Ok(received.body),
            // Only the registry itself can say that something is not there.
            status => Err(refused(status, &received.headers)),
        }
    }

    async fn get(&self, uri: &Uri, accept: &str, authorization: Option<&str>) -> Result<Received, Failure> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(ACCEPT, accept)
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(http_body_util::Full::default())
            .map_err(|_| Failure::unavailable("its address makes no request"))?;
        self.connections.send(uri, request, self.options.max_bytes).await
    }

    /// HTTPS, or plain HTTP where it was asked for and stays on this machine.
    fn may_call(&self, uri: &Uri) -> bool {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        match uri.scheme_str() {
            Some("https") => true,
            Some("http") => self.speaks_plainly(host),
            _ => false,
        }
    }

    fn speaks_plainly(&self, host: &str) -> bool {
        self.options.plain_http && is_loopback(host)
    }
}

/// The name under which a registry serves: Docker Hub's is another than its images'.
fn host_of(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

/// Whether `host`, with or without a port, is this machine by its very name.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::new(ReasonCode::RegistryUnauthorized, format!("it answers {status}"))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait = wait.map(|wait| format!(", and to ask again after {wait}")).unwrap_or_default();
            Failure::new(ReasonCode::RegistryRateLimited, format!("it answers {status}{wait}"))
        }
        StatusCode::GATEWAY_TIMEOUT => {
            Failure::new(ReasonCode::RegistryTimeout, format!("it answers {status}"))
        }
        _ => Failure::unavailable(format!("it answers {status}")),
    }
}

/// How long to wait before the one retry: what the registry asks for in seconds, a moment where it
/// does not say, and no retry where it asks for more than a verification can wait.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let Some(value) = headers.get(RETRY_AFTER) else { return Some(PAUSE) };
    let seconds = value.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|pause| *pause <= MAX_PAUSE)
}

/// A `Location`, which may leave out scheme and host.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = (base.scheme_str()?, base.authority()?);
        return format!("{scheme}://{authority}{location}").parse().ok();
    }
    location.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.evil.test", "evil.test:80", "10.0.0.1", "[2001:db8::1]:443", "127.0.0.1.nip.io"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_location_may_leave_out_the_host() {
        let base: Uri = "https://r.test/v2/a/blobs/x".parse().unwrap();
        assert_eq!(resolve(&base, "/b?c").unwrap(), "https://r.test/b?c");
        assert_eq!(resolve(&base, "https://cdn.test/b").unwrap(), "https://cdn.test/b");
        assert_eq!(resolve(&base, "//cdn.test/b").and_then(|uri| uri.scheme_str().map(str::to_owned)), None);
    }
}
