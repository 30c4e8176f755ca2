//! The root context of one worker: its configuration.

use std::rc::Rc;

use portcullis_abi::{
    self as abi,
    log::{self, Level},
};
use portcullis_tenant::{Policy, Setting};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{enforcer::Enforcer, filter::Filter, metrics::Metrics};

/// The worker.
#[derive(Default)]
pub(crate) struct Root {
    enforcer: Option<Rc<Enforcer>>,
}

impl Root {
    /// Reads the whole configuration before anything changes: what is refused leaves the previous
    /// configuration at work.
    fn configure(size: usize) -> Result<Enforcer, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        let policy = Policy::from_json(&document).map_err(|error| error.to_string())?;
        Ok(Enforcer { policy, metrics: Metrics::new() })
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Self::configure(size) {
            Ok(enforcer) => {
                for warning in enforcer.policy.warnings() {
                    log::write(Level::Warn, || format!("configuration: {warning}"));
                }
                log::write(Level::Info, || {
                    let settings = Setting::ALL.map(Setting::as_str).join(", ");
                    format!("configured; relies on the connection manager's {settings}")
                });
                self.enforcer = Some(Rc::new(enforcer));
                true
            }
            Err(reason) => {
                log::write(Level::Error, || format!("configuration refused: {reason}"));
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(self.enforcer.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
