//! Writing to a registry (OCI distribution 1.1, "Push"): blobs that it does not have, then manifests.

use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};

use super::{AGENT, Failure, Registry, connection::Received, host_of, refused, resolve};

/// What is asked of the registry, without where it is.
struct Call<'a> {
    method: Method,
    media_type: &'a str,
    body: Bytes,
}

impl<'a> Call<'a> {
    fn new(method: Method) -> Self {
        Self { method, media_type: "application/octet-stream", body: Bytes::new() }
    }

    fn with(self, media_type: &'a str, body: &[u8]) -> Self {
        Self { media_type, body: Bytes::copy_from_slice(body), ..self }
    }
}

impl Registry {
    /// Writes a blob, where the registry does not have it.
    ///
    /// # Errors
    ///
    /// The registry refuses, or cannot be reached.
    pub(crate) async fn push_blob(
        &self,
        registry: &str,
        repository: &str,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let base = self.base(registry, repository)?;
        let at = |path: &str| address(&format!("{base}{path}"));
        let call = |uri, call| self.write(registry, repository, uri, call);
        let known = call(at(&format!("/blobs/{digest}"))?, Call::new(Method::HEAD)).await?;
        if known.status == StatusCode::OK {
            return Ok(());
        }
        let begun = at("/blobs/uploads/")?;
        let upload = call(begun.clone(), Call::new(Method::POST)).await?;
        if upload.status != StatusCode::ACCEPTED {
            return Err(refused(upload.status, &upload.headers));
        }
        let location = upload.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let place = location.and_then(|location| resolve(&begun, location));
        let place = place.ok_or_else(|| Failure::unavailable("it names no place for a blob"))?;
        // The bytes go with the credentials, so they go nowhere else.
        if place.authority() != begun.authority() || place.scheme() != begun.scheme() {
            return Err(Failure::unavailable("it wants the blob at another host"));
        }
        let separator = if place.query().is_some() { '&' } else { '?' };
        let place = address(&format!("{place}{separator}digest={digest}"))?;
        let stored = call(place, Call::new(Method::PUT).with("application/octet-stream", bytes)).await?;
        created(&stored)
    }

    /// Writes a manifest under `name`, a tag or its digest.
    ///
    /// # Errors
    ///
    /// As [`Registry::push_blob`].
    pub(crate) async fn push_manifest(
        &self,
        registry: &str,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let uri = address(&format!("{}/manifests/{name}", self.base(registry, repository)?))?;
        let call = Call::new(Method::PUT).with(media_type, bytes);
        created(&self.write(registry, repository, uri, call).await?)
    }

    fn base(&self, registry: &str, repository: &str) -> Result<String, Failure> {
        let host = host_of(registry);
        let scheme = if self.speaks_plainly(host) { "http" } else { "https" };
        Ok(format!("{scheme}://{host}/v2/{repository}"))
    }

    async fn write(
        &self,
        registry: &str,
        repository: &str,
        uri: Uri,
        call: Call<'_>,
    ) -> Result<Received, Failure> {
        let host = host_of(registry);
        let scope = format!("repository:{repository}:pull,push");
        let known = self.tokens.known(host, &scope);
        let received = self.send(&uri, &call, known.as_deref()).await?;
        if received.status != StatusCode::UNAUTHORIZED {
            return Ok(received);
        }
        let authorization = self.authorize(host, &scope, &received.headers).await?;
        self.send(&uri, &call, Some(&authorization)).await
    }

    async fn send(
        &self,
        uri: &Uri,
        call: &Call<'_>,
        authorization: Option<&str>,
    ) -> Result<Received, Failure> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(path)
            .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, call.media_type);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(call.body.clone()))
            .map_err(|_| Failure::unavailable("its address makes no request"))?;
        let sent = self.connections.send(uri, request, self.options.max_bytes);
        let late = || Failure::unavailable("no answer before the deadline");
        tokio::time::timeout_at(self.options.deadline, sent).await.unwrap_or_else(|_| Err(late()))
    }
}

fn address(text: &str) -> Result<Uri, Failure> {
    text.parse().map_err(|_| Failure::unavailable("its name is no host"))
}

fn created(received: &Received) -> Result<(), Failure> {
    if received.status == StatusCode::CREATED {
        return Ok(());
    }
    Err(refused(received.status, &received.headers))
}
