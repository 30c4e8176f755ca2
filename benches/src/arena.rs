//! One Envoy with one worker and a listener for each contender, measured in turn.

use std::path::Path;

use anyhow::{Result, ensure};
use portcullis_host_tests::envoy::{Envoy, config};
use portcullis_host_tests::loopback::Request;
use serde_json::Value;

use crate::load;
use crate::report::{Comparison, Series};

/// Requests that bring a listener up to speed.
pub const WARM_UP: usize = 1000;

/// What is measured: a name and the HTTP filters of its listener.
#[derive(Clone, Debug)]
pub struct Contender {
    /// The listener's name, and the row's.
    pub name: String,
    /// In order; none is the baseline.
    pub filters: Vec<Value>,
}

impl Contender {
    /// A contender with these filters.
    #[must_use]
    pub fn new(name: impl Into<String>, filters: impl IntoIterator<Item = Value>) -> Self {
        Self { name: name.into(), filters: filters.into_iter().collect() }
    }
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests to each listener before the first round.
    pub warm_up: usize,
    /// Rounds; the medians are over these.
    pub rounds: usize,
    /// Requests to each listener in a round.
    pub requests: usize,
}

impl Load {
    /// Requests to each listener in all, with those of the warm-up.
    #[must_use]
    pub const fn total(self) -> usize {
        self.rounds.saturating_mul(self.requests).saturating_add(self.warm_up)
    }
}

/// The contenders, started.
#[derive(Debug)]
pub struct Arena {
    envoy: Envoy,
    names: Vec<String>,
}

impl Arena {
    /// Starts one Envoy with a listener for each contender. The first is the baseline.
    ///
    /// # Errors
    /// When Envoy does not start with them.
    pub fn start(binary: &Path, contenders: Vec<Contender>) -> Result<Self> {
        let bootstrap = contenders.iter().fold(config::Bootstrap::new(), |bootstrap, contender| {
            let listener = config::Listener::new(&contender.name);
            bootstrap.listener(contender.filters.iter().cloned().fold(listener, config::Listener::filter))
        });
        let envoy = Envoy::start(binary, &bootstrap.into_value())?;
        Ok(Self { envoy, names: contenders.into_iter().map(|contender| contender.name).collect() })
    }

    /// Checks that every contender answers this token with the status that `expected` says: one
    /// that lets everything through would win.
    ///
    /// # Errors
    /// When one answers otherwise.
    pub fn check(&self, token: &str, expected: impl Fn(&str) -> u16) -> Result<()> {
        self.check_request(&Request::get("/").bearer(token), expected)
    }

    /// As [`Arena::check`], for any request.
    ///
    /// # Errors
    /// When one answers otherwise.
    pub fn check_request(&self, request: &Request, expected: impl Fn(&str) -> u16) -> Result<()> {
        for name in &self.names {
            let reply = self.envoy.connect(name)?.call(request)?;
            let expected = expected(name);
            ensure!(
                reply.status == expected,
                "`{name}` answered a token with {} instead of {expected}",
                reply.status
            );
        }
        Ok(())
    }

    /// The CPU time that `requests` cost the contender called `name`, in microseconds a request.
    ///
    /// # Errors
    /// When a reply is not 200.
    pub fn cost(&self, name: &str, requests: &[Vec<u8>]) -> Result<f64> {
        load::measure(&self.envoy, name, requests).map(|cost| cost.cpu)
    }

    /// Sends every contender the same `requests`, those of the warm-up first, and then round by
    /// round in turn.
    ///
    /// # Errors
    /// When a reply is not 200.
    pub fn compare(
        &self,
        title: impl Into<String>,
        yardstick: &str,
        requests: &[Vec<u8>],
        load: Load,
    ) -> Result<Comparison> {
        let (warm_up, measured) = requests.split_at(load.warm_up.min(requests.len()));
        for name in &self.names {
            load::measure(&self.envoy, name, warm_up)?;
        }
        let mut series: Vec<_> =
            self.names.iter().map(|name| Series { name: name.clone(), rounds: Vec::new() }).collect();
        for (round, requests) in measured.chunks_exact(load.requests).take(load.rounds).enumerate() {
            // Another one begins each round, so that no contender always follows the same one.
            let count = series.len();
            for turn in 0..count {
                if let Some(series) = series.get_mut((round + turn) % count) {
                    let cost = load::measure(&self.envoy, &series.name, requests)?;
                    series.rounds.push(cost);
                }
            }
        }
        Ok(Comparison { title: title.into(), series, yardstick: yardstick.to_owned() })
    }
}
