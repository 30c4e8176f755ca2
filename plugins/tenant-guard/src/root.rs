//! The root context of one worker: its configuration.

use std::{cell::RefCell, rc::Rc, time::Duration};

use portcullis_abi::{
    self as abi,
    log::{self, Level},
};
use portcullis_tenant::{Policy, Setting, audit::Mode, concurrency::Limits};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{
    answer::Timed,
    concurrency::{Concurrency, Ledger},
    directory::Fetched,
    enforcer::Enforcer,
    filter::Filter,
    metrics::Metrics,
    quota::{Slots, Survey},
};

/// The worker.
pub(crate) struct Root {
    id: u32,
    enforcer: Option<Rc<Enforcer>>,
    /// What is under way, once anything is limited.
    ledger: Option<Rc<Ledger>>,
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, enforcer: None, ledger: None }
    }

    /// Reads the whole configuration before anything changes: what is refused leaves the previous
    /// configuration at work.
    fn configure(&mut self, size: usize) -> Result<Enforcer, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        let policy = Policy::from_json(&document).map_err(|error| error.to_string())?;
        let fetched = policy.remote().map(Fetched::new);
        // Another one in each worker: whoever compares hashes across proxies configures one.
        let salt =
            getrandom::u64().map(|high| format!("{high:016x}{:016x}", getrandom::u64().unwrap_or_default()));
        let audit = policy.audit().clone().with_default_salt(salt.unwrap_or_default());
        if audit.mode() == Mode::Shadow {
            log::write(Level::Warn, || {
                "shadow mode: what is refused goes on; nobody is kept from anybody's data".into()
            });
        }
        let limits = policy.quotas().is_some() || policy.concurrency().is_some();
        let tick = match (policy.guards_answers(), &fetched) {
            (true, _) => SHORT_TICK,
            (false, Some(_)) => TICK,
            (false, None) => LONG_TICK,
        };
        let ticks = abi::set_tick_period(tick).is_ok();
        if !ticks && (policy.guards_answers() || fetched.is_some() || limits) {
            let reason = "no timer, so no directory can be fetched, no answer ended, and nothing said of what is under way";
            return Err(reason.into());
        }
        let quota = policy.quotas().map(|quotas| Slots::prepare(quotas.slots)).transpose()?;
        let concurrency = policy.concurrency().map(|limits| self.limit(limits)).transpose()?;
        Ok(Enforcer {
            quota,
            survey: Survey::default(),
            concurrency,
            policy,
            fetched,
            metrics: Metrics::new(ticks),
            audit,
            timed: Timed::default(),
            unseen: RefCell::default(),
        })
    }

    fn limit(&mut self, limits: &Limits) -> Result<Concurrency, String> {
        let ledger = match &self.ledger {
            Some(ledger) => Rc::clone(ledger),
            None => Rc::clone(self.ledger.insert(Rc::new(Ledger::new()?))),
        };
        Concurrency::prepare(limits, &ledger)
    }
}

/// How soon another worker's edition is seen. An idle tick costs a clock reading and a small value.
const TICK: Duration = Duration::from_millis(100);
/// How often limits are looked after, and counters told.
const LONG_TICK: Duration = Duration::from_secs(1);
/// How soon an answer ends of which a part has left.
const SHORT_TICK: Duration = Duration::from_millis(20);

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(fetched) = self.enforcer.as_ref().and_then(|enforcer| enforcer.fetched.as_ref()) {
            fetched.answered(token, headers > 0, body);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let read = self.configure(size).inspect(|enforcer| {
            for warning in enforcer.policy.warnings() {
                log::write(Level::Warn, || format!("configuration: {warning}"));
            }
            log::write(Level::Info, || {
                let settings = Setting::ALL.map(Setting::as_str).join(", ");
                format!("configured; relies on the connection manager's {settings}")
            });
        });
        abi::take_up(&mut self.enforcer, read)
    }

    fn on_tick(&mut self) {
        let Some(enforcer) = &self.enforcer else { return };
        enforcer.metrics.tell();
        if let Some(ledger) = &self.ledger {
            // Also where this configuration limits nothing: requests of the one before are under way.
            ledger.beat(enforcer.concurrency.as_ref().map_or(&[], |concurrency| &concurrency.gauges));
        }
        if let Some(slots) = &enforcer.quota {
            enforcer.survey.go_on(slots, &enforcer.metrics.quota_in_use);
        }
        if let Some(fetched) = &enforcer.fetched {
            fetched.tick();
        }
        enforcer.tick_answers(self.id);
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(context, self.enforcer.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
