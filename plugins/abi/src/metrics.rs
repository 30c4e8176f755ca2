//! Counters and gauges. A metric that the proxy does not take is lost, and nothing else.

use std::cell::Cell;

use crate::sys;

/// `proxy_metric_type_t`.
#[derive(Clone, Copy)]
enum Kind {
    Counter = 0,
    Gauge = 1,
}

fn define(kind: Kind, name: &str) -> Option<u32> {
    sys::define_metric(kind as u32, name.as_bytes()).ok()
}

/// A number that only grows.
#[derive(Clone, Copy, Debug)]
pub struct Counter(Option<u32>);

impl Counter {
    /// The counter called `name`, made where it does not exist yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(define(Kind::Counter, name))
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `amount` more.
    pub fn add(&self, amount: u32) {
        if let Some(id) = self.0 {
            // A lost count must not refuse a request.
            let _ = sys::increment_metric(id, amount.into());
        }
    }
}

/// A number that only grows, and so often that requests do not wait until the proxy knows: it is told
/// by a timer, and when the tally ends.
#[derive(Debug)]
pub struct Tally {
    counter: Counter,
    untold: Cell<u32>,
    ticks: bool,
}

impl Tally {
    /// The counter called `name`, made where it does not exist yet. Without a timer that calls
    /// [`Tally::tell`], of which `ticks` says whether there is one, the proxy is told at once.
    #[must_use]
    pub fn new(name: &str, ticks: bool) -> Self {
        Self { counter: Counter::new(name), untold: Cell::new(0), ticks }
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `amount` more.
    pub fn add(&self, amount: u32) {
        self.untold.set(self.untold.get().saturating_add(amount));
        if !self.ticks {
            self.tell();
        }
    }

    /// Tells the proxy what came since the last time.
    pub fn tell(&self) {
        let untold = self.untold.take();
        if untold > 0 {
            self.counter.add(untold);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A number that goes up and down.
#[derive(Clone, Copy, Debug)]
pub struct Gauge(Option<u32>);

impl Gauge {
    /// The gauge called `name`, made where it does not exist yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(define(Kind::Gauge, name))
    }

    /// Changes the value, of which all workers of a proxy have a part.
    pub fn add(&self, amount: i64) {
        if let Some(id) = self.0 {
            // A lost change must not refuse a request.
            let _ = sys::increment_metric(id, amount);
        }
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        if let Some(id) = self.0 {
            // A lost value must not refuse a request.
            let _ = sys::record_metric(id, value);
        }
    }
}
