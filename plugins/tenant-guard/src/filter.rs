//! One request.

use std::rc::Rc;

use portcullis_abi::reply;
use portcullis_core::{Code, Denial};
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use portcullis_tenant::Guard;

use crate::enforcer::Enforcer;

/// A request under way.
pub(crate) struct Filter {
    /// Nothing where the worker has no valid configuration: then nothing passes.
    enforcer: Option<Rc<Enforcer>>,
    passed: bool,
    guard: Option<Guard>,
}

impl Filter {
    pub(crate) const fn new(enforcer: Option<Rc<Enforcer>>) -> Self {
        Self { enforcer, passed: false, guard: None }
    }

    /// Body and trailers of a request that was answered go nowhere.
    const fn may_pass(&self) -> Action {
        if self.passed { Action::Continue } else { Action::Pause }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match &self.enforcer {
            Some(enforcer) => (self.passed, self.guard) = enforcer.enforce(),
            // Paused, with or without the answer.
            None => {
                let _ = reply::deny(&Denial::new(Code::InternalError, "no valid configuration"));
            }
        }
        self.may_pass()
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.may_pass()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let cleaned = self.enforcer.as_ref().map_or(Ok(()), |enforcer| enforcer.clean_trailers());
        if let Err(refused) = cleaned {
            let _ = reply::fail(refused);
            return Action::Pause;
        }
        self.may_pass()
    }

    /// Answers of this filter itself pass here too.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        match &self.enforcer {
            Some(enforcer) if self.passed => enforcer.clean_response(self.guard.as_ref()),
            _ => Action::Continue,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if let Some(enforcer) = &self.enforcer {
            enforcer.clean_response_trailers();
        }
        Action::Continue
    }
}
