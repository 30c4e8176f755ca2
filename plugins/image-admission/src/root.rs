//! The root context of one worker: its configuration and its timer.

use std::rc::Rc;

use portcullis_abi::{
    self as abi,
    log::{self, Level},
    verify,
};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use crate::{config::Config, filter::Filter, worker::Worker};

pub(crate) struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
}

/// The proxy's arithmetic, which is an order of magnitude faster than the module's.
struct Proxy;

static PROXY: Proxy = Proxy;

impl portcullis_signature::Host for Proxy {
    fn verify(&self, hash: &'static str, spki: &[u8], signature: &[u8], text: &[u8]) -> Option<bool> {
        verify::by_host(hash, spki, signature, text)
    }
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self { id, worker: None }
    }

    fn configure(&self, size: usize) -> Result<Worker, String> {
        let document = abi::plugin_configuration(size).map_err(|refused| refused.to_string())?;
        if verify::Arithmetic::probe().uses_host() {
            portcullis_signature::use_host(&PROXY);
        }
        Ok(Worker::new(self.id, Config::parse(&document)?))
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let read = self.configure(size).inspect(|worker| {
            log::write(Level::Info, || format!("configured; policy {}", worker.config().policy.digest()));
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
