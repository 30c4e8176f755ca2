//! An answer's body on its way out, as far as a guard looks at it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use portcullis_abi::{
    self as abi, Refused,
    http::{self, Map},
    log::{self, Level},
    reply,
};
use portcullis_core::{Code, Denial};
use portcullis_tenant::{
    Guard,
    inspect::{Forward, Found, Inspection, Release},
};
use proxy_wasm::types::Action;

use crate::enforcer::Enforcer;

/// One answer under a guard.
pub(crate) struct Answer {
    inspection: Inspection,
    /// Whether its headers are still here.
    held: Rc<Cell<bool>>,
    /// Bytes of the proxy's buffer that were looked at.
    read: usize,
    /// What is left to do where the answer ends before its end.
    ending: Option<Denial>,
}

/// Answers that time ends or lets go, each by its context.
#[derive(Default)]
pub(crate) struct Timed {
    /// A part of these has left, and nothing more may.
    ending: RefCell<BTreeSet<u32>>,
    /// The headers of these wait for the body, since then.
    waiting: RefCell<BTreeMap<u32, Waiting>>,
    /// Whether a body has come while headers were held: the proxy is set up for that.
    proven: Cell<bool>,
    let_go: Cell<u32>,
    told: Cell<bool>,
}

/// Since when, and whether they are still here.
type Waiting = (u64, Rc<Cell<bool>>);

/// Without `allow_on_headers_stop_iteration` no body comes while headers are held. So until one has
/// come, headers wait no longer than this, and after a few times not at all.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;

impl Timed {
    fn may_hold(&self) -> bool {
        self.proven.get() || self.let_go.get() < TRIES
    }

    fn wait(&self, context: u32, held: &Rc<Cell<bool>>) {
        if !self.proven.get()
            && let (Ok(mut waiting), Ok(now)) = (self.waiting.try_borrow_mut(), abi::monotonic())
        {
            waiting.insert(context, (now, Rc::clone(held)));
        }
    }

    /// The stream of this context ends, or has. Envoy keeps such a context for a moment, and ends
    /// with it where it is told to answer there.
    pub(crate) fn forget(&self, context: u32) {
        if let Ok(mut ending) = self.ending.try_borrow_mut() {
            ending.remove(&context);
        }
        if let Ok(mut waiting) = self.waiting.try_borrow_mut() {
            waiting.remove(&context);
        }
    }

    fn next_ending(&self) -> Option<u32> {
        self.ending.try_borrow_mut().ok()?.pop_first()
    }

    /// An answer whose headers have waited too long.
    fn next_late(&self) -> Option<(u32, Rc<Cell<bool>>)> {
        let mut waiting = self.waiting.try_borrow_mut().ok()?;
        if waiting.is_empty() {
            return None;
        }
        let now = abi::monotonic().ok()?;
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let late = waiting.iter().find(|(_, (since, _))| now.saturating_sub(*since) >= patience);
        let context = *late?.0;
        waiting.remove(&context).map(|(_, held)| (context, held)).filter(|(_, held)| held.get())
    }

    fn came(&self) {
        if !self.proven.replace(true)
            && let Ok(mut waiting) = self.waiting.try_borrow_mut()
        {
            waiting.clear();
        }
    }
}

impl Enforcer {
    /// Begins to look at the body of an answer; whether its headers wait.
    pub(crate) fn begin(&self, context: u32, inspection: Inspection) -> (Action, Answer) {
        self.metrics.scanned.increment();
        let holds =
            matches!(inspection.release(), Release::Hold | Release::VerifiedPrefix) && self.timed.may_hold();
        let held = Rc::new(Cell::new(holds));
        if holds {
            self.timed.wait(context, &held);
        }
        let action = if holds { Action::Pause } else { Action::Continue };
        (action, Answer { inspection, held, read: 0, ending: None })
    }

    /// Looks at what has come of the body: `size` bytes are in the proxy's buffer.
    pub(crate) fn body(
        &self,
        context: u32,
        answer: &mut Answer,
        guard: &Guard,
        size: usize,
        ends: bool,
    ) -> Action {
        if answer.held.get() {
            self.timed.came();
        }
        self.flow(context, answer, guard, size, ends).unwrap_or_else(|refused| self.fail(refused))
    }

    fn flow(
        &self,
        context: u32,
        answer: &mut Answer,
        guard: &Guard,
        size: usize,
        ends: bool,
    ) -> Result<Action, Refused> {
        if let Some(denial) = &answer.ending {
            self.timed.forget(context);
            http::replace_response_body(&[])?;
            reply::deny(denial)?;
            return Ok(Action::Pause);
        }
        let holds = answer.inspection.release() == Release::Hold;
        let read = if holds { answer.read } else { 0 };
        let chunk = http::response_body(read, size.saturating_sub(read))?;
        answer.read = size;
        let flow = answer.inspection.body(&chunk, ends);
        for found in &flow.found {
            self.found(guard, *found);
        }
        if ends && !flow.is_cut() {
            self.seen(answer, guard);
        }
        let left = match &flow.forward {
            Forward::AsIs => return Ok(self.forward(answer)),
            Forward::Hold => return Ok(Action::Pause),
            Forward::Instead(bytes) => bytes,
        };
        http::replace_response_body(left)?;
        let Some(found) = flow.found.iter().find(|found| found.enforced) else {
            // Nothing to send yet: headers that wait go on doing so.
            let waits = left.is_empty() && answer.held.get() && !ends;
            return Ok(if waits { Action::Pause } else { self.forward(answer) });
        };
        let denial = denial(*found);
        if !answer.held.get() || !left.is_empty() {
            self.metrics.cut.increment();
        }
        if left.is_empty() {
            // Before the headers have gone this is an answer, after that the end of the stream.
            self.metrics.denied(denial.code());
            reply::deny(&denial)?;
            return Ok(Action::Pause);
        }
        if !ends {
            // What is the tenant's leaves first.
            if let Ok(mut ending) = self.timed.ending.try_borrow_mut() {
                ending.insert(context);
            }
        }
        self.metrics.denied(denial.code());
        answer.ending = Some(denial);
        Ok(self.forward(answer))
    }

