//! One request of several questions.

use std::time::Duration;

use portcullis_abi::http::Headers;
use portcullis_core::header;
use portcullis_fanout::{Estimate, Names, Plan, Policy, Run, Settings, Strategy};

/// A request that waits for its answers.
pub(crate) struct Job {
    pub(crate) settings: Settings,
    pub(crate) plan: Plan,
    pub(crate) run: Run,
    pub(crate) names: Names,
    pub(crate) began: Duration,
    /// All questions go out in one request.
    pub(crate) packed: Option<String>,
    /// How long all calls took together.
    pub(crate) called: Duration,
    /// The client's headers that are sent on.
    forwarded: Vec<(String, String)>,
}

impl Job {
    pub(crate) fn new(
        policy: &Policy,
        settings: Settings,
        plan: Plan,
        names: Names,
        headers: &Headers,
        now: Duration,
    ) -> Self {
        let packed = if packs(policy, &settings, &plan) { plan.packed(&names.members) } else { None };
        let count = if packed.is_some() { 1 } else { plan.questions().len() };
        Self {
            run: Run::new(count, &settings, now),
            forwarded: forwarded(policy, headers),
            began: now,
            called: Duration::ZERO,
            settings,
            plan,
            names,
            packed,
        }
    }

    /// The body of a call.
    pub(crate) fn body(&self, index: usize) -> Option<String> {
        match &self.packed {
            Some(body) => Some(body.clone()),
            None => self.plan.body(index, &self.names.members),
        }
    }

    /// The headers of a call. The client's own are not among them, but for those that the
    /// configuration names; what the gateway sets comes last and alone.
    pub(crate) fn headers<'j>(&'j self, policy: &'j Policy) -> Vec<(&'j str, &'j str)> {
        let provider = &policy.provider;
        let mut headers = vec![
            (":method", "POST"),
            (":scheme", provider.scheme),
            (":authority", provider.authority.as_str()),
            (":path", provider.path.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("user-agent", "portcullis"),
        ];
        let own = |name: &str| self.names.headers.iter().any(|(own, _)| own == name);
        let configured = provider.headers.iter().map(|header| (header.name.as_str(), header.value.as_str()));
        let forwarded = self.forwarded.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in configured.chain(forwarded).filter(|(name, _)| !own(name)) {
            headers.retain(|(earlier, _)| *earlier != name);
            headers.push((name, value));
        }
        headers.extend(self.names.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        headers
    }

    /// How long one request for all questions would have taken: by the configured latency and the
    /// tokens that were counted, or as long as the calls one after the other.
    pub(crate) fn packed_estimate(&self, policy: &Policy) -> Duration {
        let Some(latency) = policy.latency else { return self.called };
        let count = u64::try_from(self.plan.questions().len()).unwrap_or(u64::MAX).max(1);
        let shared = portcullis_fanout::tokens_of(self.plan.shared_bytes());
        let usage = self.run.usage();
        let input = usage.prompt.saturating_sub(shared.saturating_mul(count.saturating_sub(1)));
        Duration::try_from_secs_f64(latency.seconds(input, usage.completion)).unwrap_or(self.called)
    }
}

fn packs(policy: &Policy, settings: &Settings, plan: &Plan) -> bool {
    match (settings.strategy, settings.format) {
        (Strategy::Pack, _) => true,
        (Strategy::Split, _) | (_, portcullis_fanout::Format::List) => false,
        (Strategy::Auto, _) => match (policy.packing, policy.latency) {
            (Some(packing), Some(latency)) => {
                Estimate::of(latency, plan, settings.parallel).gain() < packing.below_gain
            }
            _ => false,
        },
    }
}

/// The client's headers that the configuration sends on. One that is there twice is not: nobody knows
/// which the provider would read.
fn forwarded(policy: &Policy, headers: &Headers) -> Vec<(String, String)> {
    let Ok(list) = headers.list() else { return Vec::new() };
    let one = |name: &str| {
        let mut values = header::values(&list, name);
        let value = values.next().filter(|_| values.next().is_none())?;
        let visible = value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
        Some((name.to_owned(), String::from_utf8(value.to_vec()).ok().filter(|_| visible)?))
    };
    policy.provider.forward.iter().filter_map(|name| one(name.as_str())).collect()
}
