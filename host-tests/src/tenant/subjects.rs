//! Who answers the corpus.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use portcullis_core::{Request, UnixTime, request::borrowed};
use portcullis_crypto::Software;
use portcullis_host::{Outcome, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_jwt::{self as jwt, Decision, KeySource, jwks::KeySet};
use portcullis_tenant::{self as tenant, Evidence, Origin, Unknown, Verdict};

use super::{Case, World};
use crate::{
    envoy::Envoy,
    loopback::{self, Upstream},
    subject::{Judgement, Refusal, compiled},
};

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// The policies as libraries, one after the other.
pub struct Native {
    jwt: jwt::Policy,
    tenant: tenant::Policy,
    now: UnixTime,
}

struct NoRemoteKeys;

impl KeySource for NoRemoteKeys {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}

struct Published(Option<Vec<u8>>);

impl Evidence for Published {
    fn of(&self, origin: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        Ok(self.0.clone().filter(|_| *origin == Origin::JwtAuth))
    }
}

impl Native {
    /// The policies of `world`, at `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// A configuration is refused.
    pub fn load(world: &World, now: i64) -> Result<Self> {
        let jwt = jwt::Policy::from_json(world.jwt_auth.to_string().as_bytes());
        let tenant = tenant::Policy::from_json(world.tenant_guard.to_string().as_bytes());
        Ok(Self {
            jwt: jwt.map_err(|error| anyhow!("{error}"))?,
            tenant: tenant.map_err(|error| anyhow!("{error}"))?,
            now: UnixTime::from_secs(now),
        })
    }

    /// Judges `case`.
    ///
    /// # Errors
    ///
    /// There is no judgement.
    pub fn judge(&self, case: &Case) -> Result<Judgement> {
        let mut headers = case.headers();
        let decision =
            self.jwt.decide(&Request::new(&borrowed(&headers)), &NoRemoteKeys, &Software, self.now);
        let permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => return Ok(refused(&denial)),
            Decision::Need(need) => bail!("needs keys: {need:?}"),
        };
        apply(&mut headers, permit.remove(), permit.set());
        let published = Published((!permit.identities().is_empty()).then(|| permit.published()));
        match self.tenant.decide(&Request::new(&borrowed(&headers)), &published).verdict {
            Verdict::Permit(permit) => {
                apply(&mut headers, permit.remove(), permit.set());
                Ok(Judgement::Forwarded(named(headers)))
            }
            Verdict::Deny(denial) => Ok(refused(&denial)),
            Verdict::Switch(switch) => {
                let status = if switch.location.is_some() { 303 } else { 204 };
                Ok(answered(status, &[], Some(switch.cookie)))
            }
        }
    }
}

fn apply(headers: &mut Headers, remove: &[Vec<u8>], set: &[(Vec<u8>, Vec<u8>)]) {
    headers.retain(|(name, _)| !remove.iter().any(|removed| removed.eq_ignore_ascii_case(name)));
    for (name, value) in set {
        headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value.clone()));
    }
}

fn named(headers: Headers) -> Vec<(String, Vec<u8>)> {
    let text = |name: Vec<u8>| String::from_utf8_lossy(&name).to_lowercase();
    headers.into_iter().map(|(name, value)| (text(name), value)).collect()
}

fn refused(denial: &portcullis_core::Denial) -> Judgement {
    answered(denial.status(), denial.body().as_bytes(), None)
}

/// An answer of the gateway itself; a cookie stands where a challenge would.
fn answered(status: u16, body: &[u8], cookie: Option<String>) -> Judgement {
    let code = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
    Judgement::Refused(Refusal { status, code, challenge: cookie })
}

/// The modules in the wasmtime host, one after the other, at a virtual time.
pub struct Hosted {
    worker: Worker,
    process: Process,
}

impl Hosted {
    /// The modules with the configurations of `world`.
    ///
    /// # Errors
    ///
    /// A module does not load or refuses its configuration.
    pub fn load(world: &World, modules: [&[u8]; 2], now: i64) -> Result<Self> {
        let clock = VirtualClock::at_unix_seconds(u64::try_from(now).context("a time before 1970")?);
        let process = Process::builder().clock(clock).seed(1).build();
        let mut worker = Worker::new(&process);
        let names = ["jwt-auth", "tenant-guard"];
        for ((name, wasm), config) in
            names.into_iter().zip(modules).zip([&world.jwt_auth, &world.tenant_guard])
        {
            let plugin = Plugin::new(name).configuration(config.to_string());
            let plugin =
                if name == "tenant-guard" { plugin.allow_on_headers_stop_iteration() } else { plugin };
            worker.add(&compiled(wasm)?, plugin)?;
        }
        Ok(Self { worker, process })
    }

