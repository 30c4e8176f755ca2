//! Counters, gauges and histograms that guests define; one set for all workers of a process.
//!
//! As in Envoy a name is one metric per kind, whoever defines it, and the kind is in the id.

use crate::shared::lock;
use crate::status::Status;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// Metrics a process may have. Envoy has no bound and a guest that makes names from what clients
/// send would grow it without end: here that is an error a test sees.
const MAX_METRICS: usize = 10_000;

/// Bytes of a metric's name.
const MAX_NAME: usize = 4096;

/// The kind is the low two bits of an id, as in Envoy.
const KINDS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn from_code(code: u32) -> Result<Self, Status> {
        match code {
            0 => Ok(Self::Counter),
            1 => Ok(Self::Gauge),
            2 => Ok(Self::Histogram),
            _ => Err(Status::BadArgument),
        }
    }
}

#[derive(Debug, Default)]
struct Metric {
    value: u64,
    samples: u64,
}

/// All metrics of a process.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    ids: BTreeMap<(Kind, String), u32>,
    metrics: HashMap<u32, Metric>,
}

impl Metrics {
    pub(crate) fn define(&self, kind: u32, name: &[u8]) -> Result<u32, Status> {
        if name.len() > MAX_NAME {
            return Err(Status::BadArgument);
        }
        let key = (Kind::from_code(kind)?, String::from_utf8_lossy(name).into_owned());
        let mut all = lock(&self.0);
        if let Some(id) = all.ids.get(&key) {
            return Ok(*id);
        }
        let count = all.ids.len();
        if count >= MAX_METRICS {
            return Err(Status::InternalFailure);
        }
        let number = u32::try_from(count).ok().and_then(|n| n.checked_add(1));
        let id = number.and_then(|n| n.checked_mul(KINDS.checked_add(1)?)).and_then(|n| n.checked_add(kind));
        let id = id.ok_or(Status::InternalFailure)?;
        all.ids.insert(key, id);
        all.metrics.insert(id, Metric::default());
        Ok(id)
    }

    /// A counter only goes up, a gauge goes both ways, a histogram takes no increments.
    pub(crate) fn increment(&self, id: u32, by: i64) -> Result<(), Status> {
        let mut all = lock(&self.0);
        let metric = all.metrics.get_mut(&id);
        match Kind::from_code(id & KINDS)? {
            Kind::Histogram => Err(Status::BadArgument),
            Kind::Counter | Kind::Gauge if metric.is_none() => Err(Status::NotFound),
            Kind::Counter if by <= 0 => Err(Status::BadArgument),
            Kind::Counter | Kind::Gauge => {
                let metric = metric.ok_or(Status::NotFound)?;
                metric.value = metric.value.saturating_add_signed(by);
                Ok(())
            }
        }
    }

    /// Adds to a counter, sets a gauge, takes a sample into a histogram.
    pub(crate) fn record(&self, id: u32, value: u64) -> Result<(), Status> {
        let mut all = lock(&self.0);
        let metric = all.metrics.get_mut(&id).ok_or(Status::NotFound)?;
        match Kind::from_code(id & KINDS)? {
            Kind::Gauge => metric.value = value,
            Kind::Counter | Kind::Histogram => {
                metric.value = metric.value.saturating_add(value);
                metric.samples = metric.samples.saturating_add(1);
            }
        }
        Ok(())
    }

    pub(crate) fn value(&self, id: u32) -> Result<u64, Status> {
        match Kind::from_code(id & KINDS)? {
            Kind::Histogram => Err(Status::BadArgument),
            Kind::Counter | Kind::Gauge => {
                lock(&self.0).metrics.get(&id).map(|metric| metric.value).ok_or(Status::NotFound)
            }
        }
    }

    pub(crate) fn counter(&self, name: &str) -> Option<u64> {
        self.by_name(Kind::Counter, name).map(|metric| metric.0)
    }

    pub(crate) fn gauge(&self, name: &str) -> Option<u64> {
        self.by_name(Kind::Gauge, name).map(|metric| metric.0)
    }

    /// Sum and number of the samples.
    pub(crate) fn histogram(&self, name: &str) -> Option<(u64, u64)> {
        self.by_name(Kind::Histogram, name)
    }

    /// Every metric's name and value (a histogram's is the sum of its samples).
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let all = lock(&self.0);
        let value = |id| all.metrics.get(id).map_or(0, |metric: &Metric| metric.value);
        all.ids.iter().map(|((_, name), id)| (name.clone(), value(id))).collect()
    }

    fn by_name(&self, kind: Kind, name: &str) -> Option<(u64, u64)> {
        let all = lock(&self.0);
        let id = all.ids.get(&(kind, name.to_owned()))?;
        all.metrics.get(id).map(|metric| (metric.value, metric.samples))
    }
}
