//! The root context of one worker: its configuration, its timer and the answers to its fetches.

use std::{cell::RefCell, rc::Rc, time::Duration};

use portcullis_abi::{
    self as abi,
    log::{self, Level},
    verify::Arithmetic,
};
use portcullis_jwt::Policy;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{
    enforcer::{Enforcer, Verdict},
    filter::Filter,
    keys::{KeyStore, Wakes},
    metrics::Metrics,
};

/// How soon a request's need is acted upon. An idle tick costs a clock reading.
const TICK: Duration = Duration::from_millis(20);

/// The worker.
pub(crate) struct Root {
    id: u32,
    enforcer: Option<Rc<Enforcer>>,
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, enforcer: None }
    }

    /// Reads the whole configuration before anything changes: what is refused leaves the previous
    /// configuration at work.
    fn configure(size: usize) -> Result<Enforcer, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        let policy = Policy::from_json(&document).map_err(|error| error.to_string())?;
        Ok(Enforcer {
            keys: RefCell::new(KeyStore::new(&policy)),
            arithmetic: Arithmetic::probe(),
            metrics: Metrics::new(),
            policy,
        })
    }

    /// Lets the woken requests be judged again, and answers those that waited in vain.
    fn wake(&self, enforcer: &Enforcer, wakes: Wakes) {
        for stream in wakes.judge {
            if abi::set_effective_context(stream).is_err() {
                // The client has gone.
                continue;
            }
            match enforcer.enforce(stream) {
                Verdict::Continue => {
                    enforcer.forget(stream);
                    // Refused only where the request has ended in the meantime.
                    let _ = abi::http::resume_request();
                }
                Verdict::Answered => enforcer.forget(stream),
                Verdict::Wait => {}
            }
        }
        for (stream, denial) in wakes.refuse {
            if abi::set_effective_context(stream).is_ok() {
                enforcer.refuse(&denial);
            }
        }
        // The rest of this callback acts on the root again; if not, its calls are refused.
        let _ = abi::set_effective_context(self.id);
    }

    fn drive(&self, event: impl FnOnce(&mut KeyStore) -> Wakes) {
        let Some(enforcer) = &self.enforcer else { return };
        let wakes = match enforcer.keys.try_borrow_mut() {
            Ok(mut keys) => event(&mut keys),
            Err(_) => return,
        };
        self.wake(enforcer, wakes);
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        self.drive(|keys| keys.answered(token, headers > 0, body));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Self::configure(size) {
            Ok(enforcer) => {
                for warning in enforcer.policy.warnings() {
                    log::write(Level::Warn, || format!("configuration: {warning}"));
                }
                let arithmetic = if enforcer.arithmetic.uses_host() { "the host" } else { "the module" };
                log::write(Level::Info, || format!("configured; signatures are verified by {arithmetic}"));
                let is_remote = enforcer.keys.borrow().is_remote();
                if is_remote && abi::set_tick_period(TICK).is_err() {
                    log::write(Level::Error, || {
                        "configuration refused: no timer, so no key set can be fetched".into()
                    });
                    return false;
                }
                self.enforcer = Some(Rc::new(enforcer));
                true
            }
            Err(reason) => {
                log::write(Level::Error, || format!("configuration refused: {reason}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.drive(KeyStore::tick);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(id, self.enforcer.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