    /// What the worker's proxy knows.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Drives `case` and gives the raw outcome, a trap included; then `trailers`, where there are
    /// any, and what became of them.
    pub fn outcome(&mut self, case: &Case, trailers: &[(&str, &str)]) -> (Outcome, Option<Outcome>) {
        let stream = self.worker.open(StreamInfo::new());
        let outcome = self.worker.request_headers(stream, case.headers(), trailers.is_empty());
        let trailers: Headers =
            trailers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let trailing = (!trailers.is_empty()).then(|| self.worker.request_trailers(stream, trailers));
        self.worker.close(stream);
        (outcome, trailing)
    }

    /// Judges `case`.
    ///
    /// # Errors
    ///
    /// There is no judgement: a module trapped, for one.
    pub fn judge(&mut self, case: &Case) -> Result<Judgement> {
        judgement(&self.outcome(case, &[]).0)
    }
}

/// What `outcome` means for the client and the upstream.
///
/// # Errors
///
/// A module trapped, or the request neither went on nor was answered.
pub fn judgement(outcome: &Outcome) -> Result<Judgement> {
    if let Some(trap) = outcome.trap() {
        bail!("the module trapped: {trap}");
    }
    if let Some(reply) = outcome.reply() {
        let cookie = reply.headers.iter().find(|(name, _)| *name == b"set-cookie");
        let cookie = cookie.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let message = reply.headers.iter().find(|(name, _)| *name == b"grpc-message");
        let body = message.map_or_else(|| reply.body.clone(), |(_, message)| unescaped(message));
        return Ok(answered(reply.status(), &body, cookie));
    }
    let Some(headers) = outcome.headers() else { bail!("neither forwarded nor answered: {outcome:?}") };
    let headers = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Ok(Judgement::Forwarded(named(headers)))
}

/// The text of `grpc-message`, in which Envoy tells gRPC clients what others find in the body.
fn unescaped(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((first, tail)) = rest.split_first() {
        let pair = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    out
}

/// How requests are sent to Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1, byte for byte.
    Http1,
    /// HTTP/2, as far as a correct client can say the request.
    Http2,
}

/// The file as it is in Envoy, before an upstream that tells what reached it.
pub struct Real {
    envoy: Envoy,
    upstream: Upstream,
    // Envoy reads the modules' files again for every configuration.
    _folder: tempfile::TempDir,
}

impl Real {
    /// Starts `binary` with the file of `world` and the modules beside it.
    ///
    /// # Errors
    ///
    /// Envoy does not start, or refuses a module or its configuration.
    pub fn load(binary: &Path, world: &World, modules: [&[u8]; 2]) -> Result<Self> {
        Self::load_edited(binary, world, modules, |text| text)
    }

    /// [`Real::load`], with the file changed by `edit`.
    ///
    /// # Errors
    ///
    /// As [`Real::load`].
    pub fn load_edited(
        binary: &Path,
        world: &World,
        modules: [&[u8]; 2],
        edit: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, wasm) in ["jwt-auth.wasm", "tenant-guard.wasm"].into_iter().zip(modules) {
            fs::write(folder.path().join(name), wasm)?;
        }
        let upstream = Upstream::start()?;
        let file = folder.path().join(world.file);
        fs::write(&file, edit(world.bootstrap(upstream.address().port())?))?;
        let envoy = Envoy::start_file(binary, &file, folder.path())?;
        Ok(Self { envoy, upstream, _folder: folder })
    }

    /// The process.
    #[must_use]
    pub const fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Judges `case`; nothing where the transport cannot say it.
    ///
    /// # Errors
    ///
    /// There is no judgement.
    pub fn judge(&mut self, case: &Case, transport: Transport) -> Result<Option<Judgement>> {
        let request = case.message();
        // What earlier requests left there is not this one's.
        drop(self.upstream.take_seen());
        let address = self.envoy.address("gateway");
        let reply = match transport {
            Transport::Http1 => loopback::Connection::open(address)?.call(&request)?,
            // The client takes a fragment for its own and sends none.
            Transport::Http2 if case.target.contains(&b'#') => return Ok(None),
            Transport::Http2 => match loopback::http2(address, &request) {
                Ok(reply) => reply,
                // The client or the codec refused it, so it reached nobody.
                Err(_) if self.upstream.take_seen().is_empty() => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let seen = self.upstream.take_seen();
        if let Some(message) = reply.one("grpc-message").filter(|_| seen.is_empty()) {
            return Ok(Some(answered(reply.status, &unescaped(message.as_bytes()), None)));
        }
        if reply.status == 200 {
            let arrived = seen.first().context("answered 200, but nothing reached the upstream")?;
            let mut headers = vec![(":path".to_owned(), arrived.target.clone().into_bytes())];
            headers.extend(arrived.headers.iter().cloned());
            return Ok(Some(Judgement::Forwarded(headers)));
        }
        ensure!(seen.is_empty(), "answered with {}, but the request reached the upstream", reply.status);
        Ok(Some(answered(reply.status, &reply.body, reply.one("set-cookie"))))
    }
}
