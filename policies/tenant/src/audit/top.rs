//! Counting by tenant with a bound: those that are seen most, and the rest together.

use alloc::{collections::BTreeMap, string::String};

/// How many tenants are counted at a time.
const CANDIDATES: usize = 256;
/// How many may have a counter of their own: a proxy's metrics are never taken back.
const NAMED: usize = 32;
/// A tenant that was seen less often has none.
const ENOUGH: u64 = 16;

/// What has been counted (Metwally and others, Space-Saving, 2005: whoever is seen often is not
/// crowded out by many that are not).
#[derive(Clone, Debug, Default)]
pub struct Top {
    /// How often, and how much of that may have been others.
    counts: BTreeMap<String, (u64, u64)>,
    named: BTreeMap<String, ()>,
}

impl Top {
    /// Counts one for the tenant of this name; whether it has a counter of its own.
    pub fn count(&mut self, name: &str) -> bool {
        if self.named.contains_key(name) {
            return true;
        }
        let (mut count, mut others) = self.counts.get(name).copied().unwrap_or_default();
        if count == 0 && self.counts.len() >= CANDIDATES {
            let least = self.counts.iter().min_by_key(|(_, (count, _))| *count);
            if let Some((other, least)) = least.map(|(other, (count, _))| (other.clone(), *count)) {
                self.counts.remove(&other);
                (count, others) = (least, least);
            }
        }
        count = count.saturating_add(1);
        if count.saturating_sub(others) >= ENOUGH && self.named.len() < NAMED {
            self.counts.remove(name);
            self.named.insert(name.into(), ());
            return true;
        }
        self.counts.insert(name.into(), (count, others));
        false
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_flood_of_names_takes_no_counters_and_no_memory() {
        let mut top = Top::default();
        for round in 0..1000 {
            for number in 0..10 {
                top.count(&format!("{}", round * 10 + number));
            }
            top.count("busy");
        }
        assert!(top.count("busy"));
        assert!(top.counts.len() <= CANDIDATES && top.named.len() <= NAMED);
    }

    #[test]
    fn the_number_of_counters_is_bounded() {
        let mut top = Top::default();
        let mut named = 0;
        for number in 0..1000 {
            named += usize::from((0..100).any(|_| top.count(&format!("{number}"))));
        }
        assert_eq!(named, NAMED);
    }
}
