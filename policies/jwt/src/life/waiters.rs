//! Requests that wait for keys: bounded in number, each with a deadline.

use alloc::{vec, vec::Vec};

use super::{memory::Wanted, time::Instant};

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) id: u32,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    pub(super) wanted: Wanted,
    /// The generation of the set that the request was judged with, if there was one.
    pub(super) judged_with: Option<u64>,
}

/// The waiting requests in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a waiter. A number that waits already is the same request asking again.
    pub(super) fn add(&mut self, waiter: Waiter) {
        self.remove(waiter.id);
        self.0.push(waiter);
    }

    pub(super) fn remove(&mut self, id: u32) {
        if let Some(at) = self.0.iter().position(|waiter| waiter.id == id) {
            self.0.remove(at);
        }
    }

    /// Removes and returns those that `which` picks.
    pub(super) fn take(&mut self, mut which: impl FnMut(&Waiter) -> bool) -> Vec<u32> {
        let mut taken = vec![];
        self.0.retain(|waiter| {
            let picked = which(waiter);
            if picked {
                taken.push(waiter.id);
            }
            !picked
        });
        taken
    }

    /// The first deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|waiter| waiter.deadline).min()
    }
}
