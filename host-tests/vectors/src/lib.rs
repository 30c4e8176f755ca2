//! A filter for tests only: `x-jws` is verified with the keys of `x-jwks`, as the JWT filter does
//! it, and the request goes on if it holds. It takes keys from a client, which no filter may.
//!
//! `x-repeat` is how often it is verified again, by the module's own arithmetic: for measurements.

use portcullis_abi::{
    Refused,
    http::{self, Map},
    reply,
    verify::Arithmetic,
};
use portcullis_core::{Code, Denial, header};
use portcullis_crypto::{Algorithm, Software};
use portcullis_jwt::{
    jwks::{KeySet, Limits, Origin},
    verify_jws,
};
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType},
};
use std::rc::Rc;

/// The filter's entry point, which the macro exports.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root(std::rc::Rc::new(portcullis_abi::verify::Arithmetic::probe()))));
    }}
}

struct Root(Rc<Arithmetic>);

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Vector(self.0.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Vector(Rc<Arithmetic>);

impl Vector {
    fn judge(&self) -> Result<(), Denial> {
        let refused = |refused: Refused| Denial::new(Code::InternalError, refused.to_string());
        let headers = http::headers(Map::RequestHeaders).map_err(refused)?;
        let headers = headers.list().map_err(refused)?;
        let value = |name| header::values(&headers, name).next().unwrap_or_default();
        let set = KeySet::parse(value("x-jwks"), Origin::Inline, &Limits::default())
            .map_err(|error| Denial::new(Code::KeyUnusable, error.to_string()))?;
        verify_jws(value("x-jws"), &set, Algorithm::ALL, &*self.0)?;
        let repeat =
            str::from_utf8(value("x-repeat")).ok().and_then(|text| text.parse().ok()).unwrap_or(0_u16);
        (0..repeat).try_for_each(|_| verify_jws(value("x-jws"), &set, Algorithm::ALL, &Software).map(|_| ()))
    }
}

impl Context for Vector {}

impl HttpContext for Vector {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.judge() {
            Ok(()) => Action::Continue,
            Err(denial) => {
                // Paused, with or without the answer.
                let _ = reply::deny(&denial);
                Action::Pause
            }
        }
    }
}
