//! The root context of one worker: its configuration, its timer, and the answers to its calls.

use std::rc::Rc;

use portcullis_abi::{
    self as abi,
    log::{self, Level},
};
use portcullis_fanout::Policy;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{filter::Filter, worker::Worker};

pub(crate) struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, worker: None }
    }

    /// Reads the whole configuration before anything changes: what is refused leaves the previous
    /// configuration at work.
    fn configure(&self, size: usize) -> Result<Worker, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        let environment = |name: &str| std::env::var(name).ok();
        let policy = Policy::from_json(&document, &environment).map_err(|error| error.to_string())?;
        let worker = Worker::new(self.id, policy);
        worker.prepare().map_err(|refused| format!("nothing can be shared between workers: {refused}"))?;
        Ok(worker)
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, headers > 0, body);
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let read = self.configure(size).inspect(|worker| {
            log::write(Level::Info, || {
                format!("configured; calls go to the cluster `{}`", worker.policy().provider.cluster)
            });
        });
        abi::take_up(&mut self.worker, read)
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.tick();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter::new(id, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
