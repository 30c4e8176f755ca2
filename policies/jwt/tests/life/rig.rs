//! One machine with a clock in the test's hand.

use std::time::Duration;

use portcullis_jwt::{
    jwks::KeySet,
    life::{
        Address, Allow, Answer, Effect, Event, Fetch, Instant, KeyState, Life, LifeConfig, Need, Refusal,
        ResponseHeaders, Source,
    },
};

/// A machine and its time.
pub(crate) struct Rig {
    pub(crate) life: Life,
    pub(crate) now: Instant,
    pub(crate) effects: Vec<Effect>,
}

/// An address that is allowed everything that can be allowed.
pub(crate) fn address(text: &str) -> Address {
    Address::parse(text, Allow { insecure_http: true, ..Allow::default() }).unwrap()
}

/// The defaults with one source.
pub(crate) fn config() -> LifeConfig {
    LifeConfig::new("https://idp".into(), vec![Source::Keys(address("https://idp/jwks"))])
}

/// The longest life that an answer can ask for.
pub(crate) const LONG: &[(&str, &str)] = &[("cache-control", "max-age=900")];

/// The headers of an answer.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> ResponseHeaders {
    ResponseHeaders::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Rig {
    pub(crate) fn new(config: LifeConfig) -> Self {
        // The clock does not begin at zero: nothing may depend on that.
        let now = Instant(0).saturating_add(seconds(1_000_000));
        Self { life: Life::new(config), now, effects: Vec::new() }
    }

    /// A machine that has fetched `document` with these headers.
    pub(crate) fn with_keys(config: LifeConfig, document: &str, pairs: &[(&str, &str)]) -> Self {
        let mut rig = Self::new(config);
        rig.tick();
        rig.answer(200, pairs, document);
        rig.effects.clear();
        rig
    }

    pub(crate) fn tick(&mut self) {
        self.event(Event::Tick);
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        let effects = self.life.on(self.now, 1 << 63, event);
        self.effects.extend(effects);
    }

    /// Lets time pass as a caller does that keeps to `next_wake`.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while let Some(wake) = self.life.next_wake().filter(|wake| *wake <= end) {
            assert!(wake > self.now || self.now == end || !self.effects.is_empty(), "the machine spins");
            self.now = wake.max(self.now);
            self.tick();
            assert!(self.life.next_wake().is_none_or(|next| next > self.now), "asks to be woken in the past");
        }
        self.now = end;
        self.tick();
    }

    /// Lets time pass until the machine wants something fetched.
    pub(crate) fn pass_to_fetch(&mut self) {
        while self.count(|effect| matches!(effect, Effect::Fetch(_))) == 0 {
            self.now = self.life.next_wake().expect("a fetch to come");
            self.tick();
        }
    }

    /// The fetch that was wanted and not answered.
    pub(crate) fn fetch(&mut self) -> Option<Fetch> {
        let at = self.effects.iter().position(|effect| matches!(effect, Effect::Fetch(_)))?;
        let Effect::Fetch(fetch) = self.effects.remove(at) else { unreachable!() };
        Some(fetch)
    }

    pub(crate) fn answer(&mut self, status: u16, pairs: &[(&str, &str)], body: &str) -> Fetch {
        let fetch = self.fetch().expect("a fetch");
        self.event(Event::Answered { id: fetch.id, status, headers: headers(pairs), body: body.as_bytes() });
        fetch
    }

    pub(crate) fn fail(&mut self) -> Fetch {
        let fetch = self.fetch().expect("a fetch");
        self.event(Event::Failed { id: fetch.id, reason: "connection refused" });
        fetch
    }

    pub(crate) fn need(&mut self, waiter: u32, kid: &str) -> Answer {
        self.ask(waiter, Some(kid), false)
    }

    pub(crate) fn ask(&mut self, waiter: u32, kid: Option<&str>, bad_signature: bool) -> Answer {
        let judged_with = self.life.generation(self.now);
        let need = Need { kid, bad_signature, judged_with, waiter, since: self.now };
        self.life.need(self.now, 1 << 63, need, &mut self.effects)
    }

    /// The requests that were woken since the last call.
    pub(crate) fn woken(&mut self) -> Vec<u32> {
        let woken = self
            .effects
            .iter()
            .filter_map(|e| if let Effect::Wake(ids) = e { Some(ids.clone()) } else { None });
        let woken = woken.flatten().collect();
        self.effects.retain(|effect| !matches!(effect, Effect::Wake(_)));
        woken
    }

    /// The requests that were refused since the last call.
    pub(crate) fn refused(&mut self) -> Vec<(u32, Refusal)> {
        let mut refused = Vec::new();
        self.effects.retain(|effect| {
            let Effect::Refuse(ids, why) = effect else { return true };
            refused.extend(ids.iter().map(|id| (*id, *why)));
            false
        });
        refused
    }

    pub(crate) fn phase(&self) -> portcullis_jwt::life::Phase {
        self.life.status(self.now).phase
    }

    /// The names of the keys that may be used.
    pub(crate) fn kids(&self) -> Vec<String> {
        self.ready()
            .map(|set| set.keys().iter().filter_map(|key| key.kid().map(Into::into)).collect())
            .unwrap_or_default()
    }

    pub(crate) fn ready(&self) -> Option<&KeySet> {
        if let KeyState::Ready(set) = self.life.key_set(self.now) { Some(set) } else { None }
    }

    /// How many times `wanted` is among the effects.
    pub(crate) fn count(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| wanted(effect)).count()
    }
}
