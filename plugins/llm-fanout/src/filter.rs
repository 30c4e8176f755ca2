//! One request.

use std::rc::Rc;

use portcullis_abi::{
    http::{self, Map},
    reply,
};
use portcullis_core::{Code, Denial};
use portcullis_fanout::Refusal;
use proxy_wasm::{
    traits::{Context, HttpContext},
    types::Action,
};

use crate::worker::{Next, Worker};

/// A request under way.
pub(crate) struct Filter {
    id: u32,
    /// Nothing where the worker has no valid configuration: then nothing passes.
    worker: Option<Rc<Worker>>,
    state: State,
    /// Bytes of the body so far.
    size: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its body is not read: it goes on.
    Passes,
    /// Its headers are held until the whole body is there.
    Reads,
    /// It was answered, or will be.
    Held,
}

impl Filter {
    pub(crate) const fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self { id, worker, state: State::Held, size: 0 }
    }

    const fn action(&self) -> Action {
        match self.state {
            State::Passes => Action::Continue,
            State::Reads | State::Held => Action::Pause,
        }
    }

    /// The whole body is there.
    fn decide(&mut self) {
        let Some(worker) = &self.worker else { return };
        self.state = match worker.begin(self.id, self.size) {
            Next::Pass => State::Passes,
            Next::Hold => State::Held,
        };
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.forget(self.id);
        }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(worker) = &self.worker else {
            // Paused, with or without the answer.
            let _ = reply::deny(&Denial::new(Code::InternalError, "no valid configuration"));
            return Action::Pause;
        };
        let reads = http::headers(Map::RequestHeaders).and_then(|headers| {
            let list = headers.list()?;
            let one = |wanted: &[u8]| list.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
            Ok(worker.policy().reads(one(b":method").unwrap_or_default(), one(b":path").unwrap_or_default()))
        });
        self.state = match reads {
            Ok(true) if !end_of_stream => State::Reads,
            Ok(_) => State::Passes,
            Err(refused) => {
                let _ = reply::fail(refused);
                State::Held
            }
        };
        self.action()
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.state != State::Reads {
            return self.action();
        }
        self.size = size;
        if let Some(worker) = &self.worker
            && size > worker.policy().limits.request_bytes
        {
            let most = worker.policy().limits.request_bytes;
            worker.refuse(&Refusal::new(Code::FanoutTooLarge, format!("a body may have {most} bytes")));
            self.state = State::Held;
        } else if end_of_stream {
            self.decide();
        }
        self.action()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if self.state == State::Reads {
            self.decide();
        }
        self.action()
    }
}
