//! The issuer: which keys it publishes when, with which it signs, and how it answers.

use std::time::Duration;

use super::Random;
use crate::keys::set;

/// The times of the story are counted from its begin.
pub(crate) type Time = Duration;

/// A key by name and number.
pub(crate) type Key = (String, u32);

/// What is published from a time on.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) from: Time,
    pub(crate) published: Vec<Key>,
    pub(crate) signs: Key,
    pub(crate) what: &'static str,
}

/// How the issuer answers for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Dead,
    Error,
    Html,
    Truncated,
    Empty,
    Redirect,
    Slow,
}

/// The issuer's part of the story.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) steps: Vec<Step>,
    troubles: Vec<(Time, Time, Trouble)>,
    cache_control: Option<String>,
    etag: bool,
}

/// An answer, and how long it takes.
pub(crate) struct Reply {
    pub(crate) after: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Issuer {
    pub(crate) fn new(random: &mut Random, end: Time) -> Self {
        let first = ("k0".to_string(), 0);
        let mut steps =
            vec![Step { from: Time::ZERO, published: vec![first.clone()], signs: first, what: "begins" }];
        let mut time = Time::ZERO;
        let mut number = 0;
        loop {
            time += random.millis(90_000, 500_000);
            if time >= end {
                break;
            }
            number += 1;
            rotate(random, &mut steps, time, number);
        }
        let troubles = if random.chance(60) { troubles(random, end) } else { Vec::new() };
        let cache_control = match random.within(0, 4) {
            0 => None,
            1 => Some("no-store".into()),
            _ => Some(format!("public, max-age={}", random.within(0, 2000))),
        };
        Self { steps, troubles, cache_control, etag: random.chance(50) }
    }

    pub(crate) fn at(&self, time: Time) -> &Step {
        self.steps.iter().rev().find(|step| step.from <= time).unwrap()
    }

    /// Since when `key` is published without a break at `time`.
    pub(crate) fn published_since(&self, key: &Key, time: Time) -> Option<Time> {
        let before = self.steps.iter().rev().filter(|step| step.from <= time);
        before.take_while(|step| step.published.contains(key)).last().map(|step| step.from)
    }

    /// Whether the name of `key` was another key's before.
    pub(crate) fn reused(&self, key: &Key, time: Time) -> bool {
        let mut before = self.steps.iter().filter(|step| step.from <= time).flat_map(|step| &step.published);
        before.any(|other| other.0 == key.0 && other.1 != key.1)
    }

    /// When `key` was published last, if it is no longer.
    pub(crate) fn removed_at(&self, key: &Key, time: Time) -> Option<Time> {
        let steps: Vec<&Step> = self.steps.iter().filter(|step| step.from <= time).collect();
        let last = steps.iter().rposition(|step| step.published.contains(key))?;
        steps.get(last + 1).map(|step| step.from)
    }

    /// How long the issuer has answered well at `time`.
    pub(crate) fn well_for(&self, time: Time) -> Duration {
        let ends = self.troubles.iter().filter(|(from, _, _)| *from <= time).map(|(_, to, _)| *to);
        ends.max().map_or(Duration::MAX, |end| time.saturating_sub(end))
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.troubles.is_empty()
    }

    pub(crate) fn tell(&self) -> String {
        let steps = self.steps.iter().map(|step| {
            format!(
                "{:?} {}: publishes {:?}, signs with {:?}\n",
                step.from, step.what, step.published, step.signs
            )
        });
        let troubles = self.troubles.iter().map(|(from, to, what)| format!("{from:?} to {to:?} {what:?}\n"));
        let headers = format!("cache-control {:?}, etag {}\n", self.cache_control, self.etag);
        steps.chain(troubles).chain([headers]).collect()
    }

    pub(crate) fn reply(&self, random: &mut Random, time: Time, if_none_match: Option<&str>) -> Reply {
        let trouble =
            self.troubles.iter().find(|(from, to, _)| (*from..*to).contains(&time)).map(|(_, _, t)| *t);
        let step = self.at(time);
        let keys: Vec<(&str, u32)> =
            step.published.iter().map(|(kid, number)| (kid.as_str(), *number)).collect();
        let body = set(&keys);
        let etag = format!("\"{:?}\"", step.from);
        let mut headers: Vec<_> =
            self.cache_control.clone().map(|value| ("cache-control", value)).into_iter().collect();
        if self.etag {
            headers.push(("etag", etag.clone()));
        }
        let after = random.millis(1, 300);
        let plain =
            |status: u16, body: String| Reply { after, status: Some(status), headers: Vec::new(), body };
        match trouble {
            Some(Trouble::Dead) => Reply { after, status: None, headers, body },
            Some(Trouble::Error) => plain(503, String::new()),
            Some(Trouble::Html) => plain(200, "<html>maintenance</html>".into()),
            Some(Trouble::Truncated) => plain(200, body[..body.len() / 2].into()),
            Some(Trouble::Empty) => plain(200, "{\"keys\":[]}".into()),
            Some(Trouble::Redirect) => plain(302, body),
            Some(Trouble::Slow) => {
                Reply { after: random.millis(2000, 9000), status: Some(200), headers, body }
            }
            None if self.etag && if_none_match == Some(etag.as_str()) => {
                Reply { after, status: Some(304), headers, body: String::new() }
            }
            None => Reply { after, status: Some(200), headers, body },
        }
    }
}

fn rotate(random: &mut Random, steps: &mut Vec<Step>, time: Time, number: u32) {
    let last = steps.last().unwrap().clone();
    let new = (format!("k{number}"), number);
    let signs = |published: Vec<Key>, signs: Key, from: Time, what| Step { from, published, signs, what };
    match random.within(0, 4) {
        0 => steps.push(signs(vec![new.clone()], new, time, "rotates without overlap")),
        1 => {
            let same = (last.signs.0.clone(), number);
            steps.push(signs(vec![same.clone()], same, time, "rotates under the same kid"));
        }
        2 => {
            let both = vec![last.signs.clone(), new.clone()];
            steps.push(signs(both.clone(), last.signs, time, "announces a key"));
            steps.push(signs(both, new.clone(), time + Duration::from_secs(30), "signs with it"));
            steps.push(signs(vec![new.clone()], new, time + Duration::from_secs(60), "drops the old one"));
        }
        _ => {
            // A key that was stolen: it goes, a second one that was always there takes over.
            let spare = (format!("spare{number}"), 10_000 + number);
            let both = vec![last.signs.clone(), spare.clone()];
            steps.push(signs(both, last.signs, time, "has a spare key"));
            steps.push(signs(
                vec![spare.clone()],
                spare,
                time + Duration::from_secs(80),
                "removes the stolen one",
            ));
        }
    }
}

fn troubles(random: &mut Random, end: Time) -> Vec<(Time, Time, Trouble)> {
    use Trouble::{Dead, Empty, Error, Html, Redirect, Slow, Truncated};
    let kinds = [Dead, Error, Html, Truncated, Empty, Redirect, Slow];
    let mut found = Vec::new();
    let mut time = Time::ZERO;
    loop {
        time += random.millis(0, 600_000);
        let long =
            if random.chance(20) { random.millis(300_000, 900_000) } else { random.millis(1_000, 90_000) };
        if time >= end {
            return found;
        }
        let kind = kinds[random.within(0, kinds.len() as u64) as usize];
        found.push((time, time + long, kind));
        time += long;
    }
}
