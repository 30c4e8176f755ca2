//! Kids that were looked for and not found: bounded, and forgotten soon.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::time::Instant;

/// What was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) kid: Option<String>,
    /// A key that fits, where there is one with this `kid` that does not.
    pub(super) another: bool,
}

#[derive(Clone, Debug)]
struct Miss {
    wanted: Wanted,
    until: Instant,
    span: Duration,
}

/// The misses. A full memory forgets the oldest: a client that fills it with kids of its choice
/// gains nothing, for the bound on fetches holds without it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Vec<Miss>);

impl Memory {
    pub(super) fn knows(&self, now: Instant, wanted: &Wanted) -> Option<Instant> {
        self.0.iter().find(|miss| miss.wanted == *wanted && now < miss.until).map(|miss| miss.until)
    }

    /// Remembers a miss for `first`; a name that was missed before for twice as long as then, at
    /// most `most`. That no other key has a name is always remembered shortly: everybody can
    /// send a bad signature under a good name, and the issuer may give the name to another key.
    pub(super) fn miss(
        &mut self,
        now: Instant,
        wanted: Wanted,
        first: Duration,
        most: Duration,
        entries: usize,
    ) {
        if self.knows(now, &wanted).is_some() {
            // Many requests with one kid miss together: that is one miss.
            return;
        }
        let again = self.0.iter().position(|miss| miss.wanted == wanted).map(|at| self.0.remove(at));
        let longer = again.filter(|_| !wanted.another).map(|miss| miss.span.saturating_mul(2));
        let span = longer.unwrap_or(first).min(most);
        if self.0.len() >= entries && !self.0.is_empty() {
            self.0.remove(0);
        }
        if entries > 0 {
            self.0.push(Miss { wanted, until: now.saturating_add(span), span });
        }
    }

    /// Forgets what a change of the keys may have made untrue.
    pub(super) fn keys_changed(&mut self, has: impl Fn(&str) -> bool) {
        self.0.retain(|miss| !miss.wanted.another && miss.wanted.kid.as_deref().is_some_and(|kid| !has(kid)));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_secs(60);

    fn kid(kid: &str) -> Wanted {
        Wanted { kid: Some(kid.into()), another: false }
    }

    fn at(seconds: u64) -> Instant {
        Instant::default().saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_repeated_miss_is_remembered_longer_and_never_for_ever() {
        let mut memory = Memory::default();
        let mut now = at(0);
        let mut spans = Vec::new();
        for _ in 0..5 {
            memory.miss(now, kid("a"), FIRST, MOST, 8);
            let until = memory.knows(now, &kid("a")).unwrap();
            assert_eq!(memory.knows(until, &kid("a")), None);
            spans.push(until.saturating_since(now).as_secs());
            now = until;
        }
        assert_eq!(spans, [10, 20, 40, 60, 60]);
        let another = Wanted { kid: Some("a".into()), another: true };
        for at in [at(0), at(10), at(20)] {
            memory.miss(at, another.clone(), FIRST, MOST, 8);
            assert_eq!(memory.knows(at, &another), Some(at.saturating_add(FIRST)));
        }
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        for number in 0..1000 {
            memory.miss(at(0), kid(&format!("{number}")), FIRST, MOST, 8);
        }
        assert_eq!(memory.len(), 8);
        assert!(memory.knows(at(1), &kid("999")).is_some());
        assert!(memory.knows(at(1), &kid("0")).is_none());
    }

    #[test]
    fn new_keys_make_what_they_bring_forgotten() {
        let mut memory = Memory::default();
        let another = Wanted { kid: Some("a".into()), another: true };
        for wanted in [kid("a"), kid("b"), another.clone()] {
            memory.miss(at(0), wanted, FIRST, MOST, 8);
        }
        memory.keys_changed(|kid| kid == "b");
        assert!(memory.knows(at(1), &kid("a")).is_some());
        assert!(memory.knows(at(1), &kid("b")).is_none());
        assert!(memory.knows(at(1), &another).is_none());
    }
}
