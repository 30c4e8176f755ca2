//! One request.

use std::rc::Rc;

use portcullis_abi::{
    http::{self, Map},
    reply,
};
use portcullis_core::{Code, Denial};
use portcullis_jwt::Request;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::enforcer::{Enforcer, Verdict};

/// A request under way.
pub(crate) struct Filter {
    id: u32,
    /// Nothing where the worker has no valid configuration: then nothing passes.
    enforcer: Option<Rc<Enforcer>>,
    waits: bool,
    passed: bool,
}

impl Filter {
    pub(crate) const fn new(id: u32, enforcer: Option<Rc<Enforcer>>) -> Self {
        Self { id, enforcer, waits: false, passed: false }
    }
}

impl Filter {
    /// Whether the request has its permit. Body and trailers may arrive while it has none: a host
    /// that is told to go on reading then continues the whole request for them.
    fn may_pass(&self) -> Action {
        let resumed = |enforcer: &Rc<Enforcer>| enforcer.was_resumed(self.id);
        if self.passed || (self.waits && self.enforcer.as_ref().is_some_and(resumed)) {
            Action::Continue
        } else {
            Action::Pause
        }
    }
}

/// The end of the request. A client that goes away while it waits leaves nothing behind.
impl Drop for Filter {
    fn drop(&mut self) {
        if self.waits
            && let Some(enforcer) = &self.enforcer
        {
            enforcer.end(self.id);
        }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(enforcer) = &self.enforcer else {
            // Paused, with or without the answer.
            let _ = reply::deny(&Denial::new(Code::InternalError, "no valid configuration"));
            return Action::Pause;
        };
        match enforcer.enforce(self.id) {
            Verdict::Continue => {
                self.passed = true;
                Action::Continue
            }
            Verdict::Answered => Action::Pause,
            Verdict::Wait => {
                self.waits = true;
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.may_pass()
    }

    /// Trailers reach the upstream as well, and some servers merge them into the headers (RFC
    /// 9110 section 6.5.1 warns of it).
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let Some(enforcer) = &self.enforcer else { return Action::Pause };
        let cleaned = http::headers(Map::RequestTrailers).and_then(|trailers| {
            enforcer
                .policy
                .spoofed(&Request::new(&trailers.list()?))
                .iter()
                .try_for_each(|name| http::remove_header(Map::RequestTrailers, name))
        });
        match cleaned {
            Ok(()) => self.may_pass(),
            Err(refused) => {
                let _ = reply::fail(refused);
                Action::Pause
            }
        }
    }
}
