//! What happens to an answer on its way out.

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::{Denial, HeaderPair};
use portcullis_tenant::{
    Guard, Told,
    audit::Mode,
    directory::Directory,
    inspect::{Inspection, Release},
};
use proxy_wasm::types::Action;

use crate::{answer::denial, enforcer::Enforcer};

impl Enforcer {
    /// Makes the answer of the effective context one that may leave. An answer that cannot be made
    /// one is replaced.
    pub(crate) fn clean_response(
        &self,
        guard: Option<&Guard>,
        told: Option<&Told>,
        ends: bool,
    ) -> (Action, Option<Inspection>) {
        let replaced = match self.change(guard, told, ends) {
            Ok(Ok(inspection)) => return (Action::Continue, inspection),
            Ok(Err(denial)) => {
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
        (Action::Pause, None)
    }

    fn change(
        &self,
        guard: Option<&Guard>,
        told: Option<&Told>,
        ends: bool,
    ) -> Result<Result<Option<Inspection>, Denial>, Refused> {
        let headers = http::headers(Map::ResponseHeaders)?;
        let headers = headers.list()?;
        let Some(guard) = guard else {
            for name in self.policy.kept_inside(&headers) {
                http::remove_header(Map::ResponseHeaders, &name)?;
            }
            return Ok(Ok(None));
        };
        let inspection = match self.open(&headers, guard, ends)? {
            Ok(inspection) => inspection,
            Err(denial) => return Ok(Err(denial)),
        };
        let clean = |directory: Option<&dyn Directory>| self.policy.clean(&headers, guard, directory);
        let cleaned = match (&self.fetched, self.policy.listed()) {
            (Some(fetched), _) => fetched.with(|directory| clean(Some(directory))),
            (None, Some(listed)) => clean(Some(listed)),
            (None, None) => clean(None),
        };
        let cleaned = match cleaned {
            Ok(cleaned) => cleaned,
            Err(denial) => return Ok(Err(denial)),
        };
        for name in &cleaned.remove {
            http::remove_header(Map::ResponseHeaders, name)?;
        }
        for (name, value) in &cleaned.add {
            http::add_header(Map::ResponseHeaders, name, value)?;
        }
        for (name, value) in told.iter().flat_map(|told| told.headers()) {
            http::set_header(Map::ResponseHeaders, name.as_bytes(), value.as_bytes())?;
        }
        for finding in cleaned.findings {
            self.metrics.found(finding);
        }
        Ok(Ok(inspection))
    }

    /// What the guard of the request's route has to say about the answer's headers.
    fn open(
        &self,
        headers: &[HeaderPair<'_>],
        guard: &Guard,
        ends: bool,
    ) -> Result<Result<Option<Inspection>, Denial>, Refused> {
        let reports = self.audit.mode() == Mode::Shadow;
        let Some(opening) = self.policy.inspect(guard, headers, ends, reports) else { return Ok(Ok(None)) };
        // What the proxy itself answers (no upstream, a timeout) is nobody's data.
        let details = abi::property(&["response", "code_details"])?;
        if details.is_some_and(|details| !details.is_empty() && details != b"via_upstream") {
            return Ok(Ok(None));
        }
        for found in &opening.found {
            self.found(guard, *found);
        }
        if let Some(found) = opening.found.iter().find(|found| found.enforced) {
            return Ok(Err(denial(*found)));
        }
        for name in &opening.remove {
            http::remove_header(Map::ResponseHeaders, name)?;
        }
        if opening.inspection.as_ref().map(Inspection::release) == Some(Release::VerifiedPrefix) {
            // It may end before.
            http::remove_header(Map::ResponseHeaders, b"content-length")?;
        }
        Ok(Ok(opening.inspection))
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
