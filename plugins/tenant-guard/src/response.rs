//! What happens to an answer on its way out.

use portcullis_abi::{
    Refused,
    http::{self, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::Denial;
use portcullis_tenant::{Guard, directory::Directory};
use proxy_wasm::types::Action;

use crate::enforcer::Enforcer;

impl Enforcer {
    /// Makes the answer of the effective context one that may leave. An answer that cannot be made
    /// one is replaced.
    pub(crate) fn clean_response(&self, guard: Option<&Guard>) -> Action {
        let replaced = match self.change(guard) {
            Ok(None) => return Action::Continue,
            Ok(Some(denial)) => {
                self.metrics.denied(denial.code());
                log::write(Level::Warn, || format!("answer refused: {denial}"));
                reply::deny(&denial)
            }
            Err(refused) => {
                log::write(Level::Error, || format!("answer refused: INTERNAL_ERROR: {refused}"));
                reply::fail(refused)
            }
        };
        // Held, with or without another answer: the proxy's own timeout ends it then.
        let _ = replaced;
        Action::Pause
    }

    fn change(&self, guard: Option<&Guard>) -> Result<Option<Denial>, Refused> {
        let headers = http::headers(Map::ResponseHeaders)?;
        let headers = headers.list()?;
        let Some(guard) = guard else {
            for name in self.policy.kept_inside(&headers) {
                http::remove_header(Map::ResponseHeaders, &name)?;
            }
            return Ok(None);
        };
        let clean = |directory: Option<&dyn Directory>| self.policy.clean(&headers, guard, directory);
        let cleaned = match (&self.fetched, self.policy.listed()) {
            (Some(fetched), _) => fetched.with(|directory| clean(Some(directory))),
            (None, Some(listed)) => clean(Some(listed)),
            (None, None) => clean(None),
        };
        let cleaned = match cleaned {
            Ok(cleaned) => cleaned,
            Err(denial) => return Ok(Some(denial)),
        };
        for name in &cleaned.remove {
            http::remove_header(Map::ResponseHeaders, name)?;
        }
        for (name, value) in &cleaned.add {
            http::add_header(Map::ResponseHeaders, name, value)?;
        }
        for finding in cleaned.findings {
            self.metrics.found(finding);
        }
        Ok(None)
    }

    /// Takes what this filter told the upstream out of the answer's trailers. They cannot be held
    /// back: what cannot be read there is said.
    pub(crate) fn clean_response_trailers(&self) {
        let cleaned = http::headers(Map::ResponseTrailers).and_then(|trailers| {
            let names = self.policy.kept_inside(&trailers.list()?);
            names.iter().try_for_each(|name| http::remove_header(Map::ResponseTrailers, name))
        });
        if let Err(refused) = cleaned {
            log::write(Level::Error, || format!("the trailers of an answer were not cleaned: {refused}"));
        }
    }
}
