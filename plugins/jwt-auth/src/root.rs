//! The root context of one worker: its configuration, its timer and the answers to its fetches.

use std::{cell::RefCell, rc::Rc, time::Duration};

use portcullis_abi::{
    self as abi,
    log::{self, Level},
    verify::Arithmetic,
};
use portcullis_jwt::{Policy, verified::Verified};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{
    enforcer::{Enforcer, Verdict},
    filter::Filter,
    keys::{KeyStore, Wake, Wakes},
    metrics::Metrics,
    seed::Seed,
};

/// How soon a request's need is acted upon. An idle tick costs a clock reading.
const TICK: Duration = Duration::from_millis(20);
/// How soon counters are told where no keys are fetched.
const LONG_TICK: Duration = Duration::from_secs(1);

/// How soon the next requests are woken, where more of them wait than one callback wakes.
const HURRY: Duration = Duration::from_millis(1);
/// How many requests one callback wakes. Envoy lets each one go on from within the end of the one
/// before, with a call into this VM for its answer, so their number is the depth of the stack:
/// about 500 exhaust it and end the VM, and clients choose how many wait.
const MOST_WOKEN: usize = 16;

/// The worker.
pub(crate) struct Root {
    id: u32,
    enforcer: Option<Rc<Enforcer>>,
    /// Requests whose wait is over, for the next callbacks.
    wakes: RefCell<Wakes>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, enforcer: None, wakes: RefCell::default() }
    }

    /// Reads the whole configuration before anything changes: what is refused leaves the previous
    /// configuration at work.
    fn configure(size: usize) -> Result<Enforcer, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        let policy = Policy::from_json(&document).map_err(|error| error.to_string())?;
        let seed = Seed::draw();
        let room = seed.map_or(0, |_| policy.limits().verified_tokens_bytes);
        let fetches = policy.remote_keys().next().is_some();
        let ticks = abi::set_tick_period(if fetches { TICK } else { LONG_TICK }).is_ok();
        if fetches && !ticks {
            return Err("no timer, so no key set can be fetched".into());
        }
        Ok(Enforcer {
            verified: Verified::new(room, seed.unwrap_or_default()),
            keys: RefCell::new(KeyStore::new(&policy)),
            arithmetic: Arithmetic::probe(),
            metrics: Metrics::new(policy.reports(), ticks),
            resumed: RefCell::default(),
            policy,
        })
    }

    /// Lets the woken requests be judged again, and answers those that waited in vain.
    fn wake(&self, enforcer: &Enforcer, wakes: Wakes) {
        for (stream, wake) in wakes {
            if abi::set_effective_context(stream).is_err() {
                // The client has gone.
                continue;
            }
            let verdict = match wake {
                Wake::Judge => enforcer.enforce(stream),
                Wake::Refuse(denial) => enforcer.refuse(denial),
            };
            match verdict {
                Verdict::Continue => {
                    enforcer.forget(stream);
                    enforcer.resume(stream);
                }
                Verdict::Answered => enforcer.forget(stream),
                Verdict::Wait => {}
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
        let Some((now, later)) = self.share_out(wakes) else { return };
        self.wake(enforcer, now);
        if later {
            // Refused: they are woken one ordinary tick later.
            let _ = abi::set_tick_period(HURRY);
        }
    }

    /// The next of all that are to be woken, with `new` at the end, and whether there are more.
    fn share_out(&self, new: Wakes) -> Option<(Wakes, bool)> {
        let mut all = self.wakes.try_borrow_mut().ok()?;
        let waited = !all.is_empty();
        all.append(new);
        let now = all.take(MOST_WOKEN);
        if waited && all.is_empty() {
            let _ = abi::set_tick_period(TICK);
        }
        Some((now, !all.is_empty()))
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        self.drive(|keys| keys.answered(token, headers > 0, body));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let read = Self::configure(size).inspect(|enforcer| {
            for warning in enforcer.policy.warnings() {
                log::write(Level::Warn, || format!("configuration: {warning}"));
            }
            let arithmetic = if enforcer.arithmetic.uses_host() { "the host" } else { "the module" };
            log::write(Level::Info, || format!("configured; signatures are verified by {arithmetic}"));
        });
        abi::take_up(&mut self.enforcer, read)
    }

    fn on_tick(&mut self) {
        if let Some(enforcer) = &self.enforcer {
            enforcer.metrics.tell();
        }
        self.drive(KeyStore::tick);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(id, self.enforcer.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
