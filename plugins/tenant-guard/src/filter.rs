//! One request.

use std::rc::Rc;

use portcullis_abi::reply;
use portcullis_core::{Code, Denial};
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::{
    answer::Answer,
    enforcer::{Enforcer, Passed},
};

/// A request under way.
pub(crate) struct Filter {
    /// Nothing where the worker has no valid configuration: then nothing passes.
    enforcer: Option<Rc<Enforcer>>,
    passed: Option<Passed>,
    context: u32,
    answer: Option<Answer>,
}

impl Filter {
    pub(crate) const fn new(context: u32, enforcer: Option<Rc<Enforcer>>) -> Self {
        Self { enforcer, passed: None, context, answer: None }
    }

    /// Body and trailers of a request that was answered go nowhere.
    const fn may_pass(&self) -> Action {
        if self.passed.is_some() { Action::Continue } else { Action::Pause }
    }
}

/// The proxy deletes a filter as soon as its stream ends.
impl Drop for Filter {
    fn drop(&mut self) {
        if let (Some(enforcer), Some(_)) = (&self.enforcer, &self.answer) {
            enforcer.timed.forget(self.context);
        }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match &self.enforcer {
            Some(enforcer) => self.passed = enforcer.enforce(),
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
    fn on_http_response_headers(&mut self, _: usize, ends: bool) -> Action {
        let (Some(enforcer), Some(passed)) = (&self.enforcer, &self.passed) else { return Action::Continue };
        let (action, inspection) = enforcer.clean_response(passed.guard.as_ref(), passed.told.as_ref(), ends);
        let Some(inspection) = inspection else { return action };
        let (action, answer) = enforcer.begin(self.context, inspection);
        self.answer = Some(answer);
        action
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        match (
            &self.enforcer,
            &mut self.answer,
            self.passed.as_ref().and_then(|passed| passed.guard.as_ref()),
        ) {
            (Some(enforcer), Some(answer), Some(guard)) => {
                enforcer.body(self.context, answer, guard, size, ends)
            }
            _ => Action::Continue,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if let Some(enforcer) = &self.enforcer {
            enforcer.clean_response_trailers();
            let guard = self.passed.as_ref().and_then(|passed| passed.guard.as_ref());
            if let (Some(answer), Some(guard)) = (&mut self.answer, guard) {
                return enforcer.trailers(self.context, answer, guard);
            }
        }
        Action::Continue
    }
}
