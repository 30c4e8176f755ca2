//! The policy as a library, with the crates' arithmetic.

use anyhow::{Result, anyhow, bail};
use portcullis_core::{Code, UnixTime, request::borrowed};
use portcullis_crypto::Software;
use portcullis_issuer::attacks::Request;
use portcullis_jwt::{self as jwt, Decision, KeySource, Policy, jwks::KeySet};
use serde_json::Value;

use super::{Judgement, Subject, refusal, with_pseudo_headers};

/// The native policy at a fixed time.
#[derive(Debug)]
pub struct Native {
    policy: Policy,
    now: UnixTime,
}

struct NoRemoteKeys;

impl KeySource for NoRemoteKeys {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}

impl Native {
    /// The policy of `configuration`, at `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The configuration is refused.
    pub fn load(configuration: &Value, now: i64) -> Result<Self> {
        let policy =
            Policy::from_json(configuration.to_string().as_bytes()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { policy, now: UnixTime::from_secs(now) })
    }
}

impl Native {
    /// The code of the refusal of a bearer token at `now` in seconds since 1970; none where it is
    /// accepted. Much cheaper than [`Subject::judge`].
    #[must_use]
    pub fn code(&self, token: &[u8], now: i64) -> Option<Code> {
        let value = [b"Bearer ", token].concat();
        let headers = [
            (":method", b"GET".as_slice()),
            (":path", b"/orders/7"),
            (":authority", b"gateway"),
            ("authorization", &value),
        ];
        let pairs = borrowed(&headers);
        let request = jwt::Request::new(&pairs);
        match self.policy.decide(&request, &NoRemoteKeys, &Software, UnixTime::from_secs(now)) {
            Decision::Permit(_) => None,
            Decision::Deny(denial) => Some(denial.code()),
            Decision::Need(need) => Some(need.otherwise.code()),
        }
    }
}

impl Subject for Native {
    fn name(&self) -> &'static str {
        "native policy"
    }

    fn judge(&mut self, request: &Request) -> Result<Judgement> {
        let mut headers = with_pseudo_headers(request);
        let pairs = borrowed(&headers);
        let decision = self.policy.decide(&jwt::Request::new(&pairs), &NoRemoteKeys, &Software, self.now);
        let permit = match decision {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => {
                let refusal = refusal(denial.status(), denial.body().as_bytes(), denial.www_authenticate());
                return Ok(Judgement::Refused(refusal));
            }
            Decision::Need(need) => bail!("needs keys: {need:?}"),
        };
        headers.retain(|(name, _)| !permit.remove().iter().any(|removed| removed.eq_ignore_ascii_case(name)));
        for (name, value) in permit.set() {
            headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
            headers.push((name.clone(), value.clone()));
        }
        let seen = headers.into_iter().filter(|(name, _)| !name.starts_with(b":"));
        Ok(Judgement::Forwarded(
            seen.map(|(name, value)| (String::from_utf8_lossy(&name).to_lowercase(), value)).collect(),
        ))
    }
}
