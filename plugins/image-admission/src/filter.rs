//! One request of the API server.

use std::rc::Rc;

use portcullis_abi::{
    http::{self, Map},
    reply,
};
use portcullis_core::{Code, Denial};
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::worker::Worker;

/// A request under way. It never goes on: every one is answered here.
pub(crate) struct Filter {
    id: u32,
    worker: Option<Rc<Worker>>,
    /// Whether a review was begun or answered.
    begun: bool,
}

impl Filter {
    pub(crate) const fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self { id, worker, begun: false }
    }

    fn begin(&mut self, size: usize) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        match &self.worker {
            Some(worker) => worker.begin(self.id, size),
            None => refuse(),
        }
    }
}

fn refuse() {
    // Paused, with or without the answer.
    let _ = reply::deny(&Denial::new(Code::InternalError, "no valid configuration"));
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.forget(self.id);
        }
    }
}

impl Context for Filter {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, headers > 0, body);
        }
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let method = http::headers(Map::RequestHeaders).ok().and_then(|headers| {
            let list = headers.list().ok()?;
            list.iter().find(|(name, _)| *name == b":method").map(|(_, value)| value.to_vec())
        });
        match (method.as_deref(), &self.worker) {
            (_, None) => {
                self.begun = true;
                refuse();
            }
            // For probes: the configuration is good, or the listener would not be here.
            (Some(b"GET" | b"HEAD"), Some(_)) => {
                self.begun = true;
                let _ = reply::json(200, r#"{"status":"ready"}"#, "portcullis_ready");
            }
            (Some(b"POST"), Some(_)) if end_of_stream => self.begin(0),
            (Some(b"POST"), Some(_)) => {}
            (_, Some(_)) => {
                self.begun = true;
                let _ = reply::json(405, r#"{"error":"reviews are sent with POST"}"#, "portcullis_method");
            }
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let most = self.worker.as_ref().map_or(0, |worker| worker.config().review_bytes);
        if size > most && !self.begun {
            self.begun = true;
            let _ =
                reply::json(413, r#"{"error":"the review is larger than is read"}"#, "portcullis_too_large");
        } else if end_of_stream {
            self.begin(size);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if let Some(worker) = &self.worker {
            let most = worker.config().review_bytes;
            self.begin(most);
        }
        Action::Pause
    }
}
