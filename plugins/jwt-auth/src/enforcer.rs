//! What the root context and every request of one worker share, and the way from a decision to
//! its effects.

use std::{cell::RefCell, collections::BTreeSet};

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Map},
    log::{self, Level},
    reply,
    verify::Arithmetic,
};
use portcullis_core::{Code, Denial};
use portcullis_jwt::{Decision, Need, Permit, Policy, Request, request::Peer, verified::Verified};

use crate::{
    keys::{Answer, KeyStore},
    metrics::Metrics,
    seed::Seed,
};

/// How often one callback judges a request whose keys change while it is judged.
const JUDGEMENTS: usize = 3;
/// The name under which later filters find the verified claims.
const PROPERTY: &[&str] = &["portcullis_jwt"];

/// Names in the certificate that the client showed, as the host has read it.
#[derive(Default)]
struct PeerNames {
    uri: Option<Vec<u8>>,
    dns: Option<Vec<u8>>,
}

impl PeerNames {
    fn read() -> Result<Self, Refused> {
        Ok(Self {
            uri: abi::property(&["connection", "uri_san_peer_certificate"])?,
            dns: abi::property(&["connection", "dns_san_peer_certificate"])?,
        })
    }

    fn as_peer(&self) -> Peer<'_> {
        Peer { uri_san: self.uri.as_deref(), dns_san: self.dns.as_deref() }
    }
}

/// A configured worker.
pub(crate) struct Enforcer {
    pub(crate) policy: Policy,
    pub(crate) arithmetic: Arithmetic,
    /// Ends with the configuration: a new one begins with nothing.
    pub(crate) verified: Verified<Seed>,
    pub(crate) keys: RefCell<KeyStore>,
    pub(crate) metrics: Metrics,
    /// Requests that waited and have their permit; until they end.
    pub(crate) resumed: RefCell<BTreeSet<u32>>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on; its headers are as the permit says.
    Continue,
    /// It was answered.
    Answered,
    /// It waits for keys.
    Wait,
}

impl Enforcer {
    /// Judges the request of the effective context, whose id is `stream`, and makes the verdict
    /// true: a permit's changes are done, or the client has an answer.
    pub(crate) fn enforce(&self, stream: u32) -> Verdict {
        match self.judge(stream) {
            Ok(verdict) => verdict,
            Err(refused) => self.fail(refused),
        }
    }

    fn judge(&self, stream: u32) -> Result<Verdict, Refused> {
        let headers = http::headers(Map::RequestHeaders)?;
        let headers = headers.list()?;
        let names = if self.policy.compares_peer() { PeerNames::read()? } else { PeerNames::default() };
        let request = Request::new(&headers).with_peer(names.as_peer());
        let now = abi::now()?;
        for _ in 0..JUDGEMENTS {
            // Held only while deciding: effects may come back to this worker.
            let decision = {
                let mut keys = self.keys.try_borrow_mut().map_err(|_| Refused::UNREADABLE)?;
                keys.read_clock();
                self.policy.decide_remembering(&request, &*keys, &self.arithmetic, &self.verified, now)
            };
            self.metrics.signatures(self.verified.take_counts());
            let need = match decision {
                Decision::Permit(permit) => return self.permit(&permit),
                Decision::Deny(denial) => return self.deny(&request, &denial),
                Decision::Need(need) => need,
            };
            let answer = {
                let mut keys = self.keys.try_borrow_mut().map_err(|_| Refused::UNREADABLE)?;
                keys.need(need, stream)
            };
            match answer {
                Answer::Again => {}
                Answer::Wait => return Ok(Verdict::Wait),
                Answer::Refuse(denial) => return self.refuse_with(&request, denial),
            }
        }
        let denial = Denial::new(Code::KeysUnavailable, "the keys change faster than they are used");
        self.refuse_with(&request, denial)
    }

    /// Refuses with `denial`, unless the request's rule only reports.
    fn refuse_with(&self, request: &Request<'_>, denial: Denial) -> Result<Verdict, Refused> {
        match self.policy.refuse(request, denial) {
            Decision::Permit(permit) => self.permit(&permit),
            Decision::Deny(denial) | Decision::Need(Need { otherwise: denial, .. }) => {
                self.deny(request, &denial)
            }
        }
    }

    /// Lets the request `stream`, which waited and has its permit now, go on.
    pub(crate) fn resume(&self, stream: u32) {
        if let Ok(mut resumed) = self.resumed.try_borrow_mut() {
            resumed.insert(stream);
            drop(resumed);
            // Refused only where the request has ended in the meantime.
            let _ = http::resume_request();
        }
    }

    /// Whether the request `stream` was let go on after it waited.
    pub(crate) fn was_resumed(&self, stream: u32) -> bool {
        self.resumed.try_borrow().is_ok_and(|resumed| resumed.contains(&stream))
    }

    /// The request `stream` is over.
    pub(crate) fn end(&self, stream: u32) {
        self.forget(stream);
        if let Ok(mut resumed) = self.resumed.try_borrow_mut() {
            resumed.remove(&stream);
        }
    }

    /// The request `stream` waits no more.
    pub(crate) fn forget(&self, stream: u32) {
        if let Ok(mut keys) = self.keys.try_borrow_mut() {
            keys.forget(stream);
        }
    }

    /// Every change or none: a request whose changes fail is answered, not continued.
    fn permit(&self, permit: &Permit) -> Result<Verdict, Refused> {
        for name in permit.remove() {
            http::remove_header(Map::RequestHeaders, name)?;
        }
        for (name, value) in permit.set() {
            http::set_header(Map::RequestHeaders, name, value)?;
        }
        if self.policy.publishes_claims() && !permit.identities().is_empty() {
            abi::set_property(PROPERTY, &permit.published())?;
        }
        match permit.reported() {
            None => self.metrics.permitted.increment(),
            Some(denial) => {
                self.metrics.reported(denial.code());
                log::write(Level::Info, || format!("only reported: would be denied: {denial}"));
            }
        }
        Ok(Verdict::Continue)
    }

    /// Answers with `denial`, after what pretends to come from this filter is gone.
    fn deny(&self, request: &Request<'_>, denial: &Denial) -> Result<Verdict, Refused> {
        for name in self.policy.spoofed(request) {
            http::remove_header(Map::RequestHeaders, &name)?;
        }
        self.metrics.denied(denial.code());
        log::write(Level::Debug, || format!("denied: {denial}"));
        reply::deny(denial)?;
        Ok(Verdict::Answered)
    }

    /// Answers the request of the effective context, which waited in vain; one under a rule that
    /// only reports goes on.
    pub(crate) fn refuse(&self, denial: Denial) -> Verdict {
        let answered = http::headers(Map::RequestHeaders)
            .and_then(|headers| self.refuse_with(&Request::new(&headers.list()?), denial));
        answered.unwrap_or_else(|refused| self.fail(refused))
    }

    fn fail(&self, refused: Refused) -> Verdict {
        self.metrics.denied(Code::InternalError);
        log::write(Level::Error, || format!("denied: INTERNAL_ERROR: {refused}"));
        // Without an answer the request stays paused and the proxy's own timeout ends it: that
        // is still a refusal.
        let _ = reply::fail(refused);
        Verdict::Answered
    }
}