    fn forward(&self, answer: &Answer) -> Action {
        answer.held.set(false);
        Action::Continue
    }

    /// The body has ended and trailers follow.
    pub(crate) fn trailers(&self, context: u32, answer: &mut Answer, guard: &Guard) -> Action {
        if let Some(denial) = &answer.ending {
            self.timed.forget(context);
            let _ = reply::deny(denial);
            return Action::Pause;
        }
        let flow = answer.inspection.body(&[], true);
        for found in &flow.found {
            self.found(guard, *found);
        }
        // Nothing can be put before trailers any more.
        let lost = matches!(&flow.forward, Forward::Instead(bytes) if !bytes.is_empty());
        let cut = flow.found.iter().find(|found| found.enforced).map(|found| denial(*found));
        let cut =
            cut.or_else(|| lost.then(|| Denial::new(Code::TenantResponseLeak, "ended within a record")));
        if let Some(denial) = cut {
            self.metrics.denied(denial.code());
            let _ = reply::deny(&denial);
            return Action::Pause;
        }
        self.seen(answer, guard);
        let cleaned = http::headers(Map::ResponseTrailers).and_then(|trailers| {
            let list = trailers.list()?;
            // What gRPC ends with; any other could hold what the body may not.
            let mut others = list.iter().filter(|(name, _)| !name.starts_with(b"grpc-"));
            others.try_for_each(|(name, _)| http::remove_header(Map::ResponseTrailers, name))
        });
        match cleaned {
            Ok(()) => self.forward(answer),
            Err(refused) => self.fail(refused),
        }
    }

    fn fail(&self, refused: Refused) -> Action {
        self.metrics.denied(Code::InternalError);
        log::write(Level::Error, || format!("answer refused: INTERNAL_ERROR: {refused}"));
        let _ = reply::fail(refused);
        Action::Pause
    }

    /// Counts and writes down what a guard found.
    pub(crate) fn found(&self, guard: &Guard, found: Found) {
        self.metrics.leak(found);
        log::write(Level::Warn, || format!("portcullis_audit {}", self.audit.leak(guard, found)));
    }

    /// An answer went out whole. A route whose answers never have the field is told of once.
    fn seen(&self, answer: &Answer, guard: &Guard) {
        const ENOUGH: u32 = 100;
        if !answer.inspection.looks_for_fields() {
            return;
        }
        let has = answer.inspection.has_seen();
        if !has {
            self.metrics.field_not_seen.increment();
        }
        let Ok(mut routes) = self.unseen.try_borrow_mut() else { return };
        // One for each route of the configuration.
        let unseen = routes.entry(guard.route()).or_insert(Some(0));
        *unseen = match *unseen {
            Some(_) if has => None,
            Some(count) if count.saturating_add(1) == ENOUGH => {
                let route = guard.route();
                log::write(Level::Warn, || {
                    format!(
                        "`routes[{route}].guard`: none of the first {ENOUGH} answers has a field that names a tenant; is it called otherwise?"
                    )
                });
                None
            }
            Some(count) => Some(count.saturating_add(1)),
            None => None,
        };
    }

    /// Time has passed: `root` is the context that this is called in. One answer is ended or let go at
    /// a time: what that does to others is known when time passes again.
    pub(crate) fn tick_answers(&self, root: u32) {
        if let Some(context) = self.timed.next_ending() {
            if abi::set_effective_context(context).is_ok() {
                let _ = reply::deny(&Denial::new(Code::TenantResponseLeak, "cut"));
            }
        } else if let Some((context, held)) = self.timed.next_late() {
            held.set(false);
            self.timed.let_go.set(self.timed.let_go.get().saturating_add(1));
            self.metrics.headers_not_held.increment();
            if !self.timed.told.replace(true) {
                log::write(Level::Error, || {
                    "the headers of a guarded answer were held and no body came: set `allow_on_headers_stop_iteration: true` in the plugin's configuration, as the files in deploy/ do; a leak can only reset the stream without it".into()
                });
            }
            if abi::set_effective_context(context).is_ok() {
                let _ = http::resume_response();
            }
        } else {
            return;
        }
        let _ = abi::set_effective_context(root);
    }
}

/// What the client gets in the place of an answer with `found` in it.
pub(crate) fn denial(found: Found) -> Denial {
    Denial::new(Code::TenantResponseLeak, found.leak.as_str())
}
