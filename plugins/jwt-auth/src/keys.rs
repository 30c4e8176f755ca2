//! The key sets of one worker.

use portcullis_core::{Denial, UnixTime};
use portcullis_jwt::{KeySource, Need, Policy, jwks::KeySet};

/// What is to be done with a request that needs keys.
pub(crate) enum Answer {
    Wait,
    Refuse(Denial),
}

/// Requests whose wait is over.
#[derive(Default)]
pub(crate) struct Wakes {
    pub(crate) judge: Vec<u32>,
    pub(crate) refuse: Vec<(u32, Denial)>,
}

pub(crate) struct KeyStore;

impl KeyStore {
    pub(crate) fn new(_: &Policy, _: u32, _: UnixTime) -> Self {
        Self
    }
    pub(crate) fn need(&mut self, need: Need, _: u32) -> Answer {
        Answer::Refuse(need.otherwise)
    }
    pub(crate) fn forget(&mut self, _: u32) {}
    pub(crate) fn answered(&mut self, _: u32, _: bool, _: usize) -> Wakes {
        Wakes::default()
    }
    pub(crate) fn tick(&mut self) -> Wakes {
        Wakes::default()
    }
}

impl KeySource for KeyStore {
    fn key_set(&self, _: usize) -> Option<&KeySet> {
        None
    }
}
